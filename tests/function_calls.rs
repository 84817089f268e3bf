//! Functions called by many processes: every answer is the asker's, nothing is lost,
//! nothing comes twice, and the order is kept.

use robot_ipc::function::{FunctionStatus, MAX_FUNCTIONS, Withdrawal};
use robot_ipc::{DispatcherOptions, HostFunctionCaller, HostFunctionDispatcher, Reason};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::function::{PATIENCE, SIZE, add_answering, answer, ask, options, question};
use support::process::Partner;
use support::{Random, Scratch, eventually, scale, skipped};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn status(scratch: &Scratch, name: &str) -> FunctionStatus {
    FunctionStatus::of(scratch.place(), name).unwrap_or_else(|error| panic!("{error}"))
}

fn no_calls(scratch: &Scratch, name: &str) -> bool {
    let status = status(scratch, name);
    (status.queued, status.running, status.unfetched) == (0, 0, 0)
}

/// Against answers that reach somebody else, are lost, or come twice, with more callers
/// than cells and two dispatchers that take from the same ones.
#[test]
fn every_answer_is_the_askers_own() {
    let scratch = Scratch::new();
    let count = scale("ROBOT_IPC_TEST_CALLS", 20_000);
    let start = |arguments: &[&str]| {
        let mut partner = Partner::start(&scratch, CHILD, arguments);
        partner.expect("ready");
        partner
    };
    let mut servers = [
        start(&["serve-forever", "answer"]),
        start(&["serve-forever", "answer", "one-word-sleep"]),
    ];
    let mut callers: Vec<Partner> = (0..8)
        .map(|asker| {
            let (count, asker) = (count.to_string(), asker.to_string());
            start(&["call-many", "answer", &count, &asker])
        })
        .collect();
    callers.iter_mut().for_each(|caller| caller.say("go"));
    for caller in &mut callers {
        assert_eq!(caller.number("done"), count);
        caller.finish();
    }
    assert_eq!(u64::from(status(&scratch, "answer").served), 8 * count);
    assert!(no_calls(&scratch, "answer"), "a cell is still taken");
    servers.iter_mut().for_each(Partner::finish);
}

/// Against one-way calls that are lost, doubled or swapped, also when their callers are
/// gone before they run.
#[test]
fn one_way_calls_are_delivered_in_order() {
    let scratch = Scratch::new();
    let count = scale("ROBOT_IPC_TEST_ONE_WAY_CALLS", 50_000);
    let options = options(&scratch).max_argument_size(16).max_response_size(0);
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    let next = Arc::new(Mutex::new([0u64; 2]));
    let seen = Arc::clone(&next);
    let function = move |arguments: &[u8]| {
        let word = |at: usize| u64::from_ne_bytes(arguments[at..at + 8].try_into().expect("eight"));
        let mut next = seen.lock().expect("not poisoned");
        let expected = &mut next[word(0) as usize];
        assert_eq!(word(8), *expected, "of caller {}", word(0));
        *expected += 1;
    };
    let id = dispatcher.add_with(&options, "one-way", function);
    id.unwrap_or_else(|error| panic!("{error}"));
    let mut callers: Vec<Partner> = ["0", "1"]
        .map(|asker| {
            let count = count.to_string();
            let mut caller =
                Partner::start(&scratch, CHILD, &["call-one-way", "one-way", asker, &count]);
            caller.expect("ready");
            caller
        })
        .into();
    callers.iter_mut().for_each(|caller| caller.say("go"));
    // They fill the cells before anybody serves.
    eventually("the cells are full", || {
        status(&scratch, "one-way").queued > 13
    });
    dispatcher.start().expect("a thread");
    for caller in &mut callers {
        caller.expect("done");
        caller.finish();
    }
    eventually("all are delivered", || {
        *next.lock().expect("not poisoned") == [count; 2]
    });
    assert!(no_calls(&scratch, "one-way"));
}

