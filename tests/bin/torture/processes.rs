//! What the keeper asks the system about processes, and does to them.

use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use std::path::PathBuf;
use std::process::Command;
use support::skipped;

/// Signals a process that is ours to bury.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}

/// All children of this process, dead ones that are not buried too.
pub(crate) fn children() -> Vec<Pid> {
    let text = std::fs::read_to_string("/proc/thread-self/children");
    let text = text.unwrap_or_else(|error| panic!("/proc/thread-self/children: {error}"));
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter_map(Pid::from_raw).collect()
}

/// How a process ended, in words.
pub(crate) fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended by itself with status {code}"),
        (_, Some(signal)) => format!("ended by signal {signal}"),
        _ => format!("ended: {status:?}"),
    }
}

/// The interpreter itself: what is called `python3` may be a script around it.
pub(crate) fn find_python() -> Option<PathBuf> {
    let code = "import sys; print(sys.executable if sys.version_info >= (3, 8) else '')";
    let output = Command::new("python3").args(["-c", code]).output().ok();
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok());
    let path = text
        .map(|text| text.trim().to_owned())
        .filter(|path| !path.is_empty());
    if path.is_none() {
        skipped(
            "processes in Python",
            "there is no python3 of version 3.8 or newer",
        );
    }
    path.map(PathBuf::from)
}

/// What the threads of a process are doing, as far as that can be seen.
pub(crate) fn stacks(pid: u32) -> String {
    let arguments = ["-batch", "-ex", "thread apply all backtrace", "-p"];
    let gdb = Command::new("gdb")
        .args(arguments)
        .arg(pid.to_string())
        .output();
    match gdb {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            let read = |name: &str| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/{name}"));
                text.unwrap_or_else(|error| error.to_string())
            };
            let (status, at) = (read("status"), read("wchan"));
            format!("no stack: gdb: {error}\nwaits in: {at}\n{status}")
        }
    }
}
