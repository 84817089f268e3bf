//! Names, sizes, counts and counters at their limits, and past them.

use robot_ipc::{Encoding, HostVariable, Place, Reason};
use robot_ipc_core::name::NameError;
use robot_ipc_core::variable::VERSION_MODULUS;
use std::path::Path;
use std::time::Duration;
use support::process::Partner;
use support::segment_file::SegmentFile;
use support::{Scratch, open, pattern, pattern_of};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn round_trip(variable: &HostVariable, value: &[u8]) {
    variable
        .write(value)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        variable
            .sample()
            .unwrap_or_else(|error| panic!("{error}"))
            .0
            == value
    );
}

/// Against a name that passes the check and then fails, or the other way round.
#[test]
fn names_at_and_past_their_limits() {
    let scratch = Scratch::new();
    for name in [
        "n",
        "a.b",
        "größe",
        "with space",
        "tab\there",
        &"n".repeat(200),
        &"ß".repeat(100),
    ] {
        let variable = scratch.options().max_size(8).open(name).expect(name);
        round_trip(&variable, b"value");
        assert_eq!(variable.subject().name(), name);
    }
    let refused = |name: &[u8], expected: NameError| match scratch
        .options()
        .open_bytes(name)
        .expect_err("a bad name")
        .reason()
    {
        Reason::BadName {
            what: "variable",
            reason,
            ..
        } => assert_eq!(*reason, expected),
        other => panic!("{other:?}"),
    };
    refused(b"", NameError::Empty);
    refused(
        &[b'n'; 201],
        NameError::TooLong {
            size: 201,
            limit: 200,
        },
    );
    refused(
        "ß".repeat(101).as_bytes(),
        NameError::TooLong {
            size: 202,
            limit: 200,
        },
    );
    refused(b"a/b", NameError::Slash);
    refused(b"a\0b", NameError::Nul);
    refused(b".hidden", NameError::LeadingDot);
    refused(b"..", NameError::LeadingDot);
    refused(b"\xff\xfe", NameError::NotUtf8);
}

/// Against namespaces that meet, or do not fit their file names.
#[test]
fn namespaces_at_and_past_their_limits() {
    let folder = support::folder::Folder::new();
    let place = |namespace: &str| Place::new(folder.path(), namespace.as_bytes());
    let longest = "n".repeat(32);
    let dotted = format!("{}.x", "n".repeat(30));
    for namespace in ["n", "n.variable", &longest, &dotted] {
        let options =
            robot_ipc::VariableOptions::new().place(place(namespace).expect("a good one"));
        let variable = options.max_size(8).open(&"v".repeat(200)).expect(namespace);
        assert_eq!(
            variable.version().ok(),
            Some(0),
            "it meets another namespace"
        );
        variable.write(b"value").expect("room");
    }
    for namespace in ["", &"n".repeat(33), "a/b", ".a", "a\0"] {
        let refused = place(namespace).expect_err("a bad namespace");
        assert!(
            matches!(refused.reason(), Reason::BadName { .. }),
            "{refused}"
        );
    }
    assert!(Place::new(Path::new("relative"), b"n").is_err());
}

