//! What a call costs beside the least that any call between two processes can cost.
//!
//!     cargo bench -p robot-ipc-tests --bench function
//!
//! Two processes: this one calls, a child of it serves. Beside each way to call stands
//! its limit, with the same two processes: a word in shared memory that both look at
//! all the time (`spin`), and one that both sleep on (`futex`). They take turns within
//! each round, so that what disturbs one disturbs all. On virtual machines the costs of
//! two processors meeting come in two sizes that differ by a factor of several: compare
//! figures of one run only.

use robot_ipc::function::HostFunctionCaller;
use robot_ipc::{FunctionOptions, HostFunctionDispatcher};
use robot_ipc_core::sync::{AtomicU32, Ordering};
use std::hint::spin_loop;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::function::PATIENCE;
use support::system::SharedWords;
use support::{Kept, Scratch, eventually};

const ROUNDS: usize = if cfg!(debug_assertions) { 1 } else { 15 };
const CALLS: usize = if cfg!(debug_assertions) { 10 } else { 2000 };
const IDLE: Duration = Duration::from_millis(10);

/// Where the child's words are, in the words that both share.
const ASKED: usize = 0;
const ANSWERED: usize = 16;

fn main() {
    match std::env::var("ROBOT_IPC_BENCH_WORDS") {
        Ok(path) => serve(&path),
        Err(_) => measure(),
    }
}

/// The child: answers whatever is asked, in whichever way.
fn serve(path: &str) {
    support::system::die_with_parent();
    let dispatcher = HostFunctionDispatcher::new(2).expect("within the limits");
    dispatcher
        .add_raw(&FunctionOptions::new(), b"echo", |call| {
            let mut copy = [0; 4096];
            let length = call.arguments().len();
            copy[..length].copy_from_slice(call.arguments());
            call.reply(&copy[..length], robot_ipc::Encoding::RAW)
        })
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher
        .add_raw(
            &FunctionOptions::new()
                .max_argument_size(8)
                .max_response_size(0),
            b"one-way",
            |call| call.reply_nothing(),
        )
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    let words = SharedWords::open(path);
    let mut seen = 0;
    loop {
        let asked = words.word(ASKED).load(Ordering::Acquire);
        if asked != seen {
            seen = asked;
            words.word(ANSWERED).store(asked, Ordering::Release);
            if asked % 2 == 1 {
                words.wake(ANSWERED);
            }
        }
        // Odd numbers are asked by those who sleep, and 0 by nobody.
        if asked % 2 == 1 || asked == 0 {
            words.sleep(ASKED, asked);
        } else {
            spin_loop();
        }
    }
}

struct Pair {
    words: SharedWords,
    echo: HostFunctionCaller,
    one_way: HostFunctionCaller,
    asked: u32,
}

impl Pair {
    /// One round trip of a word.
    fn ask_word(&mut self, sleeping: bool) {
        // The next number of the right parity.
        self.asked = (self.asked + 2) / 2 * 2 + u32::from(sleeping);
        let before = self.words.word(ASKED).swap(self.asked, Ordering::AcqRel);
        if before % 2 == 1 || before == 0 {
            self.words.wake(ASKED);
        }
        loop {
            let answered: &AtomicU32 = self.words.word(ANSWERED);
            let now = answered.load(Ordering::Acquire);
            if now == self.asked {
                return;
            }
            if sleeping {
                self.words.sleep(ANSWERED, now);
            } else {
                spin_loop();
            }
        }
    }

    fn call(&self, size: usize) {
        let mut answer = [0; 4096];
        let call = self.echo.call(&answer[..size]);
        let call = call.unwrap_or_else(|error| panic!("{error}"));
        call.wait_into(&mut answer, Some(PATIENCE))
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Microseconds of each of `count` times `what`, sorted.
fn times(count: usize, mut what: impl FnMut()) -> Vec<f64> {
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            what();
            start.elapsed().as_nanos() as f64 / 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn measure() {
    let scratch = Scratch::new();
    let path = std::env::temp_dir().join(format!("{}.words", scratch.place().namespace()));
    let words = SharedWords::create(&path, 1024);
    let this = std::env::current_exe().expect("this bench is a file");
    let mut command = Command::new(this);
    scratch.enter(&mut command);
    command
        .env("ROBOT_IPC_BENCH_WORDS", &path)
        .stdin(Stdio::null());
    let _child = Kept::start(&mut command);
    let options = FunctionOptions::new().place(scratch.place().clone());
    let one_way = options.clone().max_argument_size(8).max_response_size(0);
    let status = |name| robot_ipc::function::FunctionStatus::of(scratch.place(), name);
    eventually("the child serves", || {
        status("one-way").is_ok_and(|status| !status.servers.is_empty())
    });
    let mut pair = Pair {
        words,
        echo: options
            .open("echo")
            .unwrap_or_else(|error| panic!("{error}")),
        one_way: one_way
            .open("one-way")
            .unwrap_or_else(|error| panic!("{error}")),
        asked: 0,
    };
    println!("round trips in µs: p50 p99 p99.9 of {CALLS} calls, median of {ROUNDS} rounds");
    let mut rows: Vec<(&str, Vec<[f64; 3]>)> = Vec::new();
    for _ in 0..ROUNDS {
        let mut add = |name, times: Vec<f64>| {
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
            let row = [at(0.5), at(0.99), at(0.999)];
            match rows.iter_mut().find(|(other, _)| *other == name) {
                Some((_, found)) => found.push(row),
                None => rows.push((name, vec![row])),
            }
        };
        add("spin, limit", times(CALLS, || pair.ask_word(false)));
        // It does not spin any more.
        pair.ask_word(true);
        add("call, 8 B", times(CALLS, || pair.call(8)));
        add("call, 4096 B", times(CALLS, || pair.call(4096)));
        let idle = CALLS / 100 + 1;
        let futex = (0..idle).flat_map(|_| {
            std::thread::sleep(IDLE);
            times(1, || pair.ask_word(true))
        });
        let mut futex: Vec<f64> = futex.collect();
        futex.sort_by(f64::total_cmp);
        add("futex after 10 ms", futex);
        let called = (0..idle).flat_map(|_| {
            std::thread::sleep(IDLE);
            times(1, || pair.call(8))
        });
        let mut called: Vec<f64> = called.collect();
        called.sort_by(f64::total_cmp);
        add("call after 10 ms", called);
        let start = Instant::now();
        for _ in 0..10 * CALLS {
            let called = pair.one_way.call(&[0; 8]);
            called.unwrap_or_else(|error| panic!("{error}"));
        }
        let each = start.elapsed().as_nanos() as f64 / 1000.0 / (10 * CALLS) as f64;
        add("one-way, each", vec![each]);
    }
    for (name, found) in rows {
        let median = |column: usize| {
            let mut values: Vec<f64> = found.iter().map(|row| row[column]).collect();
            values.sort_by(f64::total_cmp);
            (
                values[values.len() / 2],
                values[0],
                values[values.len() - 1],
            )
        };
        let (p50, first, last) = median(0);
        println!(
            "{name:>18} {p50:>8.2} {:>8.2} {:>8.2}   p50 from {first:.2} to {last:.2}",
            median(1).0,
            median(2).0
        );
    }
    let _ = std::fs::remove_file(&path);
}
