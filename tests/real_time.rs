//! A control loop that has the processor first must not wait for those that have it last:
//! whoever is preempted in the middle of an operation will not go on before the loop sleeps.

use robot_ipc::{FunctionOptions, HostFunctionDispatcher, Memory};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::process::Partner;
use support::user::{ANNA, can_be_others, refused};
use support::{Kept, Scratch, eventually, pattern, skipped, system};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
/// Somebody who waited for a preempted process would wait until the kernel takes the processor
/// from who runs first, at the end of each second.
const BOUND: Duration = Duration::from_millis(500);
/// A bound on hangs where another one has to run, beside whatever else this machine does.
const PATIENCE: Duration = Duration::from_secs(10);

/// This thread, and the processes that it starts, run on one processor from now on.
fn stay_on_one_processor() {
    let mine = sched_getaffinity(None).expect("it can be asked");
    let first = (0..CpuSet::MAX_CPU).find(|processor| mine.is_set(*processor));
    let mut one = CpuSet::new();
    one.set(first.expect("there is one"));
    sched_setaffinity(None, &one).expect("one of its own");
}

/// The longest of so many times `operation`, a millisecond from one to the next.
fn longest(count: u32, mut operation: impl FnMut()) -> Duration {
    let times = (0..count).map(|_| {
        // The others get the processor, and lose it again in the middle of something.
        std::thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        operation();
        start.elapsed()
    });
    times.max().unwrap_or_default()
}

/// Against a priority inversion: a writer that was preempted in the middle of a write keeps a
/// loop of higher priority from reading or writing.
#[test]
fn a_preempted_writer_keeps_nobody() {
    let scratch = Scratch::new();
    stay_on_one_processor();
    let variable = support::open(&scratch, "pose");
    let mut writer = scratch.child(CHILD, "write-forever");
    let _writer = Kept::start(writer.arg("pose"));
    eventually("a first value", || {
        variable.version().is_ok_and(|version| version > 0)
    });
    if !system::run_first() {
        return skipped("priority inversion", "this process may not have SCHED_FIFO");
    }
    let value = pattern(1024, 7);
    let mut buffer = vec![0; 4096];
    let before = variable.version().expect("it was written");
    let longest = longest(500, || {
        variable.write(&value).expect("a slot is free");
        variable.read_into(&mut buffer).expect("it was written");
    });
    assert!(longest < BOUND, "{longest:?}");
    let written = variable.version().expect("it was written") - before;
    assert!(
        written > 1000,
        "the other one did not run: {written} writes"
    );
}

/// Against a caller that has the processor first and spins for an answer, which its dispatcher
/// can then never give.
#[test]
fn a_caller_of_higher_priority_lets_its_dispatcher_run() {
    let scratch = Scratch::new();
    stay_on_one_processor();
    let mut server = Partner::start(&scratch, CHILD, &["serve-forever", "add"]);
    server.expect("ready");
    let options = support::function::options(&scratch);
    let caller = options.open("add").expect("it is served");
    if !system::run_first() {
        return skipped(
            "a caller of higher priority",
            "this process may not have SCHED_FIFO",
        );
    }
    let mut random = support::Random::new(1);
    let mut number = 0;
    let longest = longest(200, || {
        number += 1;
        support::function::ask(&caller, &mut random, 1, number);
    });
    assert!(longest < PATIENCE, "{longest:?}");
}

/// Against a lock between the threads of one process on which the one that runs first spins,
/// while the one that holds it does not run.
#[test]
fn threads_of_two_priorities_share_a_handle() {
    let scratch = Scratch::new();
    stay_on_one_processor();
    let dispatcher = HostFunctionDispatcher::new(1).expect("a dispatcher");
    let options = FunctionOptions::new().place(scratch.place().clone());
    let options = options.max_response_size(0);
    let added = dispatcher.add_with(&options, "note", |_: &[u8]| ());
    added.expect("a function");
    dispatcher.start().expect("a thread");
    let caller = options.open("note").expect("it is served");
    let made = AtomicU32::new(0);
    let is_over = AtomicU32::new(0);
    let longest = std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_over.load(Relaxed) == 0 {
                caller.call(b"low").expect("a cell comes free");
                made.fetch_add(1, Relaxed);
            }
        });
        eventually("calls of the other thread", || made.load(Relaxed) > 100);
        let may = system::run_first();
        let found = may.then(|| {
            longest(200, || {
                caller.call(b"high").expect("a cell");
            })
        });
        is_over.store(1, Relaxed);
        found
    });
    let Some(longest) = longest else {
        return skipped(
            "threads of two priorities",
            "this process may not have SCHED_FIFO",
        );
    };
    assert!(longest < PATIENCE, "{longest:?}");
}

/// Against memory that is silently not locked, and an error that does not say what to do.
#[test]
fn memory_that_may_not_be_locked_is_an_error_that_says_so() {
    if !can_be_others("memory that may not be locked", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let visit = |memory: &str| {
        let mut command = ANNA.command("sh");
        command.args(["-c", "ulimit -l 16 && exec \"$0\" visit", CHILD]);
        let mut visitor = Partner::run(scratch.enter(&mut command).env("ROBOT_IPC_MEMORY", memory));
        visitor.expect("ready");
        visitor
    };
    refused(
        &mut visit("locked"),
        "open variable x",
        &[
            "NotLocked",
            "bytes cannot be locked",
            "may lock 16384 bytes",
            "RLIMIT_MEMLOCK",
        ],
    );
    refused(
        &mut visit("always"),
        "open variable x",
        &["BadOption", "ROBOT_IPC_MEMORY", "always", "'locked'"],
    );
    support::user::make(&mut visit("prefaulted"), "variable", "x");
    // Nobody limits root.
    let options = scratch.options().memory(Memory::Locked);
    let opened = options.open("mine").expect("root may lock");
    opened.write(b"1").expect("a slot is free");
    let locked = std::fs::read_to_string("/proc/self/status").expect("there is one");
    let locked = locked.lines().find_map(|line| line.strip_prefix("VmLck:"));
    assert_ne!(locked.map(str::trim), Some("0 kB"));
}
