//! Among the living: whose a cell is, what is in it, and which call comes first.

use super::*;

/// Two callers look for a cell, of which one was about to become free.
fn two_drafts() {
    let segment = Segment::new(2, 0);
    let (one, two) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let other = thread::spawn(move || one.call(1, false).unwrap());
    let call = two.call(2, false).unwrap();
    let calls = [other.join().unwrap(), call];
    assert_ne!(calls[0], calls[1]);
    let (one, two, dispatcher) = (Party::new(&segment, 0), two, Party::new(&segment, 2));
    assert!(dispatcher.serve() && dispatcher.serve());
    assert_eq!(one.look(calls[0]), Ok(End::Answer(1)));
    assert_eq!(two.look(calls[1]), Ok(End::Answer(2)));
    assert!(segment.is_empty());
}

/// Two callers hand over what they have put in two cells, beside a dispatcher.
fn two_callers() {
    let segment = Segment::new(2, 0);
    let callers = [1, 2].map(|number| {
        let caller = Party::new(&segment, number);
        let draft = caller.draft();
        thread::spawn(move || {
            let call = caller.submit(draft, number, false).unwrap();
            (caller, call)
        })
    });
    let dispatcher = Party::new(&segment, 0);
    let mut served = u32::from(dispatcher.serve());
    let callers = callers.map(|caller| caller.join().unwrap());
    while dispatcher.serve() {
        served += 1;
    }
    assert_eq!(served, 2);
    for ((caller, call), number) in callers.into_iter().zip([1, 2]) {
        assert_eq!(caller.look(call), Ok(End::Answer(number)));
    }
    assert!(segment.is_empty());
}

/// A call, and a dispatcher that answers it while the caller looks for the answer.
pub(super) fn question_and_answer() {
    let segment = Segment::new(1, 0);
    let (caller, dispatcher) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let dispatcher = thread::spawn(move || {
        let served = dispatcher.serve();
        (dispatcher, served)
    });
    let call = caller.call(1, false).unwrap();
    let end = caller.look(call);
    let (dispatcher, served) = dispatcher.join().unwrap();
    match end {
        Ok(end) => assert_eq!((end, served), (End::Answer(1), true)),
        Err(_) => {
            assert_eq!(dispatcher.serve(), !served);
            assert_eq!(caller.look(call), Ok(End::Answer(1)));
        }
    }
    assert!(segment.is_empty());
}

/// A caller fetches its answer; another one wants the same cell, and has it
/// served.
pub(super) fn cell_used_again() {
    let segment = Segment::new(1, 0);
    let party = |index| Party::new(&segment, index);
    let (first, second, dispatcher) = (party(0), party(1), party(2));
    let call = first.call(1, false).unwrap();
    assert!(dispatcher.serve());
    let first = thread::spawn(move || assert_eq!(first.look(call), Ok(End::Answer(1))));
    let second = thread::spawn(move || {
        let call = second.call(2, false);
        (second, call)
    });
    dispatcher.serve();
    first.join().unwrap();
    let (second, call) = second.join().unwrap();
    if let Some(call) = call {
        dispatcher.serve();
        assert_eq!(second.look(call), Ok(End::Answer(2)));
    }
    assert!(segment.is_empty());
}

/// A dispatcher ends a call that nobody wants an answer to; another caller wants
/// the same cell.
pub(super) fn cell_used_by_another() {
    let segment = Segment::new(1, 0);
    let party = |index| Party::new(&segment, index);
    let (first, second, dispatcher) = (party(0), party(1), party(2));
    first.call(1, true).unwrap();
    let dispatcher = thread::spawn(move || {
        assert!(dispatcher.serve());
        dispatcher
    });
    let call = second.call(2, false);
    let dispatcher = dispatcher.join().unwrap();
    if let Some(call) = call {
        dispatcher.serve();
        assert_eq!(second.look(call), Ok(End::Answer(2)));
    }
    assert!(segment.is_empty());
}

/// Two calls, the second after the first has returned, beside a dispatcher.
/// The first one has the cell that is looked at first, or the other one.
fn two_calls_in_order(first_cell: u32) {
    let segment = Segment::new(2, 0);
    let (caller, dispatcher) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let mut drafts = [caller.draft(), caller.draft()];
    drafts.rotate_left(first_cell as usize);
    let caller = thread::spawn(move || {
        for (draft, number) in drafts.into_iter().zip([1, 2]) {
            caller.submit(draft, number, false).unwrap();
        }
    });
    dispatcher.take();
    caller.join().unwrap();
    while dispatcher.take().is_some() {}
    assert_eq!(segment.started(), [1, 2]);
}