/// Against sizes that are cut, rounded or multiplied past the end of a number.
#[test]
fn sizes_at_and_past_their_limits() {
    let scratch = Scratch::new();
    for size in [1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 4095, 4096, 4097] {
        let variable = scratch
            .options()
            .max_size(size)
            .open(&format!("s{size}"))
            .expect("a size");
        let size = size as usize;
        let value: Vec<u8> = (0..=size).map(|index| index as u8 ^ 0x5A).collect();
        round_trip(&variable, &value[..size]);
        round_trip(&variable, &value[..size - 1]);
        round_trip(&variable, b"");
        round_trip(&variable, &value[..size]);
        let refused = variable
            .write(&value[..=size])
            .expect_err("one byte too many");
        let expected = Reason::TooLarge {
            size: size as u64 + 1,
            max_size: size as u32,
        };
        assert_eq!(*refused.reason(), expected);
        let refused = variable
            .update(|_| value[..=size].to_vec())
            .expect_err("one byte too many");
        assert_eq!(*refused.reason(), expected);
        assert!(
            variable.sample().expect("the old value").0 == value[..size],
            "it has to stay"
        );

        if size > 1 {
            let mut buffer = vec![0; size - 1];
            let refused = variable
                .read_into(&mut buffer)
                .expect_err("one byte too few");
            let expected = Reason::BufferTooSmall {
                size: size - 1,
                needed: size as u32,
            };
            assert_eq!(*refused.reason(), expected);
        }
        let mut loan = variable.loan().expect("a slot");
        assert_eq!(loan.capacity(), size);
        assert!(loan.write_at(size, b"").is_ok() && loan.write_at(0, &value[..size]).is_ok());
        assert!(
            loan.write_at(1, &value[..size]).is_err() && loan.write_at(usize::MAX, b"x").is_err()
        );
        assert!(loan.publish(size + 1, Encoding::RAW).is_err());
        assert_eq!(robot_ipc::testing::taken_slots(&variable), 0);
        let mut loan = variable.loan().expect("a slot");
        loan.write_at(0, &value[..size]).expect("it fits");
        loan.publish(size, Encoding::RAW).expect("it fits");
        assert!(variable.sample().expect("a value").0 == value[..size]);
    }
    for size in [0, (1 << 30) + 1, 1 << 32, (1 << 32) + 4096, u64::MAX] {
        let refused = scratch
            .options()
            .max_size(size)
            .open("bad")
            .expect_err("no such size");
        assert!(
            matches!(
                refused.reason(),
                Reason::BadOption {
                    option: "max_size",
                    ..
                }
            ),
            "{refused}"
        );
    }
    let large = scratch
        .options()
        .max_size(16 << 20)
        .slots(2)
        .open("large")
        .expect("32 MiB");
    round_trip(&large, &pattern(16 << 20, 5));
}

/// Against off-by-ones in the number of slots.
#[test]
fn slots_at_and_past_their_limits() {
    let scratch = Scratch::new();
    for slots in [2, 3, 62] {
        let options = scratch.options().max_size(64).slots(slots);
        let variable = options
            .open(&format!("s{slots}"))
            .expect("a number of slots");
        for number in 1..200 {
            round_trip(&variable, &pattern(64, number));
        }
        // As many values as can be borrowed, with two slots left to write.
        let mut borrows = Vec::new();
        for number in 0..slots - 2 {
            variable
                .write(&pattern(64, u64::from(number)))
                .expect("a slot");
            borrows.push(
                variable
                    .borrow()
                    .unwrap_or_else(|error| panic!("{slots}: {error}")),
            );
        }
        variable.write(&pattern(64, 99)).expect("a slot");
        let refused = variable
            .borrow()
            .map(drop)
            .expect_err("two slots have to stay");
        let Reason::CannotBorrow {
            slots: told,
            passing: false,
            ..
        } = refused.reason()
        else {
            panic!("{refused}")
        };
        assert_eq!(*told, slots);
        let quick = options.write_timeout(Duration::from_millis(5));
        let quick = quick.open(&format!("s{slots}")).expect("it exists");
        let refused = quick
            .loan()
            .map(drop)
            .expect_err("a loan takes a slot, too");
        assert!(
            matches!(
                refused.reason(),
                Reason::CannotBorrow { .. } | Reason::NoFreeSlot { .. }
            ),
            "{refused}"
        );
        for number in 100..200 {
            round_trip(&variable, &pattern(64, number));
        }
        for (number, borrow) in borrows.iter().enumerate() {
            let mut value = [0; 64];
            borrow.copy_to(0, &mut value);
            assert_eq!(pattern_of(&value), Some(number as u64), "written over");
        }
        drop(borrows);
        // As many loans as there may be.
        let loans: Vec<_> = std::iter::from_fn(|| quick.loan().ok()).take(100).collect();
        assert_eq!(
            loans.len() as u32,
            slots.saturating_sub(2),
            "of {slots} slots"
        );
        round_trip(&variable, &pattern(64, 7));
        drop(loans);
        assert_eq!(robot_ipc::testing::taken_slots(&variable), 0);
    }
    for slots in [0, 1, 63, 64, u32::MAX] {
        let refused = scratch
            .options()
            .slots(slots)
            .open("bad")
            .expect_err("no such number");
        assert!(
            matches!(
                refused.reason(),
                Reason::BadOption {
                    option: "slots",
                    ..
                }
            ),
            "{refused}"
        );
        let refused = scratch
            .options()
            .adopt_size()
            .slots(slots)
            .open("bad")
            .expect_err("the same");
        assert!(
            matches!(
                refused.reason(),
                Reason::BadOption {
                    option: "slots",
                    ..
                }
            ),
            "{refused}"
        );
    }
}

