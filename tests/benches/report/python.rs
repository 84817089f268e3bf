//! What Python costs: measured by a script, `tests/benches/python.py`, which saves rows like
//! ours as JSON.
//!
//! It uses the library of this very build, and ends with this program.

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
    let json = context.scratch.place().directory().join("python.json");
    let this = std::env::current_exe().expect("this bench is a file");
    let mut command = Command::new(this);
    context.scratch.enter(&mut command);
    command
        .args(["role", "python", "-"])
        .arg(workspace().join("tests/benches/python.py"))
        .arg("--json")
        .arg(&json)
        .env("ROBOT_IPC_LIBRARY", library())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if context.scale == Scale::Quick {
        command.arg("--quick");
    }
    let ended = command.status().expect("this program can be started");
    if !ended.success() {
        skipped(WHAT, &format!("the script ended with {ended}"));
        return;
    }
    let rows = std::fs::read(&json).map(|text| serde_json::from_slice::<Vec<Row>>(&text));
    match rows {
        Ok(Ok(rows)) => context.report(Rows(rows)),
        other => skipped(WHAT, &format!("its rows cannot be read: {other:?}")),
    }
}

/// The role of a process that becomes Python, with those arguments.
pub(crate) fn act(arguments: &[&str]) {
    let error = Command::new("python3").args(arguments).exec();
    eprintln!("python3: {error}");
    std::process::exit(1);
}
