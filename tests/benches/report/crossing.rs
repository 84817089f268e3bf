//! A writer on one processor and a reader on the other: what both get done while neither
//! rests, and how old a new value is when the reader first sees it.
//!
//! Both are processes of their own, which understand these lines (`worker.rs`), and so do a
//! peer's, which take turns with ours. Times are nanoseconds:
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
use crate::measuring::{Operation, Rows, interleave, percentiles};
use crate::pace::{now, repeat, spin_until};
use crate::peers;
use crate::variable::{Aligned, SIZES, open, text, touch_all_slots};
use crate::worker::{Worker, serve, soon};
use robot_ipc::variable::ExclusiveWriter;
use robot_ipc::{HostVariable, VariableOptions};
use std::time::Duration;

/// Between two values whose age is looked at, in nanoseconds.
const GAP: &str = "3000";

/// What our rows begin with: of a writer among others, and of one that is the only one and
/// stores no time, as a peer's.
const OURS: [&str; 2] = ["", EXCLUSIVE];
const EXCLUSIVE: &str = "exclusive ";
const ICEORYX2: &str = "iceoryx2 ";

/// A writer and a reader of one kind, on two processors.
struct Sides {
    /// What their rows begin with.
    kind: &'static str,
    writer: Worker,
    reader: Worker,
}

impl Sides {
    /// Ours, and then the peers that are here.
    fn all(context: &Context, sizes: &[usize]) -> Vec<Sides> {
        let [first, second] = context.cores;
        let ours = OURS.map(|kind| {
            for size in sizes {
                let options = context.scratch.options().max_size(*size as u64);
                let variable = open(&options, &name_of(kind.trim(), *size));
                let mut value = vec![0; *size];
                mark(&mut value, 1);
                touch_all_slots(&variable, &value);
            }
            let [writer, reader] = [first, second]
                .map(|core| Worker::start(context, "variable", core, &[kind.trim()]));
            Sides {
                kind,
                writer,
                reader,
            }
        });
        let mut all = Vec::from(ours);
        let peers = [first, second].map(|core| peers::start(context, core));
        if let [Some(writer), Some(reader)] = peers {
            all.push(Sides {
                kind: ICEORYX2,
                writer,
                reader,
            });
        }
        for sides in &all {
            for size in sizes {
                // To have it open before time counts. A peer's reader has to come first.
                sides.reader.ask(&format!("read {size} 0 0"));
                sides.writer.ask(&format!("write {size} 0 0"));
            }
        }
        all
    }

    /// What both find who start at the same time.
    fn at_once(&self, [write, read]: [&str; 2], size: usize, duration: Duration) -> [Vec<f64>; 2] {
        let (start, duration) = (soon(), duration.as_nanos());
        let gap = if write == "publish" { GAP } else { "" };
        self.writer
            .say(&format!("{write} {size} {start} {duration} {gap}"));
        self.reader
            .say(&format!("{read} {size} {start} {duration}"));
        [self.writer.hear(), self.reader.hear()]
    }

    fn named(&self, what: &str, size: usize) -> String {
        format!("{}{what}, {}", self.kind, text(size))
    }
}

