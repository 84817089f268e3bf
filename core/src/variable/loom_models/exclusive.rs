//! Models of one writer that has the lease, beside others.

use super::*;

/// The only writer, which becomes that and gives it back, beside another writer.
pub(super) fn leaseholder_and_writer() {
    let segment = Segment::new(3, 0);
    let (only, other) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || match other.write(1) {
        Ok(version) => Some(version),
        Err(error) => {
            assert_eq!(error, WriteError::Claim(ClaimError::Leased(leaseholder())));
            None
        }
    });
    let mut versions = Vec::new();
    if let Some(mut lease) = only.lease() {
        versions.push(only.write_exclusively(&mut lease, 2).unwrap());
        only.variable.end_lease(&only, only.me);
    }
    versions.extend(writer.join().unwrap());
    versions.sort_unstable();
    let expected = START + 1..=START + versions.len() as u64;
    assert_eq!(versions, expected.collect::<Vec<_>>());
    if !versions.is_empty() {
        assert_eq!(only.read().unwrap().1, START + versions.len() as u64);
    }
}

fn leaseholder() -> Participant {
    Participant::new(0).unwrap()
}

/// Two that want to be the only writer, one after the other.
pub(super) fn two_leaseholders() {
    let segment = Segment::new(3, 0);
    let parties = [0, 1].map(|index| Party::new(&segment, index));
    let write_once = |party: &Party, number| {
        let mut lease = party.lease()?;
        let version = party.write_exclusively(&mut lease, number).unwrap();
        party.variable.end_lease(party, party.me);
        Some(version)
    };
    let [one, two] = parties;
    let other = thread::spawn(move || write_once(&two, 2));
    let mut versions: Vec<u64> = write_once(&one, 1).into_iter().collect();
    versions.extend(other.join().unwrap());
    versions.sort_unstable();
    let expected = START + 1..=START + versions.len() as u64;
    assert_eq!(versions, expected.collect::<Vec<_>>());
    assert_eq!(one.read().unwrap().1, START + versions.len() as u64);
}

/// The only writer, which gets to the borrowed slot with its second write, and a
/// borrower: slot 1 is held by somebody else.
pub(super) fn leaseholder_and_borrower() {
    let segment = Segment::new(3, 0);
    let (borrower, writer) = (Party::new(&segment, 0), Party::new(&segment, 2));
    let mut lease = writer.lease().unwrap();
    segment.owner(1).store(1 << 9, Relaxed);
    let writer = thread::spawn(move || {
        writer.write_exclusively(&mut lease, 1).unwrap();
        match writer.write_exclusively(&mut lease, 2) {
            Ok(version) => assert_eq!(version, START + 2),
            Err(error) => assert_eq!(error, WriteError::Claim(ClaimError::NoFreeSlot)),
        }
    });
    borrower.read_in_place();
    writer.join().unwrap();
}

/// The only writer and a reader, which it laps with its second write.
pub(super) fn leaseholder_and_reader() {
    let segment = Segment::new(2, 0);
    let (reader, writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let mut lease = writer.lease().unwrap();
    let writer = thread::spawn(move || {
        for number in [1, 2] {
            writer.write_exclusively(&mut lease, number).unwrap();
        }
    });
    match reader.read() {
        Ok((number, version)) => assert_eq!(version, START + u64::from(number)),
        Err(error) => assert_eq!(error, ReadError::Contended),
    }
    writer.join().unwrap();
    assert_eq!(reader.read(), Ok((2, START + 2)));
}

/// The only writer, and somebody who waits for its value.
fn leaseholder_and_waiter() {
    let segment = Segment::new(3, 0);
    let (waiter, writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let mut lease = writer.lease().unwrap();
    let writer = thread::spawn(move || {
        assert_eq!(writer.write_exclusively(&mut lease, 1), Ok(START + 1));
    });
    loop {
        let (version, seen) = waiter.variable.version().unwrap();
        if version == START + 1 {
            break;
        }
        if let Some(armed) = waiter.variable.arm(seen) {
            waiter.variable.memory().sleep(armed);
        }
    }
    writer.join().unwrap();
    assert_eq!(waiter.read(), Ok((1, START + 1)));
}

/// The only writer dies at some step, and another writer finds that out.
fn leaseholder_dies(after: Step) {
    let segment = Segment::new(3, 1);
    let (mut dead, heir) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || {
        dead.dies_after = Some(after);
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if let Some(mut lease) = dead.lease() {
                let _ = dead.write_exclusively(&mut lease, 1);
            }
        }));
        dead.let_go();
    });
    let is_dead = |error: WriteError| match error {
        WriteError::Claim(ClaimError::Leased(holder)) => assert_eq!(holder.index(), 0),
        other => assert_eq!(other, WriteError::Claim(ClaimError::NoFreeSlot)),
    };
    let early = heir.write(2).map_err(is_dead).ok();
    writer.join().unwrap();
    let mut tries = 0;
    let version = loop {
        match heir.write(3) {
            Ok(version) => break version,
            Err(error) => is_dead(error),
        }
        tries += 1;
        assert!(tries < 3, "nobody takes the lease of the dead");
    };
    assert!(early.is_none_or(|early| early < version));
    assert_eq!(heir.read(), Ok((3, version)));
    assert_eq!(segment.lease().load(Relaxed), 0);
}

/// The only writer writes and dies, and another one takes over, while a reader reads.
pub(super) fn lease_of_the_dead() {
    let segment = Segment::new(2, 1);
    let (dead, heir) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || {
        if let Some(mut lease) = dead.lease() {
            dead.write_exclusively(&mut lease, 1).unwrap();
        }
        dead.let_go();
    });
    if let Some(mut lease) = heir.lease() {
        let written = heir.write_exclusively(&mut lease, 2);
        let (number, version) = heir.read().unwrap();
        assert_eq!((number, Ok(version)), (2, written));
    }
    writer.join().unwrap();
}

mod tests {
    use super::*;

    /// Against two writers in one slot, or a version given twice.
    #[test]
    fn a_lease_keeps_other_writers_out() {
        check(leaseholder_and_writer);
        check(two_leaseholders);
    }

    /// Against a value that changes while it is borrowed.
    #[test]
    fn a_leaseholder_passes_over_what_is_pinned() {
        check(leaseholder_and_borrower);
    }

    /// Against a mixed value, and a lost wake-up.
    #[test]
    fn a_leaseholder_publishes_whole_values_and_wakes() {
        check(leaseholder_and_reader);
        check(leaseholder_and_waiter);
    }

    /// Against a variable that nobody can write any more.
    #[test]
    fn a_lease_ends_with_its_holder() {
        for step in [Step::Leased, Step::Busy, Step::Filled, Step::Stamped] {
            check_within(2, move || leaseholder_dies(step));
        }
        check(|| leaseholder_dies(Step::Published));
        check(lease_of_the_dead);
    }
}
