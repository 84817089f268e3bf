//! The host variable: a latest value with many readers and many writers.
//!
//! # What it guarantees
//!
//! - A read returns bytes, length, encoding, time and version of one and the
//!   same write, and of the latest one published when it began, or a later one.
//! - A write that reports success was, for a moment, the latest value, and its
//!   version is one more than that of the value it replaced.
//! - Nobody waits for anybody: of the writers at work at any moment one makes
//!   progress, and readers that copy can neither block nor be seen.
//! - A participant that dies at any step leaves the latest value as it was, and
//!   costs at most the slot it held until somebody recovers it.
//!
//! # How
//!
//! The value lives in one of 2 to 62 *slots*; the word `latest` says in which.
//! A writer takes another slot, fills it, and then makes that one the latest
//! with a single compare-and-swap. So the latest slot is never being written.
//!
//! ```text
//! latest   version:24 | retired:1 | waiting:1 | slot:6     (slot 63: nothing written)
//! owner    claim:8    | pins:24                            one per slot
//! stamp    version:31 | busy:1                             one per slot
//! high     the version's upper 32 bits                     one per slot
//! ```
//!
//! A version has 63 bits: 32 in `high`, 31 in `stamp`; `latest` carries the low
//! 24 of them, so that a reader can tell whether a slot still holds the value
//! that `latest` promised.
//!
//! # Who may write each word
//!
//! | word | who |
//! |---|---|
//! | `latest` | a writer that holds a claim (publish), a waiter (waiting bit), whoever retires the variable (retired bit): always by compare-and-swap or `fetch_or` |
//! | `owner`: claim | a writer from 0; that writer, or after its death whoever recovers it, back to 0 |
//! | `owner`: pin bit *i* | participant *i*; after its death whoever recovers it |
//! | `stamp`, `high`, length, encoding, time, payload | only who holds the claim |
//!
//! # The steps
//!
//! *Write.* 1 look at `latest`. 2 claim: from the slot after the latest on, take
//! the first whose owner word is 0. 3 look at `latest` again: if it is this slot
//! now, let go and go on searching. 4 mark the stamp busy, then a fence. 5 payload,
//! length, encoding, time. 6 version and high half of it, not busy. 7 publish: swap
//! `latest`; if somebody else was faster, back to 6. 8 let go of the claim. 9 wake
//! those who wait, if `latest` said that there are any.
//!
//! *Read.* Look at `latest`; look at the stamp: not busy, and the version that
//! `latest` named; copy; a fence; the stamp must be unchanged. Else again.
//!
//! *Borrow.* Set one's bit in the owner word of the latest slot. If nobody has
//! claimed it and it still is the latest, nobody can write it before the bit is
//! cleared, since a writer claims only from exactly 0.
//!
//! *Wait.* Set the waiting bit by compare-and-swap on the very word one is going
//! to sleep on; whoever publishes clears it in the same swap and so learns of it.
//!
//! # If a party dies
//!
//! | after step | what is left | what others see |
//! |---|---|---|
//! | write 2, 3 | a claim on a slot that is not the latest | one slot fewer |
//! | write 4, 5 | the same, the slot busy or half filled | the same: nobody reads it |
//! | write 6 | the same; the slot has a version, but `latest` does not name it | the same |
//! | write 7 | the value is published, its slot claimed | the new value; the claim is cleared by recovery |
//! | write 8 | nobody wakes those who wait | they look again at the end of their slice |
//! | borrow | a pin bit | one slot fewer |
//! | recovery | a part of the marks is cleared | the next recovery clears the rest |
//!
//! Recovery clears the marks of one participant while holding the proof that it
//! is dead and that nobody takes over its index. It is safe to repeat.
//!
//! # Counters
//!
//! The version wraps after 2^63 writes. Its 24 bits in `latest` matter to a writer
//! that stalls between looking at `latest` and swapping it: if exactly a multiple
//! of 2^24 values are published meanwhile and the last one lies in the slot that
//! it saw, the swap succeeds and a version is given a second time. The published
//! values are whole all the same.

#[cfg(not(robot_ipc_loom))]
mod layout;
#[cfg(all(test, robot_ipc_loom))]
mod loom_models;
mod pins;
mod suspects;
#[cfg(all(test, not(robot_ipc_loom)))]
mod tests;
mod word;

