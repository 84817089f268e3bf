//! Roles that fork.

use crate::{SIZE, number, open};
use robot_ipc::codec::Raw;
use robot_ipc::testing::taken_slots;
use robot_ipc::{Encoding, HostVariable, Reason, VariableOptions};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use support::{pattern, pattern_of, system};

/// Forks, and waits for the child, which has to succeed.
fn fork_and_wait(task: impl FnOnce()) {
    let child = system::fork(|| {
        task();
        0
    });
    assert_eq!(system::wait_for(child), 0, "of the forked child");
}

fn value(variable: &HostVariable) -> u64 {
    let (value, _) = variable.sample().unwrap_or_else(|error| panic!("{error}"));
    pattern_of(&value).expect("a whole value")
}

fn write(variable: &HostVariable, number: u64) {
    variable
        .write(&pattern(SIZE, number))
        .unwrap_or_else(|error| panic!("{error}"));
}

fn participants(variable: &HostVariable) -> Vec<u32> {
    let mut found = variable
        .census()
        .unwrap_or_else(|error| panic!("{error}"))
        .participants;
    found.sort_unstable();
    found
}

/// A child reads and writes with the handle it has inherited, and so does its
/// own child: each is a participant of its own.
pub(crate) fn uses_handle() {
    let variable = open("inherited");
    write(&variable, 1);
    let parent = std::process::id();
    fork_and_wait(|| {
        let child = std::process::id();
        assert_eq!(
            participants(&variable),
            [parent],
            "before the child has written"
        );
        assert_eq!(value(&variable), 1);
        write(&variable, 2);
        let mut both = [parent, child];
        both.sort_unstable();
        assert_eq!(participants(&variable), both);
        fork_and_wait(|| {
            write(&variable, 3);
            assert_eq!(participants(&variable).len(), 3);
        });
        assert_eq!(
            participants(&variable),
            both,
            "after the grandchild has ended"
        );
        let borrow = variable.borrow().expect("a child can borrow");
        assert_eq!(borrow.sample().version, 3);
    });
    assert_eq!(
        participants(&variable),
        [parent],
        "after the child has ended"
    );
    assert_eq!(value(&variable), 3);
    write(&variable, 4);
    assert_eq!(variable.version().ok(), Some(4));
    assert_eq!(taken_slots(&variable), 0);
}

/// A child lets go of guards that are its parent's.
pub(crate) fn drops_guards() {
    let variable = open("guards");
    write(&variable, 1);
    let mut borrow = Some(variable.borrow().expect("a borrow"));
    let mut loan = Some(variable.loan().expect("a loan"));
    let mut other = Some(variable.loan().expect("another loan"));
    fork_and_wait(|| {
        drop(borrow.take());
        drop(loan.take());
        let refused = other.as_mut().map(|loan| loan.write_at(0, b"child"));
        let refused = refused
            .expect("it was there")
            .expect_err("it may be published by now");
        assert!(
            matches!(refused.reason(), Reason::PermissionDenied { .. }),
            "{refused}"
        );
        let refused = other.take().map(|loan| loan.publish(8, Encoding::RAW));
        let refused = refused
            .expect("it was there")
            .expect_err("it is the parent's");
        assert!(
            matches!(refused.reason(), Reason::PermissionDenied { .. }),
            "{refused}"
        );
        assert_eq!(taken_slots(&variable), 3);
        // Many times round all slots, also past the time when one would ask
        // whether the holders of the others are dead.
        let start = std::time::Instant::now();
        let mut count = 2;
        while count < 200 || start.elapsed().as_millis() < 20 {
            write(&variable, count);
            count += 1;
        }
        // The child's own pin on what its parent has pinned no more.
        let mine = variable.borrow().expect("a borrow of its own");
        assert_eq!(taken_slots(&variable), 4);
        drop(mine);
        assert_eq!(taken_slots(&variable), 3);
    });
    let borrow = borrow.expect("the parent's is still there");
    let mut bytes = vec![0; SIZE];
    borrow.copy_to(0, &mut bytes);
    assert_eq!(
        pattern_of(&bytes),
        Some(1),
        "the pinned value was written over"
    );
    assert_eq!(taken_slots(&variable), 3);
    drop(borrow);
    drop(other);
    let mut loan = loan.expect("the parent's is still there");
    loan.write_at(0, &pattern(SIZE, 77)).expect("it fits");
    loan.publish(SIZE, Encoding::RAW)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(value(&variable), 77);
    assert_eq!(taken_slots(&variable), 0);
}

/// `FORKS`: forks while other threads write, read, borrow and open; every child
/// does all of that too.
pub(crate) fn stress(arguments: &[&str]) {
    let forks = number(arguments[0]);
    let bytes = open("bytes");
    let typed = VariableOptions::new()
        .open_typed::<Raw<[u64; 512]>>("typed")
        .expect("it is ours");
    write(&bytes, 0);
    typed.write(&[0; 512]).expect("a first value");
    let stop = AtomicU32::new(0);
    let work = |round: u64| {
        write(&bytes, round);
        value(&bytes);
        typed
            .write(&[round; 512])
            .unwrap_or_else(|error| panic!("{error}"));
        let read = typed.read().unwrap_or_else(|error| panic!("{error}"));
        assert!(read.iter().all(|word| *word == read[0]), "torn");
        match bytes.borrow() {
            Ok(borrow) => {
                let mut copy = vec![0; SIZE];
                borrow.copy_to(0, &mut copy);
                assert!(pattern_of(&copy).is_some(), "torn");
            }
            // Indexes past the first 24 cannot; and others may be faster.
            Err(error) => assert!(
                matches!(
                    error.reason(),
                    Reason::TooManyBorrowers | Reason::Contended { .. }
                ),
                "{error}"
            ),
        }
        let other = VariableOptions::new()
            .max_size(64)
            .open(&format!("other{}", round % 4));
        let other = other.unwrap_or_else(|error| panic!("{error}"));
        other
            .write(b"here")
            .unwrap_or_else(|error| panic!("{error}"));
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0.. {
                    if stop.load(Relaxed) != 0 {
                        break;
                    }
                    work(round);
                }
            });
        }
        // Nearly always in the middle of one thing, so that forks meet it there.
        scope.spawn(|| {
            while stop.load(Relaxed) == 0 {
                typed.read().unwrap_or_else(|error| panic!("{error}"));
            }
        });
        scope.spawn(|| {
            while stop.load(Relaxed) == 0 {
                open("bytes")
                    .census()
                    .unwrap_or_else(|error| panic!("{error}"));
            }
        });
        for _ in 0..forks {
            fork_and_wait(|| {
                for round in 0..3 {
                    work(round);
                }
            });
        }
        stop.store(1, Relaxed);
    });
    write(&bytes, 1);
    assert_eq!(participants(&bytes), [std::process::id()]);
}

/// `NAME`: writes, borrows and loans, forks a child that does nothing, and keeps
/// all of it until it is killed.
pub(crate) fn idle(arguments: &[&str]) {
    let variable = open(arguments[0]);
    write(&variable, 1);
    let _borrow = variable.borrow().expect("a borrow");
    let _loan = variable.loan().expect("a loan");
    println!("child {}", system::fork_idle_child());
    system::wait_for_end_of_input();
}
