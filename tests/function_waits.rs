//! Waits that have to end: for nobody, for oneself, for what was removed, for what is
//! too old.

use robot_ipc::function::{FunctionStatus, HostFunctionCaller, Progress, remove_function};
use robot_ipc::{HostFunctionDispatcher, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::function::{PATIENCE, add_answering, ask, options, question};
use support::process::Partner;
use support::{Random, Scratch, eventually};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
/// What has to happen soon may take so long on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

fn open(scratch: &Scratch, name: &str) -> HostFunctionCaller {
    let opened = options(scratch).open(name);
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn answering(scratch: &Scratch, name: &str) -> HostFunctionDispatcher {
    let dispatcher = HostFunctionDispatcher::new(4).expect("within the limits");
    add_answering(&dispatcher, &options(scratch), name);
    dispatcher
}

/// Against a wait for a dispatcher that has died, and a call that runs when its sender
/// has been told that it would not.
#[test]
fn a_call_that_nobody_serves_any_more_is_taken_back() {
    let scratch = Scratch::new();
    let mut random = Random::new(1);
    let caller = open(&scratch, "answer");
    let dispatcher = answering(&scratch, "answer");
    dispatcher.resume().expect("it is ours");
    // Nobody takes it, since no thread is at work.
    let pending = caller.call(&question(&mut random, 1, 1)).expect("a cell");
    drop(dispatcher);
    let start = Instant::now();
    let error = pending.wait(None).expect_err("nobody serves it");
    assert_eq!(*error.reason(), Reason::NotServed, "{error}");
    assert!(start.elapsed() < SOON, "told after {:?}", start.elapsed());
    // The same for one that only asks again and again.
    let dispatcher = answering(&scratch, "answer");
    dispatcher.resume().expect("it is ours");
    let polled = caller.call(&question(&mut random, 1, 2)).expect("a cell");
    assert_eq!(polled.progress().expect("a call"), Progress::Queued);
    drop(dispatcher);
    eventually("a poll says so", || {
        polled.progress().expect("a call") == Progress::Ended
    });
    let error = polled.wait(Some(Duration::ZERO)).expect_err("not served");
    assert_eq!(*error.reason(), Reason::NotServed, "{error}");
    // A dispatcher that comes now finds nothing.
    let dispatcher = answering(&scratch, "answer");
    assert!(dispatcher.run(Some(Duration::from_millis(20))).is_err());
    let status = FunctionStatus::of(scratch.place(), "answer").expect("it exists");
    assert_eq!((status.served, status.queued), (0, 0));
}

/// Against a call that gives up although somebody was going to serve it.
#[test]
fn a_call_waits_for_its_first_dispatcher() {
    let scratch = Scratch::new();
    let caller = open(&scratch, "answer");
    let mut random = Random::new(1);
    let early = question(&mut random, 1, 1);
    let pending = caller.call(&early).expect("a cell");
    let error = pending.wait(Some(Duration::from_millis(1500)));
    let error = error.expect_err("nobody serves it yet");
    assert!(
        matches!(error.reason(), Reason::CallTimedOut { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("nobody serves"), "{error}");
    let dispatcher = answering(&scratch, "answer");
    dispatcher.start().expect("a thread");
    let response = pending.wait(Some(PATIENCE)).expect("an answer");
    support::function::check_answer(&early, response.as_ref());
}

/// Against a thread that waits for itself.
#[test]
fn a_function_that_waits_for_its_own_dispatcher_fails() {
    let scratch = Scratch::new();
    let dispatcher = answering(&scratch, "answer");
    let inner = open(&scratch, "answer");
    let outer = move |arguments: &[u8]| {
        let end = inner.call_within(arguments, PATIENCE);
        end.map(|response| response.expect("it answers").bytes)
    };
    dispatcher
        .add_with(&options(&scratch), "outer", outer)
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    let caller = open(&scratch, "outer");
    let asked = question(&mut Random::new(1), 1, 1);
    let error = caller.call_within(&asked, PATIENCE).expect_err("alone");
    assert!(
        error
            .to_string()
            .contains("only the dispatcher that this thread is running"),
        "{error}"
    );
    // With another one it is no deadlock.
    let mut server = Partner::start(&scratch, CHILD, &["serve-forever", "answer"]);
    server.expect("ready");
    let response = caller.call_within(&asked, PATIENCE).expect("an answer");
    support::function::check_answer(&asked, response.as_ref());
    server.finish();
}

/// Against those who wait for a function that was removed, in both ways.
#[test]
fn removal_ends_every_wait() {
    let scratch = Scratch::new();
    let caller = open(&scratch, "gone");
    let queued = caller.call(b"x").expect("a cell");
    let place = scratch.place().clone();
    let removal = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        remove_function(&place, b"gone", SOON)
    });
    let start = Instant::now();
    let error = queued.wait(None).expect_err("it is gone");
    assert_eq!(*error.reason(), Reason::RetiredCall, "{error}");
    removal.join().expect("no panic").expect("it is ours");
    let error = caller.call(b"x").expect_err("it is gone");
    assert_eq!(*error.reason(), Reason::Retired, "{error}");
    // The next one is another one.
    let again = open(&scratch, "gone");
    let queued = again.call(b"x").expect("a cell");
    let subject = again.subject().path().to_owned();
    std::fs::remove_file(subject).expect("it is there");
    let error = queued.wait(None).expect_err("its name is gone");
    assert_eq!(*error.reason(), Reason::NameRemoved, "{error}");
    assert!(start.elapsed() < SOON, "told after {:?}", start.elapsed());
}

/// Against a dispatcher that goes on with a function that nobody can find, or stops with
/// the others.
#[test]
fn a_dispatcher_loses_only_what_was_removed() {
    let scratch = Scratch::new();
    for remove_behind_its_back in [false, true] {
        let told = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&told);
        let dispatcher = robot_ipc::DispatcherOptions::new()
            .on_error(move |error| {
                assert!(matches!(
                    error.reason(),
                    Reason::Retired | Reason::NameRemoved
                ));
                count.fetch_add(1, Relaxed);
            })
            .build()
            .expect("within the limits");
        add_answering(&dispatcher, &options(&scratch), "gone");
        add_answering(&dispatcher, &options(&scratch), "kept");
        dispatcher.start().expect("a thread");
        let gone = open(&scratch, "gone");
        if remove_behind_its_back {
            std::fs::remove_file(gone.subject().path()).expect("it is there");
        } else {
            gone.remove(SOON).expect("it is ours");
        }
        eventually("it is told", || told.load(Relaxed) == 1);
        ask(&open(&scratch, "kept"), &mut Random::new(1), 1, 1);
        // The name can be served anew, by the same dispatcher.
        add_answering(&dispatcher, &options(&scratch), "gone");
        ask(&open(&scratch, "gone"), &mut Random::new(1), 1, 2);
    }
}

/// Against a robot that moves on a command that is too old.
#[test]
fn old_calls_are_refused_and_their_callers_told() {
    let scratch = Scratch::new();
    let aged = options(&scratch).max_age(Duration::from_millis(50));
    let dispatcher = HostFunctionDispatcher::new(2).expect("within the limits");
    let ran = Arc::new(AtomicU32::new(0));
    for (name, options) in [
        ("move", aged.clone()),
        ("one-way", aged.max_response_size(0)),
    ] {
        let count = Arc::clone(&ran);
        let function = move |_: &[u8]| {
            count.fetch_add(1, Relaxed);
            vec![1]
        };
        let added = dispatcher.add_with(&options, name, function);
        added.unwrap_or_else(|error| panic!("{error}"));
    }
    let caller = open(&scratch, "move");
    let one_way = options(&scratch)
        .max_response_size(0)
        .open("one-way")
        .expect("it exists");
    let old = caller.call(b"now").expect("a cell");
    one_way.call(b"now").expect("a cell");
    std::thread::sleep(Duration::from_millis(80));
    dispatcher.start().expect("a thread");
    let error = old.wait(Some(PATIENCE)).expect_err("too old");
    let max_age = Duration::from_millis(50);
    assert_eq!(*error.reason(), Reason::CallTooOld { max_age }, "{error}");
    let dropped = |name| {
        let status = FunctionStatus::of(scratch.place(), name);
        status.expect("it exists").dropped
    };
    eventually("both are counted", || {
        (dropped("move"), dropped("one-way")) == (1, 1)
    });
    assert_eq!(ran.load(Relaxed), 0);
    assert!(
        caller
            .call_within(b"now", PATIENCE)
            .expect("young")
            .is_some()
    );
}

/// Against a function whose panic hangs its caller or ends its dispatcher.
#[test]
fn what_a_function_raises_reaches_its_caller() {
    let scratch = Scratch::new();
    let dispatcher = HostFunctionDispatcher::new(3).expect("within the limits");
    let small = options(&scratch).max_response_size(20);
    let fail = |arguments: &[u8]| -> Result<Vec<u8>, String> {
        match arguments {
            b"panic" => panic!("on purpose"),
            _ => Err("an error that is longer — than a response can be".to_owned()),
        }
    };
    dispatcher
        .add_with(&small, "fail", fail)
        .unwrap_or_else(|error| panic!("{error}"));
    // One that does not end its call at all.
    dispatcher
        .add_raw(&small, b"forget", |call| {
            drop(call);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    let caller = small.open("fail").expect("it exists");
    let raised = |arguments: &[u8]| {
        let error = caller.call_within(arguments, PATIENCE).expect_err("raised");
        match error.reason() {
            Reason::Raised { text } => text.clone(),
            _ => panic!("{error}"),
        }
    };
    assert_eq!(raised(b"panic"), "the function panicke");
    assert_eq!(raised(b"error"), "an error that is lon");
    let forgets = small.open("forget").expect("it exists");
    let error = forgets.call_within(b"", PATIENCE).expect_err("no answer");
    assert_eq!(*error.reason(), Reason::DispatcherDied, "{error}");
    assert_eq!(raised(b"error"), "an error that is lon");
}

/// Against a dispatcher that two threads run at once, that cannot be stopped or started
/// again, or that misses what is added meanwhile.
#[test]
fn a_dispatcher_stops_and_starts() {
    let scratch = Scratch::new();
    let dispatcher = Arc::new(answering(&scratch, "answer"));
    let caller = open(&scratch, "answer");
    let mut random = Random::new(1);
    for round in 0..20 {
        dispatcher.start().expect("a thread");
        let busy = dispatcher.start().expect_err("it has one already");
        assert_eq!(*busy.reason(), Reason::Busy);
        ask(&caller, &mut random, 1, round);
        dispatcher.stop();
        let stopped = dispatcher.next_call(Some(Duration::ZERO));
        assert_eq!(*stopped.expect_err("stopped").reason(), Reason::Stopped);
    }
    // `run` in this thread, stopped by another one.
    let other = Arc::clone(&dispatcher);
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        other.stop();
    });
    dispatcher.run(Some(PATIENCE)).expect("it was stopped");
    stopper.join().expect("no panic");
    // Stopped by its own function, and dropped there.
    let own = Arc::clone(&dispatcher);
    dispatcher
        .add_with(&options(&scratch), "stop", move |_: &[u8]| own.stop())
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    open(&scratch, "stop")
        .call_within(b"", PATIENCE)
        .unwrap_or_else(|error| panic!("{error}"));
    // One call at a time, with a thread of one's own.
    dispatcher.resume().expect("it is ours");
    caller.call(&question(&mut random, 2, 1)).expect("a cell");
    let call = eventually_next(&dispatcher);
    let busy = dispatcher.next_call(Some(Duration::ZERO));
    assert_eq!(*busy.expect_err("no reply yet").reason(), Reason::Busy);
    call.reply(b"by hand", robot_ipc::Encoding::RAW)
        .expect("it fits");
    let response = caller.next_response(Some(PATIENCE)).expect("an answer");
    assert_eq!(response.expect("bytes").bytes, b"by hand");
}

/// Against a stop that comes just when a thread begins to serve, and is forgotten.
#[test]
fn a_stop_is_never_lost() {
    let scratch = Scratch::new();
    let mut random = Random::new(support::seed("stops"));
    for _ in 0..300 {
        let dispatcher = Arc::new(answering(&scratch, "answer"));
        let server = Arc::clone(&dispatcher);
        let serving = std::thread::spawn(move || server.next_call(None).map(drop));
        for _ in 0..random.below(20_000) {
            core::hint::spin_loop();
        }
        dispatcher.stop();
        let end = serving.join().expect("no panic").expect_err("no call");
        assert_eq!(*end.reason(), Reason::Stopped);
        let status = FunctionStatus::of(scratch.place(), "answer").expect("it exists");
        assert!(status.servers.is_empty(), "it still says that it serves");
    }
}

/// The next call, as soon as the dispatcher's own thread has ended.
fn eventually_next(dispatcher: &HostFunctionDispatcher) -> robot_ipc::IncomingCall {
    let mut found = None;
    eventually("a call arrives", || {
        found = dispatcher.next_call(Some(Duration::from_millis(10))).ok();
        found.is_some()
    });
    found.expect("just found")
}

/// Against a caller that waits for a cell without end, or that is not told why there is
/// none.
#[test]
fn a_full_function_says_who_fills_it() {
    let scratch = Scratch::new();
    let hasty = options(&scratch)
        .cells(4)
        .send_timeout(Duration::from_millis(50));
    let caller = hasty.open("full").unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..2 {
        caller.call(b"x").expect("a cell");
    }
    let start = Instant::now();
    let error = caller.call(b"x").expect_err("half of them are for others");
    assert!(start.elapsed() < SOON);
    let text = error.to_string();
    let named = format!("process {} has 2 calls in it", std::process::id());
    assert!(text.contains(&named), "{text}");
    assert!(!text.contains("not fetched"), "nothing is answered: {text}");
    // As soon as one has run, there is room.
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    dispatcher
        .add_with(&hasty, "full", |_: &[u8]| ())
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    for _ in 0..100 {
        let patient = caller.call(b"x");
        patient.unwrap_or_else(|error| panic!("{error}"));
    }
}
