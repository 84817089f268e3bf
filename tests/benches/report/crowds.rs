//! Many writers and many readers of one variable at the same time.
//!
//! The writers are threads of two processes, each on a processor of its own. Every write has
//! to be accepted, and the version counts exactly those: a write that is rejected, or
//! accepted and lost, or torn when it is read, is a fault and no figure.

use crate::Context;
use crate::measuring::{Operation, interleave, processor_time};
use crate::pace::now;
use crate::variable::{open, text};
use crate::worker::{Worker, serve, soon};
use robot_ipc::{HostVariable, VariableOptions};
use std::cell::RefCell;
use std::time::Duration;
use support::{pattern, pattern_of};

const SIZE: usize = 4096;
const NAME: &str = "crowded";
const WRITERS: [usize; 5] = [1, 2, 4, 8, 16];
const READERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// How long the figures are about.
const SECONDS: f64 = 3.0;
/// What the earlier library accepts of 16 writers in as long, in millions (it rejects two
/// of three).
const ORIGINAL: f64 = 7.2;

fn create(context: &Context, size: usize) -> HostVariable {
    let variable = open(
        &context.scratch.options().max_size(size as u64),
        &format!("{NAME}-{size}"),
    );
    variable.write(&pattern(size, 1)).expect("there is room");
    variable
}

fn workers(context: &Context) -> [Worker; 2] {
    context
        .cores
        .map(|core| Worker::start(context, "crowd", core, &[]))
}

/// So many threads in total, half of them in each process; the answers of both, added.
fn together(
    workers: &[Worker; 2],
    what: &str,
    size: usize,
    threads: usize,
    duration: Duration,
) -> Vec<f64> {
    // The threads have to be there by then.
    let start = soon() + threads as u64 * 100_000;
    let duration = duration.as_nanos();
    let counts = [threads.div_ceil(2), threads / 2];
    for (worker, count) in workers.iter().zip(counts) {
        worker.say(&format!("{what} {size} {count} {start} {duration}"));
    }
    let [first, second] = workers.each_ref().map(Worker::hear);
    first
        .iter()
        .zip(second)
        .map(|(first, second)| first + second)
        .collect()
}

/// 1 to 16 writers and a reader that looks whether every value is whole.
pub(crate) fn writers(context: &mut Context) {
    let variable = create(context, SIZE);
    let workers = workers(context);
    let faults = RefCell::new(Vec::new());
    let (rounds, turn) = context.scale.pick((1, 5), (2, 150), (3, 1000));
    let turn = Duration::from_millis(turn);
    let operations = WRITERS.map(|count| {
        let names = ["accepted", "rejected"].map(|what| of_writers(count, what));
        let (variable, workers, faults) = (&variable, &workers, &faults);
        Operation::several(&names, "M", move || {
            let before = variable.version().expect("it is there");
            let [written, rejected] = std::thread::scope(|scope| {
                let reader = scope.spawn(|| watch(variable, now() + turn.as_nanos() as u64));
                let found = together(workers, "write", SIZE, count, turn);
                if reader.join().is_err() {
                    faults.borrow_mut().push(format!("a torn value with {count} writers"));
                }
                [found[0], found[1]]
            });
            let counted = variable.version().expect("it is there") - before;
            if rejected > 0.0 || written != counted as f64 {
                faults.borrow_mut().push(format!(
                    "{count} writers: {rejected} writes rejected; {written} accepted, but {counted} counted"
                ));
            }
            [written, rejected]
                .map(|count| count * SECONDS / turn.as_secs_f64() / 1e6)
                .to_vec()
        })
    });
    let mut rows = interleave(rounds, operations.into());
    for count in WRITERS {
        let rejected = rows.row(&of_writers(count, "rejected"));
        // Of all rounds, not in the median.
        rejected.median = rejected.max;
        rejected.at_most(0.0, "none");
    }
    rows.row(&of_writers(16, "accepted"))
        .beside("original, other machine", ORIGINAL)
        .at_least(2.0 * ORIGINAL, "≥ 2 × the original's 7.2 M");
    context.report(rows);
    for fault in faults.into_inner() {
        context.fault(fault);
    }
}

