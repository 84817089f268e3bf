//! What Python costs: measured by a script, which prints rows like ours as JSON.
//!
//! It starts with the library of this very build, and ends with this program.

use crate::Context;
use crate::measuring::{Rows, Scale};
use crate::row::Row;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use support::{library, skipped, workspace};

const WHAT: &str = "what Python costs";

/// Starts the script; its rows become ours.
pub(crate) fn measure(context: &mut Context) {
    if context.scale == Scale::Tiny {
        return;
    }
    let this = std::env::current_exe().expect("this bench is a file");
    let mut command = Command::new(this);
    context.scratch.enter(&mut command);
    command
        .args(["role", "python", "-"])
        .arg(workspace().join("tests/benches/python/report.py"))
        .arg("--json")
        .env("ROBOT_IPC_LIBRARY", library())
        .env("PYTHONPATH", workspace().join("python-ctypes"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if context.scale == Scale::Quick {
        command.arg("--quick");
    }
    let output = command.output().expect("this program can be started");
    if !output.status.success() {
        skipped(WHAT, "there is no python3, or it failed");
        return;
    }
    let rows: Vec<Row> = match serde_json::from_slice(&output.stdout) {
        Ok(rows) => rows,
        Err(error) => {
            skipped(WHAT, &format!("it does not print rows: {error}"));
            return;
        }
    };
    context.report(Rows(rows));
}

/// The role of a process that becomes Python, with those arguments.
pub(crate) fn act(arguments: &[&str]) {
    let error = Command::new("python3").args(arguments).exec();
    eprintln!("python3: {error}");
    std::process::exit(1);
}