/// Against a call that starts before one that had been made when it began.
#[test]
fn calls_in_sequence_start_in_sequence() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    let started = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&started);
    let function = move |arguments: &[u8]| record.lock().expect("fine").push(arguments[0]);
    dispatcher
        .add_with(&options, "sequence", function)
        .unwrap_or_else(|error| panic!("{error}"));
    let callers: Vec<HostFunctionCaller> = (0..3)
        .map(|_| {
            options
                .open("sequence")
                .unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    let mut expected = Vec::new();
    for round in 0..200u8 {
        let caller = &callers[usize::from(round) % 3];
        caller
            .call(&[round])
            .unwrap_or_else(|error| panic!("{error}"));
        expected.push(round);
        if round % 12 == 11 {
            let end = dispatcher.run(Some(Duration::from_millis(1)));
            assert!(end.is_err(), "it was not stopped");
        }
    }
    let _ = dispatcher.run(Some(Duration::from_millis(10)));
    assert_eq!(*started.lock().expect("fine"), expected);
}

/// Against a process that takes all cells and fetches no answers.
#[test]
fn a_hoarder_cannot_stop_the_others() {
    let scratch = Scratch::new();
    let mut server = Partner::start(&scratch, CHILD, &["serve-forever", "answer"]);
    server.expect("ready");
    let mut hoarder = Partner::start(&scratch, CHILD, &["hoard", "answer"]);
    assert_eq!(hoarder.number("made"), 14, "all cells but two");
    let mut random = Random::new(1);
    let callers = [1, 2].map(|_| options(&scratch).open("answer").expect("it exists"));
    for number in 0..200 {
        ask(&callers[0], &mut random, 1, number);
        ask(&callers[1], &mut random, 2, number);
    }
    // Two cells are not enough for three answers; who waits is told why.
    let hasty = options(&scratch)
        .send_timeout(Duration::from_millis(100))
        .open("answer")
        .expect("it exists");
    let kept: Vec<_> = (0..2)
        .map(|number| {
            let call = hasty.call(&question(&mut random, 3, number));
            call.unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    eventually("they are answered", || {
        status(&scratch, "answer").unfetched == 16
    });
    let full = hasty.call(&question(&mut random, 3, 2)).expect_err("full");
    assert!(matches!(full.reason(), Reason::TunnelFull { .. }));
    let text = full.to_string();
    let named = format!(
        "process {} has 14 calls in it, 14 of them with answers that it has not fetched",
        hoarder.pid()
    );
    assert!(text.contains(&named), "{text}");
    for call in kept {
        call.wait(Some(PATIENCE))
            .unwrap_or_else(|error| panic!("{error}"));
    }
    hoarder.finish();
    eventually("its cells are free", || {
        ask(&callers[0], &mut random, 1, 1000);
        no_calls(&scratch, "answer")
    });
}

/// Against a call that runs although it was taken back, in every way to do so.
#[test]
fn a_withdrawn_call_never_runs() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let caller = options
        .open("ran")
        .unwrap_or_else(|error| panic!("{error}"));
    let cancelled = caller.call(b"cancelled").expect("a cell");
    assert_eq!(cancelled.cancel(), Withdrawal::NeverStarted);
    let late = caller.call_within(b"late", Duration::from_millis(20));
    let late = late.expect_err("nobody serves it");
    assert!(
        late.to_string().contains("nobody serves the function"),
        "{late}"
    );
    let closed = options.open("ran").expect("it exists");
    closed.call(b"closed").expect("a cell");
    drop(closed);
    // Its caller dies: nobody looks into that but who takes the call.
    let mut dead = Partner::start(&scratch, CHILD, &["hoard-one", "ran"]);
    dead.expect("called");
    dead.kill();
    let kept = caller.call(b"kept").expect("a cell");

    let ran = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&ran);
    let function = move |arguments: &[u8]| record.lock().expect("fine").push(arguments.to_vec());
    let first = HostFunctionDispatcher::new(1).expect("within the limits");
    first
        .add_with(&options, "ran", function.clone())
        .unwrap_or_else(|error| panic!("{error}"));
    let _ = first.run(Some(Duration::from_millis(50)));
    assert_eq!(kept.wait(Some(PATIENCE)).expect("it ran"), None);
    // Across a restart, too.
    let again = caller
        .call(b"withdrawn while nobody serves")
        .expect("a cell");
    drop(first);
    again.cancel();
    let second = HostFunctionDispatcher::new(1).expect("within the limits");
    second
        .add_with(&options, "ran", function)
        .unwrap_or_else(|error| panic!("{error}"));
    let _ = second.run(Some(Duration::from_millis(50)));
    assert_eq!(*ran.lock().expect("fine"), [b"kept".to_vec()]);
}

/// Against a withdrawn call that is running and whose answer reaches the next one.
#[test]
fn the_answer_to_a_withdrawn_call_is_discarded() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    let (began, begins) = channel();
    let (release, wait) = channel::<()>();
    let function = move |arguments: &[u8]| {
        began.send(()).expect("the test listens");
        if arguments == b"slow" {
            wait.recv().expect("the test goes on");
        }
        arguments.to_vec()
    };
    dispatcher
        .add_with(&options, "slow", function)
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    let caller = options.open("slow").expect("it exists");
    let slow = caller.call(b"slow").expect("a cell");
    begins.recv().expect("it began");
    assert_eq!(slow.cancel(), Withdrawal::Running);
    let next = caller.call(b"next").expect("a cell");
    release.send(()).expect("it waits");
    let response = next.wait(Some(PATIENCE)).expect("an answer");
    assert_eq!(response.expect("bytes").bytes, b"next");
    assert!(no_calls(&scratch, "slow"));
}

