//! A writer on one processor and a reader on the other: what both get done while neither
//! rests, and how old a new value is when the reader first sees it.
//!
//! Both are processes of their own, which understand these lines (`worker.rs`); a peer's
//! process that understands them too takes turns with ours. Times are nanoseconds:
//!
//!     write SIZE START DURATION          writes without a rest; how long one takes
//!     read SIZE START DURATION           reads without a rest; how long one takes
//!     publish SIZE START DURATION GAP    writes what time it is, with a gap in between;
//!                                        how many
//!     observe SIZE START DURATION        reads until it changes; ages, 50 % and 99 %
//!
//! A written value carries a number at its start, in its middle and at its end. A reader
//! that finds three different ones has been given a torn value, and ends.

use crate::Context;
use crate::measuring::{Operation, interleave, now, percentiles, spin_until};
use crate::variable::{Aligned, SIZES, open, text, touch_all_slots};
use crate::worker::{Worker, serve, soon};
use robot_ipc::{HostVariable, VariableOptions};
use std::time::Duration;

/// A writer and a reader of one kind, on two processors.
pub(crate) struct Sides {
    /// What to call them in the table, with a space behind: nothing for ours.
    pub(crate) kind: &'static str,
    pub(crate) writer: Worker,
    pub(crate) reader: Worker,
}

/// Ours, and those of peers that are here.
fn all_sides(context: &Context, sizes: &[usize]) -> Vec<Sides> {
    for size in sizes {
        let options = context.scratch.options().max_size(*size as u64);
        let variable = open(&options, &name_of(*size));
        let mut value = vec![0; *size];
        mark(&mut value, 1);
        touch_all_slots(&variable, &value);
    }
    let [first, second] = context.cores;
    vec![Sides {
        kind: "",
        writer: Worker::start(context, "variable", first, &[]),
        reader: Worker::start(context, "variable", second, &[]),
    }]
}

fn name_of(size: usize) -> String {
    format!("crossing-{size}")
}

/// Writes a number at the start, in the middle and at the end of a value.
fn mark(value: &mut [u8], number: u64) {
    for place in [0, value.len() / 2, value.len() - 8] {
        value[place..place + 8].copy_from_slice(&number.to_ne_bytes());
    }
}

/// The number that a value carries.
fn marked(value: &[u8]) -> u64 {
    let at = |place: usize| {
        let bytes = value[place..place + 8].try_into();
        u64::from_ne_bytes(bytes.expect("eight bytes"))
    };
    let found = [at(0), at(value.len() / 2), at(value.len() - 8)];
    assert!(
        found[0] == found[1] && found[0] == found[2],
        "a torn value: {found:?}"
    );
    found[0]
}

