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

/// Whoever recovers the dispatcher of its call hears at once what became of it.
pub(super) fn told_by_its_own_recovery() {
    let segment = Segment::new(1, 1);
    let (dying, caller) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let call = caller.call(1, false).unwrap();
    let dying = thread::spawn(move || {
        dying.die_at(Step::CallTaken, |dying| {
            dying.serve();
        });
    });
    if caller.tunnel.reap(&caller, Participant::new(0).unwrap()) {
        assert_eq!(caller.look(call), Ok(End::Died));
    }
    dying.join().unwrap();
}

/// Somebody died whose last call had the cell that another one's call gets and
/// runs in now, beside `what`.
fn beside_a_strangers_call(what: fn(&Party)) {
    let segment = Segment::new(1, 1);
    let party = |index| Party::new(&segment, index);
    let (dead, caller, dispatcher, other) = (party(0), party(1), party(2), party(3));
    dead.die_at(Step::Rung, |dead| {
        dead.call(1, false);
    });
    dispatcher.serve();
    other.reap(0);
    let running = thread::spawn(move || {
        let call = caller.call(2, false).unwrap();
        let taken = dispatcher.take().unwrap();
        (caller, call, dispatcher, taken)
    });
    what(&other);
    let (caller, call, dispatcher, taken) = running.join().unwrap();
    dispatcher.answer(taken);
    assert_eq!(caller.look(call), Ok(End::Answer(2)), "taken for another's");
}

pub(super) fn recovered_beside_a_strangers_call() {
    beside_a_strangers_call(|other| other.reap(0));
}

pub(super) fn told_of_a_strangers_call() {
    beside_a_strangers_call(|other| {
        let cell = other.tunnel.cells().next().unwrap();
        if cell.state == State::Running {
            assert_eq!(cell.caller, Participant::new(1), "taken for another's");
        }
    });
}

/// Whoever recovers a dispatcher, which was about to call somebody itself, dies at
/// `step` of it. Another one has to do it again.
fn recovery_interrupted(step: Step) {
    let segment = Segment::new(2, 2);
    let party = |index| Party::new(&segment, index);
    let (dead, dying, caller) = (party(0), party(1), party(2));
    let call = caller.call(1, false).unwrap();
    dead.die_at(Step::CallTaken, |dead| {
        let _draft = dead.draft();
        dead.serve();
    });
    let dying = thread::spawn(move || {
        dying.die_at(step, |dying| dying.reap(0));
    });
    caller.tunnel.reap_all(&caller, caller.me);
    dying.join().unwrap();
    caller.tunnel.reap_all(&caller, caller.me);
    assert_eq!(caller.look(call), Ok(End::Died));
    caller.finds_all_in_order(2);
}

/// A caller dies before it tells the dispatcher, which sleeps, of its call.
fn dead_before_it_rang() {
    let segment = Segment::new(1, 1);
    let party = |index| Party::new(&segment, index);
    let (caller, dispatcher, reaper) = (party(0), party(1), party(2));
    let dispatcher = thread::spawn(move || dispatcher.wait_for_call().unwrap().1);
    caller.die_at(Step::Submitted, |caller| {
        caller.call(1, true);
    });
    reaper.reap(0);
    assert_eq!(dispatcher.join().unwrap(), 1);
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
pub(super) fn orders_of_the_dead() {
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

/// A caller has died, and the function is removed while a dispatcher takes its call.
pub(super) fn orders_of_the_dead_at_the_end() {
    let segment = Segment::new(1, 1);
    let party = |index| Party::new(&segment, index);
    let (caller, mut dispatcher, remover) = (party(0), party(1), party(2));
    caller.die_at(Step::Rung, |caller| {
        caller.call(1, false);
    });
    dispatcher.asks = true;
    let dispatcher = thread::spawn(move || dispatcher.serve());
    remover.tunnel.retire(&remover);
    segment.0.nameless.store(1, Release);
    dispatcher.join().unwrap();
    assert_eq!(segment.started(), [], "nobody commands it any more");
}

/// Against a robot that moves on the command of somebody who has died.
#[test]
fn a_dispatcher_starts_nothing_for_the_dead() {
    check(orders_of_the_dead);
    check(orders_of_the_dead_at_the_end);
}

/// Against a call that starts after its caller was recovered, an answer for the
/// dead that reaches a newcomer, and a cell that is lost.
#[test]
fn a_caller_can_die_at_each_step() {
    for step in [Step::Drafted, Step::Ticketed, Step::Submitted, Step::Rung] {
        check(move || dead_caller(step, false));
    }
}

/// Against a call that nobody wants an answer to and that nobody hears of.
#[test]
fn a_caller_can_die_before_it_rings() {
    check(dead_before_it_rang);
}

/// Against a recovery that ends, or tells of, another one's call.
#[test]
fn a_recovery_leaves_the_calls_of_others_alone() {
    check(recovered_beside_a_strangers_call);
    check(told_of_a_strangers_call);
}

/// Against a recovery that cannot be done again when it was cut short.
#[test]
fn a_recoverer_can_die_at_each_step() {
    for step in [Step::Taken, Step::Recovered] {
        check(move || recovery_interrupted(step));
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
        // Not `HandedOver`: slices of sleep, which models do not have, are for that.
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
    check(told_by_its_own_recovery);
    check(both_dead);
}
