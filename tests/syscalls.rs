//! What a variable or a function in use asks of the kernel, and keeps of it: nothing.

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use support::process::{Partner, State};
use support::segment_file::{SegmentFile, WAITING_BIT};
use support::{Scratch, eventually, open, skipped};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const COUNT: u64 = 200;

/// How often each system call was made between the marks 0 to 5.
type Calls = [BTreeMap<String, u64>; 5];

fn strace_works() -> bool {
    let mut strace = Command::new("strace");
    let quiet = strace
        .args(["-o", "/dev/null", "true"])
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn calls(trace: &Path) -> Calls {
    let text = std::fs::read_to_string(trace).expect("a trace");
    let mut calls = Calls::default();
    let mut section = None;
    for line in text.lines() {
        // "PID call(arguments) = result"
        let call = line
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim_start();
        if let Some((_, mark)) = call.split_once("/robot-ipc-mark-") {
            section = mark
                .split('"')
                .next()
                .and_then(|number| number.parse::<usize>().ok());
        } else if let Some(calls) = section.and_then(|section| calls.get_mut(section)) {
            let name = call.split('(').next().unwrap_or(call);
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(section, Some(5), "the trace has not all marks");
    calls
}

/// The trace of `make-no-calls`, in which `meanwhile` is done before the first mark.
fn trace(scratch: &Scratch, meanwhile: impl FnOnce()) -> Calls {
    let file = std::env::temp_dir().join(format!("{}.trace", scratch.place().namespace()));
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&file);
    command.args([CHILD, "make-no-calls", "quiet", &COUNT.to_string()]);
    let mut child = Partner::run(scratch.enter(&mut command));
    child.expect("ready");
    meanwhile();
    child.say("go");
    child.expect("done");
    child.finish();
    let calls = calls(&file);
    let _ = std::fs::remove_file(&file);
    calls
}

/// Only what debug builds do to put off SIGINT: twice per operation.
fn check_quiet(what: &str, calls: &BTreeMap<String, u64>, operations: u64) {
    let expected = if cfg!(debug_assertions) {
        2 * operations
    } else {
        0
    };
    let masks = calls.get("rt_sigprocmask").copied().unwrap_or(0);
    assert_eq!(masks, expected, "of {what}: {calls:?}");
    assert_eq!(calls.len(), usize::from(expected > 0), "{what}: {calls:?}");
}

fn check_all(calls: &Calls) {
    if !calls[3].is_empty() {
        return skipped(
            "that operations make no system call",
            "here the clock itself makes one",
        );
    }
    check_quiet("writes", &calls[1], COUNT);
    check_quiet("reads", &calls[2], COUNT);
    check_quiet("function calls", &calls[4], 0);
}

/// Against a system call in a control loop.
#[test]
fn reads_and_writes_make_no_system_call() {
    if !strace_works() {
        return skipped(
            "system calls of reads and writes",
            "there is no strace that works",
        );
    }
    let scratch = Scratch::new();
    let calls = trace(&scratch, || {});
    check_all(&calls);
    if calls[3].is_empty() {
        check_quiet("the first write", &calls[0], 1);
    }
}

/// Against a dead waiter for whom everybody goes on calling the kernel.
#[test]
fn killed_waiters_cost_one_wake_at_most() {
    if !strace_works() {
        return skipped(
            "system calls after a waiter's death",
            "there is no strace that works",
        );
    }
    let scratch = Scratch::new();
    let variable = open(&scratch, "quiet");
    variable.write(b"first").expect("a slot");
    let calls = trace(&scratch, || {
        let file = SegmentFile::open(&scratch, "quiet", 4096);
        let start = |_| Partner::start(&scratch, CHILD, &["wait-forever", "quiet"]);
        let mut waiters: Vec<Partner> = (0..3).map(start).collect();
        for waiter in &mut waiters {
            waiter.expect("ready");
        }
        eventually("somebody waits", || file.latest() & WAITING_BIT != 0);
        for waiter in &mut waiters {
            waiter.signal(Signal::KILL);
            assert_eq!(waiter.state(), State::Killed);
        }
        assert_ne!(
            file.latest() & WAITING_BIT,
            0,
            "they have left nothing: nothing is tested"
        );
    });
    let mut first = calls[0].clone();
    assert_eq!(first.remove("futex"), Some(1), "{:?}", calls[0]);
    if calls[3].is_empty() {
        check_quiet("the first write", &first, 1);
    }
    check_all(&calls);
}

/// Against descriptors that programs close, or run out of.
#[test]
fn an_open_variable_keeps_no_descriptor() {
    let scratch = Scratch::new();
    let what = ["hold", "v", "write", "borrow", "loan"];
    let mut holder = Partner::start(&scratch, CHILD, &what);
    holder.expect("holding");
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", holder.pid())).expect("it lives");
    let targets = descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let kept: Vec<_> = targets
        .filter(|path| path.starts_with("/dev/shm"))
        .collect();
    assert!(kept.is_empty(), "{kept:?}");
    holder.finish();
}
