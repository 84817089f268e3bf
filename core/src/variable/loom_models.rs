//! The protocol under the model checker: the shipped code, run in every order
//! and with every stale value that the memory model allows, up to three
//! preemptions (or `LOOM_MAX_PREEMPTIONS`).
//!
//! ```text
//! RUSTFLAGS="--cfg robot_ipc_loom" cargo test --release -p robot-ipc-core --lib
//! ```
//!
//! What stands here instead of the real thing: a segment is a few objects of
//! loom; an index is held by a lock word, as by a kernel lock; a futex is a
//! mutex and a condition variable; death is an unwinding after which the index
//! is let go of. A payload has two words, reached atomically like the real ones,
//! and beside them a cell that is touched by whoever needs the payload for
//! himself: a writer while it fills, a borrower while it reads in place. Loom
//! reports two of them at once, and two that are not ordered by the protocol.
//!
//! The second half weakens one [`Site`] at a time and expects a failure.

extern crate std;

use super::word::{Stamp, version_halves};
use super::*;
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::weakened;
use core::cell::Cell;
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

/// The version every model starts from: the next write changes the upper half.
const START: u64 = (1 << 31) - 1;
/// Bytes of a payload.
const SIZE: u32 = 8;

// ------------------------------------------------------------- the surroundings

struct Slot {
    owner: AtomicU32,
    head: SlotHead,
    words: [AtomicU32; 2],
    /// Touched by whoever needs the payload for himself.
    exclusive: UnsafeCell<()>,
}

struct Shared {
    /// Stored to before each access, and never read: see [`Segment::any_thread`].
    turn: AtomicU32,
    latest: AtomicU32,
    slots: Vec<Slot>,
    /// By index: 1 while somebody holds it. Indices past the end are held for ever.
    held: Vec<AtomicU32>,
    futex: Mutex<()>,
    changed: Condvar,
}

// SAFETY: nobody uses the pointers that the cells give out; the cells are there
// for loom to watch who asks for one.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

/// A variable of the model. Slot 0 is the latest, and all in it is 0.
#[derive(Clone)]
struct Segment(Arc<Shared>);

impl Segment {
    /// With `slots` slots; the participants below `mortals` live, and can die.
    fn new(slots: usize, mortals: usize) -> Segment {
        let word = AtomicU32::new;
        let slot = |number| Slot {
            owner: word(0),
            head: SlotHead {
                stamp: word(if number == 0 {
                    Stamp::new(version_halves(START).0).word()
                } else {
                    0
                }),
                high: word(0),
                length: word(SIZE),
                encoding: word(0),
                time_ns: [word(0), word(0)],
                reserved: [0; 10],
            },
            words: [word(0), word(0)],
            exclusive: UnsafeCell::new(()),
        };
        Segment(Arc::new(Shared {
            turn: word(0),
            latest: word(Latest::new(START, 0).word()),
            slots: (0..slots).map(slot).collect(),
            held: (0..mortals).map(|_| word(1)).collect(),
            futex: Mutex::new(()),
            changed: Condvar::new(),
        }))
    }

    /// Lets the checker go on with any thread here. Left to itself it overlooks
    /// orders: of the accesses to an object it remembers the last one only, so
    /// that a thread's own load hides those of the others from its swap. Stores
    /// that nobody reads order nothing, but the checker tries all their orders.
    fn any_thread(&self) {
        self.0.turn.store(0, Relaxed);
    }

    fn slot(&self, number: u32) -> &Slot {
        self.any_thread();
        &self.0.slots[number as usize]
    }

    /// Takes the index of `participant`, if nobody has it.
    fn take(&self, participant: Participant) -> Option<Index> {
        let number = participant.index() as usize;
        let free = self.0.held.get(number)?;
        free.compare_exchange(0, 1, Acquire, Relaxed).ok()?;
        Some(Index(self.clone(), number))
    }

    /// As the kernel does: looks at the word again where no waker can come
    /// between, and sleeps if it has not changed.
    fn sleep(&self, word: u32) {
        let asleep = self.0.futex.lock().unwrap();
        if self.0.latest.load(Relaxed) == word {
            drop(self.0.changed.wait(asleep).unwrap());
        }
    }

    /// The payload, as its words are now.
    fn payload(&self, slot: u32) -> [u32; 2] {
        let [first, second] = &self.slot(slot).words;
        [first.load(Relaxed), second.load(Relaxed)]
    }
}

