//! One writer that is the only one, among real processes.

use robot_ipc::{ExclusiveWriter, HostVariable, Reason};
use rustix::process::Signal;
use std::time::Duration;
use support::process::Partner;
use support::{Scratch, eventually, pattern, pattern_of, scale};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const SIZE: usize = 4096;

fn open(scratch: &Scratch) -> HostVariable {
    let opened = scratch.options().open("led");
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn lead(variable: &HostVariable) -> ExclusiveWriter {
    let leads = variable.exclusive_writer();
    leads.unwrap_or_else(|error| panic!("{error}"))
}

/// The process that is said to be the only writer.
fn leader(result: robot_ipc::Result<impl Sized>) -> u32 {
    match result.map(drop).expect_err("there is one").reason() {
        Reason::ExclusiveWriter { pid } => *pid,
        other => panic!("{other:?}"),
    }
}

/// Against a dead writer that keeps all others out, one that takes the last value with
/// it, and versions that go back.
#[test]
fn the_dead_are_taken_over_from() {
    let scratch = Scratch::new();
    let variable = open(&scratch);
    let mut latest = variable
        .write(&pattern(SIZE, 1))
        .expect("it is free")
        .version;
    let mut value = vec![0; SIZE];
    for round in 0..scale("ROBOT_IPC_TEST_LEADER_KILLS", 40) {
        let mut child = Partner::start(&scratch, CHILD, &["write-exclusively", "led"]);
        child.expect("leads");
        // Some are killed at once, some in the middle of many writes.
        std::thread::sleep(Duration::from_micros(137 * (round % 16)));
        child.signal(Signal::KILL);
        let before = variable.read_into(&mut value).expect("it is there");
        assert!(pattern_of(&value).is_some(), "a torn value");
        assert!(before.version >= latest, "older than what was there");
        let mut own = None;
        eventually("the dead one's lease is gone", || {
            own = if round % 2 == 0 {
                variable.write(&pattern(SIZE, 2)).ok()
            } else {
                variable
                    .exclusive_writer()
                    .and_then(|mut writer| writer.write(&pattern(SIZE, 2)))
                    .ok()
            };
            own.is_some()
        });
        let own = own.expect("written").version;
        assert!(own > before.version, "a version was given twice");
        latest = own;
    }
}

/// Against taking over from a writer that is only stopped.
#[test]
fn who_is_stopped_keeps_it() {
    let scratch = Scratch::new();
    let variable = open(&scratch);
    // The child may be stopped before its first write.
    variable.write(&pattern(SIZE, 1)).expect("it is free");
    let mut child = Partner::start(&scratch, CHILD, &["write-exclusively", "led"]);
    child.expect("leads");
    child.signal(Signal::STOP);
    for _ in 0..3 {
        assert_eq!(leader(variable.write(b"meanwhile")), child.pid());
        assert_eq!(leader(variable.exclusive_writer()), child.pid());
        assert_eq!(leader(variable.loan()), child.pid());
        assert_eq!(leader(variable.update(|_| vec![1])), child.pid());
        std::thread::sleep(Duration::from_millis(20));
    }
    let error = variable.write(b"meanwhile").expect_err("it lives");
    let text = error.to_string();
    assert!(text.contains(&child.pid().to_string()), "{text}");
    // Reading and borrowing go on.
    let borrow = variable.borrow().expect("readers are not in the way");
    child.signal(Signal::CONT);
    let (seen, mut value) = (borrow.sample().version, vec![0; SIZE]);
    let timeout = Some(Duration::from_secs(20));
    let now = variable.wait_for_update(seen, timeout).expect("it goes on");
    assert!(now > seen);
    borrow.copy_to(0, &mut value);
    assert!(
        pattern_of(&value).is_some(),
        "written while it was borrowed"
    );
}

/// Against two in one process, and a lease that outlives its handle.
#[test]
fn one_at_a_time_in_one_process_too() {
    let scratch = Scratch::new();
    let (variable, me) = (open(&scratch), std::process::id());
    let mut writer = lead(&variable);
    assert_eq!(writer.write(b"first").expect("alone").version, 1);
    assert_eq!(leader(variable.exclusive_writer()), me);
    assert_eq!(leader(open(&scratch).write(b"second")), me);
    assert_eq!(writer.write(b"second").expect("alone").version, 2);
    drop(writer);
    assert_eq!(variable.write(b"third").expect("free again").version, 3);
    let mut again = lead(&variable);
    assert_eq!(again.write(b"fourth").expect("alone").version, 4);
    assert_eq!(variable.sample().expect("it is there").0, b"fourth");
}

/// Against a lease that begins while somebody still fills a slot.
#[test]
fn loans_are_waited_for_and_then_named() {
    let scratch = Scratch::new();
    let options = scratch.options().write_timeout(Duration::from_millis(50));
    let variable = options
        .open("led")
        .unwrap_or_else(|error| panic!("{error}"));
    let loan = variable.loan().expect("nobody leads");
    let refused = variable.exclusive_writer().map(drop);
    match refused.expect_err("a slot is loaned").reason() {
        Reason::NoFreeSlot { holders, .. } => assert_eq!(holders[0].pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    // What has failed keeps nobody out.
    variable.write(b"as before").expect("nobody leads");
    drop(loan);
    lead(&variable).write(b"now").expect("alone");
}

/// Against a value that is written in place of a borrowed one, and an endless wait.
#[test]
fn borrowed_slots_are_passed_over() {
    let scratch = Scratch::new();
    let options = scratch
        .options()
        .slots(4)
        .write_timeout(Duration::from_millis(50));
    let variable = options
        .open("led")
        .unwrap_or_else(|error| panic!("{error}"));
    let mut writer = lead(&variable);
    writer.write(&pattern(SIZE, 1)).expect("alone");
    let first = variable.borrow().expect("two are free");
    writer.write(&pattern(SIZE, 2)).expect("alone");
    let second = variable.borrow().expect("two are free");
    for number in 3..40 {
        writer.write(&pattern(SIZE, number)).expect("two are left");
    }
    let mut value = vec![0; SIZE];
    for (borrow, number) in [(&first, 1), (&second, 2)] {
        borrow.copy_to(0, &mut value);
        assert_eq!(
            pattern_of(&value),
            Some(number),
            "written while it was borrowed"
        );
    }
}

/// Against a clock that is asked in vain, and an age that is made up.
#[test]
fn without_times_there_is_no_age() {
    let scratch = Scratch::new();
    let variable = open(&scratch);
    let mut writer = lead(&variable).timestamps(false);
    assert_eq!(writer.write(b"timeless").expect("alone").time_ns, 0);
    let error = variable.age().expect_err("nobody knows");
    assert!(matches!(error.reason(), Reason::NoAge { .. }), "{error}");
    let mut writer = writer.timestamps(true);
    assert_ne!(writer.write(b"timely").expect("alone").time_ns, 0);
    variable.age().expect("known");
}

/// Against a write that succeeds after the variable was removed.
#[test]
fn a_removed_variable_is_not_written() {
    let scratch = Scratch::new();
    let variable = open(&scratch);
    let mut writer = lead(&variable);
    writer.write(b"last").expect("alone");
    variable.remove(Duration::from_secs(5)).expect("ours");
    let error = writer.write(b"too late").expect_err("removed");
    assert_eq!(*error.reason(), Reason::Retired);
    open(&scratch)
        .write(b"anew")
        .expect("nobody leads the new one");
}

/// Against a child that writes with its parent's lease, or gives it back.
#[test]
fn a_forked_child_leads_nothing() {
    let scratch = Scratch::new();
    let variable = open(&scratch);
    let mut writer = Some(lead(&variable));
    let child = support::system::fork(|| {
        let mut writer = writer.take().expect("a copy of the parent's");
        let error = writer.write(b"child").expect_err("the parent leads");
        assert!(matches!(error.reason(), Reason::Forked { .. }), "{error}");
        drop(writer);
        assert_ne!(leader(variable.write(b"child")), std::process::id());
        0
    });
    assert_eq!(support::system::wait_for(child), 0);
    assert_eq!(leader(variable.write(b"other")), std::process::id());
    let mut writer = writer.expect("only the child has dropped its own");
    writer.write(b"parent").expect("alone");
}
