//! Who sleeps is woken: by a call, an answer, a free cell, and the end of it all.

use super::*;
use crate::loom_models::fails;

/// A dispatcher sleeps until it is called, and its caller until it is answered.
pub(super) fn sleeping_dispatcher() {
    let segment = Segment::new(1, 0);
    let (caller, dispatcher) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let dispatcher = thread::spawn(move || dispatcher.answer(dispatcher.wait_for_call().unwrap()));
    let call = caller.call(1, false).unwrap();
    assert_eq!(caller.wait(call), End::Answer(1));
    dispatcher.join().unwrap();
    assert!(segment.is_empty());
}

/// Two dispatchers sleep until there is a call, which neither takes.
fn sleeping_dispatchers() {
    let segment = Segment::new(1, 0);
    let party = |index| Party::new(&segment, index);
    let (caller, one, two) = (party(0), party(1), party(2));
    let draft = caller.draft();
    let sleepers = [one, two].map(|sleeper| {
        thread::spawn(move || {
            loop {
                let seen = sleeper.tunnel.listen_for_calls();
                if sleeper.tunnel.has_calls() {
                    break;
                }
                sleeper.sleep_until_called(seen);
            }
        })
    });
    caller.submit(draft, 1, true).unwrap();
    for sleeper in sleepers {
        sleeper.join().unwrap();
    }
}

/// A caller sleeps until there is room, and another one makes it.
pub(super) fn sleeping_caller() {
    let segment = Segment::new(1, 0);
    let party = |index| Party::new(&segment, index);
    let (first, second, dispatcher) = (party(0), party(1), party(2));
    let call = first.call(1, false).unwrap();
    assert!(dispatcher.serve());
    let sleeper = thread::spawn(move || {
        let draft = second.wait_for_room().unwrap();
        second.tunnel.discard(&second, draft);
    });
    assert_eq!(first.look(call), Ok(End::Answer(1)));
    sleeper.join().unwrap();
    assert!(segment.is_empty());
}

/// Two callers sleep until there is room for one.
fn sleeping_callers() {
    let segment = Segment::new(1, 0);
    let party = |index| Party::new(&segment, index);
    let (first, one, two) = (party(0), party(1), party(2));
    let draft = first.draft();
    let sleepers = [one, two].map(|sleeper| {
        thread::spawn(move || {
            let draft = sleeper.wait_for_room().unwrap();
            sleeper.tunnel.discard(&sleeper, draft);
        })
    });
    first.tunnel.discard(&first, draft);
    for sleeper in sleepers {
        sleeper.join().unwrap();
    }
    assert!(segment.is_empty());
}

/// Somebody sleeps when the function goes: a dispatcher, a caller without a
/// cell, or one that waits for an answer.
fn retirement_wakes(sleep: fn(&Party, Call)) {
    let segment = Segment::new(1, 0);
    let party = |index| Party::new(&segment, index);
    let (sleeper, remover) = (party(0), party(1));
    let call = sleeper.call(1, false).unwrap();
    let sleeper = thread::spawn(move || sleep(&sleeper, call));
    remover.tunnel.retire(&remover);
    sleeper.join().unwrap();
    assert!(remover.call(2, false).is_none() && remover.take().is_none());
}

fn retirement_and_a_dispatcher() {
    retirement_wakes(|sleeper, _| {
        sleeper.wait_for_call();
        sleeper.wait_for_call();
    });
}

pub(super) fn retirement_and_a_caller_without_a_cell() {
    retirement_wakes(|sleeper, _| assert!(sleeper.wait_for_room().is_none()));
}

pub(super) fn retirement_and_a_waiting_caller() {
    retirement_wakes(|sleeper, call| {
        assert_eq!(sleeper.wait_unless_retired(call), End::Nothing);
    });
}

/// A caller that looks for the end of the function before it says that it waits,
/// and not after it.
fn retirement_and_a_hasty_caller() {
    retirement_wakes(|sleeper, call| {
        while let Err(seen) = sleeper.look(call) {
            if sleeper.tunnel.is_retired() {
                break;
            }
            if let Some(value) = sleeper.tunnel.arm_for_response(call, seen) {
                sleeper.segment().sleep(sleeper.tunnel.word_of(call), value);
            }
        }
    });
}

/// Against a dispatcher that sleeps through a call, and a caller that sleeps
/// through its answer.
#[test]
fn a_call_and_its_answer_wake() {
    check(sleeping_dispatcher);
}

/// Against a bell that wakes one dispatcher for all of them.
#[test]
fn each_call_wakes_a_dispatcher() {
    check_within(2, sleeping_dispatchers);
}

/// Against a caller that sleeps beside a free cell.
#[test]
fn a_free_cell_wakes_a_caller() {
    check(sleeping_caller);
}

/// Against two that wait for one cell, of which one is forgotten.
#[test]
fn a_free_cell_wakes_every_caller() {
    check_within(2, sleeping_callers);
}

/// Against a dispatcher that goes on sleeping when its function has gone.
#[test]
fn retirement_wakes_a_dispatcher() {
    check(retirement_and_a_dispatcher);
}

/// Against a caller that waits for a cell of a function that has gone.
#[test]
fn retirement_wakes_a_caller_without_a_cell() {
    check(retirement_and_a_caller_without_a_cell);
}

/// Against a caller that waits for an answer of a function that has gone.
#[test]
fn retirement_wakes_a_caller() {
    check(retirement_and_a_waiting_caller);
}

/// Against dropping the second look, which no site in the protocol stands for: it
/// is up to whoever waits.
#[test]
fn who_looks_too_early_sleeps_through_the_end() {
    fails(|| check(retirement_and_a_hasty_caller));
}
