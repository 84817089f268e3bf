//! The demo: a control loop in Rust, Python beside it, kills in between.
#![cfg(feature = "command")]

use robot_ipc::function::Reply;
use robot_ipc::{FunctionOptions, HostFunctionDispatcher, Place};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
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

/// The last line: what has to be 0.
fn faults(output: &Output) -> [u64; 4] {
    ["torn", "lost", "mixed", "hung"].map(|key| number(output, key))
}

/// Against a demo that proves nothing: it has to read, write, call and kill, to find
/// every value whole, and every answer its own. Two run at once, and leave nothing behind.
#[test]
fn two_demos_at_once_find_every_value_whole_and_every_answer_their_own() {
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
        assert_eq!(faults(&output), [0; 4]);
        assert!(number(&output, "calls") > 100);
        if python_is_there() {
            assert!(number(&output, "kills") > 0);
            let text = String::from_utf8_lossy(&output.stdout);
            for called in ["move_to", "stop", "hand_at"] {
                for side in ["Rust", "Python"] {
                    let line = format!("\n{called} from {side}: ");
                    let rest = text.split_once(&line).map(|(_, rest)| rest);
                    let rest = rest.unwrap_or_else(|| panic!("no{line}in {text}"));
                    let line = rest.lines().next().unwrap_or_default();
                    assert!(line.contains(" answers, 0 errors, p50 "), "{text}");
                    assert!(
                        line.contains(", p99 ") && line.contains(", p99.9 "),
                        "{text}"
                    );
                    assert!(!line.starts_with("0 "), "{text}");
                }
            }
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
    assert_eq!(faults(&output), [0; 4]);
    nobody_is_left(id);
    assert_eq!(files_of(id), 0);
}

/// Against Python processes that go on when the demo itself is killed, and against
/// variables and functions of killed demos that stay.
#[test]
fn a_killed_demo_leaves_nothing_to_the_next_one() {
    if !python_is_there() {
        return;
    }
    let mut child = demo(60).spawn().expect("it starts");
    plays(&child);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    nobody_is_left(child.id());
    let next = demo(1).output().expect("it starts");
    assert!(next.status.success(), "{next:?}");
    assert_eq!(files_of(child.id()), 0);
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
    assert!(
        text.contains("move_to from Rust: ") && !text.contains("hand_at"),
        "{text}"
    );
    assert!(number(&output, "calls") > 100);
    assert_eq!(number(&output, "kills"), 0);
    assert_eq!(faults(&output), [0; 4]);
}

// ------------------------------------------------------------- what is found

/// Which of a demo's callers an impostor is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Rust,
    Controller,
    /// The one that is killed.
    Telemetry,
}

impl Side {
    /// Who calls, by what it writes into an order.
    fn of(caller: u64, demo: u32) -> Option<Side> {
        let pid = caller as u32;
        if pid == demo {
            return Some(Side::Rust);
        }
        // It may be dead by now.
        let program = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let program = String::from_utf8_lossy(&program).into_owned();
        Some(match program.contains("HostFunctionDispatcher") {
            true => Side::Controller,
            false => Side::Telemetry,
        })
    }
}

/// The words of the demo's structs: caller, number, three numbers, sum; and caller,
/// number, function, three numbers, sum.
type Order = [u64; 6];
type Done = [u64; 7];

/// Serves `name` beside the demo: each call goes to one of the two. Those from `side` are
/// answered by `answer`, the others as they should be.
fn impostor(
    demo: &Child,
    name: &'static str,
    side: Side,
    mut answer: impl FnMut(Done) -> Done + Send + 'static,
) -> HostFunctionDispatcher {
    let id = demo.id();
    let file = format!("/dev/shm/robot-ipc.demo-{id}.function.{name}");
    let start = Instant::now();
    while !Path::new(&file).exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "no {file}");
        std::thread::sleep(Duration::from_millis(1));
    }
    let namespace = format!("demo-{id}");
    let place = Place::new(Path::new("/dev/shm"), namespace.as_bytes()).expect("a place");
    let options = FunctionOptions::new()
        .place(place)
        .max_argument_size(size_of::<Order>() as u64)
        .max_response_size(size_of::<Done>() as u64);
    let dispatcher = HostFunctionDispatcher::new(1).expect("a dispatcher");
    let function = match name {
        "move_to" => 0,
        _ => 1,
    };
    dispatcher
        .add_with(&options, name, move |arguments: &[u8]| {
            let order: Order = bytemuck::pod_read_unaligned(arguments);
            let mut done = [order[0], order[1], function, 0, 0, 0, 0];
            if Side::of(order[0], id) == Some(side) {
                done = answer(done);
            }
            done[6] = done[..6]
                .iter()
                .fold(0, |sum, word| sum.wrapping_add(*word));
            Reply::Bytes(bytemuck::bytes_of(&done).to_vec())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    dispatcher
}

fn sides() -> impl Iterator<Item = Side> {
    [Side::Rust, Side::Controller, Side::Telemetry]
        .into_iter()
        .filter(|side| *side == Side::Rust || python_is_there())
}

/// Against a demo that takes the answer to another call for its own: one of the same
/// caller, of another caller, or of another function.
#[test]
fn an_answer_to_another_call_fails_the_demo() {
    for side in sides() {
        let child = demo(3).spawn().expect("it starts");
        let wrong = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&wrong);
        let dispatcher = impostor(&child, "move_to", side, move |mut done| {
            let which = counted.fetch_add(1, Relaxed) % 3;
            done[which as usize] ^= 1;
            done
        });
        let output = child.wait_with_output().expect("it ends");
        drop(dispatcher);
        assert_eq!(output.status.code(), Some(1), "{side:?}: {output:?}");
        let (mixed, wrong) = (number(&output, "mixed"), u64::from(wrong.load(Relaxed)));
        // Who is killed before it looks counts nothing.
        let unseen = if side == Side::Telemetry {
            wrong / 2
        } else {
            0
        };
        assert!(
            mixed > 3 && mixed <= wrong && mixed >= wrong - unseen,
            "{side:?}: {mixed} of {wrong}"
        );
        assert_eq!(number(&output, "hung"), 0, "{side:?}");
    }
}

/// Against a demo that does not notice, or hides by a kill, that an answer never comes.
#[test]
fn an_answer_that_does_not_come_fails_the_demo() {
    const SECONDS: u32 = 12;
    const ASLEEP: Duration = Duration::from_secs(6);
    let mut left: Vec<Side> = sides().collect();
    // On a busy machine Python may come to its first question too late for that.
    for _ in 0..10 {
        let started: Vec<_> = left
            .into_iter()
            .map(|side| {
                let child = demo(SECONDS).spawn().expect("it starts");
                let asked = Arc::new(OnceLock::new());
                let is_asked = Arc::clone(&asked);
                let dispatcher = impostor(&child, "stop", side, move |done| {
                    if is_asked.set(Instant::now()).is_ok() {
                        std::thread::sleep(ASLEEP);
                    }
                    done
                });
                (side, child, dispatcher, asked)
            })
            .collect();
        left = Vec::new();
        for (side, child, dispatcher, asked) in started {
            let output = child.wait_with_output().expect("it ends");
            let end = Instant::now();
            drop(dispatcher);
            if asked.get().is_none_or(|asked| end - *asked < ASLEEP) {
                left.push(side);
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{side:?}: {output:?}");
            assert_eq!(number(&output, "hung"), 1, "{side:?}: {output:?}");
            assert_eq!(number(&output, "mixed"), 0, "{side:?}");
        }
        if left.is_empty() {
            return;
        }
    }
    panic!("{left:?} never asked in time");
}
