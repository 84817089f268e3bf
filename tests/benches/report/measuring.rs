//! How everything is measured: operations that are compared take turns.
//!
//! What disturbs a machine (another program, the processor's clock, its neighbours on a
//! virtual one) lasts longer than a turn and shorter than a run. So the operations of one
//! comparison take turns of some milliseconds, round after round: what disturbs one disturbs
//! all. A figure is the median of the rounds, with the smallest and the largest one.

use crate::pace::nanoseconds;
use crate::row::Row;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::ClockId;
use std::time::{Duration, Instant};

/// How thoroughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// To see that everything runs: what `cargo test --all-targets` does.
    Tiny,
    /// To see roughly how things stand.
    Quick,
    /// For figures that are shown to others.
    Full,
}

impl Scale {
    /// One of three, by scale.
    pub(crate) fn pick<T>(self, tiny: T, quick: T, full: T) -> T {
        match self {
            Scale::Tiny => tiny,
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// How many rounds.
    pub(crate) fn rounds(self) -> usize {
        self.pick(1, 5, 15)
    }

    /// How long a turn of something takes that costs nanoseconds.
    pub(crate) fn turn(self) -> Duration {
        Duration::from_micros(self.pick(50, 3000, 10_000))
    }
}

/// Something to measure, in turns. Each turn gives a figure for each of its rows.
pub(crate) struct Operation<'a> {
    rows: Vec<(String, String)>,
    turn: Box<dyn FnMut() -> Vec<f64> + 'a>,
}

impl<'a> Operation<'a> {
    /// One row, whose figure a turn gives.
    pub(crate) fn new(name: &str, unit: &str, mut turn: impl FnMut() -> f64 + 'a) -> Operation<'a> {
        Operation::several(&[name], unit, move || vec![turn()])
    }

    /// Several rows, whose figures a turn gives in their order.
    pub(crate) fn several(
        names: &[impl AsRef<str>],
        unit: &str,
        turn: impl FnMut() -> Vec<f64> + 'a,
    ) -> Operation<'a> {
        let rows = names
            .iter()
            .map(|name| (name.as_ref().to_owned(), unit.to_owned()));
        Operation {
            rows: rows.collect(),
            turn: Box::new(turn),
        }
    }

    /// The figures of a turn. One in which a side came too late for the other, or failed,
    /// has none and does not count; after ten of them there are none.
    fn figures(&mut self) -> Option<Vec<f64>> {
        (0..10).map(|_| (self.turn)()).find(|found| {
            found.len() == self.rows.len() && found.iter().all(|figure| figure.is_finite())
        })
    }

    /// The nanoseconds that `once` takes, in turns of that length.
    pub(crate) fn timed(
        name: &str,
        length: Duration,
        mut once: impl FnMut() + 'a,
    ) -> Operation<'a> {
        let mut count = 0;
        Operation::new(name, "ns", move || {
            if count == 0 {
                count = fitting(length, &mut once);
            }
            let start = Instant::now();
            for _ in 0..count {
                once();
            }
            start.elapsed().as_nanos() as f64 / f64::from(count)
        })
    }
}

/// How many of an operation fill a turn.
fn fitting(length: Duration, once: &mut impl FnMut()) -> u32 {
    let mut count = 1u32;
    loop {
        let start = Instant::now();
        for _ in 0..count {
            once();
        }
        let took = start.elapsed();
        if took * 4 > length {
            let each = took.as_nanos() as f64 / f64::from(count);
            return (length.as_nanos() as f64 / each).clamp(1.0, 1e9) as u32;
        }
        count *= 2;
    }
}

/// The rows of a comparison.
pub(crate) struct Rows(pub(crate) Vec<Row>);

impl Rows {
    /// The row of that name.
    pub(crate) fn row(&mut self, name: &str) -> &mut Row {
        let row = self.0.iter_mut().find(|row| row.name == name);
        row.unwrap_or_else(|| panic!("there is no row '{name}'"))
    }

    /// The figure of the row of that name.
    pub(crate) fn median(&self, name: &str) -> f64 {
        self.found(name)
            .unwrap_or_else(|| panic!("there is no row '{name}'"))
    }

    /// The figure of the row of that name, if it was measured.
    pub(crate) fn found(&self, name: &str) -> Option<f64> {
        let row = self.0.iter().find(|row| row.name == name);
        row.map(|row| row.median)
    }
}

/// Lets all operations take turns in so many rounds, after one round that does not count.
/// What gives no figures is told loudly and has no rows.
pub(crate) fn interleave(rounds: usize, mut operations: Vec<Operation<'_>>) -> Rows {
    let mut figures: Vec<Vec<Vec<f64>>> = vec![Vec::new(); operations.len()];
    for round in 0..=rounds {
        for (operation, figures) in operations.iter_mut().zip(&mut figures) {
            let found = operation.figures();
            if round > 0 {
                figures.extend(found);
            }
        }
    }
    let mut rows = Vec::new();
    for (operation, figures) in operations.iter().zip(figures) {
        if figures.len() < rounds {
            let names: Vec<&str> = operation.rows.iter().map(|row| row.0.as_str()).collect();
            support::skipped(&names.join("; "), "there were no figures in ten turns");
            continue;
        }
        for (column, (name, unit)) in operation.rows.iter().enumerate() {
            let column: Vec<f64> = figures.iter().map(|found| found[column]).collect();
            rows.push(Row::of(name, unit, &column));
        }
    }
    Rows(rows)
}

/// As [`interleave`], with this thread kept on one processor.
pub(crate) fn interleave_on(core: usize, rounds: usize, operations: Vec<Operation<'_>>) -> Rows {
    let kept = keep_on(&[core]);
    let rows = interleave(rounds, operations);
    keep_on(&kept);
    rows
}

/// The figures below which those parts of `times` lie, such as 0.5 and 0.99. Sorts them.
pub(crate) fn percentiles(times: &mut [f64], parts: &[f64]) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    let at = |part: &f64| times[((times.len() - 1) as f64 * part) as usize];
    parts.iter().map(at).collect()
}

/// Nanoseconds that this thread has had a processor.
pub(crate) fn processor_time() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// The processors that this program may use.
pub(crate) fn cores() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|error| panic!("sched_getaffinity: {error}"));
    (0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .collect()
}

/// From now on this thread, and those that it starts, run on that processor only.
pub(crate) fn pin(core: usize) {
    keep_on(&[core]);
}

/// From now on this thread, and those that it starts, run on those processors only. Returns
/// those that it could run on before.
pub(crate) fn keep_on(wanted: &[usize]) -> Vec<usize> {
    let before = cores();
    let mut set = CpuSet::new();
    wanted.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).unwrap_or_else(|error| panic!("processors {wanted:?}: {error}"));
    before
}
