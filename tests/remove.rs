//! Variables that are removed while they are used.

use robot_ipc::codec::Encoding;
use robot_ipc::{HostVariable, Reason, Result};
use std::time::{Duration, Instant};
use support::process::{Partner, State};
use support::segment_file::{SegmentFile, WAITING_BIT};
use support::{Scratch, eventually, open};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const LONG: Duration = Duration::from_secs(30);

fn reason<T: std::fmt::Debug>(result: Result<T>) -> Reason {
    result.expect_err("it should have failed").reason().clone()
}

/// Everything a handle does on a removed variable says so.
fn check_retired(variable: &HostVariable) {
    let mut buffer = [0; 8];
    assert_eq!(reason(variable.write(b"late")), Reason::Retired);
    assert_eq!(
        reason(variable.write_if(1, b"late", Encoding::RAW)),
        Reason::Retired
    );
    assert_eq!(
        reason(variable.update(|_| b"late".to_vec())),
        Reason::Retired
    );
    assert_eq!(reason(variable.read_into(&mut buffer)), Reason::Retired);
    assert_eq!(reason(variable.sample()), Reason::Retired);
    assert_eq!(reason(variable.version()), Reason::Retired);
    assert_eq!(reason(variable.latest()), Reason::Retired);
    assert_eq!(reason(variable.age()), Reason::Retired);
    assert_eq!(reason(variable.borrow().map(drop)), Reason::Retired);
    assert_eq!(reason(variable.loan().map(drop)), Reason::Retired);
    assert_eq!(reason(variable.wait_for_update(1, None)), Reason::Retired);
    assert_eq!(
        reason(variable.wait_for_update(1, Some(Duration::ZERO))),
        Reason::Retired
    );
}

/// Against a write that reports success into a variable that nobody can find,
/// and against a name that stays blocked.
#[test]
fn handles_on_a_removed_variable_fail_and_its_name_is_free() {
    let scratch = Scratch::new();
    let old = open(&scratch, "v");
    let second = old.clone();
    let read_only = scratch
        .options()
        .read_only(true)
        .open("v")
        .expect("it exists");
    let mut writer = Partner::start(
        &scratch,
        CHILD,
        &["stop-in-write", "v", "Stamped", "stop", "1"],
    );
    writer.expect("ready");
    let borrow = old.borrow().expect("a borrow").into_owned();
    let mut loan = old.loan().expect("a loan");
    loan.write_at(0, b"late").expect("it fits");
    writer.say("go");
    writer.wait_until_stopped();

    old.remove(LONG).unwrap_or_else(|error| panic!("{error}"));
    assert!(!scratch.file("v").exists());
    check_retired(&second);
    assert_eq!(reason(read_only.sample()), Reason::Retired);
    assert_eq!(reason(read_only.wait_for_update(1, None)), Reason::Retired);
    assert_eq!(reason(loan.publish(4, Encoding::RAW)), Reason::Retired);
    // What was borrowed can be read until it is given back.
    let mut value = vec![0; borrow.size()];
    borrow.copy_to(0, &mut value);
    assert_eq!(support::pattern_of(&value), Some(1));
    // A writer that was in the middle of it does not publish any more.
    writer.signal(rustix::process::Signal::CONT);
    let said = writer.hear();
    assert!(
        said.starts_with("failed") && said.contains("reason: Retired"),
        "{said}"
    );
    writer.finish();

    let new = scratch
        .options()
        .max_size(16)
        .slots(3)
        .open("v")
        .expect("even of another size");
    assert_eq!(reason(new.sample()), Reason::NeverWritten);
    assert_eq!(new.write(b"new").expect("a slot").version, 1);
    check_retired(&old);
    drop((old, second, borrow, read_only));
    assert_eq!(new.sample().expect("a value").0, b"new");
    let again = reason(
        scratch
            .options()
            .max_size(16)
            .open("missing")
            .and_then(|gone| {
                gone.remove(LONG)?;
                gone.remove(LONG)
            }),
    );
    assert_eq!(again, Reason::Retired);
}

fn waiter_ends(
    scratch: &Scratch,
    read_only: bool,
    end: impl FnOnce(&HostVariable),
) -> (Reason, Duration) {
    let variable = open(scratch, "v");
    variable.write(b"value").expect("a slot");
    let waiting = scratch
        .options()
        .read_only(read_only)
        .open("v")
        .expect("it exists");
    let file = SegmentFile::open(scratch, "v", 4096);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let woken = waiting.wait_for_update(1, Some(LONG));
            (reason(woken), Instant::now())
        });
        if read_only {
            // It leaves no trace: only give it time.
            std::thread::sleep(Duration::from_millis(20));
        } else {
            eventually("somebody waits", || file.latest() & WAITING_BIT != 0);
        }
        let start = Instant::now();
        end(&variable);
        let (reason, end) = waiter.join().expect("a waiter that does not panic");
        (reason, end.saturating_duration_since(start))
    })
}

