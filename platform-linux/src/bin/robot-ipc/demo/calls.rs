//! What the demo counts of its calls: one struct, which Python has, too.
//!
//! A caller that is killed cannot tell what it counted. So each Python process keeps its
//! counts in a host variable; whoever comes after a killed one goes on with them.

use bytemuck::{Pod, Zeroable};
use std::time::Duration;

/// The functions that are called; counts stand in this order.
pub(crate) const FUNCTIONS: [&str; 3] = ["move_to", "stop", "hand_at"];
pub(crate) const MOVE_TO: usize = 0;
pub(crate) const STOP: usize = 1;
pub(crate) const HAND_AT: usize = 2;

/// Within this time each call has to have an answer or an error.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// Times are counted in eighths of octaves, the first of which begins with 2^10 ns.
const FIRST_OCTAVE: u32 = 10;
const OCTAVES: usize = 24;
const PARTS: usize = 8;
const BUCKETS: usize = OCTAVES * PARTS;

/// What was counted of the calls of one function.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Tally {
    pub(crate) begun: u64,
    /// They brought an answer, of whichever call.
    pub(crate) answered: u64,
    /// They brought an error.
    pub(crate) failed: u64,
    /// Of those answered: with what was not the answer to that very call.
    pub(crate) mixed: u64,
    /// They brought nothing within [`BOUND`].
    pub(crate) hung: u64,
    longest_ns: u64,
    buckets: [u64; BUCKETS],
}

/// What one caller has counted, for each function.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(crate) struct Calls(pub(crate) [Tally; FUNCTIONS.len()]);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the answer to this very call.
    Answered,
    /// With something else.
    Mixed,
    Failed,
    Hung,
    /// It was the demo that gave it up.
    GivenUp,
}

impl Default for Tally {
    fn default() -> Self {
        Tally::zeroed()
    }
}

impl Default for Calls {
    fn default() -> Self {
        Calls::zeroed()
    }
}

impl Tally {
    pub(crate) fn end(&mut self, end: End, took: Duration) {
        match end {
            End::Answered => {}
            End::Mixed => self.mixed += 1,
            End::Failed => return self.failed += 1,
            End::Hung => return self.hung += 1,
            End::GivenUp => return self.begun -= 1,
        }
        let nanoseconds = took.as_nanos() as u64;
        self.answered += 1;
        self.longest_ns = self.longest_ns.max(nanoseconds);
        self.buckets[bucket_of(nanoseconds)] += 1;
    }

    /// How many calls have begun and not ended: one, if their caller lives.
    pub(crate) fn under_way(&self) -> u64 {
        let ended = self.answered + self.failed + self.hung;
        self.begun.saturating_sub(ended)
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }

    /// The time that so much of the answered calls did not exceed, a little rounded up.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.answered as f64 * share).ceil() as u64;
        let mut sum = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            sum += count;
            if sum >= wanted.max(1) {
                return Duration::from_nanos(end_of(bucket).min(self.longest_ns));
            }
        }
        Duration::ZERO
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.begun += other.begun;
        self.answered += other.answered;
        self.failed += other.failed;
        self.mixed += other.mixed;
        self.hung += other.hung;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        for (count, other) in self.buckets.iter_mut().zip(other.buckets) {
            *count += other;
        }
    }
}

impl Calls {
    /// Of all functions together.
    pub(crate) fn sum(&self) -> Tally {
        let mut sum = Tally::default();
        self.0.iter().for_each(|tally| sum.add(tally));
        sum
    }

    pub(crate) fn add(&mut self, other: &Calls) {
        for (tally, other) in self.0.iter_mut().zip(&other.0) {
            tally.add(other);
        }
    }
}

fn bucket_of(nanoseconds: u64) -> usize {
    let Some(octave) = nanoseconds
        .checked_ilog2()
        .and_then(|octave| octave.checked_sub(FIRST_OCTAVE))
    else {
        return 0;
    };
    let shift = octave + FIRST_OCTAVE - PARTS.ilog2();
    let part = (nanoseconds >> shift) as usize % PARTS;
    (octave as usize * PARTS + part).min(BUCKETS - 1)
}

/// Where the times of a bucket end.
fn end_of(bucket: usize) -> u64 {
    let start = 1u64 << (FIRST_OCTAVE as usize + bucket / PARTS);
    start + (start / PARTS as u64) * (bucket % PARTS + 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against percentiles of other times than were counted.
    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let mut tally = Tally::default();
        assert_eq!(tally.percentile(0.5), Duration::ZERO);
        for microseconds in 1..=1000 {
            tally.begun += 1;
            tally.end(End::Answered, Duration::from_micros(microseconds));
        }
        for (share, exact) in [(0.0, 1), (0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1000)] {
            let exact = Duration::from_micros(exact);
            let found = tally.percentile(share);
            assert!(found >= exact && found <= exact.mul_f64(1.16), "{found:?}");
        }
        assert_eq!(tally.longest(), Duration::from_millis(1));
    }

    /// Against times that are counted beside the buckets, or before the end of their own.
    #[test]
    fn each_time_has_its_bucket() {
        for nanoseconds in (0..60).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) * 15 / 8]) {
            let bucket = bucket_of(nanoseconds);
            assert!(bucket == BUCKETS - 1 || nanoseconds < end_of(bucket));
            assert!(bucket == 0 || nanoseconds >= end_of(bucket - 1));
        }
    }

    /// Against a call that is counted twice, or not at all.
    #[test]
    fn each_end_is_counted_once() {
        let mut tally = Tally::default();
        for (index, end) in [
            End::Answered,
            End::Mixed,
            End::Failed,
            End::Hung,
            End::GivenUp,
        ]
        .into_iter()
        .enumerate()
        {
            tally.begun += 1;
            assert_eq!(tally.under_way(), 1);
            tally.end(end, Duration::ZERO);
            assert_eq!(tally.under_way(), 0, "{index}");
        }
        let counted = [
            tally.begun,
            tally.answered,
            tally.failed,
            tally.mixed,
            tally.hung,
        ];
        assert_eq!(counted, [4, 2, 1, 1, 1]);
    }
}
