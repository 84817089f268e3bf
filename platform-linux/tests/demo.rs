//! The demo: a control loop in Rust, Python beside it, kills in between.
#![cfg(feature = "command")]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn demo(seconds: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_robot-ipc"));
    command.args(["demo", "--seconds", &seconds.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn python_is_there() -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok();
    if !there {
        // Not `eprintln!`: the test runner would keep it to itself.
        let mut errors = std::io::stderr().lock();
        let _ = writeln!(
            errors,
            "\n*** NOT TESTED: the demo's Python half: no python3"
        );
    }
    there
}

/// The number behind `key=` in the last line.
fn number(output: &Output, key: &str) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let word = last
        .split(' ')
        .find_map(|word| word.strip_prefix(&format!("{key}=")));
    word.and_then(|number| number.parse().ok())
        .unwrap_or_else(|| {
            panic!(
                "no {key} in {text}{}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
}

/// Processes that the demo `parent` has started and that live.
fn orphans(parent: u32) -> Vec<String> {
    let mark = format!("ROBOT_IPC_DEMO_PARENT={parent}\0");
    let processes = std::fs::read_dir("/proc")
        .expect("there is /proc")
        .flatten();
    let pids = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.filter(|pid| {
        let environment = std::fs::read(Path::new("/proc").join(pid).join("environ"));
        environment.is_ok_and(|bytes| {
            bytes
                .windows(mark.len())
                .any(|part| part == mark.as_bytes())
        })
    })
    .collect()
}

fn nobody_is_left(parent: u32) {
    let start = Instant::now();
    while !orphans(parent).is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "left: {:?}",
            orphans(parent)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn files_of(parent: u32) -> usize {
    let prefix = format!("robot-ipc.demo-{parent}.");
    let files = std::fs::read_dir("/dev/shm")
        .expect("there is /dev/shm")
        .flatten();
    files
        .filter(|file| file.file_name().to_string_lossy().starts_with(&prefix))
        .count()
}

/// Waits until the demo's Python processes run.
fn plays(demo: &Child) {
    let start = Instant::now();
    while orphans(demo.id()).len() < 2 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it does not start"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Against a demo that proves nothing: it has to read, write and kill, and to
/// find every value whole. Two run at once, and leave nothing behind.
#[test]
fn two_demos_at_once_find_every_value_whole() {
    let started: Vec<Child> = (0..2)
        .map(|_| demo(2).spawn().expect("it starts"))
        .collect();
    for child in started {
        let id = child.id();
        let output = child.wait_with_output().expect("it ends");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(number(&output, "written") > 100 && number(&output, "read") > 0);
        assert_eq!((number(&output, "torn"), number(&output, "lost")), (0, 0));
        if python_is_there() {
            assert!(number(&output, "kills") > 0);
        }
        nobody_is_left(id);
        assert_eq!(files_of(id), 0);
    }
}

/// Against Python processes, or segments, that outlive an interrupted demo.
#[test]
fn ctrl_c_ends_everything() {
    if !python_is_there() {
        return;
    }
    let child = demo(60).spawn().expect("it starts");
    plays(&child);
    let id = child.id();
    let pid = rustix::process::Pid::from_raw(id as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is ours");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((number(&output, "torn"), number(&output, "lost")), (0, 0));
    nobody_is_left(id);
    assert_eq!(files_of(id), 0);
}

/// Against Python processes that go on when the demo itself is killed.
#[test]
fn a_killed_demo_leaves_no_process_behind() {
    if !python_is_there() {
        return;
    }
    let mut child = demo(60).spawn().expect("it starts");
    plays(&child);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    nobody_is_left(child.id());
    for file in std::fs::read_dir("/dev/shm")
        .expect("there is /dev/shm")
        .flatten()
    {
        let prefix = format!("robot-ipc.demo-{}.", child.id());
        if file.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// Against a demo that gives up where there is no Python.
#[test]
fn without_python_the_rust_half_runs_alone() {
    let output = demo(1)
        .env("PATH", "/nonexistent")
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("without the Python half: python3 cannot be started"),
        "{text}"
    );
    assert!(number(&output, "written") > 100);
    assert_eq!(number(&output, "kills"), 0);
}
