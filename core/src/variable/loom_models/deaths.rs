//! What becomes of the slots of the dead, and of the values in them.

use super::*;

/// A borrower dies at `step`, while a writer comes to the slot it has pinned
/// with its second write.
fn dead_borrower(step: Step) {
    let segment = Segment::new(3, 1);
    segment.owner(1).store(word::claimed_by(9), Relaxed);
    let (mut dying, writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    dying.dies_after = Some(step);
    let dying = thread::spawn(move || {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _pin = dying.variable.pin(&dying, dying.me, &mut Pins::new());
        }));
        dying.let_go();
    });
    let written = [writer.write(1), writer.write(2)].into_iter().flatten();
    let last = written.last().unwrap();
    dying.join().unwrap();
    assert_eq!(writer.read().unwrap().1, last);
    assert_eq!(writer.write(3), Ok(last + 1), "a slot is lost for ever");
}

/// A writer dies at `step` beside one that recovers it and goes on writing.
fn takeover(step: Step) {
    let segment = Segment::new(2, 1);
    let (dying, living) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let dying = thread::spawn(move || dying.write_and_die(1, step));
    let mut written = u64::from(succeeds_or_finds_no_slot(living.write(2)));
    assert!(living.read().unwrap().1 >= START + written);
    written += u64::from(dying.join().unwrap());
    living.variable.reap_all(&living, living.me);
    assert_eq!(living.read().unwrap().1, START + written);
    assert_eq!(
        living.write(3),
        Ok(START + written + 1),
        "a slot is lost for ever"
    );
}

fn succeeds_or_finds_no_slot(written: Result<u64, WriteError>) -> bool {
    match written {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, WriteError::Claim(ClaimError::NoFreeSlot));
            false
        }
    }
}

/// One writer dies when it has published, another one recovers it, and a third
/// uses the slot.
pub(super) fn recovered_by_another() {
    let segment = Segment::new(2, 1);
    let (dying, reaper, writer) = (
        Party::new(&segment, 0),
        Party::new(&segment, 1),
        Party::new(&segment, 2),
    );
    let dying = thread::spawn(move || dying.write_and_die(1, Step::Published));
    let reaper = thread::spawn(move || reaper.variable.reap(&reaper, Participant::new(0).unwrap()));
    let mut written = u64::from(succeeds_or_finds_no_slot(writer.write(2)));
    written += u64::from(dying.join().unwrap());
    reaper.join().unwrap();
    assert_eq!(writer.read().unwrap().1, START + written);
}

/// Whoever recovers a dead participant dies at `step` of it, beside a writer that
/// has to do it again.
fn recovery_interrupted(step: Step) {
    let segment = Segment::new(3, 2);
    segment.owner(1).store(word::claimed_by(1), Relaxed);
    segment.owner(2).store(1, Relaxed); // its pin
    segment.0.held[0].store(0, Relaxed);
    let (mut dying, living) = (Party::new(&segment, 1), Party::new(&segment, 2));
    dying.dies_after = Some(step);
    let dying = thread::spawn(move || {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            dying.variable.reap(&dying, Participant::new(0).unwrap());
        }));
        dying.let_go();
    });
    let written = u64::from(succeeds_or_finds_no_slot(living.write(1)));
    dying.join().unwrap();
    living.variable.reap_all(&living, living.me);
    for slot in 0..3 {
        assert_eq!(living.variable.holders(slot).next(), None, "slot {slot}");
    }
    assert_eq!(living.write(2), Ok(START + written + 1));
}

/// An index whose last holder died in the middle of a write gets a new holder,
/// while somebody else may still recover it.
fn index_reused() {
    let segment = Segment::new(3, 1);
    segment.owner(1).store(word::claimed_by(1), Relaxed);
    segment.0.held[0].store(0, Relaxed);
    let (newcomer, other) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let index = newcomer.me;
    let newcomer = thread::spawn(move || {
        // Held by who recovers it: there are other indices.
        let Some(held) = newcomer.variable.memory().take(newcomer.me) else {
            return false;
        };
        newcomer.variable.recover(&newcomer, newcomer.me, &held);
        let claim = newcomer.claim();
        let mut holders = newcomer.variable.holders(claim.slot());
        assert_eq!(holders.next(), Some(newcomer.me), "my claim was taken");
        newcomer.publish(claim, 1, None).unwrap();
        true
    });
    other.variable.reap(&other, index);
    let mut written = 1;
    other.write(2).unwrap();
    written += u64::from(newcomer.join().unwrap());
    assert_eq!(other.read().unwrap().1, START + written);
}

/// Against a death that costs a value, a slot, or the order of the versions.
#[test]
fn a_writer_can_die_at_each_step() {
    for step in [
        Step::Looked,
        Step::Claimed,
        Step::Rechecked,
        Step::Busy,
        Step::Filled,
        Step::Stamped,
        Step::Published,
        Step::Released,
    ] {
        check(move || takeover(step));
    }
}

/// Against a slot that is lost to a borrower that never came back.
#[test]
fn a_borrower_can_die_at_each_step() {
    for step in [Step::Pinned, Step::Borrowed] {
        check(move || dead_borrower(step));
    }
}

/// Against a recovered slot that is taken for free while it is the latest.
#[test]
fn a_recovered_slot_is_seen_as_its_last_holder_left_it() {
    check(recovered_by_another);
}

/// Against a recovery that cannot be done again when it was cut short.
#[test]
fn a_recoverer_can_die_at_each_step() {
    for step in [Step::Taken, Step::Recovered] {
        check(move || recovery_interrupted(step));
    }
}

/// Against clearing the marks of a newcomer for those of its predecessor.
#[test]
fn a_newcomer_keeps_what_it_claims_while_its_index_is_recovered() {
    check(index_reused);
}