impl Memory for Segment {
    fn slot_count(&self) -> u32 {
        self.0.slots.len() as u32
    }
    fn max_size(&self) -> u32 {
        SIZE
    }
    fn latest(&self) -> &AtomicU32 {
        self.any_thread();
        &self.0.latest
    }
    fn owner(&self, slot: u32) -> &AtomicU32 {
        &self.slot(slot).owner
    }
    fn head(&self, slot: u32) -> &SlotHead {
        &self.slot(slot).head
    }
    fn fill(&self, slot: u32, _offset: usize, bytes: &[u8]) {
        let slot = self.slot(slot);
        slot.exclusive.with_mut(|_| ());
        for (word, bytes) in slot.words.iter().zip(bytes.as_chunks().0) {
            word.store(u32::from_ne_bytes(*bytes), Relaxed);
        }
    }
    fn copy(&self, slot: u32, _offset: usize, bytes: &mut [u8]) {
        let words = &self.slot(slot).words;
        for (word, bytes) in words.iter().zip(bytes.as_chunks_mut().0) {
            *bytes = word.load(Relaxed).to_ne_bytes();
        }
    }
}

/// An index that is held until this is dropped.
struct Index(Segment, usize);

impl Drop for Index {
    fn drop(&mut self) {
        self.0.0.held[self.1].store(0, Release);
    }
}

/// A participant, and the environment it runs in. It writes one number in every
/// place: both words, encoding and time.
struct Party {
    me: Participant,
    variable: Variable<Segment>,
    suspects: Suspects,
    now: Cell<u32>,
    dies_after: Option<Step>,
}

impl Party {
    fn new(segment: &Segment, index: u32) -> Party {
        Party {
            me: Participant::new(index).unwrap(),
            variable: Variable::new(segment.clone()),
            suspects: Suspects::new(),
            now: Cell::new(0),
            dies_after: None,
        }
    }

    /// Writes `number`; the version it has got.
    fn write(&self, number: u32) -> Result<u64, WriteError> {
        self.now.set(number);
        let (bytes, encoding) = (bytes_of(number), Encoding(number));
        let sample = self
            .variable
            .write(self, self.me, &self.suspects, &bytes, encoding)?;
        Ok(sample.version)
    }

    /// Fills a claimed slot with `number` and publishes it.
    fn publish(
        &self,
        claim: Claim,
        number: u32,
        replaces: Option<u64>,
    ) -> Result<u64, (PublishError, Claim)> {
        self.now.set(number);
        self.variable.fill(&claim, 0, &bytes_of(number)).unwrap();
        let details = Details {
            length: SIZE,
            encoding: Encoding(number),
            replaces,
        };
        let sample = self.variable.publish(self, self.me, claim, &details)?;
        Ok(sample.version)
    }

    fn claim(&self) -> Claim {
        self.variable.claim(self, self.me, &self.suspects).unwrap()
    }

    /// Writes `number` and dies on the way, at the latest when it is done.
    /// Returns whether the number was published.
    fn write_and_die(mut self, number: u32, after: Step) -> bool {
        self.dies_after = Some(after);
        let written = catch_unwind(AssertUnwindSafe(|| self.write(number).is_ok()));
        self.let_go();
        written.unwrap_or(matches!(after, Step::Published | Step::Released))
    }

    /// What the kernel does when a process is gone: nobody holds its index.
    fn let_go(&self) {
        let index = self.me.index() as usize;
        self.variable.memory().0.held[index].store(0, Release);
    }

    /// The latest number and its version, all parts agreeing.
    fn read(&self) -> Result<(u32, u64), ReadError> {
        let mut bytes = [0; 8];
        let sample = self.variable.read(&mut bytes)?;
        let number = sample.encoding.0;
        assert_eq!(bytes, bytes_of(number), "torn: {sample:?}");
        assert_eq!((sample.time_ns, sample.length), (number.into(), SIZE));
        Ok((number, sample.version))
    }
}

impl Environment for Party {
    type Recovery = Index;
    fn now_ns(&self) -> u64 {
        self.now.get().into()
    }
    fn wake_all(&self, _word: &AtomicU32) {
        let shared = &self.variable.memory().0;
        drop(shared.futex.lock().unwrap());
        shared.changed.notify_all();
    }
    fn try_take(&self, participant: Participant) -> Option<Index> {
        self.variable.memory().take(participant)
    }
    fn step(&self, step: Step) {
        if self.dies_after == Some(step) {
            resume_unwind(Box::new("dead"));
        }
    }
}

