//! Spinning for a short time before sleeping.
//!
//! Waking a sleeper on another core takes about 50 µs; who looks again and again
//! sees a change in a tenth of a microsecond. So a wait begins by spinning, as long as
//! that helps: a wait that was over before its spin was sets the budget of the next one
//! to its maximum, one that had to sleep all the same halves it. It does not help
//! where the other side is busy for long, where there is nothing to wait for, and where
//! both sides have one processor: spinning keeps the other one from it. Now and then a
//! wait tries whether that has changed. With a single processor nobody spins.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a wait spins at most, unless told otherwise: well above the time that it
/// takes to wake somebody, so that who has woken the other side sees its answer.
pub(crate) const DEFAULT_SPIN: Duration = Duration::from_micros(200);
/// How often a waiter looks before it looks at the clock.
const LOOKS: u32 = 32;
/// One of so many waits spins in any case.
const TRY_EVERY: u32 = 256;

/// How long the waits of one kind spin.
#[derive(Debug)]
pub(crate) struct Spin {
    max: Duration,
    /// The budget of the next wait, in nanoseconds.
    budget_ns: AtomicU32,
    waits: AtomicU32,
}

impl Spin {
    /// Spins for `max` at most; not at all where there is one processor.
    pub(crate) fn new(max: Duration) -> Spin {
        let processors = processors();
        // Longer than this is not a short time.
        let max = max.min(Duration::from_millis(10));
        let max = if processors > 1 { max } else { Duration::ZERO };
        Spin {
            max,
            budget_ns: AtomicU32::new(max.as_nanos() as u32),
            waits: AtomicU32::new(0),
        }
    }

    /// A wait that begins now, for at most `time`.
    pub(crate) fn turn(&self, time: Duration) -> Turn<'_> {
        let is_try = self.waits.fetch_add(1, Relaxed) % TRY_EVERY == TRY_EVERY - 1;
        let budget = if is_try {
            self.max
        } else {
            Duration::from_nanos(u64::from(self.budget_ns.load(Relaxed)))
        };
        Turn {
            spin: self,
            start: Instant::now(),
            budget: budget.min(time),
            is_cut: time < budget,
            was_enough: None,
        }
    }
}

/// How many processors this process has.
fn processors() -> usize {
    // Not a `OnceLock`: one that another thread is filling while this process forks
    // would never be filled in the child. 0: nobody has asked yet.
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    match FOUND.load(Relaxed) {
        0 => {
            let found = std::thread::available_parallelism().map_or(1, |count| count.get());
            FOUND.store(found, Relaxed);
            found
        }
        found => found,
    }
}

/// One wait, which may spin several times. What came of it is learnt when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    spin: &'a Spin,
    start: Instant,
    budget: Duration,
    /// The time is less than the budget would have been: nothing is learnt if it is over.
    is_cut: bool,
    /// Whether the budget was enough; `None` if it did not spin.
    was_enough: Option<bool>,
}

impl Turn<'_> {
    /// Looks until `is_over` says so; `false` if the budget is spent before.
    pub(crate) fn until(&mut self, is_over: impl Fn() -> bool) -> bool {
        loop {
            for _ in 0..LOOKS {
                if is_over() {
                    self.was_enough.get_or_insert(true);
                    return true;
                }
                core::hint::spin_loop();
            }
            if self.start.elapsed() >= self.budget {
                self.was_enough = (!self.is_cut).then_some(false);
                return false;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let budget = match self.was_enough {
            Some(true) => self.spin.max.as_nanos() as u32,
            Some(false) => self.spin.budget_ns.load(Relaxed) / 2,
            None => return,
        };
        self.spin.budget_ns.store(budget, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against an idle waiter that burns its processor, and one that never spins again.
    #[test]
    fn the_budget_follows_what_happens() {
        let spin = Spin::new(DEFAULT_SPIN);
        for _ in 0..TRY_EVERY - 1 {
            assert!(!spin.turn(Duration::MAX).until(|| false));
        }
        assert_eq!(spin.budget_ns.load(Relaxed), 0);
        assert!(
            spin.turn(Duration::MAX).until(|| true),
            "the one that tries"
        );
        assert_eq!(spin.budget_ns.load(Relaxed), spin.max.as_nanos() as u32);
    }
}
