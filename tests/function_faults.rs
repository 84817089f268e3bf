//! Faults that functions had once, each with the test that would have shown it.

use robot_ipc::codec::{Codec, DecodeError, EncodeError, Encoding, Raw, Sink};
use robot_ipc::function::{FunctionStatus, HostFunctionCaller};
use robot_ipc::{DispatcherOptions, FunctionOptions, HostFunctionDispatcher, Reason};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::function::{PATIENCE, add_answering, options};
use support::process::Partner;
use support::{Scratch, eventually};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn open(options: &FunctionOptions, name: &str) -> HostFunctionCaller {
    let opened = options.open(name);
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn dispatcher() -> HostFunctionDispatcher {
    HostFunctionDispatcher::new(4).expect("within the limits")
}

/// A codec whose values panic when they are encoded, if they are 1.
struct Panicking;

impl Codec for Panicking {
    type Value = u8;
    const ENCODING: Encoding = Encoding::RAW;

    fn encode(value: &u8, sink: &mut impl Sink) -> Result<(), EncodeError> {
        assert!(*value != 1, "on purpose");
        Ok(sink.extend(&[*value])?)
    }

    fn decode(bytes: &[u8]) -> Result<u8, DecodeError> {
        Ok(bytes[0])
    }
}

/// Against a cell that is lost when a value panics in the middle of being encoded, on
/// either side.
#[test]
fn a_value_that_panics_costs_no_cell() {
    let scratch = Scratch::new();
    let options = options(&scratch).cells(3);
    let server = dispatcher();
    server
        .add_typed::<Raw<u8>, Panicking, _, String>(&options, "encode", |value| Ok(Some(value)))
        .unwrap_or_else(|error| panic!("{error}"));
    server.start().expect("a thread");
    let caller = open(&options, "encode").typed::<Raw<u8>, Raw<u8>>();
    let panics = open(&options, "encode").typed::<Panicking, Raw<u8>>();
    for _ in 0..10 {
        let error = caller.call_within(&1, PATIENCE).expect_err("no answer");
        assert_eq!(*error.reason(), Reason::DispatcherDied, "{error}");
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(panics.call(&1).map(|call| call.cancel()));
        }));
        assert!(unwound.is_err(), "its encoder panics");
    }
    assert_eq!(caller.call_within(&7, PATIENCE).expect("it fits"), Some(7));
}

/// Against a child, forked by a function, that answers for its parent; and one that is
/// told not to wait for that parent.
#[test]
fn a_child_forked_by_a_function_answers_nothing() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let server = dispatcher();
    let callers = options.clone();
    server
        .add_raw(&options, b"fork", move |call| {
            if call.arguments() == b"fork" {
                let child = support::system::fork(|| {
                    let caller = open(&callers, "fork");
                    let answered = caller.call_within(b"child", PATIENCE);
                    i32::from(answered.is_err())
                });
                std::thread::spawn(move || {
                    assert_eq!(support::system::wait_for(child), 0, "the child's call");
                });
            }
            let copy = call.arguments().to_vec();
            call.reply(&copy, Encoding::RAW)
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // The child replies late: into what may be another call's cell by then.
    server
        .add_raw(&options, b"late", move |call| {
            if call.arguments() != b"fork" {
                std::thread::sleep(Duration::from_millis(300));
                return call.reply(b"parent", Encoding::RAW);
            }
            let mut call = Some(call);
            let child = support::system::fork(|| {
                std::thread::sleep(Duration::from_millis(100));
                let call = call.take().expect("it is there");
                let answered = call.reply_value::<Raw<[u8; 6]>>(b"child!");
                i32::from(answered.is_ok())
            });
            std::thread::spawn(move || {
                assert_eq!(support::system::wait_for(child), 0, "it is the parent's");
            });
            call.take()
                .expect("it is there")
                .reply(b"parent", Encoding::RAW)
        })
        .unwrap_or_else(|error| panic!("{error}"));
    server.start().expect("a thread");
    let caller = open(&options, "fork");
    let response = caller.call_within(b"fork", PATIENCE).expect("an answer");
    assert_eq!(response.expect("bytes").bytes, b"fork");
    let late = open(&options, "late");
    for question in [b"fork", b"next"] {
        let response = late.call_within(question, PATIENCE).expect("an answer");
        assert_eq!(response.expect("bytes").bytes, b"parent");
    }
    let status = || FunctionStatus::of(scratch.place(), "fork").expect("it exists");
    eventually("the child's call is served", || status().served == 2);
}

/// Against a thread that is taken for one that runs a function after its call was ended,
/// by itself or by another thread.
#[test]
fn who_has_replied_may_wait_again() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let server = Arc::new(dispatcher());
    server
        .add_for_next_call(&options, b"f")
        .unwrap_or_else(|error| panic!("{error}"));
    let caller = open(&options, "f");
    let pending = caller.call(b"x").expect("a cell");
    let call = server.next_call(Some(PATIENCE)).expect("a call");
    let error = pending
        .wait(Some(PATIENCE))
        .expect_err("it waits for itself");
    assert_eq!(*error.reason(), Reason::WouldDeadlock, "{error}");
    let replying = std::thread::spawn(move || call.reply(b"y", Encoding::RAW));
    replying.join().expect("no panic").expect("it fits");
    assert!(pending.wait(Some(PATIENCE)).expect("an answer").is_some());
    let other = Arc::clone(&server);
    let serving = std::thread::spawn(move || {
        let call = other.next_call(Some(PATIENCE)).expect("a call");
        call.reply(b"z", Encoding::RAW)
    });
    let response = caller.call_within(b"x", PATIENCE).expect("an answer");
    assert_eq!(response.expect("bytes").bytes, b"z");
    serving.join().expect("no panic").expect("it fits");
}

