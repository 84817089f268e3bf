//! The only writer of a variable, where there is only one.

use super::HostVariable;
use crate::error::{Reason, Result};
use crate::fork;
use crate::interrupt::Deferral;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::variable::{ExclusiveDetails, Lease, LeaseError, Sample, WriteError};
use std::time::Duration;

/// The only writer of a variable: while it lives, every other write fails, and its own
/// are the fastest there are. Made by [`HostVariable::exclusive_writer`].
#[derive(Debug)]
pub struct ExclusiveWriter {
    variable: HostVariable,
    participant: Participant,
    generation: u32,
    lease: Lease,
    has_times: bool,
}

impl HostVariable {
    /// Becomes the only writer of the variable, until the result is dropped or this
    /// process ends. Writers of other handles, also of this process, get an error then
    /// that names it. Readers, borrowers and waiters notice nothing.
    ///
    /// Worth it for a value that one loop writes all the time: a write costs one atomic
    /// operation instead of three. Waits for the writes and loans of others that are
    /// under way, for at most the write timeout.
    ///
    /// ```
    /// # fn main() -> robot_ipc::Result<()> {
    /// # let place = robot_ipc::testing::scratch_place();
    /// # let options = robot_ipc::VariableOptions::new().place(place);
    /// let pose = options.open("pose")?;
    /// let mut writer = pose.exclusive_writer()?;
    /// writer.write(b"1.0 2.0")?;
    /// assert!(pose.write(b"3.0 4.0").is_err());
    ///
    /// drop(writer);
    /// pose.write(b"3.0 4.0")?;
    /// # pose.remove(std::time::Duration::from_secs(1))
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Reason::ExclusiveWriter`]: another process, or this one, is it already. The
    /// dead are not in the way. Else as [`write`](HostVariable::write).
    pub fn exclusive_writer(&self) -> Result<ExclusiveWriter> {
        self.exclusive_writer_within(None)
    }

    /// As [`exclusive_writer`](HostVariable::exclusive_writer), with a time limit of its
    /// own, if any.
    pub(crate) fn exclusive_writer_within(
        &self,
        timeout: Option<Duration>,
    ) -> Result<ExclusiveWriter> {
        let me = self.segment().registration("be the only writer")?;
        let (core, system) = (self.core(), self.segment().system());
        let lease = core.begin_lease(&system, me.participant);
        let lease = lease.map_err(|error| {
            self.error(match error {
                LeaseError::Retired => Reason::Retired,
                LeaseError::Corrupt => Reason::Corrupt,
                LeaseError::Held(holder) => self.exclusive_reason(holder),
            })
        })?;
        // It gives the lease back if what follows fails.
        let mut writer = ExclusiveWriter {
            variable: self.clone(),
            participant: me.participant,
            generation: me.generation,
            lease,
            has_times: true,
        };
        let suspects = &me.local.suspects;
        let mut settle = || core.settle(&system, me.participant, suspects, &mut writer.lease);
        if let Err(error) = settle() {
            let mut deferral = Deferral::new();
            let timeout = timeout.unwrap_or(self.write_timeout());
            self.try_patiently(error, timeout, &mut deferral, settle)?;
        }
        Ok(writer)
    }

    /// That `holder` is the only writer.
    pub(super) fn exclusive_reason(&self, holder: Participant) -> Reason {
        let pid = self.segment().pid(holder);
        Reason::ExclusiveWriter { pid }
    }
}

impl ExclusiveWriter {
    /// Whether values carry the time at which they were written, as they do unless told
    /// otherwise. Without it a write asks no clock, which is most of its cost; `age` and
    /// `max_age` are errors then.
    #[must_use]
    pub fn timestamps(mut self, has_times: bool) -> Self {
        self.has_times = has_times;
        self
    }

    /// The variable it writes.
    #[must_use]
    pub fn variable(&self) -> &HostVariable {
        &self.variable
    }

    /// Makes `bytes` the latest value.
    ///
    /// # Errors
    /// They are too many, or all slots but the latest are borrowed; the value before
    /// stays then. The variable was removed. Or this is a forked child, and its parent
    /// is the only writer.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<Sample> {
        self.write_encoded(bytes, Encoding::RAW)
    }

    /// As [`write`](ExclusiveWriter::write), for bytes that another codec made.
    ///
    /// # Errors
    /// As `write`.
    #[inline]
    pub fn write_encoded(&mut self, bytes: &[u8], encoding: Encoding) -> Result<Sample> {
        self.write_within(None, bytes, encoding)
    }

    /// As [`write_encoded`](ExclusiveWriter::write_encoded), with a time limit of its own,
    /// if any, for the search for a slot that is not borrowed.
    #[inline(always)]
    pub(crate) fn write_within(
        &mut self,
        timeout: Option<Duration>,
        bytes: &[u8],
        encoding: Encoding,
    ) -> Result<Sample> {
        let variable = &self.variable;
        if self.generation != fork::generation() {
            let what = "exclusive writer";
            return Err(variable.error(Reason::Forked { what }));
        }
        let details = ExclusiveDetails {
            encoding,
            has_time: self.has_times,
        };
        let _deferral = Deferral::new();
        let (core, system) = (variable.core(), variable.segment().system());
        match core.write_exclusively(&system, &mut self.lease, bytes, details) {
            Ok(sample) => Ok(sample),
            Err(error) => self.write_patiently(error, timeout, bytes, details),
        }
    }

    /// Writes where that has just failed; while slots are borrowed it tries again, until
    /// time is up.
    #[cold]
    #[inline(never)]
    fn write_patiently(
        &mut self,
        error: WriteError,
        timeout: Option<Duration>,
        bytes: &[u8],
        details: ExclusiveDetails,
    ) -> Result<Sample> {
        let variable = &self.variable;
        let WriteError::Claim(error) = error else {
            return Err(variable.write_error(error));
        };
        let me = variable.segment().registration("write")?;
        let (core, system) = (variable.core(), variable.segment().system());
        let again = || {
            core.take_back_slots(&system, me.participant, &me.local.suspects);
            match core.write_exclusively(&system, &mut self.lease, bytes, details) {
                Err(WriteError::Claim(error)) => Err(error),
                written => Ok(written),
            }
        };
        let mut deferral = Deferral::new();
        let timeout = timeout.unwrap_or(variable.write_timeout());
        let written = variable.try_patiently(error, timeout, &mut deferral, again)?;
        written.map_err(|error| variable.write_error(error))
    }
}

impl Drop for ExclusiveWriter {
    fn drop(&mut self) {
        // In a forked child the lease is its parent's.
        if self.generation == fork::generation() {
            let system = self.variable.segment().system();
            self.variable.core().end_lease(&system, self.participant);
        }
    }
}
