//! Spinning for a short time before sleeping.
//!
//! Waking a sleeper on another core takes about 50 µs; who looks again and again
//! sees a change in a tenth of a microsecond. So a wait begins by spinning, as long as
//! that helps: a wait that was over before its spin was sets the budget of the next one
//! to its maximum, one that had to sleep all the same halves it. It does not help
//! where the other side is busy for long, and where there is nothing to wait for. Now and
//! then a wait tries whether that has changed. With a single processor nobody spins.
//!
//! A kernel that wakes a sleeper puts it beside whoever woke it, on one processor, where
//! spinning keeps the other side from it. So a spin that was not over at once lets the
//! other one run (`sched_yield`): that costs half a microsecond each way, and both sides
//! stay ready to run, so that the kernel sees that one of them could be moved to a
//! processor that is free; of two that sleep in turn it never sees more than one.
//! The next wait yields first then. Who comes back late from yielding has given its
//! processor to the work of somebody else, and sleeps: a sleeper is woken in time.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a wait spins at most, unless told otherwise: well above the time that it
/// takes to wake somebody, so that who has woken the other side sees its answer.
pub(crate) const DEFAULT_SPIN: Duration = Duration::from_micros(200);
/// How often a waiter looks at first: for some 2 µs, in which a call that is answered
/// at once is over.
const FIRST_LOOKS: u32 = 48;
/// How often it looks then before it lets others run, and looks at the clock.
const LOOKS: u32 = 16;
/// How much time lies between two looks. Whoever is about to change a word has to fetch it
/// back after each look, and what belongs together is written at one go only if no look
/// comes between.
const BETWEEN_NS: u32 = 34;
/// Who comes back from that so late has let somebody else's work run. Not the other
/// side's, or that is busy for so long that sleeping is better.
const LATE: Duration = Duration::from_micros(100);
/// One of so many waits looks before it lets others run, though the last one did not.
const LOOK_EVERY: u32 = 16;
/// One of so many waits spins in any case.
const TRY_EVERY: u32 = 256;

/// How long the waits of one kind spin.
#[derive(Debug)]
pub(crate) struct Spin {
    max: Duration,
    /// Between two looks.
    pauses: u32,
    /// The budget of the next wait, in nanoseconds.
    budget_ns: AtomicU32,
    waits: AtomicU32,
    /// Whether it helped the last wait to let others run: 0 or 1.
    yields: AtomicU32,
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
            pauses: pauses(),
            budget_ns: AtomicU32::new(max.as_nanos() as u32),
            waits: AtomicU32::new(0),
            yields: AtomicU32::new(0),
        }
    }

    /// A short time between two looks.
    #[inline(always)]
    fn pause(&self) {
        for _ in 0..self.pauses {
            core::hint::spin_loop();
        }
    }

    /// A longer time between two looks.
    pub(crate) fn pause_often(&self, count: u32) {
        for _ in 0..count {
            self.pause();
        }
    }

    /// A wait that begins now, for at most `time`.
    pub(crate) fn turn(&self, time: Duration) -> Turn<'_> {
        // Threads that count at once may lose one.
        let waits = self.waits.load(Relaxed);
        self.waits.store(waits.wrapping_add(1), Relaxed);
        let budget = if waits % TRY_EVERY == TRY_EVERY - 1 {
            self.max
        } else {
            Duration::from_nanos(u64::from(self.budget_ns.load(Relaxed)))
        };
        Turn {
            spin: self,
            start: None,
            budget: budget.min(time),
            is_cut: time < budget,
            first_looks: match self.yields.load(Relaxed) {
                _ if budget.is_zero() => 1,
                1 if !waits.is_multiple_of(LOOK_EVERY) => 1,
                _ => FIRST_LOOKS,
            },
            learnt: None,
        }
    }
}

/// How many pauses of this processor make up the time between two looks: they take from 8
/// to 50 ns.
fn pauses() -> u32 {
    const TRIED: u32 = 64;
    // As in `processors`.
    static FOUND: AtomicU32 = AtomicU32::new(0);
    match FOUND.load(Relaxed) {
        0 => {
            let start = Instant::now();
            for _ in 0..TRIED {
                core::hint::spin_loop();
            }
            let time_ns = start.elapsed().as_nanos().max(1);
            let found = u128::from(BETWEEN_NS * TRIED) / time_ns;
            let found = found.clamp(1, 8) as u32;
            FOUND.store(found, Relaxed);
            found
        }
        found => found,
    }
}

/// How many processors there are. Not how many this process may use: the other side may
/// use others.
fn processors() -> usize {
    // Not a `OnceLock`: one that another thread is filling while this process forks
    // would never be filled in the child. 0: nobody has asked yet.
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    match FOUND.load(Relaxed) {
        0 => {
            let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
            let found = online.ok().and_then(|ranges| count_of(&ranges));
            let mine = || std::thread::available_parallelism().map_or(1, |count| count.get());
            let found = found.unwrap_or_else(mine);
            FOUND.store(found, Relaxed);
            found
        }
        found => found,
    }
}

