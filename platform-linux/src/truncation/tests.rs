//! The list of mappings, and sleepers whose word is gone.

use super::mapping::{forget_visits, replace, visits};
use super::survive_truncation;
use crate::{HostVariable, Reason, VariableOptions, futex, testing};
use robot_ipc_core::variable::Memory;
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

fn options() -> VariableOptions {
    survive_truncation().unwrap();
    VariableOptions::new()
        .max_size(64)
        .slots(2)
        .place(testing::scratch_place())
}

fn cut(variable: &HostVariable) {
    std::fs::File::create(variable.subject().path()).unwrap();
}

fn is_told<T>(result: crate::Result<T>) -> bool {
    matches!(result.err().unwrap().reason(), Reason::Truncated { .. })
}

fn remove(variable: &HostVariable) {
    variable.remove(Duration::from_secs(5)).unwrap();
}

/// Against a wait that spins or sleeps on a word that is gone: the system tells a sleeper
/// in another way than one who looks.
#[test]
fn who_was_about_to_sleep_learns_of_it() {
    let variable = options().open("v").unwrap();
    let core = variable.segment().object();
    let word = core.memory().latest();
    let seen = word.load(Relaxed);
    cut(&variable);
    assert!(!variable.segment().is_lost(), "nobody has touched it");
    let woken = futex::wait(word, seen, Duration::from_secs(1));
    assert_eq!(woken, Err(Errno::FAULT));
    assert!(variable.segment().is_lost());
    assert!(is_told(variable.version()));
    remove(&variable);
}

/// Against a list of mappings that is full, forgets some, or grows without end.
#[test]
fn there_is_room_for_any_number_of_mappings() {
    let options = options();
    let mut entries = Vec::new();
    for _ in 0..3 {
        let open = |number| options.open(&format!("v{number}")).unwrap();
        let variables: Vec<HostVariable> = (0..300).map(open).collect();
        for variable in [&variables[0], &variables[150], &variables[299]] {
            cut(variable);
            assert!(is_told(variable.version()));
        }
        assert_eq!(variables[1].version().unwrap(), 0);
        variables.iter().for_each(remove);
        drop(variables);
        entries.push(super::mapping::entry_count());
    }
    // Other tests may have a few.
    assert!(
        entries[0] >= 300 && entries[2] <= entries[0] + 64,
        "{entries:?}"
    );
}

/// Against a handler that maps over what was unmapped meanwhile, and against a forked
/// child that waits for visitors that it does not have.
#[test]
fn who_unmaps_waits_for_visitors_and_not_for_those_of_the_parent() {
    let variable = options().open("v").unwrap();
    remove(&variable);
    // Of all mappings of this process, and this one is among them.
    let visits_now: Vec<_> = visits().collect();
    let is_unmapped = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(variable);
            is_unmapped.store(1, Relaxed);
        });
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(is_unmapped.load(Relaxed), 0, "it did not wait");
        // As a child does, which has no such threads; or else this would never end.
        forget_visits();
    });
    assert_eq!(is_unmapped.load(Relaxed), 1);
    drop(visits_now);
    let next = options().open("next").unwrap();
    assert!(!next.segment().is_lost(), "counted below zero");
    remove(&next);
}

/// Against a handler that takes what is nobody's, or a neighbour's, for a segment.
#[test]
fn only_what_lies_in_a_segment_is_replaced() {
    let memory = [0u8; 4096];
    assert!(!replace(memory.as_ptr().addr()));
    assert!(!replace(0));
    assert!(!replace(usize::MAX));
}
