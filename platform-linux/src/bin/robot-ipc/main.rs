//! The command `robot-ipc`: looks at host variables and functions, sets the ones,
//! calls the others, and removes both.
//!
//! | file | what it does |
//! |---|---|
//! | `ls`, `get`, `set`, `watch`, `call`, `rm`, `demo` | one subcommand each |
//! | `arguments` | a call as it is typed, to a pickle |
//! | `value` | how a value is shown |
//! | `literal` | values as they are typed, to pickles |
//! | `output` | lines that end quietly at a closed pipe; JSON |
//! | `failure` | what makes a subcommand end early |
//!
//! What only looks opens read-only, so that it changes nothing for the
//! processes it looks at.

mod arguments;
mod call;
mod demo;
mod failure;
mod get;
mod literal;
mod ls;
mod output;
mod rm;
mod set;
mod value;
mod watch;

use clap::{Parser, Subcommand};
use failure::Failure;
use robot_ipc::build_id::BUILD_ID;
use robot_ipc::shm::{
    DEFAULT_DIRECTORY, DEFAULT_NAMESPACE, DIRECTORY_VARIABLE, NAMESPACE_VARIABLE,
};
use robot_ipc::{Place, VariableOptions};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Host variables and functions of this machine: look at them, set, call and remove them.
#[derive(Debug, Parser)]
#[command(name = "robot-ipc", version = BUILD_ID)]
struct Arguments {
    /// The namespace to look in, instead of ROBOT_IPC_NAMESPACE
    #[arg(long, global = true, value_name = "NAME")]
    namespace: Option<OsString>,
    /// The folder to look in, instead of ROBOT_IPC_DIR or /dev/shm
    #[arg(long, global = true, value_name = "PATH")]
    directory: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Demo(demo::Demo),
    Ls(ls::Ls),
    Get(get::Get),
    Set(set::Set),
    Watch(watch::Watch),
    Call(call::Call),
    Rm(rm::Rm),
}

impl Arguments {
    /// Where to look: as told, or else as the environment says.
    fn place(&self) -> Result<Place, Failure> {
        let directory = match &self.directory {
            // Relative to where the user stands.
            Some(directory) => std::path::absolute(directory).map_err(|error| {
                Failure::message(format!("--directory cannot be used: {error}"))
            })?,
            None => std::env::var_os(DIRECTORY_VARIABLE)
                .unwrap_or(DEFAULT_DIRECTORY.into())
                .into(),
        };
        let namespace = match &self.namespace {
            Some(namespace) => namespace.clone(),
            None => std::env::var_os(NAMESPACE_VARIABLE).unwrap_or(DEFAULT_NAMESPACE.into()),
        };
        Ok(Place::new(&directory, namespace.as_bytes())?)
    }
}

/// How a variable is opened by what only looks at it.
fn only_to_look(place: &Place) -> VariableOptions {
    VariableOptions::new()
        .place(place.clone())
        .adopt_size()
        .read_only(true)
}

/// A number of seconds, as an option takes it.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "it is not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Without it one file that is cut would end what looks at many.
    let _ = robot_ipc::survive_truncation();
    let done = arguments.place().and_then(|place| match arguments.task {
        Task::Demo(demo) => Ok(demo::run(demo, &place)),
        Task::Ls(ls) => ls.run(&place).map(|()| ExitCode::SUCCESS),
        Task::Get(get) => get.run(&place).map(|()| ExitCode::SUCCESS),
        Task::Set(set) => set.run(&place).map(|()| ExitCode::SUCCESS),
        Task::Watch(watch) => watch.run(&place).map(|()| ExitCode::SUCCESS),
        Task::Call(call) => call.run(&place).map(|()| ExitCode::SUCCESS),
        Task::Rm(rm) => rm.run(&place),
    });
    done.unwrap_or_else(|failure| failure.report())
}
