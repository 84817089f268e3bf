//! How many instructions an operation takes: a budget for each.
//!
//! Unlike times, counts are the same in every run, so one instruction too many shows. They
//! are those of one kind of processor and of this compiler; a budget that is passed is a
//! question, not a fault by itself. Counted by valgrind, which needs a library that asks
//! libc for the time, optimised:
//!
//!     RUSTFLAGS=--cfg=rustix_use_libc CARGO_TARGET_DIR=target/valgrind \
//!         cargo test --release -p robot-ipc-tests --test instructions

#![cfg(all(rustix_use_libc, target_arch = "x86_64", not(debug_assertions)))]

use std::process::Command;
use support::Scratch;

const CHILD: &str = env!("CARGO_BIN_EXE_child");
/// Of values of 64 bytes, with the loop around each; a tenth more than what was counted.
const BUDGETS: [(&str, u64); 6] = [
    ("read", 175),
    ("write", 310),
    ("exclusive-write", 205),
    ("exclusive-write-without-time", 182),
    ("borrow", 295),
    ("loan", 355),
];

/// How many instructions a process executes that repeats `operation` so often.
fn count(scratch: &Scratch, operation: &str, times: u32) -> u64 {
    let child = scratch.child(CHILD, "repeat");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(CHILD)
        .args(child.get_args())
        .args([operation, &times.to_string()])
        .envs(
            child
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .output()
        .expect("valgrind is installed");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let collected = text.split("Collected : ").nth(1).expect("a count");
    let digits = collected.split_whitespace().next().expect("a count");
    digits.parse().expect("a number")
}

/// Against an operation that grows without anybody noticing.
#[test]
fn no_operation_takes_more_than_its_budget() {
    let scratch = Scratch::new();
    let mut too_many = Vec::new();
    for (operation, budget) in BUDGETS {
        let [few, many] = [1000, 11_000].map(|times| count(&scratch, operation, times));
        let each = (many - few) / 10_000;
        println!("{operation}: {each} instructions, budget {budget}");
        if each > budget {
            too_many.push(operation);
        }
    }
    assert!(too_many.is_empty(), "over budget: {too_many:?}");
}