/// Against a dispatcher that cannot have as many functions as it says, one that is not
/// woken by each of them, and one that has more, in both ways to sleep.
#[test]
fn as_many_functions_as_the_limit() {
    for (count, one_word_sleep) in [(127, false), (200, false), (MAX_FUNCTIONS, true)] {
        let scratch = Scratch::new();
        let options = options(&scratch)
            .max_argument_size(64)
            .max_response_size(64)
            .cells(1);
        let dispatcher = DispatcherOptions::new()
            .max_functions(count)
            .one_word_sleep(one_word_sleep)
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        // Half of them before it starts, half while it is at work.
        for index in 0..count {
            if index == count / 2 {
                dispatcher.start().expect("a thread");
            }
            let name = format!("f{index}");
            let function = move |_: &[u8]| index.to_ne_bytes().to_vec();
            let added = dispatcher.add_with(&options, &name, function);
            added.unwrap_or_else(|error| panic!("{error}"));
        }
        let over = dispatcher.add_with(&options, "over", |_: &[u8]| ());
        let over = over.expect_err("one too many");
        assert_eq!(
            *over.reason(),
            Reason::TooManyFunctions {
                max_functions: count
            }
        );
        assert!(over.to_string().contains(&count.to_string()), "{over}");
        assert!(!scratch.place().directory().join("over").exists());
        for index in (0..count).step_by(7).chain([count - 1]) {
            let caller = options.open(&format!("f{index}")).expect("it exists");
            // Long enough for it to sleep.
            std::thread::sleep(Duration::from_millis(2));
            let response = caller.call_within(b"", PATIENCE);
            let response = response.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(response.expect("bytes").bytes, index.to_ne_bytes());
        }
    }
    for max_functions in [0, MAX_FUNCTIONS + 1] {
        let refused = HostFunctionDispatcher::new(max_functions).expect_err("out of bounds");
        assert!(refused.to_string().contains("512"), "{refused}");
    }
    HostFunctionDispatcher::new(MAX_FUNCTIONS).expect("the limit itself");
}