#[cfg(not(robot_ipc_loom))]
pub use layout::{
    InitialBytes, MappedVariable, SLOTS_OFFSET, StaticVariable, VariableControl, VariableGeometry,
    initial_bytes,
};
pub use pins::{BorrowError, Pin, Pins};
pub use suspects::Suspects;
pub use word::Latest;

use crate::codec::Encoding;
use crate::environment::{Environment, Step};
use crate::participant::{MAX_PARTICIPANTS, Participant};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Site, fence};
use word::{Stamp, claim_of, pins_of, version_halves};

/// The fewest slots a variable can have.
pub const MIN_SLOTS: u32 = 2;
/// The most slots a variable can have.
pub const MAX_SLOTS: u32 = 62;
/// How many slots a variable has unless it is asked for others.
pub const DEFAULT_SLOTS: u32 = 14;
/// The largest value a variable can be made for, in bytes (1 GiB).
pub const MAX_VALUE_SIZE: u32 = 1 << 30;
/// How large the values of a variable can be unless it is asked for others.
pub const DEFAULT_VALUE_SIZE: u32 = 4096;
/// Versions are counted modulo this.
pub const VERSION_MODULUS: u64 = 1 << 63;

/// How often a read starts again before it reports [`ReadError::Contended`].
const READ_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 3 } else { 16 };
/// How often a publication is tried again before it reports
/// [`PublishError::Contended`].
const PUBLISH_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 8 } else { 64 };

/// What a slot says of its payload.
///
/// ```text
///  0       4      8        12         16         24        64
///  +-------+------+--------+----------+----------+---------+
///  | stamp | high | length | encoding | time_ns  | reserved|
///  +-------+------+--------+----------+----------+---------+
/// ```
#[cfg_attr(not(robot_ipc_loom), repr(C, align(64)))]
#[derive(Debug)]
pub struct SlotHead {
    /// version:31 | busy:1.
    pub stamp: AtomicU32,
    /// The version's upper 32 bits.
    pub high: AtomicU32,
    /// Bytes of the payload.
    pub length: AtomicU32,
    /// How they were made, an [`Encoding`].
    pub encoding: AtomicU32,
    /// When it was written: CLOCK_BOOTTIME in ns, low word, high word.
    pub time_ns: [AtomicU32; 2],
    /// Zero.
    pub reserved: [u32; 10],
}

/// How the protocol reaches the words of a variable: in mapped or static
/// memory ([`MappedVariable`]), or as objects the model checker watches.
///
/// Slot numbers are below [`slot_count`](Memory::slot_count); implementations
/// stay inside their memory for any number.
pub trait Memory {
    /// How many slots there are: 2 to 62.
    fn slot_count(&self) -> u32;
    /// How many bytes a payload can have.
    fn max_size(&self) -> u32;
    /// The word that says which slot is the latest.
    fn latest(&self) -> &AtomicU32;
    /// The word that says who holds a slot.
    fn owner(&self, slot: u32) -> &AtomicU32;
    /// The other words of a slot.
    fn head(&self, slot: u32) -> &SlotHead;
    /// Copies `bytes` into a slot's payload at `offset`, by relaxed words.
    fn fill(&self, slot: u32, offset: usize, bytes: &[u8]);
    /// Copies a slot's payload from `offset` out, by relaxed words.
    fn copy(&self, slot: u32, offset: usize, bytes: &mut [u8]);
}

/// What was read beside the bytes, all of one and the same write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Counts the writes, from 1.
    pub version: u64,
    /// When it was written, in ns since boot; 0 if the writer had no clock.
    pub time_ns: u64,
    /// How many bytes the value has; more than were copied if the buffer was
    /// smaller.
    pub length: u32,
    /// How they were made.
    pub encoding: Encoding,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Nobody has written a value yet.
    NeverWritten,
    /// The variable has been removed.
    Retired,
    /// Writers were faster in every one of a fixed number of tries. Try again.
    Contended,
    /// The words in memory contradict each other.
    Corrupt,
}

/// Why no slot could be had for a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// The variable has been removed.
    Retired,
    /// All slots but the latest are written, pinned or loaned. Try again.
    NoFreeSlot,
    /// The words in memory contradict each other.
    Corrupt,
}

/// Why a filled slot was not made the latest. The claim is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The variable has been removed.
    Retired,
    /// It was to replace one version only, and that is not the latest any more.
    Changed {
        /// The one that is.
        version: u64,
    },
    /// Others were faster in every one of a fixed number of tries. Try again.
    Contended,
    /// The words in memory contradict each other.
    Corrupt,
}

