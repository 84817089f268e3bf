//! Reading, and getting ready to wait.

use super::word::{Latest, Stamp};
use super::{Memory, ReadError, Sample, Variable};
use crate::codec::Encoding;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{Site, fence};

/// How often a read starts again before it reports [`ReadError::Contended`].
const READ_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 3 } else { 16 };

impl<M: Memory> Variable<M> {
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
            let stamp_now = self.memory.head(slot).stamp.load(Relaxed);
            if stamp_now == stamp.word() || !Site::Validate.present() {
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
    pub(super) fn sample_of(&self, slot: u32, latest: Latest) -> Option<(Sample, Stamp)> {
        let head = self.memory.head(slot);
        let stamp = Stamp::from_word(head.stamp.load(Relaxed));
        if !latest.names(stamp) && (Site::Promise.present() || stamp.is_busy()) {
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

    /// The version that `latest` stands for: 0 before the first write, `None`
    /// if its slot does not hold it (any more).
    #[inline]
    pub(super) fn version_named_by(&self, latest: Latest) -> Option<u64> {
        let Some(slot) = latest.slot() else {
            return Some(0);
        };
        if slot >= self.memory.slot_count() {
            return None;
        }
        let head = self.memory.head(slot);
        let stamp = Stamp::from_word(head.stamp.load(Relaxed));
        if !latest.names(stamp) && (Site::VersionPromise.present() || stamp.is_busy()) {
            return None;
        }
        let version = stamp.version(head.high.load(Relaxed));
        // SYNC validate ↔ busy: as in a read, the upper half belongs to the
        // stamp if nobody has touched the slot meanwhile.
        if Site::VersionFence.present() {
            fence(Acquire);
        }
        let stamp_now = head.stamp.load(Relaxed);
        (stamp_now == stamp.word() || !Site::VersionValidate.present()).then_some(version)
    }

    /// Sets the waiting bit beside `seen`; the word to sleep on, or `None` if
    /// `latest` has changed since.
    #[cfg(target_has_atomic = "32")]
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
}