fn name_of(kind: &str, size: usize) -> String {
    format!("crossing-{kind}-{size}")
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
    let all = Sides::all(context, sizes);
    let mut operations = Vec::new();
    for size in sizes {
        let times = if *size < 1 << 20 { 1 } else { 3 };
        let duration = context.scale.turn() * times;
        for sides in &all {
            let names = ["write", "read"].map(|what| sides.named(what, *size));
            operations.push(Operation::several(&names, "ns", move || {
                sides.at_once(["write", "read"], *size, duration).concat()
            }));
        }
        for peer in &all[OURS.len()..] {
            let names = ["write into a loan", "read of those"].map(|what| peer.named(what, *size));
            operations.push(Operation::several(&names, "ns", move || {
                peer.at_once(["fill", "read"], *size, duration).concat()
            }));
        }
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for size in sizes {
        for what in ["write", "read"] {
            compare(&mut rows, &all, what, *size, "faster than");
        }
    }
    context.report(rows);
}

/// How old a new value is when a reader that looks all the time first sees it.
pub(crate) fn freshness(context: &mut Context) {
    let sizes = [64, 4096];
    let all = Sides::all(context, &sizes);
    let duration = context.scale.turn() * 4;
    let mut operations = Vec::new();
    for size in sizes {
        for sides in &all {
            let names = ["age p50", "age p99"].map(|what| sides.named(what, size));
            operations.push(Operation::several(&names, "ns", move || {
                let [_, ages] = sides.at_once(["publish", "observe"], size, duration);
                ages
            }));
        }
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for size in sizes {
        compare(&mut rows, &all, "age p50", size, "≤");
    }
    context.report(rows);
}

/// Compares our rows with each peer's, and wants the first one to be no more.
fn compare(rows: &mut Rows, all: &[Sides], what: &str, size: usize, goal: &str) {
    let (ours, peers) = all.split_at(OURS.len());
    for peer in peers {
        let Some(theirs) = rows.found(&peer.named(what, size)) else {
            continue;
        };
        let name = peer.kind.trim();
        for sides in ours {
            let row = rows.row(&sides.named(what, size)).beside(name, theirs);
            if sides.kind.is_empty() {
                row.at_most(theirs, &format!("{goal} {name}"));
            }
        }
    }
}

/// What a process has of one size.
struct Opened {
    size: usize,
    variable: HostVariable,
    writer: Option<ExclusiveWriter>,
    value: Aligned,
}

impl Opened {
    fn new(kind: &str, size: usize) -> Opened {
        let options = VariableOptions::new().adopt_size();
        let variable = open(&options, &name_of(kind, size));
        let mut value = Aligned::new(size);
        mark(value.bytes(), 1);
        touch_all_slots(&variable, value.bytes());
        Opened {
            size,
            variable,
            writer: None,
            value,
        }
    }

    /// A write of the value with that number.
    fn write(&mut self, number: u64) {
        let value = self.value.bytes();
        mark(value, number);
        match &mut self.writer {
            Some(writer) => writer.write(value),
            None => self.variable.write(value),
        }
        .expect("it is there");
    }

    /// A read; its version, and the number of the value.
    fn read(&mut self) -> (u64, u64) {
        let value = self.value.bytes();
        let sample = self.variable.read_into(value).expect("it is there");
        (sample.version, marked(value))
    }

    fn is_exclusive(&mut self) {
        if self.writer.is_none() {
            let writer = self.variable.exclusive_writer();
            let writer = writer.unwrap_or_else(|error| panic!("{error}"));
            self.writer = Some(writer.timestamps(false));
        }
    }
}

/// The role of a process that does what the lines say. Its argument is the kind.
pub(crate) fn act(arguments: &[&str]) {
    let kind = arguments[0];
    let mut all: Vec<Opened> = Vec::new();
    serve(|words| {
        let numbers = words[1..].iter().map(|word| word.parse());
        let numbers: Result<Vec<u64>, _> = numbers.collect();
        let numbers = numbers.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let size = numbers[0] as usize;
        if !all.iter().any(|opened| opened.size == size) {
            all.push(Opened::new(kind, size));
        }
        let opened = all.iter_mut().find(|opened| opened.size == size);
        let opened = opened.expect("just opened");
        if kind == EXCLUSIVE.trim() && ["write", "publish"].contains(&words[0]) {
            opened.is_exclusive();
        }
        let (start, end) = (numbers[1], numbers[1] + numbers[2]);
        match words[0] {
            "write" => {
                let mut number = 0;
                let each = repeat(size, start, end, || {
                    number += 1;
                    opened.write(number);
                });
                vec![each]
            }
            "read" => vec![repeat(size, start, end, || {
                opened.read();
            })],
            "publish" => vec![publish(opened, start, end, numbers[3])],
            "observe" => observe(opened, start, end),
            unknown => panic!("what is '{unknown}'?"),
        }
    });
}

fn publish(opened: &mut Opened, start: u64, end: u64, gap: u64) -> f64 {
    let mut next = start;
    let mut count = 0.0;
    while next < end {
        spin_until(next);
        opened.write(now());
        count += 1.0;
        next = now() + gap;
    }
    count
}

fn observe(opened: &mut Opened, start: u64, end: u64) -> Vec<f64> {
    spin_until(start);
    let mut ages = Vec::with_capacity(1 << 16);
    let (mut last, _) = opened.read();
    loop {
        // A small value is read as fast as its version, and is there at once then.
        let is_old = opened.size > 1024 && opened.variable.version().expect("it is there") == last;
        if !is_old {
            let (version, written) = opened.read();
            let time = now();
            if version != last {
                last = version;
                ages.push(time.saturating_sub(written) as f64);
                continue;
            }
        }
        if now() >= end {
            break;
        }
    }
    if ages.is_empty() {
        return vec![f64::NAN; 2];
    }
    percentiles(&mut ages, &[0.5, 0.99])
}
