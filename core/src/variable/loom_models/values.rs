//! Among the living: which value a reader gets, which slot and which version a
//! writer, and who is woken.

use super::*;

/// Runs `read` beside a writer that comes back to the slot being read.
fn writer_and(read: fn(&Party)) {
    let segment = Segment::new(2, 0);
    let (writer, reader) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || {
        for number in [1, 2] {
            assert_eq!(writer.write(number), Ok(START + u64::from(number)));
        }
    });
    read(&reader);
    writer.join().unwrap();
    assert_eq!(reader.read(), Ok((2, START + 2)));
}

pub(super) fn writer_and_reader() {
    writer_and(|reader| {
        if let Ok((number, version)) = reader.read() {
            assert_eq!(version, START + u64::from(number));
        }
    });
}

pub(super) fn writer_and_two_reads() {
    writer_and(|reader| {
        let reads = [reader.read(), reader.read()];
        let versions = reads.into_iter().flatten().map(|(_, version)| version);
        assert!(versions.is_sorted(), "went back: {reads:?}");
    });
}

pub(super) fn writer_and_watcher() {
    writer_and(|watcher| {
        let looks = [watcher.variable.version(), watcher.variable.version()];
        let versions: Vec<u64> = looks
            .into_iter()
            .flatten()
            .map(|(version, _)| version)
            .collect();
        assert!(versions.is_sorted(), "went back: {versions:?}");
        assert!(
            versions
                .iter()
                .all(|version| (START..=START + 2).contains(version))
        );
    });
}

/// Two writers that look for a slot and for a version at the same time.
pub(super) fn two_writers() {
    let segment = Segment::new(3, 0);
    let (one, two) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let other = thread::spawn(move || one.write(1).unwrap());
    let mut versions = [two.write(2).unwrap(), 0];
    let (_, seen) = two.read().unwrap();
    assert!(seen >= versions[0], "one's own write is lost");
    versions[1] = other.join().unwrap();
    let last = if versions[0] > versions[1] { 2 } else { 1 };
    assert_eq!(two.read(), Ok((last, START + 2)));
    versions.sort_unstable();
    assert_eq!(versions, [START + 1, START + 2]);
}

/// A borrower, and a writer that gets to the borrowed slot with its second
/// write: slot 1 is held by somebody else.
pub(super) fn borrower_and_writer() {
    let segment = Segment::new(3, 0);
    segment.owner(1).store(word::claimed_by(9), Relaxed);
    let (borrower, writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || {
        writer.write(1).unwrap();
        match writer.write(2) {
            Ok(version) => assert_eq!(version, START + 2),
            Err(error) => assert_eq!(error, WriteError::Claim(ClaimError::NoFreeSlot)),
        }
    });
    borrower.read_in_place();
    writer.join().unwrap();
    assert_eq!(borrower.variable.pinned_slots(), 0);
}

/// A writer beside whoever removes the variable.
fn retirement() {
    let segment = Segment::new(3, 0);
    let (before, after) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let writer = thread::spawn(move || before.write(1));
    after.variable.retire(&after);
    assert_eq!(
        after.write(2),
        Err(WriteError::Claim(ClaimError::Retired)),
        "began after it was retired"
    );
    assert_eq!(after.read(), Err(ReadError::Retired));
    let published = match writer.join().unwrap() {
        Ok(version) => version,
        Err(WriteError::Claim(ClaimError::Retired))
        | Err(WriteError::Publish(PublishError::Retired)) => START,
        Err(error) => panic!("{error:?}"),
    };
    let last = after.variable.latest();
    assert!(last.retired());
    assert_eq!(
        after.variable.version_named_by(last),
        Some(published),
        "success is reported exactly if it was published"
    );
}

/// A write that is to replace one version only, beside two others, of which the
/// second takes the slot of that version.
fn compare_and_write() {
    let segment = Segment::new(3, 0);
    let (careful, writer) = (Party::new(&segment, 0), Party::new(&segment, 1));
    let claim = careful.claim();
    let writer = thread::spawn(move || [writer.write(1).unwrap(), writer.write(2).unwrap()]);
    let outcome = careful.publish(claim, 3, Some(START));
    let versions = writer.join().unwrap();
    match outcome {
        Ok(version) => {
            assert_eq!(version, START + 1);
            assert_eq!(versions, [START + 2, START + 3]);
        }
        Err((PublishError::Changed { version }, _)) => {
            assert!(versions.contains(&version), "there never was a {version}");
        }
        // The model may show an old `latest` for ever.
        Err((error, _)) => assert_eq!(error, PublishError::Contended),
    }
}

/// Two wait for a change, and `change` makes one.
fn waiters(change: fn(&Party)) {
    let segment = Segment::new(2, 0);
    let wait = |index| {
        let waiter = Party::new(&segment, index);
        move || {
            while let Ok((START, seen)) = waiter.variable.version() {
                if let Some(word) = waiter.variable.arm(seen) {
                    waiter.variable.memory().sleep(word);
                }
            }
        }
    };
    let waiters = [thread::spawn(wait(0)), thread::spawn(wait(1))];
    change(&Party::new(&segment, 2));
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

/// Against a value mixed from two writes, and one that goes back.
#[test]
fn a_read_is_whole() {
    check(writer_and_reader);
    check_within(2, writer_and_two_reads);
}

/// Against a version that goes back, or that never was.
#[test]
fn versions_go_forward() {
    check(writer_and_watcher);
}

/// Against an update that is lost, and two writes of one version.
#[test]
fn every_write_counts() {
    check(two_writers);
}

/// Against replacing a version that was not meant, and naming one that never was.
#[test]
fn only_the_named_version_is_replaced() {
    check(compare_and_write);
}

/// Against a borrowed value that changes under its reader.
#[test]
fn a_borrowed_value_stays() {
    check(borrower_and_writer);
}

/// Against success on a variable that is gone, and a removal that is undone.
#[test]
fn retirement_is_final() {
    check(retirement);
}

/// Against a sleeper that nobody wakes.
#[test]
fn no_wake_up_is_lost() {
    check(|| waiters(|party| assert!(party.write(1).is_ok())));
    check(|| waiters(|party| party.variable.retire(party)));
}