/// Why a value was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It has more bytes than the variable can hold.
    TooLarge {
        /// How many it has.
        size: usize,
        /// How many it may have.
        max_size: u32,
    },
    /// No slot for it.
    Claim(ClaimError),
    /// Not published.
    Publish(PublishError),
}

/// A slot that is mine to fill. It has to be given back, by publishing it or by
/// [`abandon`](Variable::abandon): a claim that is forgotten stays until its
/// process ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a claim that is dropped keeps its slot until the process ends"]
pub struct Claim {
    slot: u32,
}

impl Claim {
    /// The slot's number.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// A claim taken apart with [`slot`](Claim::slot) before, put together
    /// again: for interfaces that cannot hold a Rust object.
    pub fn from_slot(slot: u32) -> Claim {
        Claim { slot }
    }
}

/// What stands beside the bytes of a value that is being published.
#[derive(Clone, Copy, Debug)]
pub struct Details {
    /// How many bytes were filled in.
    pub length: u32,
    /// How they were made.
    pub encoding: Encoding,
    /// Publish only if this version is the latest.
    pub replaces: Option<u64>,
}

/// A host variable in some memory.
#[derive(Clone, Copy, Debug)]
pub struct Variable<M> {
    memory: M,
}

impl<M: Memory> Variable<M> {
    /// The variable in `memory`.
    pub const fn new(memory: M) -> Self {
        Variable { memory }
    }

    /// Where it lies.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// The word that says which slot is the latest, as it is now.
    #[inline]
    pub fn latest(&self) -> Latest {
        // SYNC observe ↔ publish: what the writer did before it published must
        // not be looked for before the word that names the slot was read.
        Latest::from_word(self.memory.latest().load(Site::Observe.order(Acquire)))
    }

    // ---------------------------------------------------------------- write