/// Against a wait for oneself that only becomes one when another dispatcher goes.
#[test]
fn a_wait_that_becomes_a_deadlock_ends() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let (first, second) = (dispatcher(), dispatcher());
    second
        .add_for_next_call(&options, b"f")
        .unwrap_or_else(|error| panic!("{error}"));
    second.resume().expect("it is ours");
    let inner = open(&options, "f");
    let function = move |arguments: &[u8]| match arguments {
        b"wait" => inner
            .call(b"inner")
            .and_then(|call| call.wait(None))
            .map(drop),
        _ => Ok(()),
    };
    first
        .add_with(&options, "f", function)
        .unwrap_or_else(|error| panic!("{error}"));
    first.start().expect("a thread");
    let caller = open(&options, "f");
    let outer = caller.call(b"wait").expect("a cell");
    std::thread::sleep(Duration::from_millis(50));
    second.stop();
    let error = outer.wait(Some(PATIENCE)).expect_err("nobody is left");
    assert!(
        error.to_string().contains("this thread is running"),
        "{error}"
    );
}

/// Against functions that count as served when the thread that served them has gone, and
/// a thread that waits for its own end.
#[test]
fn whatever_its_listener_does_a_dispatcher_goes_on() {
    let scratch = Scratch::new();
    let small = options(&scratch).max_response_size(4);
    let told = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&told);
    let server = DispatcherOptions::new()
        .on_error(move |_| {
            count.fetch_add(1, Relaxed);
            panic!("on purpose");
        })
        .build()
        .expect("within the limits");
    server
        .add_with(&small, "large", |_: &[u8]| vec![0; 5])
        .unwrap_or_else(|error| panic!("{error}"));
    server.start().expect("a thread");
    let caller = open(&small, "large");
    for number in 1..4 {
        let error = caller.call_within(b"", PATIENCE).expect_err("too large");
        assert!(
            matches!(error.reason(), Reason::ResponseTooLarge { size: 5, .. }),
            "{error}"
        );
        eventually("it is told", || told.load(Relaxed) == number);
    }
}

/// Against a function that begins when it was removed, with what its owner has freed.
#[test]
fn a_removed_function_does_not_begin() {
    let scratch = Scratch::new();
    // So large that copying the arguments takes longer than removing the function.
    let large = options(&scratch)
        .max_argument_size(64 << 20)
        .max_response_size(64)
        .cells(1);
    let server = dispatcher();
    let is_removed = Arc::new(AtomicU32::new(0));
    let flag = Arc::clone(&is_removed);
    let function = move |_: &[u8]| assert_eq!(flag.load(Relaxed), 0, "it was removed");
    let id = server
        .add_with(&large, "large", function)
        .unwrap_or_else(|error| panic!("{error}"));
    server.start().expect("a thread");
    let caller = open(&large, "large");
    let argument = vec![1; 64 << 20];
    let pending = caller.call(&argument).expect("a cell");
    while pending.progress().expect("a call") == robot_ipc::function::Progress::Queued {
        core::hint::spin_loop();
    }
    server.remove(id).expect("it is there");
    is_removed.store(1, Relaxed);
    match pending.wait(Some(PATIENCE)) {
        Ok(None) => {} // It was faster, and has been waited for.
        Ok(Some(_)) => panic!("it returns nothing"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("removed before the call began"), "{text}");
        }
    }
}

/// Against a function that waits for its own end when it removes itself.
#[test]
fn a_function_can_remove_itself() {
    let scratch = Scratch::new();
    for replies_first in [false, true] {
        let server = Arc::new(dispatcher());
        let own = Arc::downgrade(&server);
        let function = move |call: robot_ipc::IncomingCall| {
            let id = call.function();
            let server = own.upgrade().expect("it runs");
            if replies_first {
                call.reply_nothing()?;
                server.remove(id)
            } else {
                server.remove(id)?;
                call.reply_nothing()
            }
        };
        server
            .add_raw(&options(&scratch), b"once", function)
            .unwrap_or_else(|error| panic!("{error}"));
        server.start().expect("a thread");
        let caller = open(&options(&scratch), "once");
        assert_eq!(caller.call_within(b"", PATIENCE).expect("it ran"), None);
        server.stop();
    }
}

