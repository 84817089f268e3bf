//! One fixed writer that only loads and stores.
//!
//! Two processors that share RAM do not always share more than that: the exclusive
//! accesses of a Cortex-M and of the processor that runs Linux beside it are not atomic to
//! each other, and a Cortex-M0 has none at all. In a *plain* variable nothing needs them.
//! Its header says so ([`PLAIN`](crate::header::PLAIN)), and with it who may do what: one
//! writer, chosen when the system is designed, writes; all others only read, and poll
//! where they wait. There is no lease, no claim, no pin and no waiting bit, and it cannot
//! be removed, since each of these is a word that two sides change. A
//! [`PlainVariable`] has none of those operations.
//!
//! *Write.* Steps 1 and 4 to 7 of every write (see [`variable`](super)): look at `latest`;
//! take the slot after it; mark it busy, a fence; fill it; version, not busy; then `latest`
//! is stored, where others swap it. Nobody else stores to it, so there is nothing to lose.
//! The steps between, on a slot that nobody else holds, are those of the exclusive writer.
//!
//! *Read.* As ever. A reader is lapped only after all other slots were written.
//!
//! *Death.* A writer that stops, or starts again with the memory as it was, leaves at most
//! a slot that is busy or half filled, as every writer does. It keeps nothing of its own:
//! version and slot are those that `latest` names. So it may write from an interrupt, and
//! from the main program at another time; but never from one while the other is at it.
//!
//! *Fences* are those of the compiler's target. Where it counts two processors of one RAM to
//! different shareability domains (as the ARM architecture does, between which `dmb ish` is
//! too weak on paper), the RAM has to be mapped uncached, and the caller has to know that
//! its interconnect keeps the order of such accesses.

use super::word::{Latest, Stamp, version_halves};
use super::{Memory, PublishError, ReadError, Sample, VERSION_MODULUS, Variable, WriteError};
use crate::codec::Encoding;
use crate::environment::{Environment, Step};
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::{Site, fence};

/// What an only writer writes beside the bytes.
#[derive(Clone, Copy, Debug)]
pub struct ExclusiveDetails {
    /// How the bytes were made.
    pub encoding: Encoding,
    /// Whether to ask for the time and write it.
    pub has_time: bool,
}

/// A variable with one fixed writer, which only loads and stores.
#[derive(Clone, Copy, Debug)]
pub struct PlainVariable<M> {
    variable: Variable<M>,
}

impl<M: Memory> PlainVariable<M> {
    /// The variable in `memory`, whose header has to say that it is plain.
    pub const fn new(memory: M) -> Self {
        PlainVariable {
            variable: Variable::new(memory),
        }
    }

    /// Where it lies.
    pub const fn memory(&self) -> &M {
        self.variable.memory()
    }

    /// Makes `bytes` the latest value. For the one writer, and not while it is at it: two
    /// writes at once mix their values.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`], or the words in memory contradict each other.
    #[inline]
    pub fn write<E: Environment>(
        &self,
        environment: &E,
        bytes: &[u8],
        details: ExclusiveDetails,
    ) -> Result<Sample, WriteError> {
        let memory = self.memory();
        let length = self.variable.check_size(bytes.len())?;
        // Relaxed: nobody else stores to it.
        let latest = Latest::from_word(memory.latest().load(Relaxed));
        let Some(version) = self.variable.version_named_by(latest) else {
            return Err(WriteError::Publish(PublishError::Corrupt));
        };
        let slot = match latest.slot() {
            Some(slot) if slot + 1 < memory.slot_count() => slot + 1,
            _ => 0,
        };
        let sample = self
            .variable
            .prepare(environment, slot, version, bytes, length, details);
        // SYNC publish ↔ observe: payload, details and stamp must not be seen after the
        // word that leads to them.
        let publish = Site::PlainPublish.order(Release);
        let next = Latest::new(sample.version, slot);
        memory.latest().store(next.word(), publish);
        environment.step(Step::Published);
        Ok(sample)
    }

    /// As [`Variable::read`].
    ///
    /// # Errors
    /// [`ReadError`]; the buffer's contents are then unspecified.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> Result<Sample, ReadError> {
        self.variable.read(buffer)
    }

    /// As [`Variable::read_vec`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_vec<const N: usize>(&self) -> Result<(heapless::Vec<u8, N>, Sample), ReadError> {
        self.variable.read_vec()
    }

    /// As [`Variable::sample`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn sample(&self) -> Result<Sample, ReadError> {
        self.variable.sample()
    }

    /// As [`Variable::version`], to poll for a change.
    ///
    /// # Errors
    /// [`ReadError`], but not `NeverWritten`.
    pub fn version(&self) -> Result<u64, ReadError> {
        self.variable.version().map(|(version, _)| version)
    }
}

impl<M: Memory> Variable<M> {
    /// Steps 4 to 6 of a write by an only writer, on a slot that it found free: everything
    /// but the publication of the value after `version`.
    #[inline(always)]
    pub(super) fn prepare<E: Environment>(
        &self,
        environment: &E,
        slot: u32,
        version: u64,
        bytes: &[u8],
        length: u32,
        details: ExclusiveDetails,
    ) -> Sample {
        let version = (version + 1) % VERSION_MODULUS;
        let (low, high) = version_halves(version);
        let head = self.memory.head(slot);
        head.stamp.store(Stamp::new(low).busy().word(), Relaxed);
        // SYNC busy ↔ validate: as in every write.
        if Site::ExclusiveBusyFence.present() {
            fence(Release);
        }
        environment.step(Step::Busy);
        self.memory.fill(slot, 0, bytes);
        environment.step(Step::Filled);
        let time_ns = if details.has_time {
            environment.write_time_ns()
        } else {
            0
        };
        head.length.store(length, Relaxed);
        head.encoding.store(details.encoding.0, Relaxed);
        head.time_ns[0].store(time_ns as u32, Relaxed);
        head.time_ns[1].store((time_ns >> 32) as u32, Relaxed);
        head.high.store(high, Relaxed);
        head.stamp.store(Stamp::new(low).word(), Relaxed);
        environment.step(Step::Stamped);
        Sample {
            version,
            time_ns,
            length,
            encoding: details.encoding,
        }
    }
}
