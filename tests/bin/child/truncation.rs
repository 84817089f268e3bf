//! Roles whose files are cut short while they use them.

use crate::hostile::{call_in_every_way, use_all};
use crate::{SIZE, hear, number};
use robot_ipc::function::HostFunctionCaller;
use robot_ipc::testing::{Hook, Step, install, write_stepping};
use robot_ipc::{
    DispatcherOptions, Encoding, Error, FunctionOptions, HostFunctionDispatcher, HostVariable,
    Reason, Result, VariableOptions, survive_truncation,
};
use std::cell::Cell;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::process::WRITE_STEPS;
use support::system::{self, BusHandler, SharedWords};
use support::{Random, pattern, pattern_of};

/// What is done once the file was cut, or while it is.
type Act = Box<dyn FnOnce() -> Result<String>>;

fn fail<T>(error: Error) -> T {
    panic!("{error}")
}

fn cut(path: &Path, size: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("its file");
    file.set_len(size).expect("it is ours");
}

/// `on|off variable|function OPERATION`: says that it is ready, and does one thing when it is told to, or
/// at once if that waits. Says what came of it.
pub(crate) fn be_cut(arguments: &[&str]) {
    if arguments[0] == "on" {
        survive_truncation().unwrap_or_else(fail);
        survive_truncation().unwrap_or_else(fail);
    }
    let operation = arguments[2];
    let act = match arguments[1] {
        "variable" => act_on_variable(operation),
        _ => act_on_function(operation),
    };
    let act = act.unwrap_or_else(|| panic!("there is no operation '{operation}'"));
    println!("ready");
    if !operation.starts_with("wait") {
        hear();
    }
    match act() {
        Ok(text) => println!("done: {text}"),
        Err(error) => {
            let is_told = matches!(error.reason(), Reason::Truncated { .. });
            println!("{}: {error}", if is_told { "truncated" } else { "other" });
        }
    }
}

/// Does it until it fails: what lies in the lost pages may be used late.
fn until_it_fails<T>(mut act: impl FnMut() -> Result<T>) -> Result<String> {
    for _ in 0..100 {
        act()?;
    }
    Ok("a hundred times".to_owned())
}

fn act_on_variable(operation: &str) -> Option<Act> {
    let is_read_only = operation.ends_with("-read-only");
    // Few slots, all of which are used: in its last page is one of them.
    let options = VariableOptions::new().slots(4);
    let writer = options.open("cut").unwrap_or_else(fail);
    writer.write(&pattern(SIZE, 7)).unwrap_or_else(fail);
    let options = VariableOptions::new().read_only(is_read_only);
    let variable = options.open("cut").unwrap_or_else(fail);
    if !is_read_only {
        drop(writer);
    }
    let read = |variable: &HostVariable| {
        let mut value = vec![0; SIZE];
        variable.read_into(&mut value)?;
        assert_eq!(pattern_of(&value), Some(7), "a torn value");
        Ok(())
    };
    Some(match operation {
        "read" | "read-read-only" => Box::new(move || until_it_fails(|| read(&variable))),
        "sample" => Box::new(move || until_it_fails(|| variable.sample())),
        "version" => Box::new(move || until_it_fails(|| variable.version())),
        "age" => Box::new(move || until_it_fails(|| variable.age())),
        "write" => Box::new(move || until_it_fails(|| variable.write(&pattern(SIZE, 8)))),
        "write-if" => {
            let value = pattern(SIZE, 8);
            Box::new(move || {
                let mut version = 1;
                until_it_fails(|| {
                    version = variable.write_if(version, &value, Encoding::RAW)?.version;
                    Ok(())
                })
            })
        }
        "update" => Box::new(move || until_it_fails(|| variable.update(|_| pattern(SIZE, 8)))),
        "borrow" => Box::new(move || {
            until_it_fails(|| {
                variable.write(&pattern(SIZE, 8))?;
                variable.borrow()
            })
        }),
        // Borrowed before, read in place after.
        "borrowed" => {
            let borrow = variable.borrow().unwrap_or_else(fail).into_owned();
            Box::new(move || {
                let mut value = vec![0; SIZE];
                borrow.copy_to(0, &mut value);
                assert_ne!(pattern_of(&value), Some(7), "it was not cut");
                drop(borrow);
                variable.sample().map(|_| "read".to_owned())
            })
        }
        "loan" => Box::new(move || {
            until_it_fails(|| {
                let mut loan = variable.loan()?;
                loan.write_at(0, &pattern(SIZE, 8))?;
                loan.publish(SIZE, Encoding::RAW)
            })
        }),
        // Loaned before, filled and published after.
        "loaned" => {
            let mut loan = variable.loan().unwrap_or_else(fail).into_owned();
            Box::new(move || {
                loan.write_at(0, &pattern(SIZE, 8))?;
                loan.publish(SIZE, Encoding::RAW)
                    .map(|_| "published".to_owned())
            })
        }
        "wait" | "wait-read-only" => Box::new(move || {
            let version = variable.wait_for_update(1, None)?;
            Ok(format!("version {version}"))
        }),
        "remove" => Box::new(move || {
            variable.remove(Duration::from_secs(5))?;
            VariableOptions::new().open("cut")?.write(b"anew")?;
            Ok("anew".to_owned())
        }),
        // The child of a fork that came before it was cut, and its parent.
        "forked" => Box::new(move || {
            let child = system::fork(|| i32::from(variable.sample().is_ok()));
            assert_eq!(system::wait_for(child), 0, "the child has read it");
            variable.sample().map(|_| "read".to_owned())
        }),
        _ => return None,
    })
}

