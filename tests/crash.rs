//! Processes that are killed or stopped, at random instants and at every step.

use robot_ipc::testing::taken_slots;
use robot_ipc::{Encoding, HostVariable, Reason};
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::process::{Partner, State, WRITE_STEPS};
use support::segment_file::{SegmentFile, WAITING_BIT};
use support::{Kept, Random, Scratch, eventually, open, pattern, pattern_of, scale, seed};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
const SIZE: usize = 4096;
/// What has to happen at once may take so long on a machine that is busy.
const AT_ONCE: Duration = Duration::from_secs(10);

fn value(variable: &HostVariable) -> (u64, u64) {
    let (value, sample) = variable.sample().unwrap_or_else(|error| panic!("{error}"));
    let number = pattern_of(&value);
    (
        number.unwrap_or_else(|| panic!("version {} is torn", sample.version)),
        sample.version,
    )
}

fn write(variable: &HostVariable, number: u64) -> u64 {
    let written = variable.write(&pattern(SIZE, number));
    written.unwrap_or_else(|error| panic!("{error}")).version
}

/// A new participant (this process has no other writable handle on `name`)
/// reads and writes at once. Returns it.
fn newcomer(scratch: &Scratch, name: &str, number: u64) -> HostVariable {
    let start = Instant::now();
    let variable = open(scratch, name);
    let (_, before) = value(&variable);
    let version = write(&variable, number);
    assert!(version > before);
    let took = start.elapsed();
    assert!(took < AT_ONCE, "a new writer took {took:?}");
    variable
}

/// Reads until `stop`, checks that every value is whole, that no version goes
/// back, and that a version has one value.
fn watch(scratch: &Scratch, name: &str, stop: &AtomicU32) -> u64 {
    let variable = scratch.options().read_only(true).open(name);
    let variable = variable.unwrap_or_else(|error| panic!("{error}"));
    let mut buffer = vec![0; SIZE];
    let (mut last_version, mut last_number, mut reads) = (0, 0, 0);
    while stop.load(Relaxed) == 0 {
        let sample = variable
            .read_into(&mut buffer)
            .unwrap_or_else(|error| panic!("{error}"));
        let Some(number) = pattern_of(&buffer[..sample.length as usize]) else {
            panic!("version {} is torn", sample.version)
        };
        assert!(
            sample.version >= last_version,
            "{} after {last_version}",
            sample.version
        );
        assert!(
            sample.version != last_version || number == last_number,
            "version {last_version} has two values"
        );
        (last_version, last_number) = (sample.version, number);
        reads += 1;
    }
    reads
}

/// How often the random tests kill.
fn kill_count() -> u64 {
    scale("ROBOT_IPC_TEST_KILLS", 2000)
}

/// Runs `kill`, which kills writers of the variable `victim`, while others read
/// it; looks at it afterwards, when nobody else is left.
fn under_watch(kill: impl FnOnce(&Scratch, &mut Random)) {
    let mut random = Random::new(seed("crash"));
    let scratch = Scratch::new();
    let first = open(&scratch, "victim");
    write(&first, 0);
    drop(first);
    let stop = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&scratch, "victim", &stop));
        let kill = std::panic::AssertUnwindSafe(|| kill(&scratch, &mut random));
        let killed = std::panic::catch_unwind(kill);
        stop.store(1, Relaxed);
        let reads = reader
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        killed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(reads > 0);
    });
    let writes = check_deserted(&scratch, 1);
    println!("{writes} writes");
    assert!(
        writes > 10 * kill_count(),
        "only {writes} writes: they were killed before they began"
    );
}

/// Nobody else is a participant. Not at once: a process that another test of
/// this program is just starting has copies of our descriptors until it executes,
/// and with one of them a registration that we have given up.
fn wait_until_alone(variable: &HostVariable) {
    eventually("there is one participant", || {
        variable.census().expect("it exists").participants == [std::process::id()]
    });
}

/// What has to hold when all writers are dead. Says how often they wrote.
fn check_deserted(scratch: &Scratch, number: u64) -> u64 {
    let reader = scratch
        .options()
        .read_only(true)
        .open("victim")
        .expect("it exists");
    let (_, last) = value(&reader);
    let variable = newcomer(scratch, "victim", number);
    assert_eq!(value(&reader), (number, last + 1), "all others were dead");
    assert_eq!(taken_slots(&variable), 0);
    wait_until_alone(&variable);
    last
}

