//! What recovery takes back and counts, and what is told of a variable.

use super::*;

/// Against a recovery that says it did nothing, or that does something again.
#[test]
fn recovery_counts_the_slots_it_frees() {
    let memory = Static::new();
    let variable = memory.variable();
    let system = System::default();
    let dead = participant(5);
    let other = word::claimed_by(participant(6).claim());
    let owner = |slot| variable.memory().owner(slot);
    owner(1).store(word::claimed_by(dead.claim()), Relaxed);
    owner(2).store(other | dead.pin_bit().unwrap(), Relaxed);
    owner(3).store(other, Relaxed);
    assert_eq!(variable.recover(&system, dead, &()), 2);
    let left = [0, 1, 2, 3].map(|slot| owner(slot).load(Relaxed));
    assert_eq!(left, [0, 0, other, other], "what others hold stays");
    assert_eq!(variable.recover(&system, dead, &()), 0);
}

/// Against a writer that has taken a slot back and does not use it.
#[test]
fn a_slot_that_was_taken_back_is_used_at_once() {
    let memory = StaticVariable::<3, 64>::new();
    let variable = memory.variable();
    let system = System::default();
    let (me, suspects) = (participant(0), Suspects::new());
    write(&variable, b"value").unwrap();
    system.dead.borrow_mut().insert(5);
    for slot in 1..3 {
        let claim = word::claimed_by(participant(5).claim());
        variable.memory().owner(slot).store(claim, Relaxed);
    }
    // Who has only just been seen is not asked for.
    let claim = || variable.claim(&system, me, &suspects);
    assert_eq!(claim().or_else(|_| claim()).unwrap().slot(), 1);
}

/// Against a time that is cut to 32 bits, which is 4 s, and a variable that seems to be
/// removed or not.
#[test]
fn times_and_retirement_are_told_as_they_are() {
    let memory = Static::new();
    let variable = memory.variable();
    let system = System::default();
    *system.now_ns.borrow_mut() = 5 << 32 | 3;
    let sample = variable
        .write(
            &system,
            participant(0),
            &Suspects::new(),
            b"x",
            Encoding::RAW,
        )
        .unwrap();
    assert_eq!(sample.time_ns, 5 << 32 | 1_000_003);
    assert_eq!(variable.sample().unwrap(), sample);
    assert!(!variable.is_retired());
    variable.retire(&system);
    assert!(variable.is_retired());
}