/// The process ids of those who said `word`, of `count` who said something.
fn heard(partner: &mut Partner, count: usize, word: &str) -> Vec<i32> {
    let lines: Vec<String> = (0..count).map(|_| partner.hear()).collect();
    let pids = lines
        .iter()
        .filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
    pids.collect()
}

/// Against the 256th process that takes the place of another, and against places
/// that do not come back.
#[test]
fn participants_at_and_past_their_limit() {
    let scratch = Scratch::new();
    let variable = open(&scratch, "crowded");
    let mut crowd = Partner::start(
        &scratch,
        CHILD,
        &["participants", "crowded", "255", "write"],
    );
    let pids = heard(&mut crowd, 255, "ok ");
    assert_eq!(pids.len(), 255);
    assert_eq!(
        variable.census().expect("it exists").participants.len(),
        255
    );
    for _ in 0..2 {
        let refused = variable.write(b"one more").expect_err("there is no room");
        assert_eq!(*refused.reason(), Reason::TooManyParticipants);
        let refused = variable.borrow().map(drop).expect_err("there is no room");
        assert_eq!(*refused.reason(), Reason::TooManyParticipants);
    }
    assert_eq!(variable.sample().expect("anybody can read").0, b"here");
    // The last one dies, and then one in the middle.
    for victim in [254, 100] {
        let pid = rustix::process::Pid::from_raw(pids[victim]).expect("a process");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
        support::eventually("the place of a dead process is free", || {
            variable.write(b"there is room").is_ok()
        });
    }
    crowd.finish();
}

/// Against a 25th process whose pin is another's bit.
#[test]
fn borrowers_at_and_past_their_limit() {
    let scratch = Scratch::new();
    let variable = open(&scratch, "crowded");
    variable.write(b"value").expect("a value");
    // This process is one of the first 24.
    let _mine = variable.borrow().expect("the first");
    let mut crowd = Partner::start(
        &scratch,
        CHILD,
        &["participants", "crowded", "24", "borrow"],
    );
    let lines: Vec<String> = (0..24).map(|_| crowd.hear()).collect();
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!(
        (count("ok"), count("TooManyBorrowers")),
        (23, 1),
        "{lines:?}"
    );
    assert_eq!(
        robot_ipc::testing::taken_slots(&variable),
        1,
        "all pin the same slot"
    );
    variable.write(b"other").expect("the rest is free");
    let text = Reason::TooManyBorrowers.to_string();
    assert!(text.contains("24"), "{text}");
    crowd.finish();
}

/// Against a counter that goes wrong at its wrap.
#[test]
fn versions_go_on_over_every_wrap() {
    for limit in [1 << 24, 1 << 25, 1 << 31, 1 << 32, 1 << 55, VERSION_MODULUS] {
        let scratch = Scratch::new();
        let variable = open(&scratch, "old");
        variable.write(&pattern(64, 0)).expect("a value");
        SegmentFile::open(&scratch, "old", 4096).set_version(limit - 20);
        let read_only = scratch
            .options()
            .read_only(true)
            .open("old")
            .expect("it exists");
        assert_eq!(variable.version().ok(), Some(limit - 20));
        for step in 1..60 {
            let before = (limit - 21 + step) % VERSION_MODULUS;
            let version = (limit - 20 + step) % VERSION_MODULUS;
            let value = pattern(64, step);
            let written = match step % 3 {
                0 => variable.write(&value),
                1 => variable.write_if(before, &value, Encoding::RAW),
                _ => variable.update(|_| value.clone()),
            };
            let written = written.unwrap_or_else(|error| panic!("{version:#x}: {error}"));
            assert_eq!(written.version, version);
            assert_eq!(variable.version().ok(), Some(version));
            assert_eq!(
                variable.wait_for_update(before, Some(Duration::ZERO)).ok(),
                Some(version)
            );
            let wrong = variable
                .write_if(before, &value, Encoding::RAW)
                .expect_err("too late");
            assert_eq!(*wrong.reason(), Reason::Changed { version });
            let borrow = variable.borrow().expect("a borrow");
            assert_eq!(borrow.sample().version, version);
            drop(borrow);
            let (read, sample) = read_only.sample().expect("a value");
            assert_eq!((pattern_of(&read), sample.version), (Some(step), version));
        }
    }
}
