//! `robot-ipc demo`: shows what this is for.

use std::process::ExitCode;

/// Runs a simulated robot whose parts share host variables, and kills some
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// How long it runs
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

pub(crate) fn run(arguments: Demo) -> ExitCode {
    let _ = arguments.seconds;
    ExitCode::SUCCESS
}