/// Against any instruction at which a killed writer tears a value, takes one
/// back, or keeps a slot.
#[test]
fn writers_killed_at_random_instants_harm_nobody() {
    const VICTIMS: u64 = 4;
    under_watch(|scratch, random| {
        for batch in 0..kill_count().div_ceil(VICTIMS) {
            let victim = |_| {
                let mut command = scratch.child(CHILD, "write-forever");
                Kept::start(command.arg("victim").stdin(Stdio::null()))
            };
            let mut victims: Vec<Kept> = (0..VICTIMS).map(victim).collect();
            std::thread::sleep(Duration::from_micros(random.below(5000)));
            for victim in &victims {
                victim.signal(Signal::KILL);
            }
            for victim in &mut victims {
                let status = victim.0.wait().expect("it is our child");
                assert_eq!(status.signal(), Some(9), "it had ended by itself");
            }
            check_deserted(scratch, batch);
        }
    });
}

/// Against a dead writer that its forked children keep alive.
#[test]
fn killed_writers_with_living_children_harm_nobody() {
    under_watch(|scratch, random| {
        let start = || {
            Partner::start(
                scratch,
                CHILD,
                &["write-forever", "victim", "idle-children"],
            )
        };
        let mut bereaved = Vec::new();
        let mut living = [start(), start()];
        for kill in 0..kill_count() / 20 {
            std::thread::sleep(Duration::from_micros(random.below(4000)));
            let victim = random.below(2) as usize;
            let mut dead = std::mem::replace(&mut living[victim], start());
            assert_eq!(dead.kill(), State::Killed, "it had ended by itself");
            bereaved.push(dead);
            newcomer(scratch, "victim", kill);
        }
        for mut last in living {
            assert_eq!(last.kill(), State::Killed, "it had ended by itself");
            bereaved.push(last);
        }
        check_deserted(scratch, 0);
    });
}

/// A writer that has written 1 and acts (`stop` or `kill`) at `step` while it
/// writes 2.
fn writer(scratch: &Scratch, name: &str, step: &str, act: &str, options: &[&str]) -> Partner {
    let arguments = [&["stop-in-write", name, step, act, "1"], options].concat();
    let mut writer = Partner::start(scratch, CHILD, &arguments);
    writer.expect("ready");
    writer
}

fn position(step: &str) -> usize {
    WRITE_STEPS
        .iter()
        .position(|other| *other == step)
        .expect("a step of a write")
}

fn is_published(step: &str) -> bool {
    position(step) >= position("Published")
}

/// Whether a writer at `step` has a slot.
fn has_claim(step: &str) -> bool {
    (position("Claimed")..=position("Published")).contains(&position(step))
}

fn kill_in_write(options: &[&str]) {
    for step in WRITE_STEPS {
        // Those who come later, and those who have been there all the time.
        for newcomer_cleans_up in [true, false] {
            let scratch = Scratch::new();
            let mut writer = writer(&scratch, "victim", step, "kill", options);
            let reader = scratch
                .options()
                .read_only(true)
                .open("victim")
                .expect("it exists");
            assert_eq!(value(&reader), (1, 1));
            let neighbour = (!newcomer_cleans_up).then(|| {
                let neighbour = open(&scratch, "victim");
                assert_eq!(write(&neighbour, 1), 2);
                neighbour
            });
            let before = reader.version().expect("it exists");
            writer.say("go");
            writer.wait_until_killed();
            let expected = if is_published(step) {
                (2, before + 1)
            } else {
                (1, before)
            };
            assert_eq!(value(&reader), expected, "killed at {step}");
            let variable = match neighbour {
                None => newcomer(&scratch, "victim", 3),
                Some(neighbour) => {
                    assert_eq!(
                        taken_slots(&neighbour),
                        u32::from(has_claim(step)),
                        "at {step}"
                    );
                    eventually("a neighbour takes back what the dead one held", || {
                        write(&neighbour, 3);
                        taken_slots(&neighbour) == 0
                    });
                    neighbour
                }
            };
            assert_eq!(value(&reader).0, 3);
            assert_eq!(taken_slots(&variable), 0, "killed at {step}");
            // Every slot is of use again.
            for number in 4..40 {
                write(&variable, number);
            }
            assert_eq!(value(&reader).0, 39);
        }
    }
}

/// Against a step of a write after which a kill loses the last value or a slot.
#[test]
fn a_writer_killed_at_any_step_loses_nothing() {
    kill_in_write(&[]);
}

