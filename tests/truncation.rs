//! Files that somebody cuts short while they are in use, and the handler that survives it.

use robot_ipc::{FunctionOptions, Kind};
use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
use support::function::PATIENCE;
use support::process::Partner;
use support::{Scratch, scale, seed};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const SIGBUS: i32 = 7;
/// Who waits looks again within a slice of 250 ms; longer than this it hangs.
const SOON: Duration = Duration::from_secs(20);
/// Everything; the first page; and all but the last one.
const SIZES: [Cut; 3] = [Cut::To(0), Cut::To(4096), Cut::LastPage];

#[derive(Clone, Copy, Debug)]
enum Cut {
    To(u64),
    LastPage,
}

fn path(scratch: &Scratch, kind: Kind, name: &str) -> PathBuf {
    let subject = scratch.place().subject(kind, name.as_bytes());
    subject.expect("a good name").path().to_owned()
}

/// Cuts the file; how many bytes it had and has.
fn cut(path: &PathBuf, how: Cut) -> (u64, u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    let before = file.metadata().expect("a file").len();
    let after = match how {
        Cut::To(size) => size,
        Cut::LastPage => (before - 1) / 4096 * 4096,
    };
    assert!(after < before);
    file.set_len(after).expect("ours");
    (before, after)
}

/// Starts an operation on the object "cut" and cuts its file. What it says after that.
fn be_cut(handler: &str, kind: Kind, operation: &str, how: Cut) -> (Scratch, Partner, (u64, u64)) {
    let scratch = Scratch::new();
    let role = ["be-cut", handler, kind.as_str(), operation];
    let mut child = Partner::start(&scratch, CHILD, &role);
    child.expect("ready");
    if operation.starts_with("wait") {
        // Perhaps it sleeps by now, perhaps it does not.
        std::thread::sleep(Duration::from_millis(30));
    }
    let sizes = cut(&path(&scratch, kind, "cut"), how);
    if !operation.starts_with("wait") {
        child.say("go on");
    }
    (scratch, child, sizes)
}

fn check_told(kind: Kind, operation: &str, how: Cut) {
    let start = Instant::now();
    let (_scratch, mut child, (before, after)) = be_cut("on", kind, operation, how);
    let said = child.hear();
    let expected = format!(
        "truncated: {kind} 'cut': its file was truncated while it was in use, to {after} of \
         {before} bytes; what was in it is lost; remove it and open it again: \
         robot-ipc rm --force cut"
    );
    assert_eq!(said, expected, "{operation}, {how:?}");
    assert!(start.elapsed() < SOON, "{operation}, {how:?}");
    child.finish();
}

fn check_killed(status: ExitStatus) {
    assert_eq!(status.signal(), Some(SIGBUS), "{status}");
}

/// Against a handler that is there without having been asked for; and it shows what it
/// stands against.
#[test]
fn without_the_handler_the_process_is_killed() {
    for (kind, operation) in [
        (Kind::Variable, "read"),
        (Kind::Variable, "read-read-only"),
        (Kind::Function, "call"),
    ] {
        let (_scratch, mut child, _) = be_cut("off", kind, operation, Cut::To(0));
        check_killed(child.status());
    }
}

/// Against SIGBUS, a hang, a torn value, and a write that reports success and is lost.
#[test]
fn every_use_of_a_variable_tells_that_it_was_cut() {
    let operations = [
        "sample", "write", "write-if", "update", "borrow", "loan", "loaned", "borrowed", "forked",
    ];
    for operation in operations {
        check_told(Kind::Variable, operation, Cut::To(0));
    }
    // Their value lies in the first two pages.
    for operation in ["read", "read-read-only", "borrowed"] {
        for how in [Cut::To(0), Cut::To(4096)] {
            check_told(Kind::Variable, operation, how);
        }
    }
    // These come to every slot.
    for operation in ["write", "write-if", "update", "borrow", "loan"] {
        for how in SIZES {
            check_told(Kind::Variable, operation, how);
        }
    }
    for operation in ["version", "age", "wait", "wait-read-only"] {
        check_told(Kind::Variable, operation, Cut::To(0));
    }
}

/// Against a segment that nobody who has it open can get rid of.
#[test]
fn who_has_it_open_can_remove_it_and_make_it_anew() {
    for how in SIZES {
        let (_scratch, mut child, _) = be_cut("on", Kind::Variable, "remove", how);
        child.expect("done: anew");
        child.finish();
    }
}

/// Against SIGBUS, a caller that hangs, zeros that are taken for a response, and "it
/// returned nothing".
#[test]
fn every_use_of_a_function_tells_that_it_was_cut() {
    let operations = [
        "call",
        "wait-call",
        "wait-oldest",
        "wait-room",
        "progress",
        "response",
        "take",
        "reply",
    ];
    for operation in operations {
        check_told(Kind::Function, operation, Cut::To(0));
    }
    // Its cell lies in the first page, its arguments and its response in those behind.
    for operation in ["call", "response", "take", "reply"] {
        check_told(Kind::Function, operation, Cut::To(4096));
    }
}

