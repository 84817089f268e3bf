//! Spinning for a short time before sleeping.
//!
//! Waking a sleeper on another core takes about 50 µs; who looks again and again
//! sees a change in a tenth of a microsecond. So a wait begins by spinning, for as
//! long as that has been worth it lately: a wait that was over soon sets the budget
//! to its maximum, one that was not halves it. An idle waiter soon does not spin at
//! all, and neither does one that has a single processor.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a wait spins at most, unless told otherwise.
pub(crate) const DEFAULT_SPIN: Duration = Duration::from_micros(50);
/// A sleeper that was woken may have slept so much longer than there was a reason for.
const WAKE_UP: Duration = Duration::from_micros(100);
/// How often a spinning waiter looks before it looks at the clock.
const LOOKS: u32 = 32;

/// How long the waits of one kind spin.
#[derive(Debug)]
pub(crate) struct Spin {
    max: Duration,
    /// The budget of the next wait, in nanoseconds.
    budget_ns: AtomicU32,
}

impl Spin {
    /// Spins for `max` at most; not at all where there is one processor.
    pub(crate) fn new(max: Duration) -> Spin {
        static PROCESSORS: OnceLock<usize> = OnceLock::new();
        let processors = *PROCESSORS
            .get_or_init(|| std::thread::available_parallelism().map_or(1, |count| count.get()));
        // Longer than this is not a short time.
        let max = max.min(Duration::from_millis(10));
        let max = if processors > 1 { max } else { Duration::ZERO };
        Spin {
            max,
            budget_ns: AtomicU32::new(max.as_nanos() as u32),
        }
    }

    /// Looks until `is_over` says so; `false` if the budget was spent before.
    pub(crate) fn until(&self, start: Instant, is_over: impl Fn() -> bool) -> bool {
        let budget = Duration::from_nanos(u64::from(self.budget_ns.load(Relaxed)));
        loop {
            for _ in 0..LOOKS {
                if is_over() {
                    return true;
                }
                core::hint::spin_loop();
            }
            if start.elapsed() >= budget {
                return false;
            }
        }
    }

    /// A wait that began at `start` is over.
    pub(crate) fn learn(&self, start: Instant) {
        let budget = if start.elapsed() < self.max + WAKE_UP {
            self.max.as_nanos() as u32
        } else {
            self.budget_ns.load(Relaxed) / 2
        };
        self.budget_ns.store(budget, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against an idle waiter that burns its processor, and one that never spins
    /// again.
    #[test]
    fn the_budget_follows_what_happens() {
        let spin = Spin::new(DEFAULT_SPIN);
        let long_ago = Instant::now() - Duration::from_secs(1);
        for _ in 0..32 {
            spin.learn(long_ago);
        }
        assert_eq!(spin.budget_ns.load(Relaxed), 0);
        assert!(!spin.until(long_ago, || false));
        spin.learn(Instant::now());
        assert_eq!(spin.budget_ns.load(Relaxed), spin.max.as_nanos() as u32);
        assert!(spin.until(Instant::now(), || true));
    }
}
