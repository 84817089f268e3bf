//! The protocol under the model checker: the shipped code, run in every order
//! and with every stale value that the memory model allows.
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
//! `needed` weakens one [`Site`] at a time and expects a failure.

extern crate std;

mod deaths;
mod exclusive;
mod needed;
mod plain;
mod values;

use super::word::{Stamp, version_halves};
use super::*;
use crate::environment::{Environment, Step};
use crate::loom_models::{check, check_within};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use core::cell::Cell;
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
    lease: AtomicU32,
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
            lease: word(0),
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
        let acquire = Site::Proof.order(Acquire);
        free.compare_exchange(0, 1, acquire, Relaxed).ok()?;
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
    fn lease(&self) -> &AtomicU32 {
        self.any_thread();
        &self.0.lease
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

    /// Becomes the only writer, unless somebody is, or is at work.
    fn lease(&self) -> Option<Lease> {
        let mut lease = self.variable.begin_lease(self, self.me).ok()?;
        let settled = self
            .variable
            .settle(self, self.me, &self.suspects, &mut lease);
        if settled.is_ok() {
            return Some(lease);
        }
        self.variable.end_lease(self, self.me);
        None
    }

    /// Writes `number` as the only writer; the version it has got.
    fn write_exclusively(&self, lease: &mut Lease, number: u32) -> Result<u64, WriteError> {
        self.now.set(number);
        let details = ExclusiveDetails {
            encoding: Encoding(number),
            has_time: true,
        };
        let bytes = bytes_of(number);
        let written = self
            .variable
            .write_exclusively(self, lease, &bytes, details);
        Ok(written?.version)
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

    /// Borrows the latest value, if it can be had, looks at it twice, and gives it back.
    fn read_in_place(&self) {
        let (segment, mut pins) = (self.variable.memory(), Pins::new());
        match self.variable.pin(self, self.me, &mut pins) {
            Ok(pin) => {
                let number = pin.sample().encoding.0;
                assert_eq!(pin.sample().version, START + u64::from(number));
                segment.0.slots[pin.slot() as usize].exclusive.with(|_| {
                    assert_eq!(segment.payload(pin.slot()), [number; 2]);
                    assert_eq!(segment.payload(pin.slot()), [number; 2]);
                });
                self.variable.unpin(self, self.me, &mut pins, pin);
            }
            Err(error) => assert_eq!(error, BorrowError::Read(ReadError::Contended)),
        }
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