/// Functions whose arguments and responses reach past the first page.
fn options() -> FunctionOptions {
    FunctionOptions::new()
        .max_argument_size(8192)
        .max_response_size(8192)
        .cells(1)
        .send_timeout(Duration::from_secs(50))
}

fn act_on_function(operation: &str) -> Option<Act> {
    let caller = options().open("cut").unwrap_or_else(fail);
    let caller: &'static HostFunctionCaller = Box::leak(Box::new(caller));
    let arguments = [7; 8192];
    let text = |response| Ok(format!("{response:?}"));
    Some(match operation {
        "call" => Box::new(move || {
            let call = caller.call(&arguments)?;
            text(call.wait(Some(Duration::from_secs(50)))?)
        }),
        // Nobody serves it: it waits until it is cut.
        "wait-call" => {
            let call = caller.call(&arguments).unwrap_or_else(fail);
            Box::new(move || text(call.wait(None)?))
        }
        "wait-oldest" => {
            caller.call(&arguments).unwrap_or_else(fail);
            Box::new(move || text(caller.next_response(None)?))
        }
        // There is one cell.
        "wait-room" => {
            caller.call(&arguments).unwrap_or_else(fail);
            Box::new(move || Ok(format!("{:?}", caller.call(&arguments)?)))
        }
        "progress" => {
            let call = caller.call(&arguments).unwrap_or_else(fail);
            Box::new(move || {
                call.progress()?;
                text(call.wait(None)?)
            })
        }
        // The response is in before it is cut, and fetched after.
        "response" => {
            let dispatcher = HostFunctionDispatcher::new(1).unwrap_or_else(fail);
            let echo = |arguments: &[u8]| arguments.to_vec();
            let added = dispatcher.add_with(&options(), "cut", echo);
            added.unwrap_or_else(fail);
            dispatcher.start().unwrap_or_else(fail);
            let call = caller.call(&arguments).unwrap_or_else(fail);
            support::eventually("it was answered", || {
                let progress = call.progress().unwrap_or_else(fail);
                progress == robot_ipc::function::Progress::Ended
            });
            drop(dispatcher);
            Box::new(move || text(call.wait(None)?))
        }
        // Called before it is cut, and taken after.
        "take" => {
            let dispatcher = HostFunctionDispatcher::new(1).unwrap_or_else(fail);
            let added = dispatcher.add_for_next_call(&options(), b"cut");
            added.unwrap_or_else(fail);
            caller.call(&arguments).unwrap_or_else(fail);
            Box::new(move || {
                let call = dispatcher.next_call(Some(Duration::from_secs(50)))?;
                Ok(format!("arguments {:?}", &call.arguments()[8190..]))
            })
        }
        // Taken before it is cut, and answered after.
        "reply" => {
            let dispatcher = HostFunctionDispatcher::new(1).unwrap_or_else(fail);
            let added = dispatcher.add_for_next_call(&options(), b"cut");
            added.unwrap_or_else(fail);
            caller.call(&arguments).unwrap_or_else(fail);
            let call = dispatcher.next_call(None).unwrap_or_else(fail);
            Box::new(move || {
                assert_eq!(call.arguments(), arguments);
                call.reply(&arguments, Encoding::RAW)?;
                drop(dispatcher);
                Ok("replied".to_owned())
            })
        }
        _ => return None,
    })
}

