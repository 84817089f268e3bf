//! Roles that call functions and serve them.

use crate::{Act, hear, number};
use robot_ipc::function::{HostFunctionCaller, Response};
use robot_ipc::testing::{Hook, install};
use robot_ipc::{DispatcherOptions, FunctionOptions, HostFunctionDispatcher, Reason};
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::Random;
use support::function::{PATIENCE, add_answering, ask, check_answer, question};
use support::system;

fn serve(name: &str, options: &[&str]) -> HostFunctionDispatcher {
    let dispatcher = DispatcherOptions::new()
        .one_word_sleep(options.contains(&"one-word-sleep"))
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    add_answering(&dispatcher, &FunctionOptions::new(), name);
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    if options.contains(&"idle-child") {
        println!("child {}", system::fork_idle_child());
    }
    dispatcher
}

fn open(name: &str) -> HostFunctionCaller {
    HostFunctionCaller::open(name).unwrap_or_else(|error| panic!("{error}"))
}

/// `NAME [one-word-sleep] [forbidden] [idle-child]`: answers questions until the input
/// ends; `forbidden`: where the kernel refuses to sleep on many words.
pub(crate) fn serve_forever(arguments: &[&str]) {
    if arguments.contains(&"forbidden") && !system::forbid_futex_waitv() {
        println!("not possible");
        return;
    }
    let _dispatcher = serve(arguments[0], arguments);
    println!("ready");
    system::wait_for_end_of_input();
}

/// `NAME COUNT ASKER`: asks so many questions, several at a time, in all ways that there
/// are, and checks every answer.
pub(crate) fn call_many(arguments: &[&str]) {
    let (caller, count, asker) = (
        open(arguments[0]),
        number(arguments[1]),
        number(arguments[2]),
    );
    let mut random = Random::new(asker + 1);
    let answer = |response: robot_ipc::Result<Option<Response>>| {
        response.unwrap_or_else(|error| panic!("{error}"))
    };
    println!("ready");
    hear();
    let mut asked = 0;
    while asked < count {
        // Eight that ask two at a time fill all cells; more is for those who dare.
        let together = if random.below(100) == 0 {
            4
        } else {
            1 + random.below(2)
        };
        let together = together.min(count - asked);
        let mut pending = VecDeque::new();
        for _ in 0..together {
            let question = question(&mut random, asker, asked);
            match caller.call(&question) {
                Ok(call) => pending.push_back((question, call)),
                // All wait for a cell and keep others: fetch what there is first.
                Err(error) if matches!(error.reason(), Reason::TunnelFull { .. }) => break,
                Err(error) => panic!("{error}"),
            }
            asked += 1;
        }
        let backwards = random.below(2) == 0;
        while let Some((question, call)) = if backwards {
            pending.pop_back()
        } else {
            pending.pop_front()
        } {
            let response = if backwards {
                call.wait(Some(PATIENCE))
            } else {
                caller.next_response(Some(PATIENCE))
            };
            check_answer(&question, answer(response).as_ref());
        }
    }
    let none = caller.next_response(Some(PATIENCE));
    let reason = none.expect_err("an answer came twice").reason().clone();
    assert_eq!(reason, Reason::NoCall);
    println!("done {asked}");
}

/// `NAME ASKER [idle-child]`: asks questions until it is killed. Errors that tell of
/// somebody's death are allowed; a wrong answer is not.
pub(crate) fn call_forever(arguments: &[&str]) {
    let (caller, asker) = (open(arguments[0]), number(arguments[1]));
    if arguments.contains(&"idle-child") {
        println!("child {}", system::fork_idle_child());
    }
    let mut random = Random::new(asker + 1);
    println!("ready");
    for count in 0.. {
        let question = question(&mut random, asker, count);
        match caller.call_within(&question, PATIENCE) {
            Ok(response) => check_answer(&question, response.as_ref()),
            Err(error) => match error.reason() {
                Reason::DispatcherDied | Reason::NotServed => {}
                _ => panic!("{error}"),
            },
        }
    }
}

/// `NAME ASKER`: asks questions while somebody kills those who serve, until the input
/// ends; says how many answers came, how many deaths were told, and how many
/// milliseconds the longest wait took.
pub(crate) fn call_the_mortal(arguments: &[&str]) {
    let (caller, asker) = (open(arguments[0]), number(arguments[1]));
    let mut random = Random::new(asker + 1);
    static IS_OVER: AtomicU32 = AtomicU32::new(0);
    std::thread::spawn(|| {
        system::wait_for_end_of_input();
        IS_OVER.store(1, Relaxed);
    });
    println!("ready");
    let (mut answers, mut deaths, mut longest) = (0, 0, Duration::ZERO);
    while IS_OVER.load(Relaxed) == 0 {
        let question = question(&mut random, asker, answers);
        let start = Instant::now();
        match caller.call_within(&question, PATIENCE) {
            Ok(response) => {
                check_answer(&question, response.as_ref());
                answers += 1;
            }
            Err(error) => match error.reason() {
                Reason::DispatcherDied | Reason::NotServed => deaths += 1,
                _ => panic!("{error}"),
            },
        }
        longest = longest.max(start.elapsed());
    }
    println!("answers {answers}");
    println!("deaths {deaths}");
    println!("longest {}", longest.as_millis());
}

static AT: OnceLock<(String, Act)> = OnceLock::new();
static PASSES: AtomicU32 = AtomicU32::new(0);

