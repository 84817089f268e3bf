//! Callers and dispatchers that are killed or stopped, at random instants and at every
//! step of a call: the others go on, and no cell stays taken.

use robot_ipc::{HostFunctionDispatcher, Reason};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::function::{
    PATIENCE, add_answering, ask, check_no_cell_is_lost, open, options, question, read_question,
    status,
};
use support::process::{Partner, State};
use support::{Kept, Random, Scratch, eventually, scale, seed};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const CALLER_STEPS: [&str; 4] = [
    "call: drafted",
    "call: ticketed",
    "call: submitted",
    "call: rung",
];
const SERVER_STEPS: [&str; 5] = [
    "serve: seen",
    "serve: taken",
    "serve: answered",
    "serve: handed over",
    "serve: finished",
];

/// How often the random tests kill.
fn kill_count() -> u64 {
    scale("ROBOT_IPC_TEST_KILLS", 1000)
}

/// How often somebody is killed at each step.
fn step_kill_count() -> u64 {
    scale("ROBOT_IPC_TEST_STEP_KILLS", 20)
}

fn start(scratch: &Scratch, arguments: &[&str]) -> Partner {
    let mut partner = Partner::start(scratch, CHILD, arguments);
    if arguments.contains(&"idle-child") {
        let _ = partner.number("child");
    }
    partner.expect("ready");
    partner
}

/// Against any instruction at which a killed caller keeps a cell, gets another one's
/// answer to somebody, or stops those who serve.
#[test]
fn callers_killed_at_random_instants_harm_nobody() {
    const VICTIMS: u64 = 4;
    let mut random = Random::new(seed("callers"));
    let scratch = Scratch::new();
    let mut servers = [
        start(&scratch, &["serve-forever", "answer"]),
        start(&scratch, &["serve-forever", "answer", "one-word-sleep"]),
    ];
    let survivor = open(&scratch, "answer");
    for batch in 0..kill_count().div_ceil(VICTIMS) {
        let mut victims: Vec<Kept> = (0..VICTIMS)
            .map(|victim| {
                let asker = (batch * VICTIMS + victim).to_string();
                let mut command = scratch.child(CHILD, "call-forever");
                command.args(["answer", &asker]);
                command.stdin(std::process::Stdio::null());
                Kept::start(command.stdout(std::process::Stdio::null()))
            })
            .collect();
        std::thread::sleep(Duration::from_micros(random.below(8000)));
        ask(&survivor, &mut random, 1 << 40, batch);
        for victim in &victims {
            victim.signal(Signal::KILL);
        }
        for victim in &mut victims {
            let status = victim.0.wait().expect("it is our child");
            assert!(!status.success(), "it ended by itself");
            assert_eq!(status.code(), None, "it got a wrong answer, or none");
        }
    }
    let served = u64::from(status(&scratch, "answer").served);
    println!("{served} calls were served");
    assert!(served > 2 * kill_count(), "killed before they called");
    check_no_cell_is_lost(&scratch, "answer");
    servers.iter_mut().for_each(Partner::finish);
}

/// Against a dead caller that its forked children keep alive.
#[test]
fn killed_callers_with_living_children_harm_nobody() {
    let mut random = Random::new(seed("bereaved callers"));
    let scratch = Scratch::new();
    let mut server = start(&scratch, &["serve-forever", "answer", "idle-child"]);
    let survivor = open(&scratch, "answer");
    let mut bereaved = Vec::new();
    for kill in 0..kill_count() / 20 {
        let arguments = ["call-forever", "answer", &kill.to_string(), "idle-child"];
        let mut victim = start(&scratch, &arguments);
        std::thread::sleep(Duration::from_micros(random.below(2000)));
        assert_eq!(victim.kill(), State::Killed, "it had ended by itself");
        bereaved.push(victim);
        ask(&survivor, &mut random, 1 << 40, kill);
    }
    check_no_cell_is_lost(&scratch, "answer");
    server.finish();
}

