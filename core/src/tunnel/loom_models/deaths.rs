//! What becomes of the calls of the dead, and of those they were running.

use super::*;

/// A caller dies at `step`, beside a dispatcher and somebody who recovers it.
fn dead_caller(step: Step, one_way: bool) {
    let segment = Segment::new(1, 1);
    let party = |index| Party::new(&segment, index);
    let (dying, dispatcher, reaper) = (party(0), party(1), party(2));
    let draft = (step != Step::Drafted).then(|| dying.draft());
    let dying = thread::spawn(move || {
        dying.die_at(step, |dying| {
            let draft = draft.unwrap_or_else(|| dying.draft());
            dying.submit(draft, 1, one_way);
        });
    });
    let dispatcher = thread::spawn(move || dispatcher.serve());
    reaper.reap(0);
    dying.join().unwrap();
    dispatcher.join().unwrap();
    reaper.reap(0);
    reaper.finds_all_in_order(2);
    let started = segment.started();
    let runs = |number| started.iter().filter(|it| **it == number).count();
    let recovered = started.iter().position(|it| *it == RECOVERED).unwrap();
    let submitted = matches!(step, Step::Submitted | Step::Rung);
    if one_way {
        assert_eq!(runs(1), usize::from(submitted), "{started:?}");
    } else {
        assert!(!started[recovered..].contains(&1), "started late");
    }
}

/// A dispatcher dies at `step` while its caller waits, and somebody recovers it.
fn dead_dispatcher(step: Step) {
    let segment = Segment::new(1, 1);
    let party = |index| Party::new(&segment, index);
    let (dying, caller, reaper) = (party(0), party(1), party(2));
    let call = caller.call(1, false).unwrap();
    let dying = thread::spawn(move || {
        dying.die_at(step, |dying| {
            dying.serve();
        });
    });
    let caller = thread::spawn(move || caller.wait(call));
    reaper.reap(0);
    dying.join().unwrap();
    reaper.reap(0);
    reaper.serve();
    let end = match step {
        Step::CallTaken | Step::Answered => End::Died,
        _ => End::Answer(1),
    };
    assert_eq!(caller.join().unwrap(), end);
    reaper.finds_all_in_order(2);
}

/// The caller itself recovers the dispatcher of its call.
fn dispatcher_recovered_by_its_caller() {
    let segment = Segment::new(1, 1);
    let (dying, caller) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let call = caller.call(1, false).unwrap();
    let dying = thread::spawn(move || {
        dying.die_at(Step::CallTaken, |dying| {
            dying.serve();
        });
    });
    caller.tunnel.reap_all(&caller, caller.me);
    let early = caller.look(call);
    dying.join().unwrap();
    caller.tunnel.reap_all(&caller, caller.me);
    let end = early.or_else(|_| caller.look(call));
    assert_eq!(end, Ok(End::Died));
    caller.finds_all_in_order(2);
}

/// The caller and the dispatcher of one call are dead, and are recovered at once.
fn both_dead() {
    let segment = Segment::new(1, 2);
    let party = |index| Party::new(&segment, index);
    let (caller, dispatcher, one, two) = (party(0), party(1), party(2), party(3));
    caller.die_at(Step::Rung, |caller| {
        caller.call(1, false);
    });
    dispatcher.die_at(Step::CallTaken, |dispatcher| {
        dispatcher.serve();
    });
    let other = thread::spawn(move || one.reap(0));
    two.reap(1);
    other.join().unwrap();
    two.finds_all_in_order(2);
}

/// A caller has died. Two dispatchers look for a call, and one of them, or somebody
/// else, recovers it meanwhile.
fn orders_of_the_dead() {
    let segment = Segment::new(1, 1);
    let party = |index| Party::new(&segment, index);
    let (caller, mut one, mut two) = (party(0), party(1), party(2));
    caller.die_at(Step::Rung, |caller| {
        caller.call(1, false);
    });
    (one.asks, two.asks) = (true, true);
    let other = thread::spawn(move || one.serve());
    two.reap(0);
    two.serve();
    other.join().unwrap();
    assert!(
        !segment.started().contains(&1),
        "nobody commands it any more"
    );
    two.finds_all_in_order(2);
}

/// Against a robot that moves on the command of somebody who has died.
#[test]
fn a_dispatcher_starts_nothing_for_the_dead() {
    check(orders_of_the_dead);
}

/// Against a call that starts after its caller was recovered, an answer for the
/// dead that reaches a newcomer, and a cell that is lost.
#[test]
fn a_caller_can_die_at_each_step() {
    for step in [Step::Drafted, Step::Ticketed, Step::Submitted, Step::Rung] {
        check(move || dead_caller(step, false));
    }
}

/// Against a call that nobody wants an answer to and that is lost with its caller.
#[test]
fn a_one_way_call_outlives_its_caller() {
    for step in [Step::Ticketed, Step::Submitted, Step::Rung] {
        check(move || dead_caller(step, true));
    }
}

/// Against a caller that waits for the dead, and a cell that is lost.
#[test]
fn a_dispatcher_can_die_at_each_step() {
    for step in [
        Step::CallSeen,
        Step::CallTaken,
        Step::Answered,
        Step::Finished,
    ] {
        check(move || dead_dispatcher(step));
    }
}

/// Against a caller that cannot help itself, and two recoveries that undo each
/// other.
#[test]
fn anybody_can_recover() {
    check(dispatcher_recovered_by_its_caller);
    check(both_dead);
}
