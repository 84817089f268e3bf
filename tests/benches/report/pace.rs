//! How a side of a bench keeps time: the same file for ours and, in `tests/peers`, for
//! theirs, so that nobody's figures hold more of the clock than another's.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the clock that all processes share.
pub(crate) fn now() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

pub(crate) fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Spins until [`now`] is that late.
pub(crate) fn spin_until(time: u64) {
    while now() < time {
        std::hint::spin_loop();
    }
}

/// The nanoseconds of one of as many as there is time for, each of `size` bytes.
pub(crate) fn repeat(size: usize, start: u64, end: u64, mut once: impl FnMut()) -> f64 {
    // Looking at the clock must cost next to nothing.
    let batch = ((1 << 20) / size).clamp(1, 64);
    spin_until(start);
    let start = now();
    let mut count = 0;
    loop {
        for _ in 0..batch {
            once();
        }
        count += batch;
        let time = now();
        if time >= end {
            return (time - start) as f64 / count as f64;
        }
    }
}