/// Against any instruction at which a killed dispatcher leaves its callers waiting,
/// loses an answer, or keeps a cell; with children of its that live on, too.
#[test]
fn dispatchers_killed_at_random_instants_harm_nobody() {
    let mut random = Random::new(seed("dispatchers"));
    let scratch = Scratch::new();
    let serve = |option: &str| start(&scratch, &["serve-forever", "answer", option]);
    let mut servers = [serve(""), serve("")];
    let mut callers: Vec<Partner> = ["1", "2", "3"]
        .map(|asker| start(&scratch, &["call-the-mortal", "answer", asker]))
        .into();
    let mut bereaved = Vec::new();
    for kill in 0..kill_count() {
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        let option = match kill % 20 {
            0 => "idle-child",
            1 => "one-word-sleep",
            _ => "",
        };
        let mut dead = std::mem::replace(&mut servers[random.below(2) as usize], serve(option));
        assert_eq!(dead.kill(), State::Killed, "it had ended by itself");
        if option == "idle-child" {
            bereaved.push(dead);
        }
    }
    let (mut answers, mut deaths) = (0, 0);
    for caller in &mut callers {
        caller.end_input();
        answers += caller.number("answers");
        deaths += caller.number("deaths");
        let longest = Duration::from_millis(caller.number("longest"));
        println!("the longest wait took {longest:?}");
        assert!(longest < Duration::from_secs(20), "a wait took {longest:?}");
        caller.finish();
    }
    println!("{answers} answers, {deaths} deaths were told");
    assert!(answers > kill_count(), "killed before they served");
    check_no_cell_is_lost(&scratch, "answer");
    servers.iter_mut().for_each(Partner::finish);
}

/// Against a step of a call at which its caller's death keeps a cell, runs what nobody
/// commands any more, or loses a one-way call that was made.
#[test]
fn a_caller_can_be_killed_at_each_step() {
    for (step, what) in CALLER_STEPS
        .into_iter()
        .flat_map(|step| [(step, "call"), (step, "one-way")])
    {
        let scratch = Scratch::new();
        let sized = match what {
            "one-way" => options(&scratch).max_response_size(0),
            _ => options(&scratch),
        };
        let ran = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&ran);
        let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
        let function = move |arguments: &[u8]| {
            assert!(read_question(arguments).is_some(), "it is torn");
            count.fetch_add(1, Relaxed);
        };
        let added = dispatcher.add_with(&sized, "command", function);
        added.unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..step_kill_count() {
            let arguments = ["act-in-call", "command", step, "kill", what];
            let mut caller = start(&scratch, &arguments);
            caller.say("go");
            caller.wait_until_killed();
            let _ = dispatcher.run(Some(Duration::ZERO));
        }
        let submitted = matches!(step, "call: submitted" | "call: rung");
        let expected = if what == "one-way" && submitted {
            step_kill_count()
        } else {
            0
        };
        // One-way calls of the dead may wait for somebody to look around.
        eventually("all that was commanded has run", || {
            let _ = dispatcher.run(Some(Duration::from_millis(1)));
            u64::from(ran.load(Relaxed)) >= expected
        });
        assert_eq!(
            u64::from(ran.load(Relaxed)),
            expected,
            "{what} killed at {step}"
        );
        // Sixteen more, so that a lost cell would be in the way.
        let survivor = sized.open("command").expect("it exists");
        for number in 0..32 {
            let mut random = Random::new(number);
            let called = survivor.call(&question(&mut random, 1, number));
            called.unwrap_or_else(|error| panic!("{step}: {error}"));
            let _ = dispatcher.run(Some(Duration::ZERO));
        }
        let status = status(&scratch, "command");
        assert_eq!((status.queued, status.running), (0, 0), "{step}");
    }
}