/// `[one-word-sleep]`: serves the functions a, b and c until the input ends, and says what
/// goes wrong.
pub(crate) fn serve_three(arguments: &[&str]) {
    survive_truncation().unwrap_or_else(fail);
    let dispatcher = DispatcherOptions::new()
        .one_word_sleep(arguments.contains(&"one-word-sleep"))
        .on_error(|error| println!("{error}"))
        .build()
        .unwrap_or_else(fail);
    for name in ["a", "b", "c"] {
        let echo = |arguments: &[u8]| arguments.to_vec();
        let added = dispatcher.add_with(&FunctionOptions::new(), name, echo);
        added.unwrap_or_else(fail);
    }
    dispatcher.start().unwrap_or_else(fail);
    println!("ready");
    system::wait_for_end_of_input();
    drop(dispatcher);
    println!("over");
}

/// `SEED ROUNDS`: three threads use a variable each round, and it is cut in the middle.
pub(crate) fn cut_in_the_middle(arguments: &[&str]) {
    survive_truncation().unwrap_or_else(fail);
    let mut random = Random::new(number(arguments[0]));
    let mut reads = 0;
    for round in 0..number(arguments[1]) {
        let name = format!("round-{round}");
        let options = VariableOptions::new().max_size(SIZE as u64).slots(4);
        let variable = options.open(&name).unwrap_or_else(fail);
        let read_only = options.clone().read_only(true);
        let read_only = read_only.open(&name).unwrap_or_else(fail);
        variable.write(&pattern(SIZE, 1)).unwrap_or_else(fail);
        let sizes = [0, 4096, 8192, 12288];
        let size = sizes[random.below(4) as usize];
        let pause = Duration::from_micros(random.below(300));
        let (count, is_over) = (AtomicU32::new(0), AtomicU32::new(0));
        let read = |variable: &HostVariable| {
            let mut value = vec![0; SIZE];
            let mut last = 1;
            loop {
                match variable.read_into(&mut value) {
                    Ok(sample) => {
                        assert!(pattern_of(&value).is_some(), "a torn value");
                        assert_eq!(sample.length as usize, SIZE);
                        assert!(sample.version >= last, "back from {last} to {sample:?}");
                        last = sample.version;
                        count.fetch_add(1, Relaxed);
                    }
                    Err(error) if matches!(error.reason(), Reason::Truncated { .. }) => break,
                    Err(error) => panic!("round {round}: {error}"),
                }
                // The last value may lie in what was left.
                if size > 0 && is_over.load(Relaxed) > 0 {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| read(&variable));
            scope.spawn(|| read(&read_only));
            scope.spawn(|| {
                let mut number = 1;
                while let Ok(sample) = variable.write(&pattern(SIZE, number)) {
                    number += 1;
                    assert_eq!(sample.version, number, "a lost write");
                }
                is_over.store(1, Relaxed);
            });
            std::thread::sleep(pause);
            cut(variable.subject().path(), size);
        });
        reads += count.load(Relaxed);
        variable.remove(Duration::from_secs(5)).unwrap_or_else(fail);
    }
    println!("reads {reads}");
}