/// Against an idle dispatcher that burns its processor, or that is not woken, in all ways
/// to sleep.
#[test]
fn an_idle_dispatcher_uses_no_processor() {
    let scratch = Scratch::new();
    for option in ["", "one-word-sleep", "forbidden"] {
        let mut server = Partner::start(&scratch, CHILD, &["serve-forever", "idle", option]);
        match server.hear().as_str() {
            "ready" => {}
            _ => {
                skipped(
                    "a kernel without FUTEX_WAITV",
                    "seccomp filters cannot be set",
                );
                continue;
            }
        }
        let caller = options(&scratch).open("idle").expect("it exists");
        let mut random = Random::new(1);
        ask(&caller, &mut random, 1, 1);
        let used = || {
            let text = std::fs::read_to_string(format!("/proc/{}/schedstat", server.pid()));
            let main: u64 = first_number(&text.expect("a process"));
            let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid()));
            let all = tasks.expect("a process").flatten().map(|task| {
                let text = std::fs::read_to_string(task.path().join("schedstat"));
                text.map_or(0, |text| first_number(&text))
            });
            main.max(all.sum())
        };
        // Until it has found out that it is idle.
        std::thread::sleep(Duration::from_millis(500));
        let before = used();
        std::thread::sleep(Duration::from_secs(2));
        let spent = Duration::from_nanos(used() - before);
        assert!(
            spent < Duration::from_millis(10),
            "{spent:?} of processor time in 2 s {option}"
        );
        let start = Instant::now();
        ask(&caller, &mut random, 1, 2);
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it was not woken"
        );
        server.finish();
    }
}

fn first_number(text: &str) -> u64 {
    let number = text.split(' ').next().and_then(|word| word.parse().ok());
    number.expect("nanoseconds on a processor")
}

/// Against a handle that mixes the calls of its threads up.
#[test]
fn threads_share_a_caller() {
    let scratch = Scratch::new();
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    add_answering(&dispatcher, &options(&scratch), "threads");
    dispatcher.start().expect("a thread");
    let caller = options(&scratch).open("threads").expect("it exists");
    std::thread::scope(|scope| {
        for asker in 0..4 {
            let caller = &caller;
            scope.spawn(move || {
                let mut random = Random::new(asker + 9);
                for number in 0..500 {
                    ask(caller, &mut random, asker, number);
                }
            });
        }
    });
    assert!(no_calls(&scratch, "threads"));
}

/// Against a forked child that fetches its parent's answers, or takes its calls back.
#[test]
fn a_forked_child_has_calls_of_its_own() {
    let scratch = Scratch::new();
    let mut server = Partner::start(&scratch, CHILD, &["serve-forever", "answer"]);
    server.expect("ready");
    let mut forker = Partner::start(&scratch, CHILD, &["call-after-fork", "answer"]);
    forker.expect("done");
    forker.finish();
    server.finish();
}

/// Against an order of answers that depends on who is faster, and a wait for answers
/// that cannot come.
#[test]
fn responses_come_in_the_order_of_the_calls() {
    let scratch = Scratch::new();
    let options = options(&scratch);
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    let function = |arguments: &[u8]| (arguments[0] % 2 == 1).then(|| arguments.to_vec());
    dispatcher
        .add_with(&options, "odd", function)
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    let caller = options.open("odd").expect("it exists");
    let next = || caller.next_response(Some(PATIENCE));
    assert_eq!(*next().expect_err("none was made").reason(), Reason::NoCall);
    for number in 0..6u8 {
        caller.call(&[number]).expect("a cell");
    }
    for number in [1, 3, 5] {
        assert_eq!(next().expect("an answer").expect("bytes").bytes, [number]);
    }
    assert_eq!(next().expect("the even ones have ended"), None, "once");
    assert_eq!(*next().expect_err("all were told").reason(), Reason::NoCall);
    // More calls without an answer than can be remembered.
    for _ in 0..300 {
        caller.call(&[2]).expect("a cell");
    }
    eventually("all have run", || no_calls(&scratch, "odd"));
    assert_eq!(next().expect("they have ended"), None, "once");
    assert_eq!(*next().expect_err("all were told").reason(), Reason::NoCall);
    // The response of one call is not the next one's.
    let (first, second) = (
        caller.call(&[7]).expect("a cell"),
        caller.call(&[9]).expect("a cell"),
    );
    assert_eq!(
        second
            .wait(Some(PATIENCE))
            .expect("it")
            .expect("bytes")
            .bytes,
        [9]
    );
    assert_eq!(next().expect("an answer").expect("bytes").bytes, [7]);
    assert_eq!(
        *first.wait(Some(PATIENCE)).expect_err("told").reason(),
        Reason::Reported
    );
}

