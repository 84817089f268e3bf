//! What a read and a write cost with more slots, more processes that have the variable, and
//! more variables open: nothing more is wanted.
//!
//! The figures are compared with that of the smallest number in the same rounds. Values are
//! small, so that the caches hold them whatever the number is.

use crate::Context;
use crate::measuring::{Operation, Rows, interleave, interleave_on};
use crate::variable::{Aligned, open, touch_all_slots};
use crate::worker::{Worker, serve};
use robot_ipc::{HostVariable, VariableOptions};
use std::time::{Duration, Instant};
use support::process::Partner;

const SIZE: usize = 64;
/// No more than that many times the cost of the smallest number: what two measurements of
/// the same thing differ by.
const TOLERANCE: f64 = 1.1;

/// Wants the rows of each number to be as the first one's.
fn compare(rows: &mut Rows, numbers: &[usize], of: &str) {
    for what in ["read", "write"] {
        let named = |number: usize| format!("{what}, {number} {of}");
        let least = named(numbers[0]);
        let first = rows.median(&least);
        for number in &numbers[1..] {
            rows.row(&named(*number))
                .beside(&least, first)
                .at_most(TOLERANCE * first, "≤ 1.1 × the fewest");
        }
    }
}

/// A read and a write of one variable.
fn both<'a>(variable: &'a HostVariable, of: &str, length: Duration) -> [Operation<'a>; 2] {
    let (mut found, mut value) = (Aligned::new(SIZE), Aligned::new(SIZE));
    [
        Operation::timed(&format!("read, {of}"), length, move || {
            variable.read_into(found.bytes()).expect("it is there");
        }),
        Operation::timed(&format!("write, {of}"), length, move || {
            variable.write(value.bytes()).expect("it is there");
        }),
    ]
}

/// More slots.
pub(crate) fn slots(context: &mut Context) {
    let numbers = [2, 4, 14, 30, 62];
    let variables = numbers.map(|number| {
        let options = context.scratch.options().max_size(SIZE as u64);
        let variable = open(&options.slots(number as u32), &format!("slots-{number}"));
        touch_all_slots(&variable, &[1; SIZE]);
        variable
    });
    let length = context.scale.turn();
    let pairs = variables.iter().zip(numbers);
    let operations =
        pairs.flat_map(|(variable, number)| both(variable, &format!("{number} slots"), length));
    let mut rows = interleave_on(
        context.cores[0],
        context.scale.rounds(),
        operations.collect(),
    );
    compare(&mut rows, &numbers, "slots");
    context.report(rows);
}

/// More processes that have written it, and are idle now.
pub(crate) fn participants(context: &mut Context) {
    let numbers = context.scale.pick([0, 1, 2], [0, 50, 200], [0, 50, 200]);
    let length = context.scale.turn();
    let all = numbers.map(|number| {
        let options = context.scratch.options().max_size(SIZE as u64);
        let name = format!("participants-{number}");
        let variable = open(&options, &name);
        let program = env!("CARGO_BIN_EXE_child");
        let arguments = ["participants", &name, &number.to_string(), "write"];
        let mut others = Partner::start(&context.scratch, program, &arguments);
        for _ in 0..number {
            let said = others.hear();
            assert!(said.starts_with("ok"), "{said}");
        }
        touch_all_slots(&variable, &[1; SIZE]);
        (variable, others)
    });
    let pairs = all.iter().zip(numbers);
    let operations =
        pairs.flat_map(|((variable, _), number)| both(variable, &format!("{number} idle"), length));
    let mut rows = interleave_on(
        context.cores[0],
        context.scale.rounds(),
        operations.collect(),
    );
    compare(&mut rows, &numbers, "idle");
    context.report(rows);
}

/// More variables open in the same process.
pub(crate) fn variables(context: &mut Context) {
    let numbers = context
        .scale
        .pick(&[1, 3][..], &[1, 100, 1000], &[1, 100, 1000, 10_000]);
    let most = numbers.iter().copied().max().unwrap_or_default();
    let options = context.scratch.options().max_size(SIZE as u64);
    for index in 0..most {
        drop(open(&options, &format!("open-{index}")));
    }
    let length = context.scale.turn().as_nanos().to_string();
    let start = |number: &usize| {
        let arguments = [number.to_string(), length.clone()];
        let arguments = arguments.each_ref().map(String::as_str);
        (
            *number,
            Worker::start(context, "open", context.cores[0], &arguments),
        )
    };
    let workers: Vec<(usize, Worker)> = numbers.iter().map(start).collect();
    let operations = workers.iter().map(|(number, worker)| {
        let names = ["read", "write"].map(|what| format!("{what}, {number} open"));
        Operation::several(&names, "ns", || worker.ask("go"))
    });
    let mut rows = interleave(context.scale.rounds(), operations.collect());
    compare(&mut rows, numbers, "open");
    context.report(rows);
}

/// The role of a process with so many variables open, which reads and writes one of them
/// for so long.
pub(crate) fn act(arguments: &[&str]) {
    let numbers: Vec<u64> = arguments
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [number, length] = numbers[..] else {
        panic!("two numbers, not {arguments:?}");
    };
    let length = Duration::from_nanos(length);
    let options = VariableOptions::new().adopt_size();
    let variables: Vec<HostVariable> = (0..number)
        .map(|index| open(&options, &format!("open-{index}")))
        .collect();
    let variable = &variables[0];
    touch_all_slots(variable, &[1; SIZE]);
    let (mut value, mut found) = (Aligned::new(SIZE), Aligned::new(SIZE));
    serve(|_| {
        vec![
            each(length, || {
                variable.read_into(found.bytes()).expect("it is there");
            }),
            each(length, || {
                variable.write(value.bytes()).expect("it is there");
            }),
        ]
    });
}

fn each(length: Duration, mut once: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < length {
        for _ in 0..256 {
            once();
        }
        count += 256;
    }
    start.elapsed().as_nanos() as f64 / f64::from(count)
}