/// Against waiting for ever for what nobody can write any more.
#[test]
fn waiters_wake_when_a_variable_is_removed() {
    for read_only in [false, true] {
        let scratch = Scratch::new();
        let (reason, late) = waiter_ends(&scratch, read_only, |variable| {
            variable
                .remove(LONG)
                .unwrap_or_else(|error| panic!("{error}"));
        });
        assert_eq!(reason, Reason::Retired);
        assert!(late < Duration::from_secs(5), "{late:?}");
    }
}

/// Against waiting for ever in a file that `rm` has taken away.
#[test]
fn waiters_notice_that_the_file_was_removed() {
    for read_only in [false, true] {
        let scratch = Scratch::new();
        let (reason, late) = waiter_ends(&scratch, read_only, |_| {
            std::fs::remove_file(scratch.file("v")).expect("ours");
        });
        assert_eq!(reason, Reason::NameRemoved);
        assert!(late < Duration::from_secs(10), "{late:?}");
    }
}

/// Against a writer that nobody can ever read, because its file has no name.
#[test]
fn slow_paths_notice_that_the_file_was_removed_or_replaced() {
    for replaced in [false, true] {
        let scratch = Scratch::new();
        let old = open(&scratch, "v");
        std::fs::remove_file(scratch.file("v")).expect("ours");
        let new = replaced.then(|| open(&scratch, "v"));
        // Its first write, borrow and so on register it.
        assert_eq!(reason(old.write(b"lost")), Reason::NameRemoved);
        assert_eq!(reason(old.borrow().map(drop)), Reason::NameRemoved);
        assert_eq!(reason(old.loan().map(drop)), Reason::NameRemoved);
        assert_eq!(reason(old.census()), Reason::NameRemoved);
        assert_eq!(reason(old.remove(LONG)), Reason::NameRemoved);
        assert_eq!(reason(old.sample()), Reason::NeverWritten);
        if let Some(new) = new {
            assert_eq!(new.write(b"seen").expect("a slot").version, 1);
            assert_eq!(open(&scratch, "v").sample().expect("a value").0, b"seen");
            assert!(scratch.file("v").exists(), "a successor was removed");
        } else {
            assert!(!scratch.file("v").exists());
        }
    }
}

/// Against values from before the machine was started, on a folder that survives.
#[test]
fn a_variable_from_before_the_last_boot_is_replaced() {
    let scratch = Scratch::new();
    let old = open(&scratch, "v");
    old.write(b"old").expect("a slot");
    drop(old);
    SegmentFile::open(&scratch, "v", 4096).change_header(|header| header.boot_id = [9; 16]);
    let read_only = scratch.options().read_only(true).open("v").map(drop);
    assert_eq!(reason(read_only), Reason::NotFound);
    assert!(scratch.file("v").exists(), "a reader has removed it");
    let adopted = reason(scratch.options().adopt_size().open("v").map(drop));
    assert_eq!(adopted, Reason::NotFound, "removed, and not made again");
    let new = open(&scratch, "v");
    assert_eq!(reason(new.sample()), Reason::NeverWritten);
    new.write(b"new").expect("a slot");
    assert_eq!(open(&scratch, "v").sample().expect("a value").0, b"new");

    // Not known: not checked.
    drop(new);
    SegmentFile::open(&scratch, "v", 4096).change_header(|header| header.boot_id = [0; 16]);
    assert_eq!(open(&scratch, "v").sample().expect("a value").0, b"new");
}

/// Against a reader that can change what it was only to read.
#[test]
fn a_read_only_handle_changes_nothing() {
    let scratch = Scratch::new();
    let variable = open(&scratch, "v");
    variable.write(b"value").expect("a slot");
    let read_only = scratch
        .options()
        .read_only(true)
        .open("v")
        .expect("it exists");
    assert!(read_only.is_read_only() && !variable.is_read_only());
    let before = std::fs::read(scratch.file("v")).expect("its file");
    for refused in [
        reason(read_only.write(b"other")),
        reason(read_only.write_if(1, b"other", Encoding::RAW)),
        reason(read_only.update(|_| b"other".to_vec())),
        reason(read_only.borrow().map(drop)),
        reason(read_only.loan().map(drop)),
        reason(read_only.remove(LONG)),
    ] {
        assert!(matches!(refused, Reason::ReadOnly { .. }), "{refused}");
    }
    assert_eq!(read_only.sample().expect("a value").0, b"value");
    assert!(matches!(
        reason(read_only.wait_for_update(1, Some(Duration::from_millis(5)))),
        Reason::TimedOut { .. }
    ));
    assert!(
        std::fs::read(scratch.file("v")).expect("its file") == before,
        "it was changed"
    );
    assert_eq!(
        variable.census().expect("it exists").participants,
        [std::process::id()]
    );

    // It waits by looking.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| read_only.wait_for_update(1, Some(LONG)));
        std::thread::sleep(Duration::from_millis(5));
        variable.write(b"other").expect("a slot");
        assert_eq!(
            waiter.join().expect("a waiter that does not panic").ok(),
            Some(2)
        );
    });
}

