//! What others do on the same machine, in the same rounds.
//!
//! `tests/peers` is a workspace of its own: nobody else builds or locks what peers need. It
//! is built here when somebody measures; where it cannot be (without a network, say) this
//! says so, and there are no rows of theirs.

use crate::Context;
use crate::measuring::Scale;
use crate::worker::Worker;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use support::workspace;

/// A process of `tests/peers` on that processor, which understands the lines of its head.
/// `None` where it cannot be built, and where figures do not matter.
pub(crate) fn start(context: &Context, core: usize) -> Option<Worker> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if context.scale == Scale::Tiny {
        return None;
    }
    let program = PROGRAM.get_or_init(|| {
        let program = build();
        if let Err(why) = &program {
            support::skipped("iceoryx2, beside which we are measured", why);
        }
        program
    });
    let folder = context.scratch.place().directory();
    let mut command = Command::new(program.as_ref().ok()?);
    command
        .arg(core.to_string())
        .arg(folder.join("peers"))
        .arg(prefix(folder));
    Some(Worker::run(&mut command))
}

/// Two processes of which one calls the other one.
pub(crate) struct Calls {
    server: Worker,
    caller: Worker,
}

impl Calls {
    /// Starts them, on two processors.
    pub(crate) fn start(context: &Context) -> Option<Calls> {
        let [caller, server] = context.cores;
        Some(Calls {
            server: start(context, server)?,
            caller: start(context, caller)?,
        })
    }

    /// The microseconds of so many round trips: 50 %, 99 % and 99.9 %.
    pub(crate) fn round_trips(&self, size: usize, count: usize) -> Vec<f64> {
        // Both are there before one of them calls.
        self.server.ask(&format!("answer {size} 0"));
        self.caller.ask(&format!("call {size} 0"));
        self.server.say(&format!("answer {size} {count}"));
        let times = self.caller.ask(&format!("call {size} {count}"));
        self.server.hear();
        times.iter().map(|time| time / 1000.0).collect()
    }
}

/// What the names of its files in /dev/shm begin with.
fn prefix(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    format!("iox2-{name}_")
}

/// Removes what it has left of a run in that folder, even if it was killed.
pub(crate) fn clean_up(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder.join("peers"));
    let prefix = prefix(folder);
    for entry in std::fs::read_dir("/dev/shm")
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Builds it; says why if that cannot be done.
fn build() -> Result<PathBuf, String> {
    let target = workspace().join("target/peers");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(workspace().join("tests/peers/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null());
    println!("building tests/peers, if that is to be done");
    let output = command
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        return Ok(target.join("release/peers"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().find(|line| line.starts_with("error"));
    let status = output.status.to_string();
    let why = why.unwrap_or(&status);
    Err(format!("tests/peers cannot be built: {why}"))
}
