//! The host variable: a named latest value of this machine.

mod borrow;
mod exclusive;
mod options;
mod typed;
mod waiting;

pub use borrow::{Borrow, Loan};
pub use exclusive::ExclusiveWriter;
pub use options::VariableOptions;
pub use typed::TypedVariable;
use waiting::{Deadline, Patience, Waited};

use crate::clock;
use crate::error::{Error, Holder, Holders, Reason, Result};
use crate::interrupt::Deferral;
use crate::segment::{Census, Registration, Segment};
use crate::shm::Subject;
use robot_ipc_core::Environment;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::environment::Step;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant};
use robot_ipc_core::variable::{
    Claim, ClaimError, Details, MappedVariable, PublishError, ReadError, Sample, Variable,
    VariableGeometry, WriteError,
};
use std::sync::Arc;
use std::time::Duration;

/// How long a write looks for a free slot before it gives up, unless told
/// otherwise. Slots are taken for less than a microsecond, so this is reached
/// only when processes are stopped, or borrow and loan without end.
pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a read goes on while writers are faster than it. In damaged memory it may
/// look so for ever, and a fuzzer has no patience.
const READ_PATIENCE: Duration = Duration::from_secs(if cfg!(fuzzing) { 0 } else { 1 });

/// A named latest value that every process of this machine may read and write.
///
/// Opening is the slow part; reading and writing make no system call. A handle
/// can be used by many threads at once and survives a fork: the child then is a
/// user of its own.
///
/// ```
/// use robot_ipc::VariableOptions;
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// let options = VariableOptions::new().max_size(64);
/// # let options = options.place(place);
/// let pose = options.open("pose")?;
/// pose.write(b"1.0 2.0")?;
///
/// let (value, sample) = pose.sample()?;
/// assert_eq!(value, b"1.0 2.0");
/// assert_eq!(sample.version, 1);
/// # pose.remove(std::time::Duration::from_secs(1))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct HostVariable {
    segment: Arc<Segment<VariableGeometry>>,
    write_timeout: Duration,
}

impl HostVariable {
    /// Opens the variable `name` with default options, or creates it: for
    /// values of up to 4096 bytes, for this user alone.
    ///
    /// # Errors
    /// The name breaks the rules, the variable exists with another size, belongs
    /// to somebody else, or there is no room for it.
    pub fn open(name: &str) -> Result<HostVariable> {
        VariableOptions::new().open(name)
    }

    pub(crate) fn segment(&self) -> &Arc<Segment<VariableGeometry>> {
        &self.segment
    }