fn of_writers(count: usize, what: &str) -> String {
    format!("{}: {what} in 3 s", counted(count, "writer"))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads until then, and looks at every byte.
fn watch(variable: &HostVariable, end: u64) {
    let mut value = vec![0; SIZE];
    while now() < end {
        variable.read_into(&mut value).expect("it is there");
        assert!(pattern_of(&value).is_some(), "a torn value");
    }
}

/// 1 to 64 readers beside a writer; and what one read costs its thread, without a writer.
pub(crate) fn readers(context: &mut Context) {
    let sizes = context.scale.pick(&[64][..], &[64, SIZE], &[64, SIZE]);
    let variables: Vec<HostVariable> = sizes.iter().map(|size| create(context, *size)).collect();
    let workers = workers(context);
    let writer = Worker::start(context, "crowd", context.cores[0], &[]);
    let (rounds, turn) = context.scale.pick((1, 5), (2, 40), (5, 150));
    let turn = Duration::from_millis(turn);
    let mut operations = Vec::new();
    for size in sizes {
        // Each one, and so many others.
        for count in READERS.map(|count| if count == 64 { 65 } else { count }) {
            let (name, workers) = (time_of_read(*size, count), &workers);
            operations.push(Operation::new(&name, "ns", move || {
                let found = together(workers, "read", *size, count, turn);
                found[1] / found[0]
            }));
        }
    }
    for count in READERS {
        let names = ["reads", "writes"]
            .map(|what| format!("{}, a writer: {what} in 3 s", counted(count, "reader")));
        let (workers, writer) = (&workers, &writer);
        operations.push(Operation::several(&names, "M", move || {
            let (start, duration) = (soon() + count as u64 * 100_000, turn.as_nanos());
            writer.say(&format!("write {SIZE} 1 {start} {duration}"));
            let read = together(workers, "read", SIZE, count, turn)[0];
            let written = writer.hear();
            assert!(written[1] == 0.0, "{} writes were rejected", written[1]);
            [read, written[0]]
                .map(|count| count * SECONDS / turn.as_secs_f64() / 1e6)
                .to_vec()
        }));
    }
    let mut rows = interleave(rounds, operations);
    for size in sizes {
        let alone = rows.median(&time_of_read(*size, 1));
        for count in READERS[1..]
            .iter()
            .map(|count| if *count == 64 { 65 } else { *count })
        {
            rows.row(&time_of_read(*size, count)).beside("alone", alone);
        }
        rows.row(&time_of_read(*size, 65))
            .at_most(1.2 * alone, "≤ 1.2 × alone");
    }
    context.report(rows);
    drop(variables);
}

fn time_of_read(size: usize, count: usize) -> String {
    let who = match count {
        1 => "alone".to_owned(),
        count => counted(count - 1, "other"),
    };
    format!("CPU time of a read, {who}, {}", text(size))
}

/// The role of a process of many threads. Its lines (times in nanoseconds):
///
/// ```text
/// write SIZE THREADS START DURATION    accepted and rejected writes
/// read SIZE THREADS START DURATION     reads, and the processor's time for all of them
/// ```
pub(crate) fn act(_arguments: &[&str]) {
    let mut opened: Vec<(usize, HostVariable)> = Vec::new();
    serve(|words| {
        let numbers: Vec<u64> = words[1..]
            .iter()
            .filter_map(|word| word.parse().ok())
            .collect();
        let [size, threads, start, duration] = numbers[..] else {
            panic!("four numbers, not {words:?}");
        };
        let size = size as usize;
        if !opened.iter().any(|(known, _)| *known == size) {
            let options = VariableOptions::new().adopt_size();
            opened.push((size, open(&options, &format!("{NAME}-{size}"))));
        }
        let (_, variable) = opened
            .iter()
            .find(|(known, _)| *known == size)
            .expect("opened");
        let work = match words[0] {
            "write" => write,
            _ => read,
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|index| {
                    scope.spawn(move || {
                        std::thread::sleep(Duration::from_nanos(start.saturating_sub(now())));
                        work(variable, size, index, start + duration)
                    })
                })
                .collect();
            let found = running
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            let sum = found.fold([0.0; 2], |sum, found| {
                [sum[0] + found[0], sum[1] + found[1]]
            });
            sum.to_vec()
        })
    });
}

fn write(variable: &HostVariable, size: usize, thread: u64, end: u64) -> [f64; 2] {
    let values: Vec<Vec<u8>> = (0..4)
        .map(|index| pattern(size, thread << 8 | index))
        .collect();
    let mut counts = [0.0; 2];
    for value in values.iter().cycle() {
        if now() >= end {
            break;
        }
        match variable.write(value) {
            Ok(_) => counts[0] += 1.0,
            Err(_) => counts[1] += 1.0,
        }
    }
    counts
}

fn read(variable: &HostVariable, size: usize, _thread: u64, end: u64) -> [f64; 2] {
    let mut value = vec![0; size];
    let mut count = 0u32;
    let start = processor_time();
    while now() < end {
        for _ in 0..16 {
            variable.read_into(&mut value).expect("it is there");
        }
        count += 16;
        if count.is_multiple_of(1024) {
            assert!(pattern_of(&value).is_some(), "a torn value");
        }
    }
    [f64::from(count), (processor_time() - start) as f64]
}