/// Against removing what somebody still uses.
#[test]
// A process that another test of this program is just starting has copies of our
// descriptors until it executes: so what is not in use may still seem so for a
// moment, but never the other way round.
fn only_what_nobody_has_open_is_removed_as_unused() {
    let scratch = Scratch::new();
    let unused = || scratch.options().remove_if_unused("v");
    assert_eq!(reason(unused()), Reason::NotFound);

    let mine = open(&scratch, "v");
    assert!(!unused().expect("it exists"), "this process has it open");
    drop(mine);
    eventually("nobody has it open", || unused().expect("it exists"));
    assert!(!scratch.file("v").exists());

    drop(open(&scratch, "v"));
    let read_only = scratch
        .options()
        .read_only(true)
        .open("v")
        .expect("it exists");
    assert!(!unused().expect("it exists"), "a reader has it open");
    drop(read_only);

    let mut other = Partner::start(&scratch, CHILD, &["write-when-told", "v"]);
    other.expect("ready");
    assert!(!unused().expect("it exists"), "another process has it open");
    other.finish();

    let mut parent = Partner::start(&scratch, CHILD, &["fork-and-idle", "v"]);
    let child = parent.number("child");
    assert_eq!(parent.kill(), State::Killed);
    assert!(!unused().expect("it exists"), "a forked child has it open");
    assert_eq!(open(&scratch, "v").version().ok(), Some(1));
    parent.end_input();
    eventually("the forked child has ended", || {
        unused().expect("it exists")
    });
    assert!(!scratch.file("v").exists(), "{child}");
    assert_eq!(open(&scratch, "v").version().ok(), Some(0));
}

/// Against blaming the dead for a full variable, when nobody can ask any more who
/// is dead, since the file was removed.
#[test]
fn a_write_without_a_slot_says_that_the_name_was_removed() {
    let scratch = Scratch::new();
    let options = scratch.options().slots(2);
    let options = options.write_timeout(std::time::Duration::from_millis(20));
    let variable = options.open("v").expect("it can be made");
    variable.write(b"mine").expect("a slot");
    let mut victim = Partner::start(
        &scratch,
        CHILD,
        &["stop-in-write", "v", "Busy", "kill", "1"],
    );
    victim.expect("ready");
    std::fs::remove_file(scratch.file("v")).expect("it is there");
    victim.say("go");
    victim.wait_until_killed();
    let refused = variable.write(b"more").expect_err("no slot");
    assert_eq!(*refused.reason(), Reason::NameRemoved, "{refused}");
}

/// Against a reader that is told there is no such variable, though its successor
/// exists.
#[test]
fn a_reader_that_is_overtaken_by_a_removal_finds_the_successor() {
    let scratch = Scratch::new();
    let old = open(&scratch, "v");
    old.write(b"old").expect("a slot");
    let arguments = [
        "stop-in-slow-path",
        "v",
        "open: checked",
        "stop",
        "read-only",
    ];
    let mut opener = Partner::start(&scratch, CHILD, &arguments);
    opener.wait_until_stopped();
    old.remove(LONG).unwrap_or_else(|error| panic!("{error}"));
    let new = open(&scratch, "v");
    for value in [b"1", b"2", b"3"] {
        new.write(value).expect("a slot");
    }
    opener.signal(rustix::process::Signal::CONT);
    assert_eq!(opener.number("read"), 3);
    opener.finish();
}

/// Against an opener that ends up in a variable which was removed while it was
/// looking at it.
#[test]
fn an_opener_that_is_overtaken_by_a_removal_finds_the_successor() {
    for step in ["open: checked", "open: mapped"] {
        let scratch = Scratch::new();
        let old = open(&scratch, "v");
        old.write(b"old").expect("a slot");
        let arguments = ["stop-in-slow-path", "v", step, "stop"];
        let mut opener = Partner::start(&scratch, CHILD, &arguments);
        opener.wait_until_stopped();
        let mut killed = Partner::start(&scratch, CHILD, &["stop-in-slow-path", "v", step, "kill"]);
        killed.wait_until_killed();
        // It is seen as soon as it may have mapped it, and not before.
        drop(old);
        let unused = || scratch.options().remove_if_unused("v").expect("it exists");
        if step == "open: checked" {
            eventually("nobody has it open", unused);
        } else {
            assert!(!unused());
            open(&scratch, "v")
                .remove(LONG)
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let new = open(&scratch, "v");
        new.write(b"new").expect("a slot");
        opener.signal(rustix::process::Signal::CONT);
        assert_eq!(opener.number("wrote"), 2, "{step}");
        opener.finish();
        assert_eq!(new.version().ok(), Some(2));
    }
}

/// Against a fatal signal in who has options to read only, and removes with them.
#[test]
fn read_only_options_remove_nothing() {
    let scratch = Scratch::new();
    drop(open(&scratch, "v"));
    let removed = scratch.options().read_only(true).remove_if_unused("v");
    let operation = "remove it";
    assert_eq!(reason(removed), Reason::ReadOnly { operation });
    assert!(scratch.file("v").exists(), "it was removed");
    let removed = scratch.options().remove_if_unused("v");
    assert!(removed.expect("it may be removed"));
}