    fn core(&self) -> Variable<MappedVariable<'_>> {
        self.segment.object()
    }

    fn error(&self, reason: Reason) -> Error {
        self.segment.error(reason)
    }

    /// Its name and file.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        self.segment.subject()
    }

    /// How many bytes a value can have.
    #[must_use]
    pub fn max_size(&self) -> u32 {
        self.segment.geometry().max_size()
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.segment.geometry().slot_count()
    }

    /// Whether the handle was opened read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        !self.segment.is_writable()
    }

    /// How long a write looks for a free slot.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    /// The processes that have written or borrowed it and live.
    ///
    /// # Errors
    /// Its name was removed.
    pub fn census(&self) -> Result<Census> {
        self.segment.census()
    }

    // ------------------------------------------------------------------ write

    /// Makes `bytes` the latest value.
    ///
    /// # Errors
    /// They are too many, or no slot came free within the write timeout; the
    /// value before stays then. The handle is read-only, or the variable was
    /// removed.
    #[inline]
    pub fn write(&self, bytes: &[u8]) -> Result<Sample> {
        self.write_encoded(bytes, Encoding::RAW)
    }

    /// As [`write`](HostVariable::write), for bytes that another codec made.
    ///
    /// # Errors
    /// As `write`.
    #[inline]
    pub fn write_encoded(&self, bytes: &[u8], encoding: Encoding) -> Result<Sample> {
        self.put(
            &self.segment.system(),
            bytes,
            encoding,
            None,
            self.write_timeout,
        )
    }

    /// Makes `bytes` the latest value only if that is still `version` (0: only
    /// if nobody has written).
    ///
    /// # Errors
    /// As [`write`](HostVariable::write); [`Reason::Changed`] if it is not.
    pub fn write_if(&self, version: u64, bytes: &[u8], encoding: Encoding) -> Result<Sample> {
        self.put(
            &self.segment.system(),
            bytes,
            encoding,
            Some(version),
            self.write_timeout,
        )
    }

    /// As [`write_encoded`](HostVariable::write_encoded) and
    /// [`write_if`](HostVariable::write_if), with a time limit of its own.
    ///
    /// # Errors
    /// As those.
    pub fn write_within(
        &self,
        timeout: Duration,
        bytes: &[u8],
        encoding: Encoding,
        replaces: Option<u64>,
    ) -> Result<Sample> {
        self.put(&self.segment.system(), bytes, encoding, replaces, timeout)
    }

    /// A write in an environment of the caller's, whose steps are the write's.
    pub(crate) fn put<E: Environment>(
        &self,
        system: &E,
        bytes: &[u8],
        encoding: Encoding,
        replaces: Option<u64>,
        timeout: Duration,
    ) -> Result<Sample> {
        let core = self.core();
        let length = core
            .check_size(bytes.len())
            .map_err(|error| self.write_error(error))?;
        let me = self.segment.registration("write")?;
        let mut deferral = Deferral::new();
        let claim = self.claim(&core, timeout, system, me, &mut deferral)?;
        let filled = if E::STOPS_MIDWAY {
            let (first, second) = bytes.split_at(bytes.len() / 16 * 8);
            core.fill(&claim, 0, first).and_then(|()| {
                system.step(Step::Filled);
                core.fill(&claim, first.len(), second)
            })
        } else {
            core.fill(&claim, 0, bytes)
        };
        if let Err(error) = filled {
            core.abandon(system, me.participant, claim);
            return Err(self.write_error(error));
        }
        system.step(Step::Filled);
        let details = Details {
            length,
            encoding,
            replaces,
        };
        self.publish(&core, timeout, system, me, claim, &details)
    }

    /// Claims a slot.
    #[inline(always)]
    fn claim<E: Environment>(
        &self,
        core: &Variable<MappedVariable<'_>>,
        timeout: Duration,
        system: &E,
        me: &Registration<VariableGeometry>,
        deferral: &mut Deferral,
    ) -> Result<Claim> {
        let claim = || core.claim(system, me.participant, &me.local.suspects);
        match claim() {
            Ok(claim) => Ok(claim),
            Err(error) => self.try_patiently(error, timeout, deferral, claim),
        }
    }

    /// Does what needs a slot where that has just failed; tries again until time is up
    /// while none is free.
    #[cold]
    #[inline(never)]
    fn try_patiently<T>(
        &self,
        mut error: ClaimError,
        timeout: Duration,
        deferral: &mut Deferral,
        mut again: impl FnMut() -> Result<T, ClaimError>,
    ) -> Result<T> {
        let deadline = Deadline::new(timeout);
        let mut patience = Patience::new(&deadline);
        loop {
            match error {
                ClaimError::NoFreeSlot => match deferral.lifted(|| patience.wait()) {
                    Waited::GoOn => {}
                    Waited::TimeIsUp => {
                        // Without its name nobody can ask who of them is dead.
                        self.segment.check_name()?;
                        let slots = self.slots();
                        let holders = self.holders();
                        return Err(self.error(Reason::NoFreeSlot { slots, holders }));
                    }
                    Waited::Interrupted => return Err(self.error(Reason::Interrupted)),
                },
                ClaimError::Leased(holder) => return Err(self.error(self.exclusive_reason(holder))),
                ClaimError::Retired => return Err(self.error(Reason::Retired)),
                ClaimError::Corrupt => return Err(self.error(Reason::Corrupt)),
            }
            match again() {
                Ok(done) => return Ok(done),
                Err(failed) => error = failed,
            }
        }
    }

    /// Publishes a filled slot. The claim is gone afterwards in any case.
    #[inline(always)]
    fn publish<E: Environment>(
        &self,
        core: &Variable<MappedVariable<'_>>,
        timeout: Duration,
        system: &E,
        me: &Registration<VariableGeometry>,
        claim: Claim,
        details: &Details,
    ) -> Result<Sample> {
        match core.publish(system, me.participant, claim, details) {
            Ok(sample) => Ok(sample),
            Err(failed) => self.publish_patiently(failed, timeout, system, me, details),
        }
    }

    /// Publishes where that has just failed; tries again until time is up while others
    /// are faster.
    #[cold]
    #[inline(never)]
    fn publish_patiently<E: Environment>(
        &self,
        mut failed: (PublishError, Claim),
        timeout: Duration,
        system: &E,
        me: &Registration<VariableGeometry>,
        details: &Details,
    ) -> Result<Sample> {
        let core = self.core();
        let deadline = Deadline::new(timeout);
        let mut patience = Patience::new(&deadline);
        loop {
            let (error, claim) = failed;
            let waited = match error {
                PublishError::Contended => patience.wait(),
                _ => Waited::TimeIsUp,
            };
            if waited != Waited::GoOn {
                core.abandon(system, me.participant, claim);
                return Err(match (error, waited) {
                    (_, Waited::Interrupted) => self.error(Reason::Interrupted),
                    (PublishError::Contended, _) => {
                        self.error(Reason::Contended { tried: timeout })
                    }
                    (error, _) => self.write_error(WriteError::Publish(error)),
                });
            }
            match core.publish(system, me.participant, claim, details) {
                Ok(sample) => return Ok(sample),
                Err(again) => failed = again,
            }
        }
    }

    fn write_error(&self, error: WriteError) -> Error {
        self.error(match error {
            WriteError::TooLarge { size, max_size } => Reason::TooLarge {
                size: size as u64,
                max_size,
            },
            WriteError::Claim(ClaimError::Retired) | WriteError::Publish(PublishError::Retired) => {
                Reason::Retired
            }
            WriteError::Publish(PublishError::Changed { version }) => Reason::Changed { version },
            WriteError::Claim(ClaimError::Leased(holder)) => self.exclusive_reason(holder),
            WriteError::Claim(ClaimError::NoFreeSlot)
            | WriteError::Publish(PublishError::Contended) => Reason::Contended {
                tried: Duration::ZERO,
            },
            WriteError::Claim(ClaimError::Corrupt) | WriteError::Publish(PublishError::Corrupt) => {
                Reason::Corrupt
            }
        })
    }

    /// Who holds slots, the busiest first; one's own loans and borrows count.
    fn holders(&self) -> Holders {
        let core = self.core();
        let mut slots = [0u32; MAX_PARTICIPANTS as usize];
        for holder in (0..self.slots()).flat_map(|slot| core.holders(slot)) {
            slots[holder.index() as usize] += 1;
        }
        let mut holders = Holders::new();
        while let Some((index, count)) = slots
            .iter()
            .copied()
            .enumerate()
            .max_by_key(|(_, count)| *count)
            .filter(|(_, count)| *count > 0)
        {
            let pid = Participant::new(index as u32).map_or(0, |holder| core.memory().pid(holder));
            if holders.push(Holder { pid, slots: count }).is_err() {
                break;
            }
            slots[index] = 0;
        }
        holders
    }

    // ------------------------------------------------------------------- read

    /// Copies the latest value into `buffer` and says what it is.
    ///
    /// # Errors
    /// Nobody has written yet, the buffer is too small, the variable was removed
    /// or is damaged, or writers were faster for a whole second.
    #[inline]
    pub fn read_into(&self, buffer: &mut [u8]) -> Result<Sample> {
        let sample = self.read_prefix(buffer)?;
        if sample.length as usize > buffer.len() {
            return Err(self.buffer_too_small(buffer.len(), &sample));
        }
        Ok(sample)
    }

    pub(crate) fn buffer_too_small(&self, size: usize, sample: &Sample) -> Error {
        self.error(Reason::BufferTooSmall {
            size,
            needed: sample.length,
        })
    }

    /// As [`read_into`](HostVariable::read_into), but a value that does not fit
    /// is cut; the sample tells its whole length.
    ///
    /// # Errors
    /// As `read_into`.
    #[inline]
    pub fn read_prefix(&self, buffer: &mut [u8]) -> Result<Sample> {
        let deferral = Deferral::new();
        let read = self.core().read(buffer);
        drop(deferral);
        match read {
            Ok(sample) => Ok(sample),
            Err(ReadError::Contended) => self.read_patiently(buffer),
            Err(error) => Err(self.read_error(error)),
        }
    }

    /// Reads while writers are faster: a large value with few slots.
    #[cold]
    fn read_patiently(&self, buffer: &mut [u8]) -> Result<Sample> {
        let deadline = Deadline::new(READ_PATIENCE);
        let mut patience = Patience::new(&deadline);
        let may_borrow = self.segment.is_writable() && self.slots() > 2;
        loop {
            match self.core().read(buffer) {
                Err(ReadError::Contended) => {}
                done => return done.map_err(|error| self.read_error(error)),
            }
            // A pinned value holds still. Where this process can pin, it does.
            if may_borrow && let Ok(borrow) = self.borrow_once() {
                let length = buffer.len().min(borrow.size());
                borrow.copy_to(0, &mut buffer[..length]);
                self.segment.check_not_lost()?;
                return Ok(borrow.sample());
            }
            match patience.wait() {
                Waited::GoOn => {}
                Waited::TimeIsUp => {
                    return Err(self.error(Reason::Contended {
                        tried: READ_PATIENCE,
                    }));
                }
                Waited::Interrupted => return Err(self.error(Reason::Interrupted)),
            }
        }
    }

    fn read_error(&self, error: ReadError) -> Error {
        self.error(match error {
            ReadError::NeverWritten => Reason::NeverWritten,
            ReadError::Retired => Reason::Retired,
            ReadError::Contended => Reason::Contended {
                tried: READ_PATIENCE,
            },
            ReadError::Corrupt => Reason::Corrupt,
        })
    }

    /// The latest value, with version, time and encoding of the very write it
    /// came from. Allocates.
    ///
    /// # Errors
    /// As [`read_into`](HostVariable::read_into).
    pub fn sample(&self) -> Result<(Vec<u8>, Sample)> {
        let mut value = Vec::new();
        loop {
            let sample = self.read_prefix(&mut value)?;
            let length = sample.length as usize;
            if length <= value.len() {
                value.truncate(length);
                return Ok((value, sample));
            }
            value.resize(length, 0);
        }
    }

    /// The latest version: 0 before the first write, then one more per write.
    ///
    /// # Errors
    /// The variable was removed or is damaged.
    pub fn version(&self) -> Result<u64> {
        self.stable(|core| core.version())
            .map(|(version, _)| version)
    }

    /// What stands beside the latest value.
    ///
    /// # Errors
    /// As [`read_into`](HostVariable::read_into).
    pub fn latest(&self) -> Result<Sample> {
        self.stable(|core| core.sample())
    }

    /// Repeats what ends at once unless writers are faster.
    fn stable<T>(
        &self,
        look: impl Fn(&Variable<MappedVariable<'_>>) -> Result<T, ReadError>,
    ) -> Result<T> {
        let deadline = Deadline::new(READ_PATIENCE);
        let mut patience = Patience::new(&deadline);
        loop {
            match look(&self.core()) {
                Ok(found) => return Ok(found),
                Err(ReadError::Contended) => match patience.wait() {
                    Waited::GoOn => {}
                    Waited::TimeIsUp => return Err(self.read_error(ReadError::Contended)),
                    Waited::Interrupted => return Err(self.error(Reason::Interrupted)),
                },
                Err(error) => return Err(self.read_error(error)),
            }
        }
    }

    /// How long ago the latest value was written.
    ///
    /// # Errors
    /// As [`read_into`](HostVariable::read_into); its age cannot be told if the
    /// writer had no clock or lives in another time namespace.
    pub fn age(&self) -> Result<Duration> {
        self.age_of(&self.latest()?)
    }

    /// How long ago the value of `sample` was written.
    ///
    /// # Errors
    /// Its age cannot be told.
    pub fn age_of(&self, sample: &Sample) -> Result<Duration> {
        let no_age = |reason| Err(self.error(Reason::NoAge { reason }));
        if sample.time_ns == 0 {
            return no_age("its writer has no clock, or one of another time namespace");
        }
        if !self.segment.has_same_clock() {
            return no_age("the variable was created in another time namespace");
        }
        Ok(Duration::from_nanos(
            clock::now_ns().saturating_sub(sample.time_ns),
        ))
    }

    /// Fails if the value of `sample` is older than `max_age`.
    ///
    /// # Errors
    /// [`Reason::TooOld`], or its age cannot be told.
    pub fn check_age(&self, sample: &Sample, max_age: Duration) -> Result<()> {
        let age = self.age_of(sample)?;
        if age > max_age {
            Err(self.error(Reason::TooOld { age, max_age }))
        } else {
            Ok(())
        }
    }
    // ----------------------------------------------------------------- remove

    /// Removes the variable from the machine: its value is gone, every handle on
    /// it fails from now on, and whoever opens the name gets a new one. Waits at
    /// most `timeout` for somebody else who is removing it.
    ///
    /// # Errors
    /// This process may not remove the file, or somebody else does and hangs.
    pub fn remove(&self, timeout: Duration) -> Result<()> {
        self.segment.retire(timeout)
    }
}
