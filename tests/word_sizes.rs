//! Processes of two word sizes, or of two processors, share variables and functions.
//!
//! One side is the child program that was built with this test, the other one what
//! `ROBOT_IPC_TEST_CHILD` names; `tests/targets/run` builds it and says so.

use robot_ipc::HostVariable;
use robot_ipc::testing::taken_slots;
use std::process::Command;
use std::time::{Duration, Instant};
use support::function::{ask, check_no_cell_is_lost, open as open_function, status};
use support::process::{Partner, State};
use support::{OTHER_CHILD, Random, Scratch, eventually, open, other_child, pattern_of};
use support::{scale, seed, skipped};

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// As this test.
    Ours,
    /// As the other child program.
    Theirs,
}

const SIDES: [Side; 2] = [Side::Ours, Side::Theirs];

impl Side {
    fn start(self, scratch: &Scratch, arguments: &[&str]) -> Partner {
        match self {
            Side::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_child"));
                Partner::run(scratch.enter(command.args(arguments)))
            }
            Side::Theirs => Partner::start(scratch, "", arguments),
        }
    }

    fn start_ready(self, scratch: &Scratch, arguments: &[&str]) -> Partner {
        let mut partner = self.start(scratch, arguments);
        partner.expect("ready");
        partner
    }

    fn other(self) -> Side {
        match self {
            Side::Ours => Side::Theirs,
            Side::Theirs => Side::Ours,
        }
    }

    /// The name of the function that this side serves.
    fn function(self) -> &'static str {
        match self {
            Side::Ours => "ours",
            Side::Theirs => "theirs",
        }
    }
}

/// Whether there are two sides.
fn can_mix(what: &str) -> bool {
    let can = other_child().is_some();
    if !can {
        skipped(what, &format!("{OTHER_CHILD} names no other child program"));
    }
    can
}

/// How often each test kills.
fn kill_count() -> u64 {
    scale("ROBOT_IPC_TEST_MIXED_KILLS", 500)
}

/// Waits until a value of process `pid` is the latest.
fn wait_for_value_of(variable: &HostVariable, pid: u32) {
    eventually("a process writes", || {
        let (value, sample) = variable.sample().unwrap_or_else(|error| panic!("{error}"));
        let number = pattern_of(&value);
        let number = number.unwrap_or_else(|| panic!("version {} is torn", sample.version));
        number >> 32 == u64::from(pid)
    });
}

/// Against a word, an offset or a time that one side lays out or reads in another way than
/// the other one, and against a death that the other side cannot see or mend.
#[test]
fn values_go_both_ways_and_outlive_kills() {
    if !can_mix("a variable of two word sizes") {
        return;
    }
    let mut random = Random::new(seed("mixed writers"));
    for creator in SIDES {
        let scratch = Scratch::new();
        let mut first = creator.start_ready(&scratch, &["write-when-told", "v"]);
        first.say("1");
        first.expect("wrote 1");
        first.finish();

        let variable = open(&scratch, "v");
        let readers = SIDES.map(|side| side.start_ready(&scratch, &["read-threads", "v", "2"]));
        let write = |side: Side| side.start(&scratch, &["write-forever", "v"]);
        let mut writers: Vec<_> = SIDES
            .iter()
            .chain(&SIDES)
            .map(|side| write(*side))
            .collect();
        for _ in 0..kill_count() / 2 {
            let victim = random.below(4) as usize;
            wait_for_value_of(&variable, writers[victim].pid());
            std::thread::sleep(Duration::from_micros(random.below(1000)));
            assert_eq!(writers[victim].kill(), State::Killed, "it ended by itself");
            writers[victim] = write(SIDES[victim % 2]);
        }
        for mut writer in writers {
            assert_eq!(writer.kill(), State::Killed, "it ended by itself");
        }
        for mut reader in readers {
            reader.end_input();
            assert!(reader.number("read") > 0);
            reader.finish();
        }
        // Either side goes on where the dead of both have stopped, and takes back their slots.
        for (count, side) in SIDES.into_iter().enumerate() {
            let before = variable.version().unwrap_or_else(|error| panic!("{error}"));
            let mut writer = side.start_ready(&scratch, &["write-when-told", "v"]);
            writer.say("7");
            writer.expect(&format!("wrote {}", before + 1));
            assert_eq!(taken_slots(&variable), 0, "{count}: a slot of the dead");
            writer.finish();
            let (value, sample) = variable.sample().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((pattern_of(&value), sample.version), (Some(7), before + 1));
        }
    }
}