/// Against a liveness lock, or a mapping of it, that forked children inherit.
#[test]
fn a_writer_killed_at_any_step_is_dead_though_its_children_live() {
    kill_in_write(&["idle-children"]);
}

/// Against a liveness lock that hangs on a descriptor.
#[test]
fn a_killed_writer_that_had_closed_its_descriptors_is_dead() {
    kill_in_write(&["close-descriptors"]);
}

/// Against a recovery that leaves a half-cleared participant to nobody, or keeps
/// its lock: the one who recovers is killed in the middle of it.
#[test]
fn a_process_killed_while_it_recovers_another_costs_nothing() {
    for step in ["Taken", "Recovered"] {
        for newcomer_cleans_up in [true, false] {
            let scratch = Scratch::new();
            let arguments = ["stop-in-recovery", "victim", step, "kill", "1"];
            let mut recoverer = Partner::start(&scratch, CHILD, &arguments);
            recoverer.expect("ready");
            let neighbour = (!newcomer_cleans_up).then(|| {
                let neighbour = open(&scratch, "victim");
                write(&neighbour, 1);
                neighbour
            });
            let mut victim = writer(&scratch, "victim", "Filled", "kill", &[]);
            victim.say("go");
            victim.wait_until_killed();
            recoverer.say("go");
            recoverer.wait_until_killed();
            match neighbour {
                None => {
                    let variable = newcomer(&scratch, "victim", 3);
                    assert_eq!(taken_slots(&variable), 0, "killed at {step}");
                }
                Some(neighbour) => eventually("a neighbour takes back what they held", || {
                    write(&neighbour, 3);
                    taken_slots(&neighbour) == 0
                }),
            }
        }
    }
}

/// Against a value that can be read but not borrowed, since its writer died
/// between publishing it and letting go of its slot.
#[test]
fn a_value_whose_writer_died_before_letting_go_can_be_borrowed() {
    for step in ["Published", "Released"] {
        let scratch = Scratch::new();
        let borrower = open(&scratch, "victim");
        write(&borrower, 1);
        let mut writer = writer(&scratch, "victim", step, "kill", &[]);
        writer.say("go");
        writer.wait_until_killed();
        let borrow = borrower.borrow().unwrap_or_else(|error| panic!("{error}"));
        let mut bytes = vec![0; borrow.size()];
        borrow.copy_to(0, &mut bytes);
        assert_eq!(pattern_of(&bytes), Some(2), "killed at {step}");
        drop(borrow);
        assert_eq!(taken_slots(&borrower), 0);
    }
}

fn stop_in_write(options: &[&str]) {
    for step in WRITE_STEPS {
        let scratch = Scratch::new();
        let mut writer = writer(&scratch, "victim", step, "stop", options);
        let file = SegmentFile::open(&scratch, "victim", SIZE as u64);
        let first = open(&scratch, "victim");
        writer.say("go");
        writer.wait_until_stopped();
        let taken: Vec<u64> = (0..14).filter(|slot| file.owner(*slot) != 0).collect();
        assert_eq!(
            taken.len(),
            usize::from(has_claim(step)),
            "{taken:?} at {step}"
        );
        let published = if is_published(step) { (2, 2) } else { (1, 1) };
        assert_eq!(value(&first), published, "stopped at {step}");
        let kept = |slots: &[u64]| -> Vec<_> {
            slots
                .iter()
                .map(|slot| (file.owner(*slot), file.slot(*slot)))
                .collect()
        };
        let before = kept(&taken);
        // Round all slots for longer than it takes to become a suspect, while
        // participants come and go.
        let start = Instant::now();
        let mut number = 100;
        while number < 500 || start.elapsed() < Duration::from_millis(10) {
            write(&first, number);
            assert_eq!(value(&first).0, number);
            number += 1;
        }
        drop(first);
        for _ in 0..3 {
            newcomer(&scratch, "victim", number);
        }
        assert!(
            kept(&taken) == before,
            "the slot of a stopped writer was touched, at {step}"
        );
        let reader = scratch
            .options()
            .read_only(true)
            .open("victim")
            .expect("it exists");
        let (_, version) = value(&reader);
        writer.signal(Signal::CONT);
        let wrote = writer.number("wrote");
        if is_published(step) {
            assert_eq!(
                (wrote, value(&reader)),
                (2, (number, version)),
                "stopped at {step}"
            );
        } else {
            assert_eq!(
                (wrote, value(&reader)),
                (version + 1, (2, version + 1)),
                "at {step}"
            );
        }
        writer.finish();
        assert_eq!(taken_slots(&newcomer(&scratch, "victim", 9)), 0);
    }
}

