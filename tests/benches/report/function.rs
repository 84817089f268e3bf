//! What a call costs, beside what the machine itself takes for a word there and back, and
//! beside iceoryx2's request and response.
//!
//! Two processes: this one calls, another one serves. *Two cores*: each is kept on one of
//! its own. *Same core*: both are kept on the first one. *Free*: as most programs run,
//! wherever the kernel puts them.

use crate::Context;
use crate::machine::{Machine, Means, round_trips};
use crate::measuring::{Operation, cores, interleave, keep_on, percentiles};
use crate::peers;
use crate::worker::Worker;
use robot_ipc::function::HostFunctionCaller;
use robot_ipc::{Encoding, FunctionOptions, HostFunctionDispatcher};
use std::time::{Duration, Instant};
use support::function::{PATIENCE, options};

/// The role of a process that serves.
pub(crate) const SERVER: &str = "function-server";
/// The role of a process that has called once.
pub(crate) const IDLE_CALLER: &str = "function-idle-caller";

const IDLE: Duration = Duration::from_millis(10);
/// The sizes of arguments and answers.
const SIZES: [usize; 2] = [8, 4096];
/// The most functions that a dispatcher waits for without helping threads.
const MANY: u32 = 127;

/// Where the two sides run.
#[derive(Clone, Copy)]
enum On {
    TwoCores,
    SameCore,
    Free,
}

impl On {
    const ALL: [On; 3] = [On::TwoCores, On::SameCore, On::Free];

    fn name(self) -> &'static str {
        match self {
            On::TwoCores => "two cores",
            On::SameCore => "same core",
            On::Free => "free",
        }
    }

    /// The processors of this side, and of the other one.
    fn cores(self, context: &Context) -> [Vec<usize>; 2] {
        let [first, second] = context.cores;
        match self {
            On::TwoCores => [vec![first], vec![second]],
            On::SameCore => [vec![first], vec![first]],
            On::Free => [cores(), cores()],
        }
    }
}

/// A function that another process serves.
struct Served {
    function: HostFunctionCaller,
    /// Where this side runs while it calls.
    here: Vec<usize>,
    _server: Worker,
}

impl Served {
    /// A function that answers with its arguments, among so many of one dispatcher.
    fn echo(context: &Context, on: On, functions: u32) -> Served {
        let name = format!("echo-{functions}-{}", on.name().replace(' ', "-"));
        let options = options(&context.scratch);
        Served::start(context, on, &name, functions, options)
    }

    /// A function whose calls are one-way.
    fn sink(context: &Context, on: On) -> Served {
        let name = format!("sink-{}", on.name().replace(' ', "-"));
        Served::start(
            context,
            on,
            &name,
            0,
            sink_options(options(&context.scratch)),
        )
    }

    /// By a new process; `functions` 0: of one-way calls.
    fn start(
        context: &Context,
        on: On,
        name: &str,
        functions: u32,
        options: FunctionOptions,
    ) -> Served {
        let [here, there] = on.cores(context);
        let there: Vec<String> = there.iter().map(usize::to_string).collect();
        let arguments = [name, &functions.to_string(), &there.join(",")];
        let server = Worker::start(context, SERVER, context.cores[1], &arguments);
        server.hear();
        Served {
            function: options.open(name).unwrap_or_else(|error| panic!("{error}")),
            here,
            _server: server,
        }
    }

    /// Microseconds of each of so many calls, with a pause before each of them.
    fn round_trips(&self, size: usize, count: usize, pause: Duration) -> Vec<f64> {
        let mut buffer = [7; 4096];
        let kept = keep_on(&self.here);
        let times = round_trips(count, pause, || {
            let call = self.function.call(&buffer[..size]);
            let call = call.unwrap_or_else(|error| panic!("{error}"));
            let answer = call.wait_into(&mut buffer, Some(PATIENCE));
            let answer = answer.unwrap_or_else(|error| panic!("{error}"));
            assert!(answer.is_some_and(|answer| answer.length == size));
        });
        keep_on(&kept);
        times
    }