/// Both without a rest.
pub(crate) fn flat_out(context: &mut Context) {
    let sizes = context.scale.pick(&SIZES[..1], &SIZES, &SIZES);
    let all = all_sides(context, sizes);
    let mut operations = Vec::new();
    for size in sizes {
        let times = if *size < 1 << 20 { 1 } else { 3 };
        let duration = (context.scale.turn() * times).as_nanos();
        for Sides {
            kind,
            writer,
            reader,
        } in &all
        {
            let names = ["write", "read"].map(|what| format!("{kind}{what}, {}", text(*size)));
            let names = names.each_ref().map(String::as_str);
            operations.push(Operation::several(&names, "ns", move || {
                let start = soon();
                writer.say(&format!("write {size} {start} {duration}"));
                reader.say(&format!("read {size} {start} {duration}"));
                [writer.hear(), reader.hear()].concat()
            }));
        }
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for size in sizes {
        for what in ["write", "read"] {
            let named = |kind: &str| format!("{kind}{what}, {}", text(*size));
            for Sides { kind, .. } in &all[1..] {
                let theirs = rows.median(&named(kind));
                rows.row(&named(""))
                    .beside(kind.trim(), theirs)
                    .at_most(theirs, &format!("faster than {}", kind.trim()));
            }
        }
    }
    context.report(rows);
}

/// How old a new value is when a reader that looks all the time first sees it.
pub(crate) fn freshness(context: &mut Context) {
    let sizes = [64, 4096];
    let all = all_sides(context, &sizes);
    let duration = (context.scale.turn() * 4).as_nanos();
    let gap = Duration::from_micros(3).as_nanos();
    let mut operations = Vec::new();
    for size in sizes {
        for Sides {
            kind,
            writer,
            reader,
        } in &all
        {
            let names = ["p50", "p99"].map(|part| format!("{kind}age {part}, {}", text(size)));
            let names = names.each_ref().map(String::as_str);
            operations.push(Operation::several(&names, "ns", move || {
                let start = soon();
                writer.say(&format!("publish {size} {start} {duration} {gap}"));
                reader.say(&format!("observe {size} {start} {duration}"));
                let ages = reader.hear();
                writer.hear();
                ages
            }));
        }
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for size in sizes {
        let named = |kind: &str| format!("{kind}age p50, {}", text(size));
        for Sides { kind, .. } in &all[1..] {
            let theirs = rows.median(&named(kind));
            rows.row(&named(""))
                .beside(kind.trim(), theirs)
                .at_most(theirs, &format!("≤ {}", kind.trim()));
        }
    }
    context.report(rows);
}

/// The role of a process that does what the lines say.
pub(crate) fn act(_arguments: &[&str]) {
    let mut opened: Vec<(usize, HostVariable, Aligned)> = Vec::new();
    serve(|words| {
        let numbers: Vec<u64> = words[1..]
            .iter()
            .filter_map(|word| word.parse().ok())
            .collect();
        let size = numbers[0] as usize;
        let index = opened.iter().position(|(known, ..)| *known == size);
        let index = index.unwrap_or_else(|| {
            let variable = open(&VariableOptions::new().adopt_size(), &name_of(size));
            let mut value = Aligned::new(size);
            mark(value.bytes(), 1);
            touch_all_slots(&variable, value.bytes());
            opened.push((size, variable, value));
            opened.len() - 1
        });
        let (_, variable, value) = &mut opened[index];
        let (value, start, end) = (value.bytes(), numbers[1], numbers[1] + numbers[2]);
        match words[0] {
            "write" => {
                let mut number = 0;
                let each = repeat(size, start, end, || {
                    number += 1;
                    mark(value, number);
                    variable.write(value).expect("it is there");
                });
                vec![each]
            }
            "read" => vec![repeat(size, start, end, || {
                variable.read_into(value).expect("it is there");
                marked(value);
            })],
            "publish" => vec![publish(variable, value, start..end, numbers[3])],
            "observe" => observe(variable, value, start, end),
            unknown => panic!("what is '{unknown}'?"),
        }
    });
}

/// The nanoseconds of one of as many as there is time for.
fn repeat(size: usize, start: u64, end: u64, mut once: impl FnMut()) -> f64 {
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

fn publish(
    variable: &HostVariable,
    value: &mut [u8],
    times: std::ops::Range<u64>,
    gap: u64,
) -> f64 {
    let mut next = times.start;
    let mut count = 0.0;
    while next < times.end {
        spin_until(next);
        mark(value, now());
        variable.write(value).expect("it is there");
        count += 1.0;
        next = now() + gap;
    }
    count
}

fn observe(variable: &HostVariable, value: &mut [u8], start: u64, end: u64) -> Vec<f64> {
    spin_until(start);
    let mut ages = Vec::with_capacity(1 << 16);
    let mut last = variable.version().expect("it is there");
    loop {
        let sample = variable.read_into(value).expect("it is there");
        let time = now();
        if sample.version != last {
            last = sample.version;
            ages.push(time.saturating_sub(marked(value)) as f64);
        }
        if time >= end && !ages.is_empty() {
            return percentiles(&mut ages, &[0.5, 0.99]);
        }
    }
}