/// Against taking a stopped process for a dead one, and against waiting for it.
#[test]
fn a_writer_stopped_at_any_step_is_not_robbed() {
    stop_in_write(&[]);
}

/// Against taking a living process that has closed all descriptors it does not
/// know for a dead one.
#[test]
fn a_stopped_writer_without_descriptors_is_not_robbed() {
    stop_in_write(&["close-descriptors"]);
}

/// Against two writers in one slot, after a forked child's end let go of its
/// parent's lock.
#[test]
fn a_stopped_writer_with_children_is_not_robbed() {
    stop_in_write(&["idle-children"]);
}

/// Against a sleeper that nobody is left to wake.
#[test]
fn a_waiter_wakes_though_the_writer_died_before_waking_it() {
    for step in ["Published", "Released"] {
        let scratch = Scratch::new();
        let mut writer = writer(&scratch, "victim", step, "kill", &[]);
        let variable = open(&scratch, "victim");
        let file = SegmentFile::open(&scratch, "victim", SIZE as u64);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let woken = variable.wait_for_update(1, Some(Duration::from_secs(30)));
                (woken, Instant::now())
            });
            eventually("somebody waits", || file.latest() & WAITING_BIT != 0);
            writer.say("go");
            writer.wait_until_killed();
            let died = Instant::now();
            let (woken, at) = waiter.join().expect("a waiter that does not panic");
            assert_eq!(woken.unwrap_or_else(|error| panic!("{error}")), 2);
            let late = at.saturating_duration_since(died);
            assert!(
                late < Duration::from_secs(5),
                "{late:?} after a death at {step}"
            );
        });
    }
}

/// Against pins and loans that outlive their holder.
#[test]
fn what_a_killed_process_had_borrowed_and_loaned_comes_back() {
    let what = [
        "write", "borrow", "borrow", "write", "borrow", "loan", "loan",
    ];
    for newcomer_cleans_up in [true, false] {
        let scratch = Scratch::new();
        let arguments = [&["hold", "victim"][..], &what].concat();
        let mut holder = Partner::start(&scratch, CHILD, &arguments);
        holder.expect("holding");
        let mut second = Partner::start(&scratch, CHILD, &["hold", "victim", "borrow"]);
        second.expect("holding");
        let neighbour = open(&scratch, "victim");
        assert_eq!(taken_slots(&neighbour), 4, "two pinned and two loaned");
        write(&neighbour, 5);
        assert_eq!(holder.kill(), State::Killed);
        let neighbour = if newcomer_cleans_up {
            drop(neighbour);
            newcomer(&scratch, "victim", 6)
        } else {
            eventually("a neighbour takes back what the dead one held", || {
                write(&neighbour, 6);
                taken_slots(&neighbour) == 1
            });
            neighbour
        };
        assert_eq!(taken_slots(&neighbour), 1, "what the living one has pinned");
        assert_eq!(second.kill(), State::Killed);
        drop(neighbour);
        let variable = newcomer(&scratch, "victim", 7);
        assert_eq!(taken_slots(&variable), 0);
        drop((holder, second));
    }
}

/// Against a variable that stays full after all its slots were held by the dead.
#[test]
fn a_variable_full_of_dead_claims_and_pins_is_usable_at_once() {
    let scratch = Scratch::new();
    let mut holders: Vec<Partner> = (0..6)
        .map(|_| {
            let what = ["hold", "victim", "write", "borrow", "write", "borrow"];
            let mut holder = Partner::start(&scratch, CHILD, &what);
            holder.expect("holding");
            holder
        })
        .collect();
    let neighbour = open(&scratch, "victim");
    let refused = neighbour.borrow().map(drop);
    write(&neighbour, 1);
    assert_eq!(taken_slots(&neighbour), 12);
    assert!(
        refused.is_ok(),
        "the latest was pinned already, so one more pin costs nothing"
    );
    let refused = neighbour.borrow().expect_err("two slots have to stay");
    assert!(
        matches!(
            refused.reason(),
            Reason::CannotBorrow {
                slots: 14,
                passing: false,
                ..
            }
        ),
        "{refused}"
    );
    for holder in &mut holders {
        assert_eq!(holder.kill(), State::Killed);
    }
    // A process that has been there all the time: two slots are enough to write, but not
    // to borrow.
    let mut borrows = Vec::new();
    for number in 2..14 {
        write(&neighbour, number);
        let borrow = neighbour.borrow();
        borrows.push(borrow.unwrap_or_else(|error| panic!("the {number}th: {error}")));
    }
    assert_eq!(taken_slots(&neighbour), 12, "only what is borrowed now");
}