/// Against calls whose arguments, answers, errors or deaths do not cross.
#[test]
fn calls_go_both_ways_and_outlive_kills() {
    if !can_mix("functions of two word sizes") {
        return;
    }
    let mut random = Random::new(seed("mixed callers"));
    let scratch = Scratch::new();
    let serve = |side: Side| side.start_ready(&scratch, &["serve-forever", side.function()]);
    let call = |side: Side, role: &str, asker: u64| {
        let function = side.other().function();
        side.start_ready(&scratch, &[role, function, &asker.to_string()])
    };
    let mut servers = SIDES.map(serve);
    let mut survivors = SIDES.map(|side| call(side, "call-the-mortal", 1));
    let mut victims = SIDES.map(|side| call(side, "call-forever", 2));
    for kill in 0..kill_count() {
        let side = SIDES[random.below(2) as usize];
        let place = side as usize;
        let served = |side: Side| status(&scratch, side.function()).served;
        // Whoever is killed has been at work: its function, or the one that it calls, is.
        let of_server = random.below(2) == 0;
        let function = if of_server { side } else { side.other() };
        let before = served(function);
        eventually("calls are served", || {
            served(function).wrapping_sub(before) > 10
        });
        std::thread::sleep(Duration::from_micros(random.below(1000)));
        let (old, new) = if of_server {
            let new = serve(side);
            (&mut servers[place], new)
        } else {
            let new = call(side, "call-forever", 3 + kill);
            (&mut victims[place], new)
        };
        let mut dead = std::mem::replace(old, new);
        assert_eq!(dead.kill(), State::Killed, "it ended by itself");
    }
    for victim in &mut victims {
        assert_eq!(victim.kill(), State::Killed, "it ended by itself");
    }
    for survivor in &mut survivors {
        survivor.end_input();
        let answers = survivor.number("answers");
        let deaths = survivor.number("deaths");
        let longest = Duration::from_millis(survivor.number("longest"));
        println!("{answers} answers, {deaths} deaths, longest {longest:?}");
        assert!(answers > 0);
        assert!(longest < Duration::from_secs(30), "{longest:?}");
        survivor.finish();
    }
    for side in SIDES {
        check_no_cell_is_lost(&scratch, side.function());
    }
    servers.iter_mut().for_each(Partner::finish);
}

/// The shortest of some waits, each for something that comes when all have gone to sleep.
fn shortest_wait(mut wait: impl FnMut() -> Instant) -> Duration {
    let waits = (0..20).map(|_| wait().elapsed());
    waits.min().expect("there were some")
}

/// Against sleepers whom the other side cannot wake, so that each wait takes the whole slice
/// of 250 ms.
#[test]
fn each_side_wakes_the_other() {
    if !can_mix("sleepers of two word sizes") {
        return;
    }
    let scratch = Scratch::new();
    let slept = Duration::from_millis(20);
    let variable = open(&scratch, "v");
    let mut writer = Side::Theirs.start_ready(&scratch, &["write-when-told", "v"]);
    let took = shortest_wait(|| {
        let version = variable.version().unwrap_or_else(|error| panic!("{error}"));
        std::thread::scope(|scope| {
            let patience = Some(Duration::from_secs(60));
            let variable = &variable;
            let waiter = scope.spawn(move || variable.wait_for_update(version, patience));
            std::thread::sleep(slept);
            let start = Instant::now();
            writer.say("1");
            let woken = waiter.join().expect("it does not panic");
            assert_eq!(woken.unwrap_or_else(|error| panic!("{error}")), version + 1);
            start
        })
    });
    println!("our sleeper was woken within {took:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");

    let mut server = Side::Theirs.start_ready(&scratch, &["serve-forever", "f"]);
    let caller = open_function(&scratch, "f");
    let mut random = Random::new(1);
    let took = shortest_wait(|| {
        std::thread::sleep(slept);
        let start = Instant::now();
        ask(&caller, &mut random, 1, 1);
        start
    });
    println!("their sleeper was woken within {took:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
    server.finish();
    writer.finish();
}