/// Against a thread of two that never comes back from stopping a dispatcher that the other
/// one starts, and two threads that serve at once.
#[test]
fn stops_and_starts_of_two_threads_take_turns() {
    let scratch = Scratch::new();
    let server = Arc::new(dispatcher());
    server
        .add_with(&options(&scratch), "slow", |_: &[u8]| {
            std::thread::sleep(Duration::from_millis(100));
        })
        .unwrap_or_else(|error| panic!("{error}"));
    server.start().expect("a thread");
    let caller = open(&options(&scratch), "slow");
    let pending = caller.call(b"").expect("a cell");
    while pending.progress().expect("a call") != robot_ipc::function::Progress::Running {
        std::thread::yield_now();
    }
    let other = Arc::clone(&server);
    let stopping = std::thread::spawn(move || other.stop());
    std::thread::sleep(Duration::from_millis(20));
    let _ = server.start();
    stopping.join().expect("no panic");
    server.stop();
    server.start().expect("the last one has ended");
    caller
        .call_within(b"", PATIENCE)
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Against a function that is replaced by somebody who would take whatever there is.
#[test]
fn who_adopts_sizes_replaces_nothing() {
    let scratch = Scratch::new();
    let one_way = options(&scratch).max_response_size(0);
    open(&one_way, "kept").call(b"x").expect("a cell");
    let adopting = options(&scratch).adopt_sizes().cells(8);
    let error = adopting.open("kept").expect_err("it has 16");
    let (existing, asked) = (16, 8);
    assert_eq!(*error.reason(), Reason::CellsMismatch { existing, asked });
    let status = FunctionStatus::of(scratch.place(), "kept").expect("it is still there");
    assert_eq!(status.queued, 1);
}

/// Against a call that gives up since somebody served the function long before it.
#[test]
fn a_dispatcher_that_died_before_is_not_waited_for() {
    let scratch = Scratch::new();
    let caller = open(&options(&scratch), "answer");
    // As a participant it is known before the dispatcher is.
    let early = caller.call_within(b"", Duration::ZERO).expect_err("nobody");
    assert!(matches!(early.reason(), Reason::CallTimedOut { .. }));
    let mut server = Partner::start(&scratch, CHILD, &["serve-forever", "answer"]);
    server.expect("ready");
    server.signal(Signal::KILL);
    server.wait_until_killed();
    std::thread::sleep(Duration::from_millis(300));
    let pending = caller.call(b"not a question").expect("a cell");
    let error = pending.wait(Some(Duration::from_millis(1800)));
    let error = error.expect_err("nobody serves it");
    assert!(
        matches!(error.reason(), Reason::CallTimedOut { .. }),
        "{error}"
    );
    let next = dispatcher();
    add_answering(&next, &options(&scratch), "answer");
    next.start().expect("a thread");
    let error = pending.wait(Some(PATIENCE)).expect_err("no question");
    assert!(error.to_string().contains("torn"), "{error}");
}

/// Against a dispatcher that is so busy with one function that it never looks after
/// another one whose caller was stopped before it rang.
#[test]
fn a_busy_dispatcher_looks_around() {
    let scratch = Scratch::new();
    let server = dispatcher();
    let one_way = options(&scratch).max_response_size(0);
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    server
        .add_with(&options(&scratch), "busy", |_: &[u8]| {
            std::thread::sleep(Duration::from_millis(1));
        })
        .unwrap_or_else(|error| panic!("{error}"));
    server
        .add_with(&one_way, "once", move |_: &[u8]| {
            count.fetch_add(1, Relaxed);
        })
        .unwrap_or_else(|error| panic!("{error}"));
    server.start().expect("a thread");
    let arguments = ["act-in-call", "once", "call: submitted", "stop", "one-way"];
    let mut stopped = Partner::start(&scratch, CHILD, &arguments);
    stopped.expect("ready");
    let busy = open(&options(&scratch), "busy");
    let mut calls = std::collections::VecDeque::new();
    calls.extend((0..4).map(|_| busy.call(b"").expect("a cell")));
    stopped.say("go");
    let start = Instant::now();
    while ran.load(Relaxed) == 0 {
        assert!(start.elapsed() < PATIENCE, "it was not looked after");
        // There is always one in the queue.
        let oldest = calls.pop_front().expect("four");
        oldest.wait(Some(PATIENCE)).expect("it has run");
        calls.push_back(busy.call(b"").expect("a cell"));
    }
    stopped.signal(Signal::CONT);
    stopped.expect("called");
    stopped.finish();
}
