//! What keeps a borrow from succeeding, and what it leaves behind then.

use super::*;

type Large = StaticVariable<6, 64>;

fn pin(variable: &Variable<MappedVariable<'_>>, index: u32) -> Result<Pin, BorrowError> {
    variable.pin(&SingleProcess, participant(index), &mut Pins::new())
}

/// Against a borrow of another slot than the latest one, and a sample of another value.
#[test]
fn a_pin_tells_what_it_holds() {
    let memory = Large::new();
    let variable = memory.variable();
    for value in [&b"first"[..], b"second"] {
        write(&variable, value).unwrap();
    }
    let latest = variable.latest();
    let held = pin(&variable, 7).unwrap();
    assert_eq!(Some(held.slot()), latest.slot());
    assert_ne!(held.slot(), 0);
    assert_eq!(held.sample(), variable.sample().unwrap());
    assert_eq!(held.sample().version, 2);
    let holders: Vec<Participant> = variable.holders(held.slot()).collect();
    assert_eq!(holders, [participant(7)]);
    let claim = variable
        .claim(&SingleProcess, participant(8), &Suspects::new())
        .unwrap();
    let holders: Vec<Participant> = variable.holders(claim.slot()).collect();
    assert_eq!(holders, [participant(8)]);
    assert_ne!(Some(claim.slot()), latest.slot());
}

/// Against a limit that is right for four slots only.
#[test]
fn with_six_slots_four_can_be_pinned() {
    let memory = Large::new();
    let variable = memory.variable();
    let mut pins = Pins::new();
    let me = participant(0);
    for round in 0..4u8 {
        write(&variable, &[round]).unwrap();
        let _held = variable.pin(&SingleProcess, me, &mut pins).unwrap();
    }
    write(&variable, b"fifth").unwrap();
    let fifth = variable.pin(&SingleProcess, me, &mut pins);
    assert_eq!(fifth.unwrap_err(), BorrowError::TooManyPinned);
    assert_eq!(variable.pinned_slots(), 4);
    write(&variable, b"sixth").unwrap();
    assert_eq!(latest_is(&variable, b"sixth"), 6);

    // Three pins and a loan are as many, but loans come back soon.
    let memory = Large::new();
    let variable = memory.variable();
    let mut pins = Pins::new();
    for round in 0..3u8 {
        write(&variable, &[round]).unwrap();
        let _held = variable.pin(&SingleProcess, me, &mut pins).unwrap();
    }
    let _loan = variable
        .claim_to_loan(&SingleProcess, me, &Suspects::new())
        .unwrap();
    write(&variable, b"fourth").unwrap();
    let fourth = variable.pin(&SingleProcess, me, &mut pins);
    assert_eq!(fourth.unwrap_err(), BorrowError::Crowded);
}

/// Against a borrow beside a claim on the latest slot: its holder may be about to
/// write there; and against one that fails for ever since the holder is dead.
#[test]
fn a_claim_on_the_latest_slot_is_in_the_way_until_its_holder_is_dead() {
    let memory = Large::new();
    let variable = memory.variable();
    write(&variable, b"value").unwrap();
    let slot = variable.latest().slot().unwrap();
    let claim = word::claimed_by(participant(9).claim());
    variable.memory().owner(slot).store(claim, Relaxed);
    let contended = BorrowError::Read(ReadError::Contended);
    assert_eq!(pin(&variable, 7).unwrap_err(), contended);
    assert_eq!(
        variable.memory().owner(slot).load(Relaxed),
        claim,
        "the claim stays, and no pin does"
    );
    // One's own, of another thread: nobody recovers himself.
    let system = System::default();
    system.dead.borrow_mut().insert(9);
    let mut pins = Pins::new();
    let own = variable.pin(&system, participant(9), &mut pins);
    assert_eq!(own.unwrap_err(), contended);
    assert_eq!(variable.memory().owner(slot).load(Relaxed), claim);

    let held = variable.pin(&system, participant(7), &mut Pins::new());
    assert_eq!(held.unwrap().sample().version, 1);
    let holders: Vec<Participant> = variable.holders(slot).collect();
    assert_eq!(holders, [participant(7)]);
}

/// Against a pin that stays on a slot which nobody could borrow.
#[test]
fn damage_is_told_and_leaves_no_pin() {
    let memory = Large::new();
    let variable = memory.variable();
    write(&variable, b"value").unwrap();
    let corrupt = BorrowError::Read(ReadError::Corrupt);
    let slot = variable.latest().slot().unwrap();
    // A length that whoever makes room for it would believe.
    let head = variable.memory().head(slot);
    let length = head.length.swap(variable.memory().max_size() + 1, Relaxed);
    assert_eq!(pin(&variable, 7).unwrap_err(), corrupt);
    assert_eq!(variable.pinned_slots(), 0);
    head.length.store(length, Relaxed);
    head.stamp.store(99 << 1, Relaxed);
    assert_eq!(pin(&variable, 7).unwrap_err(), corrupt);
    assert_eq!(variable.pinned_slots(), 0);
    let past = word::Latest::new(1, 6);
    variable.memory().latest().store(past.word(), Relaxed);
    assert_eq!(pin(&variable, 7).unwrap_err(), corrupt);
    let me = participant(7);
    let claim = variable.claim(&SingleProcess, me, &Suspects::new());
    assert_eq!(claim, Err(ClaimError::Corrupt));
    // The same, for a writer that has claimed before.
    variable
        .memory()
        .latest()
        .store(word::Latest::EMPTY.word(), Relaxed);
    let claim = variable
        .claim(&SingleProcess, me, &Suspects::new())
        .unwrap();
    variable.memory().latest().store(past.word(), Relaxed);
    let details = Details {
        length: 0,
        encoding: Encoding::RAW,
        replaces: None,
    };
    let published = variable.publish(&SingleProcess, me, claim, &details);
    assert_eq!(published.unwrap_err().0, PublishError::Corrupt);
    assert_eq!(variable.pinned_slots(), 0);
}

/// Against a slot number that leads out of the memory.
#[test]
fn there_is_no_slot_past_the_last() {
    let memory = Large::new();
    let variable = memory.variable();
    let memory = variable.memory();
    for number in [6, 7, u32::MAX] {
        assert!(core::ptr::eq(memory.head(number), memory.head(0)));
        assert_eq!(memory.payload(number).as_ptr(), memory.payload(0).as_ptr());
    }
    assert!(!core::ptr::eq(memory.head(5), memory.head(0)));
    let geometry = VariableGeometry::new(9, 100).unwrap();
    assert_eq!((geometry.slot_count(), geometry.max_size()), (9, 100));
    memory.participants().entry(participant(3)).introduce(77);
    assert_eq!(memory.pid(participant(3)), 77);
}