    /// Millions of one-way calls in a second.
    fn millions_per_second(&self, count: usize) -> f64 {
        let kept = keep_on(&self.here);
        let start = Instant::now();
        for _ in 0..count {
            let called = self.function.call(&[7; 8]);
            called.unwrap_or_else(|error| panic!("{error}"));
        }
        let each = start.elapsed().as_secs_f64() / count as f64;
        keep_on(&kept);
        1e-6 / each
    }
}

fn sink_options(options: FunctionOptions) -> FunctionOptions {
    options.max_argument_size(8).max_response_size(0)
}

/// The process that serves.
pub(crate) fn serve(arguments: &[&str]) {
    let [name, functions, cores] = arguments else {
        panic!("a name, a count and processors, not {arguments:?}");
    };
    let cores: Result<Vec<usize>, _> = cores.split(',').map(str::parse).collect();
    keep_on(&cores.expect("numbers of processors"));
    let functions: u32 = functions.parse().expect("how many functions");
    let dispatcher = HostFunctionDispatcher::new(functions.max(1));
    let dispatcher = dispatcher.unwrap_or_else(|error| panic!("{error}"));
    let new = FunctionOptions::new;
    let added = match functions {
        0 => dispatcher.add_raw(&sink_options(new()), name.as_bytes(), |call| {
            call.reply_nothing()
        }),
        _ => dispatcher.add_raw(&new(), name.as_bytes(), |call| {
            let mut copy = [0; 4096];
            let length = call.arguments().len();
            copy[..length].copy_from_slice(call.arguments());
            call.reply(&copy[..length], Encoding::RAW)
        }),
    };
    added.unwrap_or_else(|error| panic!("{error}"));
    for other in 1..functions {
        let name = other_name(name, other);
        let added = dispatcher.add_raw(&new(), name.as_bytes(), |call| call.reply_nothing());
        added.unwrap_or_else(|error| panic!("{error}"));
    }
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    println!();
    support::system::wait_for_end_of_input();
}

/// The name of another function of the same dispatcher.
fn other_name(name: &str, number: u32) -> String {
    format!("{name}-and-{number}")
}

/// A process that has called once.
pub(crate) fn idle_caller(arguments: &[&str]) {
    let function = HostFunctionCaller::open(arguments[0]);
    let function = function.unwrap_or_else(|error| panic!("{error}"));
    let called = function.call_within(b"", PATIENCE);
    called.unwrap_or_else(|error| panic!("{error}"));
    println!();
    support::system::wait_for_end_of_input();
}

/// The name of a call's rows.
fn call(size: usize, on: On) -> String {
    format!("call, {size} B, {}", on.name())
}

/// Another process that answers by the machine's own means.
fn machine(context: &Context, on: On) -> Machine {
    let [here, there] = on.cores(context);
    Machine::start(context, here[0], there[0])
}

/// Rows of round trips, with so many percentiles of each turn.
fn trips<'a>(
    what: &str,
    parts: &'static [(&'static str, f64)],
    mut turn: impl FnMut() -> Vec<f64> + 'a,
) -> Operation<'a> {
    let rows: Vec<String> = parts
        .iter()
        .map(|(part, _)| format!("{what}, {part}"))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    Operation::several(&rows, "µs", move || {
        let parts: Vec<f64> = parts.iter().map(|(_, part)| *part).collect();
        percentiles(&mut turn(), &parts)
    })
}

const OF_MANY: &[(&str, f64)] = &[("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Whether two sides can have a core each; says so if not.
fn can_have_two_cores(context: &Context) -> bool {
    let can = context.cores[0] != context.cores[1];
    if !can {
        support::skipped("calls between two cores", "this program may use one only");
    }
    can
}

/// The rows of iceoryx2's calls: both sides poll without a rest, on two cores.
fn peers<'a>(calls: &'a peers::Calls, size: usize, count: usize) -> Operation<'a> {
    let rows = OF_MANY
        .iter()
        .map(|(part, _)| format!("iceoryx2, {size} B, {part}"));
    let rows: Vec<String> = rows.collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    Operation::several(&rows, "µs", move || calls.round_trips(size, count))
}

