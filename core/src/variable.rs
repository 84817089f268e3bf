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
//! lease    claim:8                                         0: any number of writers
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
//! | `lease` | a writer from 0; that writer, or after its death whoever recovers it, back to 0 |
//! | `owner`: claim | a writer from 0; that writer, or after its death whoever recovers it, back to 0 |
//! | `owner`: pin bit *i* | participant *i*; after its death whoever recovers it |
//! | `stamp`, `high`, length, encoding, time, payload | only who holds the claim |
//!
//! # The steps
//!
//! *Write.* 1 look at `latest`. 2 claim: take a slot whose owner word is 0. A process
//! goes round four slots of its own, as long as they are free, which stay in the cache
//! of its processor; a reader is still lapped only after three publications. Look at `lease`: if somebody is the only writer, let go. 3 look at `latest` again: if it is this slot
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
//! A processor without compare-and-swap, or one that shares RAM with another but no more
//! than that, takes a [`PlainVariable`]: one fixed writer, by loads and stores, and all
//! others read. Where there is no compare-and-swap nothing else is compiled.
//!
//! # If a party dies
//!
//! | after step | what is left | what others see |
//! |---|---|---|
//! | write 2, 3 | a claim on a slot that is not the latest | one slot fewer |
//! | write 4, 5 | the same, the slot busy or half filled | the same: nobody reads it |
//! | write 6 | the same; the slot has a version, but `latest` does not name it | the same |
//! | write 7 | the value is published, its slot claimed | the new value; the claim is cleared by recovery |
//! | an exclusive write | the lease, perhaps a slot that is busy or half filled | the latest value as it was; the lease is taken over |
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

#[cfg(target_has_atomic = "32")]
mod exclusive;
#[cfg(not(robot_ipc_loom))]
mod layout;
#[cfg(all(test, robot_ipc_loom))]
mod loom_models;
#[cfg(target_has_atomic = "32")]
mod pins;
mod plain;
mod read;
#[cfg(target_has_atomic = "32")]
mod recover;
#[cfg(target_has_atomic = "32")]
mod suspects;
#[cfg(all(test, not(robot_ipc_loom)))]
mod tests;
mod word;
#[cfg(target_has_atomic = "32")]
mod write;

#[cfg(target_has_atomic = "32")]
pub use exclusive::{Lease, LeaseError};
#[cfg(not(robot_ipc_loom))]
pub use layout::{
    InitialBytes, MappedVariable, PlainStaticVariable, SLOTS_OFFSET, StaticVariable,
    VariableControl, VariableGeometry, initial_bytes,
};
#[cfg(target_has_atomic = "32")]
pub use pins::{BorrowError, Pin, Pins};
pub use plain::{ExclusiveDetails, PlainVariable};
#[cfg(target_has_atomic = "32")]
pub use suspects::Suspects;
pub use word::Latest;

use crate::codec::Encoding;
use crate::participant::Participant;
use crate::sync::Ordering::Acquire;
use crate::sync::{AtomicU32, ReservedWord, Site};

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
    pub reserved: [ReservedWord; 10],
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
    /// The word that says who is the only writer: the lease.
    fn lease(&self) -> &AtomicU32;
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
    /// That one is the only writer.
    Leased(Participant),
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

    /// `size` as the length of a payload.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`].
    #[inline]
    pub fn check_size(&self, size: usize) -> Result<u32, WriteError> {
        let max_size = self.memory.max_size();
        match u32::try_from(size) {
            Ok(length) if length <= max_size => Ok(length),
            _ => Err(WriteError::TooLarge { size, max_size }),
        }
    }
}
