//! What a read and a write cost beside a plain copy of the same bytes.
//!
//!     cargo bench -p robot-ipc-tests
//!
//! One process alone. The operations take turns within each round, so that what
//! disturbs one disturbs all; each figure is the median of the rounds, with the
//! fastest and the slowest.

use robot_ipc::{Encoding, HostVariable};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::Scratch;

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(20);

/// Nanoseconds of each of a few operations, for each round.
fn measure(operations: &mut [(&str, &mut dyn FnMut())]) -> Vec<Vec<f64>> {
    let counts: Vec<u32> = operations
        .iter_mut()
        .map(|(_, operation)| fitting(operation))
        .collect();
    let mut times = vec![Vec::new(); operations.len()];
    for _ in 0..ROUNDS {
        for (index, (_, operation)) in operations.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..counts[index] {
                operation();
            }
            let count = f64::from(counts[index]);
            times[index].push(start.elapsed().as_nanos() as f64 / count);
        }
    }
    times
}

/// How many of an operation fill a round.
fn fitting(operation: &mut dyn FnMut()) -> u32 {
    let mut count = 1u32;
    loop {
        let start = Instant::now();
        for _ in 0..count {
            operation();
        }
        if start.elapsed() * 4 > ROUND {
            let once = start.elapsed() / count;
            return (ROUND.as_nanos() / once.as_nanos().max(1)).clamp(1, 1 << 24) as u32;
        }
        count *= 2;
    }
}

fn report(size: usize, operations: &[&str], times: &mut [Vec<f64>]) {
    print!("{size:>8}");
    for (name, times) in operations.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let [first, .., last] = times[..] else {
            continue;
        };
        print!(
            "  {name} {:>8.1} [{first:.0}..{last:.0}]",
            times[ROUNDS / 2]
        );
    }
    println!();
}

fn measure_size(scratch: &Scratch, size: usize) {
    let open = |name: &str| -> HostVariable {
        let options = scratch.options().max_size(size as u64);
        options.open(name).unwrap_or_else(|error| panic!("{error}"))
    };
    let variable = open(&format!("of-{size}"));
    let value = vec![7u8; size];
    let (mut copy, mut read) = (vec![0u8; size], vec![0u8; size]);
    let mut write = || {
        variable.write(black_box(&value)).expect("it is there");
    };
    write();
    let mut operations: [(&str, &mut dyn FnMut()); 5] = [
        ("memcpy", &mut || {
            black_box(&mut copy[..]).copy_from_slice(black_box(&value))
        }),
        ("write", &mut write),
        ("read", &mut || {
            variable
                .read_into(black_box(&mut read))
                .expect("it is there");
        }),
        ("borrow", &mut || {
            black_box(variable.borrow().expect("it is there").as_ptr());
        }),
        ("loan", &mut || {
            let loan = variable.loan().expect("there is room");
            loan.publish(size, Encoding::RAW).expect("it is there");
        }),
    ];
    let mut times = measure(&mut operations);
    report(size, &operations.map(|(name, _)| name), &mut times);
}

fn main() {
    // `cargo test --all-targets` starts benches too, to see that they run.
    let sizes: &[usize] = if cfg!(debug_assertions) {
        &[64]
    } else {
        &[64, 1024, 4096, 65536, 1 << 20]
    };
    println!("nanoseconds per operation, median [fastest..slowest] of {ROUNDS} rounds");
    let scratch = Scratch::new();
    for size in sizes {
        measure_size(&scratch, *size);
    }
}