/// What the machine takes, by those means.
fn limit<'a>(
    machine: &'a Machine,
    on: On,
    means: Means,
    parts: &'static [(&'static str, f64)],
    count: usize,
    pause: Duration,
) -> Operation<'a> {
    let what = format!("{}, {}", means.name(), on.name());
    trips(&what, parts, move || {
        machine.round_trips(means, count, pause)
    })
}

/// Call after call.
pub(crate) fn hot(context: &mut Context) {
    if !can_have_two_cores(context) {
        return;
    }
    let count = context.scale.pick(10, 1000, 2000);
    let few = context.scale.pick(10, 100, 300);
    let [machine, same] = [On::TwoCores, On::SameCore].map(|on| machine(context, on));
    let theirs = peers::Calls::start(context);
    let served = On::ALL.map(|on| (on, Served::echo(context, on, 1)));
    let of = |machine, on, means, count| limit(machine, on, means, OF_MANY, count, Duration::ZERO);
    let mut operations = vec![
        of(&machine, On::TwoCores, Means::Spin, count),
        of(&machine, On::TwoCores, Means::SpinWithBytes, count),
        of(&machine, On::TwoCores, Means::Futex, few),
        of(&machine, On::TwoCores, Means::NamedPipe, few),
        of(&same, On::SameCore, Means::Futex, few),
        of(&same, On::SameCore, Means::NamedPipe, few),
    ];
    for size in SIZES {
        for (on, served) in &served {
            let count = if let On::SameCore = on { few } else { count };
            operations.push(trips(&call(size, *on), OF_MANY, move || {
                served.round_trips(size, count, Duration::ZERO)
            }));
        }
        operations.extend(theirs.as_ref().map(|theirs| peers(theirs, size, count)));
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for (size, microseconds) in SIZES.into_iter().zip([0.6, 1.2]) {
        let name = format!("{}, p50", call(size, On::TwoCores));
        let name = name.as_str();
        match rows.found(&format!("iceoryx2, {size} B, p50")) {
            Some(theirs) => {
                let text = format!("≤ {microseconds} µs and iceoryx2");
                let row = rows.row(name).beside("iceoryx2", theirs);
                row.at_most(theirs.min(microseconds), &text);
            }
            None => {
                let spin = rows.median("spin, two cores, p50");
                let row = rows.row(name).beside("spin", spin);
                row.at_most(microseconds, &format!("≤ {microseconds} µs"));
            }
        }
    }
    context.report(rows);
}

/// Calls after all have slept for a while.
pub(crate) fn after_idle(context: &mut Context) {
    if !can_have_two_cores(context) {
        return;
    }
    // Of five the slowest is all that can be said of the slow ones.
    let count = context.scale.pick(1, 5, 100);
    let machines = [On::TwoCores, On::SameCore].map(|on| (on, machine(context, on)));
    let served = On::ALL.map(|on| (on, Served::echo(context, on, 1)));
    let mut operations = Vec::new();
    for (on, machine) in &machines {
        for means in [Means::Futex, Means::NamedPipe] {
            operations.push(limit(machine, *on, means, OF_MANY, count, IDLE));
        }
    }
    for (on, served) in &served {
        for size in SIZES {
            operations.push(trips(&call(size, *on), OF_MANY, move || {
                served.round_trips(size, count, IDLE)
            }));
        }
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for on in [On::TwoCores, On::SameCore] {
        let of = |means: Means| format!("{}, {}, p50", means.name(), on.name());
        let futex = rows.median(&of(Means::Futex));
        let pipe = rows.median(&of(Means::NamedPipe));
        for size in SIZES {
            let row = rows.row(&format!("{}, p50", call(size, on)));
            row.beside(Means::Futex.name(), futex);
            // Their messages have 8 bytes.
            if size == 8 {
                row.at_most(pipe.min(1.15 * futex), "≤ 1.15 × futex, ≤ named pipe");
            }
        }
    }
    context.report(rows);
}

/// Calls whose answer nobody waits for.
pub(crate) fn one_way(context: &mut Context) {
    let count = context.scale.pick(100, 20_000, 50_000);
    let sinks = On::ALL.map(|on| (on, Served::sink(context, on)));
    let named = |on: On| format!("one-way, 8 B, {}", on.name());
    let operations = sinks
        .iter()
        .map(|(on, sink)| Operation::new(&named(*on), "M/s", || sink.millions_per_second(count)));
    let mut rows = interleave(context.scale.rounds(), operations.collect());
    rows.row(&named(On::TwoCores)).at_least(5.0, "≥ 5 M/s");
    context.report(rows);
}

/// Calls of a function that is not the only one, or not called by one process only.
pub(crate) fn crowded(context: &mut Context) {
    if !can_have_two_cores(context) {
        return;
    }
    let count = context.scale.pick(10, 1000, 2000);
    let few = context.scale.pick(1, 10, 20);
    let callers = context.scale.pick(1, 64, 64);
    let numbers: &[u32] = context
        .scale
        .pick(&[1, 3], &[1, 16, 64, MANY], &[1, 16, 64, MANY]);
    let mut served = Vec::new();
    for functions in numbers {
        let one_of_some = Served::echo(context, On::TwoCores, *functions);
        served.push((format!("one of {functions} functions"), one_of_some));
    }
    let beside = Served::start(
        context,
        On::TwoCores,
        "beside",
        1,
        options(&context.scratch),
    );
    let idle: Vec<Worker> = (0..callers)
        .map(|_| Worker::start(context, IDLE_CALLER, context.cores[0], &["beside"]))
        .collect();
    for caller in &idle {
        caller.hear();
    }
    served.push((format!("beside {callers} idle callers"), beside));
    let mut operations = Vec::new();
    for (what, served) in &served {
        operations.push(trips(what, &OF_MANY[..1], move || {
            served.round_trips(8, count, Duration::ZERO)
        }));
        let what = format!("{what}, after 10 ms");
        operations.push(trips(&what, &OF_MANY[..1], move || {
            served.round_trips(8, few, IDLE)
        }));
    }
    let mut rows = interleave(context.scale.rounds(), operations);
    for when in [", p50", ", after 10 ms, p50"] {
        let alone = rows.median(&format!("one of 1 functions{when}"));
        for (what, _) in &served[1..] {
            let row = rows
                .row(&format!("{what}{when}"))
                .beside("one function", alone);
            if when == ", p50" {
                row.at_most(1.1 * alone, "≤ 1.1 × one function");
            }
        }
    }
    context.report(rows);
}

/// Opening and making what is needed.
pub(crate) fn opening(context: &mut Context) {
    let place = options(&context.scratch);
    let served = Served::echo(context, On::Free, 2);
    let already = served.function.subject().name().to_owned();
    // Which this process has not opened.
    let name = other_name(&already, 1);
    let open = |name: &str| place.open(name).unwrap_or_else(|error| panic!("{error}"));
    let length = context.scale.turn();
    let operations = vec![
        Operation::timed("open a function to call it", length, || {
            open(&name);
        }),
        Operation::timed("open one that this process has open", length, || {
            open(&already);
        }),
        Operation::timed("open it and call it once", length, || {
            let called = open(&name).call_within(&[7; 8], PATIENCE);
            called.unwrap_or_else(|error| panic!("{error}"));
        }),
        Operation::timed("make and remove a function", length, || {
            let removed = open("made").remove(PATIENCE);
            removed.unwrap_or_else(|error| panic!("{error}"));
        }),
        Operation::timed("make, start and end a dispatcher", length, || {
            let dispatcher = HostFunctionDispatcher::new(1);
            let dispatcher = dispatcher.unwrap_or_else(|error| panic!("{error}"));
            let added = dispatcher.add_raw(&place, b"served", |call| call.reply_nothing());
            added.unwrap_or_else(|error| panic!("{error}"));
            dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
        }),
    ];
    let rows = interleave(context.scale.rounds(), operations);
    context.report(rows);
}