/// Two calls in order, of which the first one gets its ticket beside a dispatcher that
/// counts how many were given out.
pub(super) fn two_calls_beside_a_count() {
    let segment = Segment::new(2, 0);
    let (caller, dispatcher) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let caller = thread::spawn(move || {
        for number in [1, 2] {
            caller.call(number, false).unwrap();
        }
    });
    dispatcher.take();
    caller.join().unwrap();
    while dispatcher.take().is_some() {}
    assert_eq!(segment.started(), [1, 2]);
}

pub(super) fn two_calls_forward() {
    two_calls_in_order(0);
}

fn two_calls_backward() {
    two_calls_in_order(1);
}

/// Two calls in order, beside a dispatcher that has just seen another one, which a
/// second dispatcher takes.
pub(super) fn two_calls_after_another() {
    let segment = Segment::new(3, 0);
    let party = |index| Party::new(&segment, index);
    let (caller, dispatcher, other) = (party(0), party(1), party(2));
    let drafts = [caller.draft(), caller.draft()];
    caller.call(1, false).unwrap();
    let caller = thread::spawn(move || {
        other.take();
        for (draft, number) in drafts.into_iter().zip([2, 3]) {
            caller.submit(draft, number, false).unwrap();
        }
    });
    dispatcher.take();
    caller.join().unwrap();
    while dispatcher.take().is_some() {}
    assert_eq!(segment.started(), [1, 2, 3]);
}

/// Two dispatchers want the older one of two calls.
pub(super) fn two_dispatchers() {
    let segment = Segment::new(2, 0);
    let party = |index| Party::new(&segment, index);
    let (caller, one, two) = (party(0), party(1), party(2));
    for number in [1, 2] {
        caller.call(number, false).unwrap();
    }
    let other = thread::spawn(move || one.take().is_some());
    assert!(two.take().is_some());
    assert!(other.join().unwrap());
    let mut started = segment.started();
    started.sort_unstable();
    assert_eq!(started, [1, 2]);
}

/// Two dispatchers beside two calls, of which the first is there already.
fn two_dispatchers_and_a_caller() {
    let segment = Segment::new(2, 0);
    let party = |index| Party::new(&segment, index);
    let (caller, one, two) = (party(0), party(1), party(2));
    caller.call(1, false).unwrap();
    let second = caller.draft();
    let one = thread::spawn(move || one.take().is_some());
    let caller = thread::spawn(move || caller.submit(second, 2, false).unwrap());
    let mut taken = u32::from(two.take().is_some());
    taken += u32::from(one.join().unwrap());
    caller.join().unwrap();
    while two.take().is_some() {
        taken += 1;
    }
    assert_eq!(taken, 2);
    assert_eq!(segment.started(), [1, 2]);
}

/// A caller takes its call back, beside a dispatcher, and makes another one.
pub(super) fn withdrawal() {
    let segment = Segment::new(1, 0);
    let (caller, dispatcher) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let call = caller.call(1, false).unwrap();
    let dispatcher = thread::spawn(move || {
        dispatcher.serve();
        dispatcher
    });
    let withdrawn = caller.tunnel.withdraw(&caller, call);
    let known = segment.started();
    let second = caller.call(2, false);
    let dispatcher = dispatcher.join().unwrap();
    let ran = segment.started().contains(&1);
    match withdrawn {
        Withdrawal::NeverStarted => assert!(!ran, "started all the same"),
        Withdrawal::Running | Withdrawal::Ended => assert!(known.len() == 1 && ran),
        Withdrawal::Corrupt => panic!("corrupt"),
    }
    if let Some(second) = second {
        dispatcher.serve();
        assert_eq!(caller.look(second), Ok(End::Answer(2)));
    }
    assert_eq!(caller.look(call), Ok(End::Nothing));
    assert!(segment.is_empty());
}

/// Against a cell that two callers have.
#[test]
fn each_caller_has_a_cell_of_its_own() {
    check(two_drafts);
}

/// Against an answer that reaches another caller.
#[test]
fn each_caller_gets_its_own_answer() {
    check(two_callers);
}

/// Against an answer, or a question, that is seen before it is there.
#[test]
fn an_answer_is_whole() {
    check(question_and_answer);
}

/// Against a cell that is used anew while its last caller is still at it.
#[test]
fn a_cell_is_left_before_it_is_used_again() {
    check(cell_used_again);
    check(cell_used_by_another);
}

/// Against a call that starts before one that had returned.
#[test]
fn calls_start_in_order() {
    check(two_calls_forward);
    check(two_calls_backward);
    check(two_calls_beside_a_count);
    check(two_calls_after_another);
}

/// Against a call that two dispatchers run, and one that is overtaken.
#[test]
fn calls_run_once() {
    check(two_dispatchers);
    check_within(2, two_dispatchers_and_a_caller);
}

/// Against a call that starts after it was taken back.
#[test]
fn a_withdrawn_call_never_starts() {
    check(withdrawal);
}