/// Against a call of the dead that starts after all, since the function was removed just when
/// its dispatcher asked who lives, and that could not be told any more.
#[test]
fn a_call_of_the_dead_does_not_start_in_a_function_that_is_being_removed() {
    let scratch = Scratch::new();
    let arguments = [
        "act-in-call",
        "answer",
        "serve: seen",
        "stop",
        "serve-counting",
    ];
    let mut server = start(&scratch, &arguments);
    let mut caller = Partner::start(&scratch, CHILD, &["hoard-one", "answer"]);
    caller.expect("called");
    server.wait_until_stopped();
    assert_eq!(caller.kill(), State::Killed);
    let removed = open(&scratch, "answer").remove(PATIENCE);
    removed.unwrap_or_else(|error| panic!("{error}"));
    server.signal(Signal::CONT);
    server.end_input();
    assert_eq!(server.number("ran"), 0, "nobody commanded it any more");
    server.finish();
}

/// Against a step of serving at which a death hangs the caller or loses the cell.
#[test]
fn a_dispatcher_can_be_killed_at_each_step() {
    for step in SERVER_STEPS {
        let scratch = Scratch::new();
        let mut random = Random::new(8);
        let caller = open(&scratch, "answer");
        for kill in 0..step_kill_count() {
            let mut server = start(&scratch, &["act-in-call", "answer", step, "kill", "serve"]);
            let question = question(&mut random, 1, kill);
            let pending = caller
                .call(&question)
                .unwrap_or_else(|error| panic!("{error}"));
            server.wait_until_killed();
            let start = Instant::now();
            let end = pending.wait(Some(PATIENCE));
            assert!(start.elapsed() < Duration::from_secs(20), "told too late");
            match (step, end) {
                ("serve: taken" | "serve: answered", Err(error)) => {
                    assert_eq!(*error.reason(), Reason::DispatcherDied);
                }
                ("serve: seen", Err(error)) => assert_eq!(*error.reason(), Reason::NotServed),
                ("serve: handed over" | "serve: finished", Ok(Some(_))) => {}
                (step, end) => panic!("killed at {step}: {end:?}"),
            }
            if step == "serve: seen" && kill == 2 {
                break; // Each of them takes a second.
            }
        }
        let mut server = start(&scratch, &["serve-forever", "answer"]);
        check_no_cell_is_lost(&scratch, "answer");
        server.finish();
    }
}

/// Against a caller that sleeps on beside its answer, since who should have woken it
/// is dead.
#[test]
fn a_caller_wakes_when_its_dispatcher_dies_before_waking_it() {
    let scratch = Scratch::new();
    let mut random = Random::new(9);
    let caller = open(&scratch, "answer");
    for kill in 0..step_kill_count().min(10) {
        let question = question(&mut random, 1, kill);
        let pending = caller
            .call(&question)
            .unwrap_or_else(|error| panic!("{error}"));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pending.wait(Some(PATIENCE)));
            let arguments = [
                "act-in-call",
                "answer",
                "serve: handed over",
                "kill",
                "serve",
            ];
            let mut server = Partner::start(&scratch, CHILD, &arguments);
            server.wait_until_killed();
            let end = waiting.join().expect("it does not panic");
            assert!(matches!(end, Ok(Some(_))), "{end:?}");
        });
    }
}

/// Against a recovery that is cut off in the middle and never done again.
#[test]
fn who_recovers_can_be_killed_at_each_step() {
    for step in ["recover: taken", "recover: recovered"] {
        let scratch = Scratch::new();
        let mut server = start(&scratch, &["serve-forever", "answer"]);
        for _ in 0..step_kill_count().min(100) {
            let arguments = ["act-in-call", "answer", "call: drafted", "kill", "call"];
            let mut dead = start(&scratch, &arguments);
            dead.say("go");
            dead.wait_until_killed();
            let mut heir = start(
                &scratch,
                &["act-in-call", "answer", step, "kill", "recover"],
            );
            heir.say("go");
            heir.wait_until_killed();
        }
        check_no_cell_is_lost(&scratch, "answer");
        server.finish();
    }
}