/// `SEED MILLISECONDS`: threads open, use and close variables that another one cuts, while
/// one watches over memory of its own that takes the place of what was unmapped.
pub(crate) fn map_and_cut(arguments: &[&str]) {
    survive_truncation().unwrap_or_else(fail);
    let (seed, time) = (number(arguments[0]), number(arguments[1]));
    let time = Duration::from_millis(time);
    let start = Instant::now();
    let told = AtomicU32::new(0);
    let is_over = || start.elapsed() >= time;
    let name = |random: &mut Random| format!("v{}", random.below(4));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let told = &told;
            scope.spawn(move || {
                let mut random = Random::new(seed + thread);
                while !is_over() {
                    let Ok(variable) = VariableOptions::new().open(&name(&mut random)) else {
                        continue;
                    };
                    for _ in 0..random.below(40) {
                        let written = variable.write(&pattern(SIZE, 1));
                        let read = variable.sample();
                        let errors = [written.err(), read.err()];
                        for error in errors.into_iter().flatten() {
                            let cut = matches!(error.reason(), Reason::Truncated { .. });
                            told.fetch_add(u32::from(cut), Relaxed);
                        }
                    }
                    let _ = variable.remove(Duration::from_secs(5));
                }
            });
        }
        scope.spawn(|| {
            let mut random = Random::new(seed + 3);
            let place = robot_ipc::Place::from_environment().unwrap_or_else(fail);
            while !is_over() {
                let kind = robot_ipc::Kind::Variable;
                let subject = place.subject(kind, name(&mut random).as_bytes());
                let path = subject.unwrap_or_else(fail).path().to_owned();
                let size = 4096 * random.below(3);
                let longest = std::fs::metadata(&path).map_or(0, |data| data.len());
                if size < longest
                    && let Ok(file) = OpenOptions::new().write(true).open(&path)
                {
                    let _ = file.set_len(size);
                }
            }
        });
        scope.spawn(|| {
            // As large as a segment: it is mapped where one was.
            while !is_over() {
                let memory = vec![0xA5u8; 256 * 1024];
                std::thread::yield_now();
                assert!(memory.iter().all(|byte| *byte == 0xA5), "others' memory");
            }
        });
    });
    println!("told {}", told.load(Relaxed));
}

/// `EARLIER KIND`: a SIGBUS that has nothing to do with us, with the handler on top of
/// another one (`std`, `default`, `ignored`, `siginfo`, `plain`).
pub(crate) fn foreign_fault(arguments: &[&str]) {
    match arguments[0] {
        "std" => {}
        "default" => system::handle_bus_errors(BusHandler::Default),
        "ignored" => system::handle_bus_errors(BusHandler::Ignored),
        "siginfo" => system::handle_bus_errors(BusHandler::WithAddress),
        "plain" => system::handle_bus_errors(BusHandler::Plain),
        unknown => panic!("'{unknown}' is no handler"),
    }
    let ours = VariableOptions::new().open("ours").unwrap_or_else(fail);
    ours.write(&pattern(SIZE, 1)).unwrap_or_else(fail);
    survive_truncation().unwrap_or_else(fail);
    match arguments[1] {
        "touch" => {
            let path = ours.subject().path().with_extension("foreign");
            let words = SharedWords::create(&path, 1024);
            println!("{}", path.display());
            hear();
            cut(&path, 0);
            words.word(0).store(1, Relaxed);
        }
        "raise" => system::raise_bus_error(),
        unknown => panic!("'{unknown}' is no fault"),
    }
    println!("went on");
}

/// Uses a variable and a function whose files were cut to nothing and have grown again:
/// nothing faults, and all is zero. Each operation may fail, in time.
pub(crate) fn use_regrown() {
    let options = VariableOptions::new().max_size(100).slots(4);
    let variable = options
        .write_timeout(Duration::from_millis(2))
        .open("regrown")
        .unwrap_or_else(fail);
    variable.write(b"value").unwrap_or_else(fail);
    let options = FunctionOptions::new()
        .max_argument_size(100)
        .max_response_size(100)
        .send_timeout(Duration::from_millis(2));
    let caller = options.open("mutated").unwrap_or_else(fail);
    caller.call(b"early").unwrap_or_else(fail);
    let dispatcher = HostFunctionDispatcher::new(1).unwrap_or_else(fail);
    let echo = |arguments: &[u8]| arguments.to_vec();
    let added = dispatcher.add_with(&options, "mutated", echo);
    added.unwrap_or_else(fail);
    let mut random = Random::new(1);
    for path in [variable.subject().path(), caller.subject().path()] {
        let size = std::fs::metadata(path).expect("its file").len();
        cut(path, 0);
        cut(path, size);
    }
    let read = variable.sample();
    println!(
        "read {:?}",
        read.map(|(value, sample)| (value.len(), sample.version))
    );
    for _ in 0..50 {
        use_all(&variable, &mut random);
        call_in_every_way(&options, &caller, &mut random);
        let _ = dispatcher.run(Some(Duration::from_millis(2)));
    }
    println!("done");
}