fn bytes_of(number: u32) -> [u8; 8] {
    (u64::from(number) << 32 | u64::from(number)).to_ne_bytes()
}

/// Runs `model` in every order.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}

// ------------------------------------------------------------------- the models

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

fn writer_and_reader() {
    writer_and(|reader| {
        if let Ok((number, version)) = reader.read() {
            assert_eq!(version, START + u64::from(number));
        }
    });
}

fn writer_and_watcher() {
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
fn two_writers() {
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
fn borrower_and_writer() {
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
    let mut pins = Pins::new();
    match borrower.variable.pin(&borrower, borrower.me, &mut pins) {
        Ok(pin) => {
            let number = pin.sample().encoding.0;
            assert_eq!(pin.sample().version, START + u64::from(number));
            segment.0.slots[pin.slot() as usize].exclusive.with(|_| {
                assert_eq!(segment.payload(pin.slot()), [number; 2]);
                assert_eq!(segment.payload(pin.slot()), [number; 2]);
            });
            borrower
                .variable
                .unpin(&borrower, borrower.me, &mut pins, pin);
        }
        Err(error) => assert_eq!(error, BorrowError::Read(ReadError::Contended)),
    }
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
fn recovered_by_another() {
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

// ---------------------------------------------------------------- what they show

/// Against a value mixed from two writes, and one that goes back.
#[test]
fn a_read_is_whole() {
    check(writer_and_reader);
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

/// Against clearing the marks of a newcomer for those of its predecessor.
#[test]
fn a_newcomer_keeps_what_it_claims_while_its_index_is_recovered() {
    check(index_reused);
}

/// Against a sleeper that nobody wakes.
#[test]
fn no_wake_up_is_lost() {
    check(|| waiters(|party| assert!(party.write(1).is_ok())));
    check(|| waiters(|party| party.variable.retire(party)));
}

// ------------------------------------------------- what shows that it is needed

/// Expects that `model` fails when `site` is weakened, and by what it asserts.
fn fails_without(site: Site, model: fn()) {
    weakened::set(Some(site));
    let outcome = catch_unwind(|| check(model));
    weakened::set(None);
    let failure = outcome.expect_err("no execution fails without it");
    let message = failure
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| failure.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert!(
        !message.contains("exceeded"),
        "the checker gave up: {message}"
    );
}

macro_rules! each_site_is_needed {
    ($($(#[$against:meta])* $name:ident: $site:ident in $model:ident;)*) => {
        $($(#[$against])* #[test] fn $name() {
            fails_without(Site::$site, $model);
        })*

        /// A site that is in no model does not compile.
        const _: fn(Site) = |site| match site {
            $(Site::$site => (),)*
        };
    };
}

each_site_is_needed! {
    /// Against writing a slot in which the last writer is still at work.
    without_acquire_a_claim_takes_the_latest_slot: Claim in two_writers;
    /// Against writing the latest slot, which was another one a moment ago.
    without_a_second_look_a_claim_takes_the_latest_slot: Recheck in two_writers;
    /// Against a payload that is changed before it is marked.
    without_its_fence_the_busy_mark_comes_too_late: BusyFence in writer_and_reader;
    /// Against a word that leads to a payload that is not there yet.
    without_release_a_publication_comes_too_early: Publish in writer_and_reader;
    /// Against a slot that is free before it is known to be the latest.
    without_release_a_claim_ends_too_early: ReleaseClaim in two_writers;
    /// Against counting on from half of an old version.
    without_acquire_a_writer_counts_from_an_old_version: ObserveToWrite in two_writers;
    /// Against reading what lay in the slot before.
    without_acquire_a_reader_finds_an_old_payload: Observe in writer_and_reader;
    /// Against checking a stamp before the copy is made.
    without_its_fence_a_copy_is_validated_too_early: ValidateFence in writer_and_reader;
    /// Against a pin on a slot whose last writer has published unseen.
    without_acquire_a_pin_holds_another_value: Pin in borrower_and_writer;
    /// Against a pin on a slot that got another value before it was set.
    without_a_second_look_a_pin_holds_another_value: PinRecheck in borrower_and_writer;
    /// Against a value that is written while it is still being read in place.
    without_release_a_pin_ends_too_early: Unpin in borrower_and_writer;
    /// Against a recovered slot that is free before it is known to be the latest.
    without_release_a_recovery_hides_a_publication: Recover in recovered_by_another;
}
