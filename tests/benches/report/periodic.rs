//! A control loop of 1 kHz that reads and writes beside a processor that does nothing but
//! write the same variable: how long a read and a write take at worst.
//!
//! The loop has its processor first (SCHED_FIFO) where it may, and its memory is locked. What
//! the machine itself adds, such as interrupts and, here, a hypervisor, shows in the row
//! beside: how late the loop wakes up, and how long 300 ns of nothing take.

use crate::Context;
use crate::measuring::{Rows, keep_on, percentiles};
use crate::pace::{now, spin_until};
use crate::row::Row;
use crate::variable::open;
use crate::worker::{Worker, soon};
use robot_ipc::Memory;
use support::pattern;

const SIZE: usize = 4096;
/// From one turn of the loop to the next, in ns.
const PERIOD: u64 = 1_000_000;
const NOTHING: u64 = 300;

/// Reads and writes once a millisecond.
pub(crate) fn loop_at_1_khz(context: &mut Context) {
    let turns = context.scale.pick(20, 2000, 60_000);
    let options = context.scratch.options().max_size(SIZE as u64);
    // The role `crowd` writes variables of that name.
    let variable = open(&options.memory(Memory::Locked), &format!("crowded-{SIZE}"));
    let value = pattern(SIZE, 1);
    variable.write(&value).expect("there is room");
    let other = Worker::start(context, "crowd", context.cores[1], &[]);
    let start = soon() + 10 * PERIOD;
    other.say(&format!("write {SIZE} 1 {start} {}", turns * PERIOD));
    let core = context.cores[0];
    let figures = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            keep_on(&[core]);
            if !support::system::run_first() {
                support::skipped("SCHED_FIFO", "this process may not have it");
            }
            let mut buffer = vec![0; SIZE];
            let mut figures: [Vec<f64>; 4] = Default::default();
            for turn in 1..=turns {
                let due = start + turn * PERIOD;
                std::thread::sleep(std::time::Duration::from_nanos(due.saturating_sub(now())));
                let awake = now();
                spin_until(awake + NOTHING);
                let nothing = now();
                variable.read_into(&mut buffer).expect("it was written");
                let read = now();
                variable.write(&value).expect("a slot is free");
                let written = now();
                let times = [
                    awake - due,
                    nothing - awake - NOTHING,
                    read - nothing,
                    written - read,
                ];
                for (figures, time) in figures.iter_mut().zip(times) {
                    figures.push(time as f64 / 1000.0);
                }
            }
            figures
        });
        thread.join().expect("no panic")
    });
    let written = other.hear();
    assert!(written[1] == 0.0, "{} writes were rejected", written[1]);
    let names = [
        "wakes up late by",
        "300 ns of nothing, more",
        "read",
        "write",
    ];
    let parts = [
        ("p50", 0.5),
        ("p99", 0.99),
        ("p99.99", 0.9999),
        ("longest", 1.0),
    ];
    let mut rows = Vec::new();
    for (name, mut figures) in names.into_iter().zip(figures) {
        let found = percentiles(&mut figures, &parts.map(|(_, part)| part));
        for ((part, _), figure) in parts.into_iter().zip(found) {
            rows.push(Row::of(&format!("{name}, {part}"), "µs", &[figure]));
        }
    }
    context.report(Rows(rows));
}