/// At which step which file is to be cut.
static CUT_AT: Mutex<Option<(&'static str, PathBuf)>> = Mutex::new(None);

fn cut_there(step: &'static str) {
    let mut cut_at = CUT_AT.lock().expect("nobody panics with it");
    if let Some((_, path)) = cut_at.take_if(|(at, _)| *at == step) {
        cut(&path, 0);
    }
}

/// Does `act` while the file at `path` is cut at `step`, and says what came of it.
fn cut_at(step: &'static str, path: &Path, act: impl FnOnce() -> Result<()>) {
    *CUT_AT.lock().expect("as above") = Some((step, path.to_owned()));
    let done = act();
    let was_reached = CUT_AT.lock().expect("as above").take().is_none();
    assert!(was_reached, "it does not come to '{step}'");
    match done {
        Ok(()) => println!("{step}: done"),
        Err(error) if matches!(error.reason(), Reason::Truncated { .. }) => {
            println!("{step}: told");
        }
        Err(error) => println!("{step}: {error}"),
    }
    // Nobody has taken the name of a file away whose removal nobody has asked for.
    if !step.starts_with("retire") {
        std::fs::remove_file(path).unwrap_or_else(|error| panic!("{step}: {error}"));
    }
}

/// Cuts a file at each step of everything that has steps.
pub(crate) fn cut_at_each_step() {
    survive_truncation().unwrap_or_else(fail);
    install(Hook {
        step: cut_there,
        forced: |_| false,
    });
    let open = |name: &str| VariableOptions::new().open(name);
    let value = pattern(SIZE, 7);
    for step in ["create: linked", "open: checked", "open: mapped"] {
        let path = open("opened")
            .unwrap_or_else(fail)
            .subject()
            .path()
            .to_owned();
        if step.starts_with("create") {
            std::fs::remove_file(&path).expect("it is there");
        }
        cut_at(step, &path, || open("opened")?.version().map(drop));
    }
    for step in [
        "register: locked",
        "register: recovered",
        "register: anchored",
    ] {
        let variable = open("registered").unwrap_or_else(fail);
        let path = variable.subject().path();
        cut_at(step, path, || variable.write(&value).map(drop));
    }
    for step in ["retire: locked", "retire: retired"] {
        let variable = open("retired").unwrap_or_else(fail);
        let path = variable.subject().path();
        cut_at(step, path, || variable.remove(Duration::from_secs(5)));
    }
    for step in WRITE_STEPS {
        let variable = open("written").unwrap_or_else(fail);
        variable.write(&value).unwrap_or_else(fail);
        let path = variable.subject().path();
        let is_half_filled = Cell::new(false);
        cut_at(step, path, || {
            let written = write_stepping(&variable, &value, robot_ipc::Encoding::RAW, &|at| {
                // The first of two that are called so.
                let is_halfway = at == Step::Filled && !is_half_filled.replace(true);
                let name = format!("{at:?}{}", if is_halfway { " halfway" } else { "" });
                if name == step {
                    cut_there(step);
                }
            });
            written.map(drop)
        });
    }
    let steps = [
        "call: drafted",
        "call: ticketed",
        "call: submitted",
        "call: rung",
        "serve: seen",
        "serve: taken",
        "serve: answered",
        "serve: handed over",
        "serve: finished",
    ];
    for step in steps {
        let arguments = [7; 8192];
        let caller = options().open("called").unwrap_or_else(fail);
        let dispatcher = HostFunctionDispatcher::new(1).unwrap_or_else(fail);
        let added = dispatcher.add_for_next_call(&options(), b"called");
        added.unwrap_or_else(fail);
        cut_at(step, caller.subject().path(), || {
            let call = caller.call(&arguments)?;
            let taken = dispatcher.next_call(Some(Duration::from_secs(50)))?;
            assert_eq!(taken.arguments(), arguments, "at {step}");
            let replied = taken.reply(&arguments, Encoding::RAW);
            let response = call.wait(Some(Duration::from_secs(50)))?;
            assert_eq!(response.expect("it returns").bytes, arguments, "at {step}");
            replied
        });
    }
    println!("over");
}
