//! Waiting: for a new value, for a slot, for one's turn to change a value.

use super::HostVariable;
use crate::error::{Reason, Result};
use crate::futex;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::variable::Sample;
use std::time::{Duration, Instant};

/// An update that loses is tried again at least so often, and as long as a write
/// may take.
pub(super) const UPDATE_ATTEMPTS: u32 = 1000;
/// A waiter looks whether the name still leads to its segment every so many
/// slices.
const SLICES_PER_NAME_CHECK: u32 = 7;
/// A read-only waiter cannot ask to be woken. It looks every so often: at
/// first, doubling up to the last.
const POLL_INTERVALS: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(10)];

impl HostVariable {
    /// Waits until the latest version is not `since` any more, for at most
    /// `timeout` (`None`: without end). Returns the new one.
    ///
    /// A read-only handle cannot ask to be woken: it looks every 50 µs at
    /// first, and every 10 ms after a while.
    ///
    /// # Errors
    /// [`Reason::TimedOut`], [`Reason::Interrupted`] by a signal, or the variable
    /// or its name was removed.
    pub fn wait_for_update(&self, since: u64, timeout: Option<Duration>) -> Result<u64> {
        let start = Instant::now();
        let mut slices = 0;
        let mut interval = POLL_INTERVALS[0];
        loop {
            let (version, seen) = self.stable(|core| core.version())?;
            if version != since {
                return Ok(version);
            }
            let waited = start.elapsed();
            let left = match timeout {
                Some(timeout) if waited >= timeout => {
                    // Whoever waits in short slices has to learn of it too.
                    self.segment.check_name()?;
                    return Err(self.error(Reason::TimedOut { waited }));
                }
                Some(timeout) => timeout - waited,
                None => Duration::MAX,
            };
            let core = self.core();
            let wakened = if self.segment.is_writable() {
                let Some(armed) = core.arm(seen) else {
                    continue;
                };
                let word = robot_ipc_core::variable::Memory::latest(core.memory());
                let wakened = futex::wait(word, armed, left);
                slices += 1;
                wakened.map_err(|errno| self.error(Reason::system("wait")(errno)))?
            } else {
                let time = interval.min(left);
                interval = (interval * 2).min(POLL_INTERVALS[1]);
                slices += u32::from(interval == POLL_INTERVALS[1]);
                futex::sleep(time)
            };
            if wakened == futex::Wakened::BySignal {
                return Err(self.error(Reason::Interrupted));
            }
            let check = if self.segment.is_writable() {
                slices >= SLICES_PER_NAME_CHECK
            } else {
                slices >= 100
            };
            if check {
                slices = 0;
                self.segment.check_name()?;
            }
        }
    }

    /// Replaces the latest value by what `change` makes of it, and tries again
    /// if somebody else has written meanwhile: no change is lost. `change` gets
    /// `None` before the first write, and may be called several times.
    ///
    /// ```
    /// # fn main() -> robot_ipc::Result<()> {
    /// # let place = robot_ipc::testing::scratch_place();
    /// # let options = robot_ipc::VariableOptions::new().place(place);
    /// # let counter = options.open("counter")?;
    /// for _ in 0..3 {
    ///     counter.update(|old| vec![old.map_or(0, |bytes| bytes[0]) + 1])?;
    /// }
    /// assert_eq!(counter.sample()?.0, [3]);
    /// # counter.remove(std::time::Duration::from_secs(1))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write`](HostVariable::write); [`Reason::Contended`] if others were
    /// faster a thousand times and for as long as the write timeout.
    pub fn update(&self, mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>) -> Result<Sample> {
        self.segment.check_writable("update")?;
        let start = Instant::now();
        let mut attempt = 0;
        loop {
            let (new, version, encoding) = match self.sample() {
                Ok((value, sample)) => (change(Some(&value)), sample.version, sample.encoding),
                Err(error) if *error.reason() == Reason::NeverWritten => {
                    (change(None), 0, Encoding::RAW)
                }
                Err(error) => return Err(error),
            };
            match self.write_if(version, &new, encoding) {
                Err(error) if matches!(error.reason(), Reason::Changed { .. }) => {}
                done => return done,
            }
            attempt += 1;
            self.check_turn(attempt, start)?;
        }
    }

    /// Fails if an update that began at `start` has lost often and long enough.
    pub(super) fn check_turn(&self, attempt: u32, start: Instant) -> Result<()> {
        let tried = start.elapsed();
        if attempt >= UPDATE_ATTEMPTS && tried >= self.write_timeout() {
            return Err(self.error(Reason::Contended { tried }));
        }
        Ok(())
    }
}

/// A point in time that is only computed when somebody has to wait.
pub(super) struct Deadline {
    pub(super) timeout: Duration,
}

impl Deadline {
    pub(super) fn new(timeout: Duration) -> Deadline {
        Deadline { timeout }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    GoOn,
    TimeIsUp,
    Interrupted,
}

/// Waits between tries: first only gives way to others, then sleeps a little
/// longer each time.
pub(super) struct Patience<'a> {
    deadline: &'a Deadline,
    start: Option<Instant>,
    tries: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn new(deadline: &'a Deadline) -> Self {
        Patience {
            deadline,
            start: None,
            tries: 0,
        }
    }

    #[cold]
    pub(super) fn wait(&mut self) -> Waited {
        let start = *self.start.get_or_insert_with(Instant::now);
        let elapsed = start.elapsed();
        if elapsed >= self.deadline.timeout {
            return Waited::TimeIsUp;
        }
        self.tries += 1;
        if self.tries <= 8 {
            rustix::thread::sched_yield();
            return Waited::GoOn;
        }
        let time = Duration::from_micros(20 << (self.tries - 8).min(6));
        match futex::sleep(time.min(self.deadline.timeout - elapsed)) {
            futex::Wakened::LookAgain => Waited::GoOn,
            futex::Wakened::BySignal => Waited::Interrupted,
        }
    }
}