/// Against somebody who is only stopped being taken for dead, and against the others
/// waiting for it.
#[test]
fn the_stopped_are_not_dead() {
    for step in CALLER_STEPS {
        let scratch = Scratch::new();
        let mut server = start(&scratch, &["serve-forever", "answer"]);
        let mut stopped = start(&scratch, &["act-in-call", "answer", step, "stop", "call"]);
        stopped.say("go");
        stopped.wait_until_stopped();
        let mut random = Random::new(1);
        let survivor = open(&scratch, "answer");
        for number in 0..100 {
            ask(&survivor, &mut random, 1, number);
        }
        stopped.signal(Signal::CONT);
        stopped.expect("answered");
        stopped.finish();
        server.finish();
    }
    for step in SERVER_STEPS {
        let scratch = Scratch::new();
        let mut stopped = start(&scratch, &["act-in-call", "answer", step, "stop", "serve"]);
        let mut random = Random::new(1);
        let caller = open(&scratch, "answer");
        let first = question(&mut random, 1, 0);
        let pending = caller
            .call(&first)
            .unwrap_or_else(|error| panic!("{error}"));
        stopped.wait_until_stopped();
        let mut other = start(&scratch, &["serve-forever", "answer"]);
        for number in 1..100 {
            ask(&caller, &mut random, 1, number);
        }
        stopped.signal(Signal::CONT);
        let response = pending.wait(Some(PATIENCE));
        support::function::check_answer(
            &first,
            response.unwrap_or_else(|error| panic!("{error}")).as_ref(),
        );
        stopped.finish();
        other.finish();
    }
}

/// Against a caller that is told too late, and one that cannot go on afterwards.
#[test]
fn a_death_in_the_middle_of_a_call_is_told_soon() {
    let scratch = Scratch::new();
    let caller = open(&scratch, "answer");
    let mut random = Random::new(1);
    let mut soonest = Duration::MAX;
    for number in 0..5 {
        let arguments = ["act-in-call", "answer", "serve: taken", "kill", "serve"];
        let mut server = start(&scratch, &arguments);
        let start_of_wait = Instant::now();
        let end = caller.call_within(&question(&mut random, 1, number), PATIENCE);
        soonest = soonest.min(start_of_wait.elapsed());
        let error = end.expect_err("it died");
        assert_eq!(*error.reason(), Reason::DispatcherDied, "{error}");
        server.wait_until_killed();
        let mut next = start(&scratch, &["serve-forever", "answer"]);
        ask(&caller, &mut random, 2, number);
        next.finish();
    }
    assert!(
        soonest < Duration::from_millis(500),
        "{soonest:?} at the soonest"
    );
}

/// Against the handles of a process that outlive it in what others believe of it: the
/// last thing that is dropped takes the function's serving with it.
#[test]
fn who_lets_go_is_not_taken_for_a_server() {
    let scratch = Scratch::new();
    let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
    add_answering(&dispatcher, &options(&scratch), "answer");
    let servers = || status(&scratch, "answer").servers;
    assert!(servers().is_empty(), "nobody serves before it starts");
    dispatcher.start().expect("a thread");
    assert_eq!(servers(), [std::process::id()]);
    dispatcher.stop();
    assert!(servers().is_empty(), "nobody serves what was stopped");
    dispatcher.start().expect("a thread");
    assert_eq!(servers(), [std::process::id()]);
    let mut other = start(&scratch, &["serve-forever", "answer"]);
    assert_eq!(servers().len(), 2);
    other.kill();
    assert_eq!(servers(), [std::process::id()]);
    drop(dispatcher);
    // A child process that is just being started by another test has a copy of our
    // descriptors, but not of who serves.
    assert!(servers().is_empty());
}