/// Against a dispatcher that ends, hangs, or spins because of one of its functions.
#[test]
fn a_dispatcher_goes_on_with_its_other_functions() {
    for how_it_sleeps in ["", "one-word-sleep"] {
        let scratch = Scratch::new();
        let mut child = Partner::start(&scratch, CHILD, &["serve-three", how_it_sleeps]);
        child.expect("ready");
        let options = FunctionOptions::new().place(scratch.place().clone());
        let open = |name| options.open(name).unwrap_or_else(|error| panic!("{error}"));
        let call = |name| {
            let response = open(name).call_within(name.as_bytes(), PATIENCE);
            let response = response.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(response.expect("it returns").bytes, name.as_bytes());
        };
        for name in ["a", "b", "c"] {
            call(name);
        }
        // Long enough for it to sleep; this process must not have it open any more.
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        cut(&path(&scratch, Kind::Function, "b"), Cut::To(0));
        call("a");
        let said = child.hear();
        let begin = "function 'b': its file was truncated while it was in use, to 0 of ";
        assert!(said.starts_with(begin), "{said}");
        for name in ["c", "a", "c"] {
            call(name);
        }
        child.end_input();
        child.expect("over");
        child.finish();
        assert!(start.elapsed() < SOON, "{how_it_sleeps}");
    }
}

/// Against a step that does not survive it, takes zeros for arguments or for a response, or
/// removes a file because it looks removed.
#[test]
fn a_file_can_be_cut_at_any_step() {
    let scratch = Scratch::new();
    let mut child = Partner::start(&scratch, CHILD, &["cut-at-each-step"]);
    // From these on it has happened.
    let done = [
        "retire: locked",
        "retire: retired",
        "Published",
        "Released",
        "Woken",
    ];
    let mut steps = 0;
    loop {
        let said = child.hear();
        if said == "over" {
            break;
        }
        let (step, came_of_it) = said.rsplit_once(": ").expect("a step and an end");
        let expected = if done.contains(&step) { "done" } else { "told" };
        assert_eq!(came_of_it, expected, "{step}");
        steps += 1;
    }
    assert_eq!(steps, 27);
    child.finish();
}

/// Against zeros that another thread sees before it can tell that they are none of the
/// value's; and against two threads that fault at once.
#[test]
fn no_thread_takes_what_is_left_for_a_value() {
    let scratch = Scratch::new();
    let seed = seed("cut in the middle").to_string();
    let rounds = scale("ROBOT_IPC_TRUNCATIONS", 300).to_string();
    let mut child = Partner::start(&scratch, CHILD, &["cut-in-the-middle", &seed, &rounds]);
    assert!(child.number("reads") > 0);
    child.finish();
}

/// Against a handler that maps over what is somebody else's memory by now, and against a
/// crash while segments come and go.
#[test]
fn mappings_come_and_go_while_files_are_cut() {
    let scratch = Scratch::new();
    let seed = seed("map and cut").to_string();
    let mut child = Partner::start(&scratch, CHILD, &["map-and-cut", &seed, "2000"]);
    assert!(child.number("told") > 0);
    child.finish();
}

/// Against a handler that swallows what is none of its business, and one that hands on in
/// another way than the kernel would.
#[test]
fn every_other_fault_is_handled_as_before() {
    for (earlier, expected) in [
        ("std", None),
        ("default", None),
        // The kernel does not ignore an instruction that faults either.
        ("ignored", None),
        ("siginfo", Some("handled with its address")),
        ("plain", Some("handled")),
    ] {
        let scratch = Scratch::new();
        let mut child = Partner::start(&scratch, CHILD, &["foreign-fault", earlier, "touch"]);
        let _path = child.hear();
        child.say("go on");
        match expected {
            None => check_killed(child.status()),
            Some(line) => {
                child.expect(line);
                assert_eq!(child.status().code(), Some(7), "{earlier}");
            }
        }
    }
    for (earlier, expected) in [
        ("default", None),
        ("ignored", Some("went on")),
        ("plain", Some("handled")),
    ] {
        let scratch = Scratch::new();
        let mut child = Partner::start(&scratch, CHILD, &["foreign-fault", earlier, "raise"]);
        match expected {
            None => check_killed(child.status()),
            Some(line) => child.expect(line),
        }
    }
}

/// Against a panic, a hang, or memory outside the mapping: a file that was cut and has
/// grown again is all zeros and does not fault.
#[test]
fn a_file_that_has_grown_again_does_no_harm() {
    let scratch = Scratch::new();
    let mut child = Partner::start(&scratch, CHILD, &["use-regrown"]);
    println!("{}", child.hear());
    child.expect("done");
    child.finish();
}

/// Against opening a file that is too short for what its header says.
#[test]
fn a_file_that_was_cut_before_cannot_be_opened() {
    let scratch = Scratch::new();
    drop(support::open(&scratch, "cut"));
    cut(&path(&scratch, Kind::Variable, "cut"), Cut::LastPage);
    let error = scratch.options().open("cut").expect_err("it is too short");
    let text = error.to_string();
    assert!(text.contains("robot-ipc rm --force cut"), "{text}");
    let file = File::open(path(&scratch, Kind::Variable, "cut"));
    assert!(
        file.is_ok(),
        "it was removed by somebody who only opened it"
    );
}