fn act_there(reached: &'static str) {
    if let Some((_, act)) = AT.get().filter(|(step, _)| step == reached)
        && PASSES.fetch_sub(1, Relaxed) == 1
    {
        act.now();
    }
}

fn never(_what: &'static str) -> bool {
    false
}

/// `NAME STEP ACT WHAT`: serves, calls, calls one-way or recovers, as WHAT says, and
/// acts when it reaches STEP for the first time after it has said that it is ready.
pub(crate) fn act_in_call(arguments: &[&str]) {
    let [name, step, act, what, ..] = arguments else {
        panic!("too few arguments")
    };
    AT.get_or_init(|| ((*step).to_owned(), Act::from(act)));
    install(Hook {
        step: act_there,
        forced: never,
    });
    let mut random = Random::new(7);
    match *what {
        "serve" => {
            PASSES.store(1, Relaxed);
            let _dispatcher = serve(name, arguments);
            println!("ready");
            system::wait_for_end_of_input();
        }
        "serve-counting" => {
            PASSES.store(1, Relaxed);
            static RAN: AtomicU32 = AtomicU32::new(0);
            let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
            let function = |_: &[u8]| {
                RAN.fetch_add(1, Relaxed);
            };
            let added = dispatcher.add(name, function);
            added.unwrap_or_else(|error| panic!("{error}"));
            dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
            println!("ready");
            system::wait_for_end_of_input();
            drop(dispatcher);
            println!("ran {}", RAN.load(Relaxed));
        }
        "call" => {
            let caller = open(name);
            println!("ready");
            hear();
            PASSES.store(1, Relaxed);
            ask(&caller, &mut random, 7, 1);
            println!("answered");
        }
        "one-way" => {
            let options = FunctionOptions::new().max_response_size(0);
            let caller = options.open(name).unwrap_or_else(|error| panic!("{error}"));
            println!("ready");
            hear();
            PASSES.store(1, Relaxed);
            caller
                .call(&question(&mut random, 7, 1))
                .unwrap_or_else(|error| panic!("{error}"));
            println!("called");
        }
        // Registering recovers whoever is dead.
        "recover" => {
            println!("ready");
            hear();
            PASSES.store(1, Relaxed);
            ask(&open(name), &mut random, 7, 2);
            println!("answered");
        }
        other => panic!("'{other}' is none of serve, serve-counting, call, one-way, recover"),
    }
}

/// `NAME ASKER COUNT`: makes so many one-way calls, numbered from 0, and ends at once.
pub(crate) fn call_one_way(arguments: &[&str]) {
    let options = FunctionOptions::new()
        .max_argument_size(16)
        .max_response_size(0)
        .send_timeout(PATIENCE);
    let caller = options
        .open(arguments[0])
        .unwrap_or_else(|error| panic!("{error}"));
    let (asker, count) = (number(arguments[1]), number(arguments[2]));
    println!("ready");
    hear();
    for number in 0..count {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&asker.to_ne_bytes());
        bytes[8..].copy_from_slice(&number.to_ne_bytes());
        caller
            .call(&bytes)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    println!("done");
}

/// `NAME COUNT`: makes so many calls and never fetches an answer; says when it was
/// refused another one.
pub(crate) fn hoard(arguments: &[&str]) {
    let options = FunctionOptions::new().send_timeout(Duration::from_millis(200));
    let caller = options
        .open(arguments[0])
        .unwrap_or_else(|error| panic!("{error}"));
    let mut random = Random::new(3);
    let mut made = 0;
    let refused = loop {
        let called = caller.call(&question(&mut random, 3, made));
        match called.map(|call| call.id()) {
            Ok(_) => made += 1,
            Err(error) if matches!(error.reason(), Reason::TunnelFull { .. }) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused.reason(), Reason::Unfetched { .. }),
        "{refused}"
    );
    println!("made {made}");
    system::wait_for_end_of_input();
    drop(caller);
}

/// `NAME`: a handle is used in a forked child, with calls of the parent outstanding.
pub(crate) fn call_after_fork(arguments: &[&str]) {
    let caller = open(arguments[0]);
    let mut random = Random::new(5);
    for round in 0..50 {
        let of_parent = question(&mut random, 5, round);
        let pending = caller
            .call(&of_parent)
            .unwrap_or_else(|error| panic!("{error}"));
        let id = pending.id();
        let child = system::fork(|| {
            let foreign = pending.wait(Some(PATIENCE)).expect_err("the parent's");
            assert!(matches!(foreign.reason(), Reason::Forked { .. }));
            let nothing = caller.next_response(Some(PATIENCE)).expect_err("none yet");
            assert_eq!(*nothing.reason(), Reason::NoCall);
            let mut random = Random::new(round + 100);
            for number in 0..5 {
                ask(&caller, &mut random, 6, number);
            }
            0
        });
        let mut own = Random::new(round + 200);
        for number in 0..5 {
            ask(&caller, &mut own, 8, number);
        }
        assert_eq!(system::wait_for(child), 0, "the child failed");
        assert_eq!(pending.id(), id);
        let response = pending.wait(Some(PATIENCE));
        check_answer(
            &of_parent,
            response.unwrap_or_else(|error| panic!("{error}")).as_ref(),
        );
    }
    println!("done");
}

/// `NAME`: makes one call and waits to be killed.
pub(crate) fn hoard_one(arguments: &[&str]) {
    let caller = open(arguments[0]);
    let called = caller.call(b"the caller died").map(|call| call.id());
    called.unwrap_or_else(|error| panic!("{error}"));
    println!("called");
    system::wait_for_end_of_input();
}