/// How many numbers are in ranges such as `0-3,8`; `None` if that is no such text.
fn count_of(ranges: &str) -> Option<usize> {
    let mut count = 0;
    for range in ranges.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        count += last.checked_sub(first)? + 1;
    }
    Some(count)
}

/// One wait, which may spin several times. What came of it is learnt when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    spin: &'a Spin,
    /// When it began to let others run.
    start: Option<Instant>,
    budget: Duration,
    /// The time is less than the budget would have been: nothing is learnt if it is over.
    is_cut: bool,
    /// How often it looks before it lets others run.
    first_looks: u32,
    /// `None` if it did not spin.
    learnt: Option<Learnt>,
}

/// What came of spinning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learnt {
    /// The budget was enough.
    Enough,
    /// It was not.
    TooLittle,
    /// Others have work to do.
    Late,
}

impl Turn<'_> {
    /// Divided by [`CLOSE_EVERY`](Turn::CLOSE_EVERY) this leaves nothing.
    pub(crate) const CLOSE: u32 = 0;
    /// One of so many looks is a closer one.
    const CLOSE_EVERY: u32 = FIRST_LOOKS;

    /// Whether this look is one of those that are to be closer.
    pub(crate) const fn is_close(look: u32) -> bool {
        look % Self::CLOSE_EVERY == Self::CLOSE
    }

    /// Looks until `is_over` says so; `false` if the budget is spent before. It is told
    /// which look it is, so that it can look more closely now and then: the last one is
    /// always [`CLOSE`](Turn::CLOSE).
    #[inline]
    pub(crate) fn until(&mut self, is_over: impl Fn(u32) -> bool) -> bool {
        self.at_once(&is_over) || self.go_on_until(is_over)
    }

    /// The beginning of that: `false` if it is not over at once.
    #[inline]
    pub(crate) fn at_once(&mut self, is_over: impl Fn(u32) -> bool) -> bool {
        // Without a clock, which takes longer than many a wait.
        while self.first_looks > 0 {
            self.first_looks -= 1;
            if is_over(self.first_looks) {
                self.learnt.get_or_insert(Learnt::Enough);
                return true;
            }
            self.spin.pause();
        }
        false
    }

    /// The same for a wait that is not over at once.
    #[cold]
    fn go_on_until(&mut self, is_over: impl Fn(u32) -> bool) -> bool {
        let mut now = Instant::now();
        let start = *self.start.get_or_insert(now);
        let mut looks = 0;
        loop {
            if now - start >= self.budget {
                if !self.is_cut {
                    self.learnt = Some(Learnt::TooLittle);
                }
                return is_over(Self::CLOSE);
            }
            rustix::thread::sched_yield();
            let before = now;
            now = Instant::now();
            if now - before >= LATE {
                self.learnt = Some(Learnt::Late);
                self.budget = Duration::ZERO;
                return is_over(Self::CLOSE);
            }
            for look in (0..LOOKS).rev() {
                if is_over(look) {
                    self.learnt.get_or_insert(Learnt::Enough);
                    self.spin.yields.store(u32::from(looks == 0), Relaxed);
                    return true;
                }
                self.spin.pause();
                looks += 1;
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let before = self.spin.budget_ns.load(Relaxed);
        let budget = match self.learnt {
            Some(Learnt::Enough) => self.spin.max.as_nanos() as u32,
            Some(Learnt::TooLittle) => before / 2,
            Some(Learnt::Late) => 0,
            None => return,
        };
        if budget != before {
            self.spin.budget_ns.store(budget, Relaxed);
        }
        // One that was over at once, with or without others.
        if self.start.is_none() && self.spin.yields.load(Relaxed) != 0 && self.first_looks > 0 {
            self.spin.yields.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against an idle waiter that burns its processor, and one that never spins again.
    #[test]
    fn the_budget_follows_what_happens() {
        let spin = Spin::new(DEFAULT_SPIN);
        if spin.max.is_zero() {
            return;
        }
        for _ in 0..TRY_EVERY - 1 {
            assert!(!spin.turn(Duration::MAX).until(|_| false));
        }
        assert_eq!(spin.budget_ns.load(Relaxed), 0);
        assert!(
            spin.turn(Duration::MAX).until(|_| true),
            "the one that tries"
        );
        assert_eq!(spin.budget_ns.load(Relaxed), spin.max.as_nanos() as u32);
    }

    /// Against a process on a processor of its own that never spins.
    #[test]
    fn processors_are_counted() {
        assert_eq!(count_of("0-1\n"), Some(2));
        assert_eq!(count_of("0,2-5,7"), Some(6));
        assert_eq!(count_of("3-1"), None);
        assert_eq!(count_of(""), None);
    }
}
