//! What is decided about a worker when it is started: when and how it dies.

use std::time::Duration;
use support::Random;

/// The fate of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// How long it lives once it is at work.
    pub(crate) life: Duration,
    /// How long it lives, at work or not.
    pub(crate) startup: Option<Duration>,
    /// At which step of a protocol it kills itself; 0: at none.
    pub(crate) fuse: u64,
    /// When it is stopped, once it is at work, and for how long.
    pub(crate) stop: Option<(Duration, Duration)>,
    /// It is only killed once it has ended the operation in which its time had come: nobody
    /// would see a hang of those who never live to its end.
    pub(crate) is_followed: bool,
}

fn milliseconds(random: &mut Random, most: u64) -> Duration {
    Duration::from_micros(random.below(1000 * most))
}

impl Fate {
    /// Most live short lives, some have time to see something. Python takes longer to start.
    pub(crate) fn draw(random: &mut Random, is_python: bool) -> Fate {
        let life = match (is_python, random.below(20)) {
            (false, 0..16) => milliseconds(random, 10),
            (true, 0..12) => milliseconds(random, 300),
            (false, 16..19) => milliseconds(random, 200),
            _ => milliseconds(random, 2000),
        };
        let dies_at_start = random.below(20) == 0;
        let startup = milliseconds(random, if is_python { 150 } else { 3 });
        let fuse = match random.below(4) {
            0 if !is_python => 1 + random.below(500),
            _ => 0,
        };
        let stop_after = life.mul_f64(random.below(1000) as f64 / 1000.0);
        let stop_time = match random.below(20) {
            0 => milliseconds(random, 2000),
            _ => milliseconds(random, 50),
        };
        let is_stopped = random.below(6) == 0;
        Fate {
            life,
            startup: dies_at_start.then_some(startup),
            fuse,
            stop: is_stopped.then_some((stop_after, stop_time)),
            is_followed: random.below(8) == 0,
        }
    }
}