/// Against an index, or what its last holder held, that is lost when somebody
/// dies while taking it over.
#[test]
fn a_process_killed_while_registering_costs_nothing() {
    for step in [
        "register: locked",
        "register: recovered",
        "register: anchored",
    ] {
        let scratch = Scratch::new();
        // Leaves a claim of participant 0.
        let mut first = writer(&scratch, "victim", "Filled halfway", "kill", &[]);
        first.say("go");
        first.wait_until_killed();
        for _ in 0..3 {
            let arguments = ["stop-in-slow-path", "victim", step, "kill"];
            Partner::start(&scratch, CHILD, &arguments).wait_until_killed();
        }
        // One that is stopped there has its index, and holds nobody up.
        let arguments = ["stop-in-slow-path", "victim", step, "stop"];
        let mut stopped = Partner::start(&scratch, CHILD, &arguments);
        stopped.wait_until_stopped();
        let variable = newcomer(&scratch, "victim", 3);
        assert_eq!(value(&variable), (3, 2));
        if step == "register: locked" {
            // Nobody may take from it what it is about to recover.
            assert_eq!(taken_slots(&variable), 1);
        }
        let me = std::process::id();
        assert!(
            variable
                .census()
                .expect("it exists")
                .participants
                .contains(&me)
        );
        stopped.signal(Signal::CONT);
        assert_eq!(stopped.number("wrote"), 3);
        stopped.finish();
        eventually("what the first one held is back", || {
            write(&variable, 4);
            taken_slots(&variable) == 0
        });
        drop(variable);
        // Index 0 again: none was lost.
        let variable = newcomer(&scratch, "victim", 5);
        assert_eq!(
            SegmentFile::open(&scratch, "victim", 4096).word(256),
            me,
            "killed at {step}"
        );
        wait_until_alone(&variable);
    }
}

/// Against a name that leads to a half-removed variable for ever.
#[test]
fn a_variable_whose_remover_was_killed_is_removed_by_the_next() {
    for step in ["retire: locked", "retire: retired", "retire: removed"] {
        let scratch = Scratch::new();
        let old = open(&scratch, "victim");
        write(&old, 1);
        let arguments = ["stop-in-slow-path", "victim", step, "kill", "remove"];
        Partner::start(&scratch, CHILD, &arguments).wait_until_killed();
        let next = open(&scratch, "victim");
        if step == "retire: locked" {
            assert_eq!(value(&next), (1, 1), "nothing had happened yet");
            old.remove(AT_ONCE)
                .unwrap_or_else(|error| panic!("{error}"));
            continue;
        }
        assert_eq!(*next.version().as_ref().expect("a new variable"), 0);
        assert_eq!(write(&next, 2), 1);
        assert_eq!(value(&next), (2, 1));
        let gone = old.write(b"late").expect_err("it was removed");
        assert_eq!(*gone.reason(), Reason::Retired);
        assert_eq!(value(&open(&scratch, "victim")), (2, 1));
    }
}

/// Against everybody hanging behind a remover that was stopped.
#[test]
fn a_stopped_remover_hangs_nobody() {
    let scratch = Scratch::new();
    let variable = open(&scratch, "victim");
    write(&variable, 1);
    let arguments = [
        "stop-in-slow-path",
        "victim",
        "retire: locked",
        "stop",
        "remove",
    ];
    let mut remover = Partner::start(&scratch, CHILD, &arguments);
    remover.wait_until_stopped();
    let refused = variable
        .remove(Duration::from_millis(20))
        .expect_err("somebody else is at it");
    assert_eq!(*refused.reason(), Reason::BeingRemoved);
    assert_eq!(write(&variable, 2), 2);
    assert_eq!(value(&variable), (2, 2));
    remover.signal(Signal::CONT);
    remover.expect("removed");
    remover.finish();
    let gone = variable
        .write_encoded(b"late", Encoding::RAW)
        .expect_err("it was removed");
    assert_eq!(*gone.reason(), Reason::Retired);
    assert_eq!(write(&open(&scratch, "victim"), 1), 1);
}