/// Against arguments or answers that are cut, and sizes that are only found out later.
#[test]
fn sizes_at_and_past_the_limit() {
    let scratch = Scratch::new();
    let dispatcher = HostFunctionDispatcher::new(2).expect("within the limits");
    let sized = options(&scratch)
        .max_argument_size(100)
        .max_response_size(100);
    let grow = |arguments: &[u8]| vec![1; arguments.len() + 1];
    dispatcher
        .add_with(&sized, "grow", grow)
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().expect("a thread");
    let caller = sized.open("grow").expect("it exists");
    let call = |size: usize| caller.call_within(&vec![0; size], PATIENCE);
    assert_eq!(call(99).expect("fits").expect("bytes").bytes, [1; 100]);
    let text = call(100).expect_err("one too many comes back").to_string();
    assert!(text.contains("101 bytes") && text.contains("100"), "{text}");
    let text = call(101).expect_err("one too many").to_string();
    assert!(
        text.contains("101 bytes") && text.contains("nothing was sent"),
        "{text}"
    );
    let other = options(&scratch)
        .max_argument_size(64)
        .max_response_size(32);
    let text = other.open("grow").expect_err("other sizes").to_string();
    for size in ["100 and max_response_size 100", "64 and 32"] {
        assert!(text.contains(size), "all four sizes in: {text}");
    }
    // As soon as nobody has it open, it is replaced, and what was queued is counted.
    let one_way = options(&scratch).max_response_size(0);
    let first = one_way.open("replaced").expect("new");
    first.call(b"a").expect("a cell");
    first.call(b"b").expect("a cell");
    assert!(matches!(
        sized.open("replaced").expect_err("in use").reason(),
        Reason::FunctionMismatch { .. }
    ));
    drop(first);
    let second = sized.open("replaced").expect("it is replaced");
    assert_eq!(second.lost_calls(), 2);
    assert_eq!(second.sizes().max_argument_size, 100);
}

/// Against answers longer than 4096 bytes that are torn, and a function of its own
/// thread (`run`) that is not served.
#[test]
fn large_arguments_and_a_dispatcher_in_this_thread() {
    let scratch = Scratch::new();
    let large = options(&scratch)
        .max_argument_size(1 << 20)
        .max_response_size(1 << 20)
        .cells(2);
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    dispatcher
        .add_with(&large, "large", answer)
        .unwrap_or_else(|error| panic!("{error}"));
    let caller = large.open("large").expect("it exists");
    let asking = std::thread::spawn(move || {
        for round in 0..20u64 {
            let argument: Vec<u8> = (0..1u64 << 20)
                .map(|at| ((at * round) >> 3) as u8)
                .collect();
            let response = caller.call_within(&argument, PATIENCE).expect("an answer");
            assert!(response.expect("bytes").bytes == answer(&argument));
        }
    });
    eventually("all are answered", || {
        let _ = dispatcher.run(Some(Duration::from_millis(20)));
        asking.is_finished()
    });
    asking.join().expect("all answers were right");
    assert!(u64::from(SIZE) < 1 << 20);
}