    /// Writes a whole value: claim, fill, publish. Tries each a bounded number
    /// of times.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing was published then.
    pub fn write<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
        bytes: &[u8],
        encoding: Encoding,
    ) -> Result<Sample, WriteError> {
        let length = self.check_size(bytes.len())?;
        let claim = self
            .claim(environment, me, suspects)
            .map_err(WriteError::Claim)?;
        self.memory.fill(claim.slot, 0, bytes);
        environment.step(Step::Filled);
        let details = Details {
            length,
            encoding,
            replaces: None,
        };
        self.publish(environment, me, claim, &details)
            .map_err(|(error, claim)| {
                self.abandon(environment, me, claim);
                WriteError::Publish(error)
            })
    }

    /// `size` as the length of a payload.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`].
    pub fn check_size(&self, size: usize) -> Result<u32, WriteError> {
        let max_size = self.memory.max_size();
        match u32::try_from(size) {
            Ok(length) if length <= max_size => Ok(length),
            _ => Err(WriteError::TooLarge { size, max_size }),
        }
    }

    /// Steps 1 to 4: a slot that is mine, not the latest, and marked busy.
    ///
    /// A slot whose marks have not changed for a millisecond is looked into:
    /// whoever of its holders is dead is recovered. `suspects` remembers that.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn claim<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
    ) -> Result<Claim, ClaimError> {
        let count = self.memory.slot_count();
        // Relaxed: only where to start; step 3 looks again.
        let latest = Latest::from_word(self.memory.latest().load(Relaxed));
        if latest.retired() {
            return Err(ClaimError::Retired);
        }
        let start = match latest.slot() {
            Some(slot) if slot >= count => return Err(ClaimError::Corrupt),
            Some(slot) => slot,
            None => count - 1,
        };
        environment.step(Step::Looked);
        let mut slot = start;
        for _ in 0..count {
            slot = if slot + 1 >= count { 0 } else { slot + 1 };
            let owner = self.memory.owner(slot);
            let marks = owner.load(Relaxed);
            if marks != 0 && !self.look_into(environment, me, suspects, slot, marks) {
                continue;
            }
            // SYNC claim ↔ release-claim, unpin, recover: nothing this writer
            // does to the slot may happen before the last holder was done.
            let mine = word::claimed_by(me.claim());
            if owner
                .compare_exchange(0, mine, Site::Claim.order(Acquire), Relaxed)
                .is_err()
            {
                continue;
            }
            environment.step(Step::Claimed);
            // Relaxed: the swap above has made everything visible that was done
            // before the slot was let go of, its publication included.
            let latest = Latest::from_word(self.memory.latest().load(Relaxed));
            if Site::Recheck.present() && latest.slot() == Some(slot) {
                self.release(owner);
                continue;
            }
            environment.step(Step::Rechecked);
            let stamp = &self.memory.head(slot).stamp;
            // `|=`, not `+ 1`: a writer that died here has left it busy.
            stamp.store(Stamp::from_word(stamp.load(Relaxed)).busy().word(), Relaxed);
            // SYNC busy ↔ validate: the mark must not be seen after any of the
            // payload that follows it.
            if Site::BusyFence.present() {
                fence(Release);
            }
            environment.step(Step::Busy);
            return Ok(Claim { slot });
        }
        Err(ClaimError::NoFreeSlot)
    }

    /// Copies `bytes` into a claimed slot's payload at `offset` (part of step 5).
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] if they reach past the largest size.
    pub fn fill(&self, claim: &Claim, offset: usize, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_size(offset.saturating_add(bytes.len()))?;
        self.memory.fill(claim.slot, offset, bytes);
        Ok(())
    }

    /// Steps 5 (all but the payload) to 9.
    ///
    /// # Errors
    /// [`PublishError`], and the claim again, to publish it once more or to
    /// [`abandon`](Variable::abandon) it.
    pub fn publish<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        claim: Claim,
        details: &Details,
    ) -> Result<Sample, (PublishError, Claim)> {
        debug_assert_eq!(
            claim_of(self.memory.owner(claim.slot).load(Relaxed)),
            me.claim()
        );
        let head = self.memory.head(claim.slot);
        let time_ns = environment.now_ns();
        head.length.store(details.length, Relaxed);
        head.encoding.store(details.encoding.0, Relaxed);
        head.time_ns[0].store(time_ns as u32, Relaxed);
        head.time_ns[1].store((time_ns >> 32) as u32, Relaxed);

        let word = self.memory.latest();
        // SYNC observe-to-write ↔ publish: the latest version's upper half must
        // not be older than the word that names its slot.
        let observe = Site::ObserveToWrite.order(Acquire);
        let mut latest = Latest::from_word(word.load(observe));
        for _ in 0..PUBLISH_ATTEMPTS {
            if latest.retired() {
                return Err((PublishError::Retired, claim));
            }
            let Some(version) = self.version_named_by(latest) else {
                if latest
                    .slot()
                    .is_some_and(|slot| slot >= self.memory.slot_count())
                {
                    return Err((PublishError::Corrupt, claim));
                }
                latest = Latest::from_word(word.load(observe));
                continue;
            };
            if details.replaces.is_some_and(|replaces| replaces != version) {
                return Err((PublishError::Changed { version }, claim));
            }
            let version = (version + 1) % VERSION_MODULUS;
            let (low, high) = version_halves(version);
            head.high.store(high, Relaxed);
            head.stamp.store(Stamp::new(low).word(), Relaxed);
            environment.step(Step::Stamped);
            let next = Latest::new(version, claim.slot);
            // SYNC publish ↔ observe, observe-to-write: payload, details and
            // stamp must not be seen after the word that leads to them.
            match word.compare_exchange(
                latest.word(),
                next.word(),
                Site::Publish.order(Release),
                Relaxed,
            ) {
                Ok(_) => {
                    environment.step(Step::Published);
                    self.release(self.memory.owner(claim.slot));
                    environment.step(Step::Released);
                    if latest.waiting() {
                        environment.wake_all(word);
                    }
                    environment.step(Step::Woken);
                    let Details {
                        length, encoding, ..
                    } = *details;
                    return Ok(Sample {
                        version,
                        time_ns,
                        length,
                        encoding,
                    });
                }
                Err(_) => latest = Latest::from_word(word.load(observe)),
            }
        }
        Err((PublishError::Contended, claim))
    }

    /// Gives a claimed slot back unpublished. It stays busy, and free.
    pub fn abandon<E: Environment>(&self, environment: &E, me: Participant, claim: Claim) {
        debug_assert_eq!(
            claim_of(self.memory.owner(claim.slot).load(Relaxed)),
            me.claim()
        );
        self.release(self.memory.owner(claim.slot));
        environment.step(Step::Released);
    }

    /// Lets go of my claim. Not by a store: a borrower may have set its bit
    /// meanwhile, and will clear it itself.
    fn release(&self, owner: &AtomicU32) {
        // SYNC release-claim ↔ claim, pin: nothing done to the slot, nor its
        // publication, may be seen after it is free.
        owner.fetch_and(word::PINS_MASK, Site::ReleaseClaim.order(Release));
    }

    /// The version that `latest` stands for: 0 before the first write, `None`
    /// if its slot does not hold it (any more).
    fn version_named_by(&self, latest: Latest) -> Option<u64> {
        let Some(slot) = latest.slot() else {
            return Some(0);
        };
        if slot >= self.memory.slot_count() {
            return None;
        }
        let head = self.memory.head(slot);
        let stamp = Stamp::from_word(head.stamp.load(Relaxed));
        if !latest.names(stamp) {
            return None;
        }
        let version = stamp.version(head.high.load(Relaxed));
        // SYNC validate ↔ busy: as in a read, the upper half belongs to the
        // stamp if nobody has touched the slot meanwhile.
        if Site::ValidateFence.present() {
            fence(Acquire);
        }
        (head.stamp.load(Relaxed) == stamp.word()).then_some(version)
    }

    // ----------------------------------------------------------------- read

    /// Copies the latest value into `buffer`, or its beginning if the buffer is
    /// smaller, and says what it is. Touches nothing that others write to.
    ///
    /// # Errors
    /// [`ReadError`]; the buffer's contents are then unspecified.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> Result<Sample, ReadError> {
        self.read_with(|slot, length| {
            let length = buffer.len().min(length as usize);
            self.memory.copy(slot, 0, &mut buffer[..length]);
        })
    }

    /// What a read would say of the latest value, without copying it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn sample(&self) -> Result<Sample, ReadError> {
        self.read_with(|_, _| {})
    }

    /// The latest value in a buffer of its own, without an allocator. A value
    /// longer than `N` is cut; its sample tells its length.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_vec<const N: usize>(&self) -> Result<(heapless::Vec<u8, N>, Sample), ReadError> {
        let mut value = heapless::Vec::new();
        let sample = self.read_with(|slot, length| {
            value.clear();
            // Cannot fail: at most N.
            let _ = value.resize(N.min(length as usize), 0);
            self.memory.copy(slot, 0, &mut value);
        })?;
        Ok((value, sample))
    }

    /// The steps of a read around `copy`, which gets a slot and a length that is
    /// at most the largest size, and may be called several times.
    #[inline]
    fn read_with(&self, mut copy: impl FnMut(u32, u32)) -> Result<Sample, ReadError> {
        for _ in 0..READ_ATTEMPTS {
            let latest = self.latest();
            if latest.retired() {
                return Err(ReadError::Retired);
            }
            let Some(slot) = latest.slot() else {
                return Err(ReadError::NeverWritten);
            };
            if slot >= self.memory.slot_count() {
                return Err(ReadError::Corrupt);
            }
            let Some((sample, stamp)) = self.sample_of(slot, latest) else {
                continue;
            };
            copy(slot, sample.length.min(self.memory.max_size()));
            // SYNC validate ↔ busy: none of the loads above may be done after
            // the one below.
            if Site::ValidateFence.present() {
                fence(Acquire);
            }
            if self.memory.head(slot).stamp.load(Relaxed) == stamp.word() {
                if sample.length > self.memory.max_size() {
                    return Err(ReadError::Corrupt);
                }
                return Ok(sample);
            }
        }
        Err(ReadError::Contended)
    }

    /// What `slot` says of its payload, if it holds the value `latest` promised.
    #[inline(always)]
    fn sample_of(&self, slot: u32, latest: Latest) -> Option<(Sample, Stamp)> {
        let head = self.memory.head(slot);
        let stamp = Stamp::from_word(head.stamp.load(Relaxed));
        if !latest.names(stamp) {
            return None;
        }
        let sample = Sample {
            version: stamp.version(head.high.load(Relaxed)),
            time_ns: u64::from(head.time_ns[0].load(Relaxed))
                | u64::from(head.time_ns[1].load(Relaxed)) << 32,
            length: head.length.load(Relaxed),
            encoding: Encoding(head.encoding.load(Relaxed)),
        };
        Some((sample, stamp))
    }

    /// The latest version, 0 before the first write, and the word it was found
    /// by, to sleep on.
    ///
    /// # Errors
    /// [`ReadError`], but not `NeverWritten`.
    pub fn version(&self) -> Result<(u64, Latest), ReadError> {
        for _ in 0..READ_ATTEMPTS {
            let latest = self.latest();
            if latest.retired() {
                return Err(ReadError::Retired);
            }
            if latest
                .slot()
                .is_some_and(|slot| slot >= self.memory.slot_count())
            {
                return Err(ReadError::Corrupt);
            }
            if let Some(version) = self.version_named_by(latest) {
                return Ok((version, latest));
            }
        }
        Err(ReadError::Contended)
    }

    // ----------------------------------------------------------------- wait

    /// Sets the waiting bit beside `seen`; the word to sleep on, or `None` if
    /// `latest` has changed since.
    pub fn arm(&self, seen: Latest) -> Option<u32> {
        let armed = seen.with_waiting();
        if armed != seen {
            // Relaxed: the sleep compares the word again, and what woke it is
            // read after that.
            self.memory
                .latest()
                .compare_exchange(seen.word(), armed.word(), Relaxed, Relaxed)
                .ok()?;
        }
        Some(armed.word())
    }

    // --------------------------------------------------------------- retire

    /// Makes every later operation on the variable fail, and wakes those who
    /// wait. A write that has not published yet will not.
    pub fn retire<E: Environment>(&self, environment: &E) {
        let word = self.memory.latest();
        // Relaxed: the publishing swap fails on a changed word, whatever else
        // its writer sees.
        word.fetch_or(word::RETIRED, Relaxed);
        environment.wake_all(word);
    }

    // -------------------------------------------------------------- recover

    /// Clears the marks of `dead` from all slots. `_proof` shows that it is dead
    /// and keeps its index unused. Returns how many slots it held.
    pub fn recover<E: Environment>(
        &self,
        environment: &E,
        dead: Participant,
        _proof: &E::Recovery,
    ) -> u32 {
        environment.step(Step::Taken);
        let pin = dead.pin_bit().unwrap_or(0);
        let mut held = 0;
        for slot in 0..self.memory.slot_count() {
            let owner = self.memory.owner(slot);
            let marks = owner.load(Relaxed);
            let claim = if claim_of(marks) == dead.claim() {
                word::CLAIM_MASK
            } else {
                0
            };
            let mine = claim | (marks & pin);
            if mine != 0 {
                // SYNC recover ↔ claim: what the dead did, which the proof is
                // ordered after, must not be seen after the slot is free.
                owner.fetch_and(!mine, Site::Recover.order(Release));
                held += 1;
                environment.step(Step::Recovered);
            }
        }
        held
    }

    /// Recovers `participant` if it is dead. Returns whether it was.
    pub fn reap<E: Environment>(&self, environment: &E, participant: Participant) -> bool {
        match environment.try_take(participant) {
            Some(proof) => {
                self.recover(environment, participant, &proof);
                true
            }
            None => false,
        }
    }

    /// Recovers every dead participant that holds a slot, except `me`.
    pub fn reap_all<E: Environment>(&self, environment: &E, me: Participant) {
        let mut asked = [0u32; MAX_PARTICIPANTS.div_ceil(32) as usize];
        for slot in 0..self.memory.slot_count() {
            for holder in holders_of(self.memory.owner(slot).load(Relaxed)) {
                let (word, bit) = (holder.index() as usize / 32, 1 << (holder.index() % 32));
                if holder != me && asked[word] & bit == 0 {
                    asked[word] |= bit;
                    self.reap(environment, holder);
                }
            }
        }
    }

    /// Who holds `slot` now: who writes it, then who has pinned it.
    pub fn holders(&self, slot: u32) -> impl Iterator<Item = Participant> {
        holders_of(self.memory.owner(slot).load(Relaxed))
    }

    /// Recovers the dead among the holders of a slot whose marks have not
    /// changed for a while. Returns whether there were any.
    #[cold]
    fn look_into<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
        slot: u32,
        marks: u32,
    ) -> bool {
        let stamp = self.memory.head(slot).stamp.load(Relaxed);
        if !suspects.pass(slot, marks, stamp, environment.now_ns()) {
            return false;
        }
        let mut freed = false;
        for holder in holders_of(marks).filter(|holder| *holder != me) {
            freed |= self.reap(environment, holder);
        }
        freed
    }
}

/// The participants named in an owner word.
fn holders_of(marks: u32) -> impl Iterator<Item = Participant> {
    let pins = pins_of(marks);
    Participant::from_claim(claim_of(marks)).into_iter().chain(
        (0..u32::BITS)
            .filter(move |bit| pins & (1 << bit) != 0)
            .filter_map(Participant::new),
    )
}
