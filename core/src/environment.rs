//! What the protocols ask of the system around them.
//!
//! Core knows neither time nor processes. Where a step needs one of them it
//! asks its [`Environment`]: the Linux layer answers with a clock, a futex and
//! file locks; firmware with whatever it has; the model checker with its own.

use crate::participant::Participant;
use crate::sync::AtomicU32;

/// The system around a protocol.
pub trait Environment {
    /// Held while the marks of a dead participant are being cleared, so that
    /// nobody can become that participant meanwhile.
    type Recovery;

    /// Nanoseconds since boot, counted on through suspend; 0 for "no clock".
    fn now_ns(&self) -> u64;

    /// The time to write beside a value; 0 if readers could not make sense of
    /// this participant's clock.
    fn write_time_ns(&self) -> u64 {
        self.now_ns()
    }

    /// Wakes everybody who sleeps on `word`. Called after the word has changed.
    fn wake_all(&self, word: &AtomicU32);

    /// Proof that `participant` is dead and that its index stays unused until
    /// the returned guard is dropped; `None` while it lives, while somebody
    /// else recovers it, or when that cannot be told.
    ///
    /// A `Some` must be ordered after everything the dead participant did
    /// (acquire): kernel locks are.
    fn try_take(&self, participant: Participant) -> Option<Self::Recovery>;

    /// Whether `caller`, who made a call at `time_ns`, lives; `false` only if it is
    /// dead. Unlike [`try_take`](Environment::try_take), which also fails while
    /// somebody else recovers the dead. Asking takes a system call on most systems, so
    /// it may be left out where the answer can hardly have changed.
    fn lives(&self, caller: Participant, time_ns: u64) -> bool {
        let _ = (caller, time_ns);
        true
    }

    /// Whether copies are to be made in two parts, with a step between them: for
    /// tests that stop or kill a process there.
    const STOPS_MIDWAY: bool = false;

    /// Called after each step of an operation. Does nothing, except in tests
    /// that stop or kill a process at exactly this step.
    #[inline(always)]
    fn step(&self, step: Step) {
        let _ = step;
    }
}

/// The steps of the protocols at which a process can be stopped by a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write 1: the latest word was read.
    Looked,
    /// Write 2: a slot carries my claim.
    Claimed,
    /// Write 3: it is not the latest.
    Rechecked,
    /// Write 4: it is marked busy.
    Busy,
    /// Write 5: the payload is in (also called in the middle of it).
    Filled,
    /// Write 6: the slot carries its version.
    Stamped,
    /// Write 7: it is the latest.
    Published,
    /// Write 8: my claim is gone.
    Released,
    /// Write 9: those who waited were woken.
    Woken,
    /// Borrow: my bit is set.
    Pinned,
    /// Borrow: the value is mine to read in place.
    Borrowed,
    /// Borrow: my bit is cleared.
    Unpinned,
    /// Lease: my claim is in the lease word.
    Leased,
    /// Lease: it is gone again.
    LeaseEnded,
    /// Call: a cell is mine.
    Drafted,
    /// Call: the arguments are in, and the ticket is taken.
    Ticketed,
    /// Call: any dispatcher may take it.
    Submitted,
    /// Call: the dispatchers were told.
    Rung,
    /// Serving: the oldest call is found.
    CallSeen,
    /// Serving: it is mine.
    CallTaken,
    /// Serving: the response is in.
    Answered,
    /// Serving: it is the caller's again, which has not been woken yet.
    HandedOver,
    /// Serving: the caller was woken.
    Finished,
    /// Recovery: the dead participant's index is held.
    Taken,
    /// Recovery: its marks are gone from one slot.
    Recovered,
}

/// An environment for one process alone: no clock, nobody to wake, nobody who
/// could be dead. Firmware starts from it, and so do examples.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleProcess;

impl Environment for SingleProcess {
    type Recovery = ();

    fn now_ns(&self) -> u64 {
        0
    }

    fn wake_all(&self, _word: &AtomicU32) {}

    fn try_take(&self, _participant: Participant) -> Option<()> {
        None
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;

    /// Against a default that says more than is known: firmware relies on them.
    #[test]
    fn what_is_left_out_is_harmless() {
        struct Clock;
        impl Environment for Clock {
            type Recovery = ();
            fn now_ns(&self) -> u64 {
                7
            }
            fn wake_all(&self, _word: &AtomicU32) {}
            fn try_take(&self, _participant: Participant) -> Option<()> {
                None
            }
        }
        let somebody = Participant::new(0).unwrap();
        assert_eq!(Clock.write_time_ns(), 7, "as the clock says");
        assert!(Clock.lives(somebody, 0), "unless somebody knows better");
        assert_eq!(SingleProcess.write_time_ns(), 0, "no clock, no time");
        assert!(SingleProcess.try_take(somebody).is_none(), "nobody is dead");
        assert!(SingleProcess.lives(somebody, 0));
    }
}
