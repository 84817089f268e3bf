//! What iceoryx2 does on this machine, measured in turns with us.
//!
//!     peers ROOT PREFIX
//!
//! The bench `report` starts this program, and asks it for one round after the other on
//! its standard input, so that rounds of both take turns:
//!
//!     write SIZE MILLISECONDS          → ns of a write that copies
//!     write-loaned SIZE MILLISECONDS   → ns of a loan, a copy into it, and publishing it
//!     loan SIZE MILLISECONDS           → ns of a loan that is published as it is
//!     read SIZE MILLISECONDS           → ns of a read
//!     flat-out SIZE MILLISECONDS       → ns of a write and of a read, at once, in two processes
//!     freshness SIZE MILLISECONDS PAUSE → p50 and p99 of a new value's age in ns when a reader
//!                                        that polls has it; PAUSE ns between two writes
//!     call SIZE COUNT                  → p50, p99 and p99.9 of a round trip in ns; both poll
//!
//! Each answer is one line, the figures, or `error` and why. What it needs of the
//! file system is below ROOT, and in /dev/shm under names that begin with PREFIX: whoever
//! starts it removes both afterwards, so that nothing stays even if it was killed.
//!
//! The other side of a measurement is a process too: this program again, with `partner` as
//! its third argument. This one is pinned to the first processor, the partner to the second.

mod blackboard;
mod call;
mod place;

use place::{Failure, Place};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, root, prefix, rest @ ..] = &arguments[..] else {
        eprintln!("peers ROOT PREFIX");
        std::process::exit(2);
    };
    set_parent_process_death_signal(Some(Signal::KILL)).expect("SIGKILL is a signal");
    let is_partner = rest == ["partner"];
    // Started by the main thread, whose end would kill it.
    let partner = (!is_partner).then(|| Partner::start(root, prefix));
    let (root, prefix) = (root.clone(), prefix.clone());
    // Values of a megabyte are handed over by value, several times.
    let work = std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(move || {
            pin(usize::from(is_partner));
            let place = Place::new(&root, &prefix).unwrap_or_else(|error| panic!("{error}"));
            match partner {
                None => answer(&mut Serving::new(place)),
                Some(partner) => answer(&mut Measuring::new(place, partner)),
            }
        });
    let ended = work.expect("there is room for a thread").join();
    std::process::exit(if ended.is_ok() { 0 } else { 101 });
}

/// Keeps this thread on the `index`th of the processors that it may use.
fn pin(index: usize) {
    let allowed = sched_getaffinity(None).expect("a thread may ask where it runs");
    let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
    if let Some(processor) = processors.nth(index) {
        let mut only = CpuSet::new();
        only.set(processor);
        sched_setaffinity(None, &only).expect("the processor was allowed before");
    }
}

/// Who does what a line says.
trait Answering {
    /// The figures of `words[0]`, which the others describe.
    fn figures(&mut self, words: &[&str]) -> Result<Vec<f64>, Failure>;
}

/// Answers each line, until there are no more.
fn answer(by: &mut dyn Answering) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match by.figures(&words) {
            Ok(figures) => {
                let figures: Vec<String> = figures.iter().map(f64::to_string).collect();
                println!("{}", figures.join(" "));
            }
            Err(error) => println!("error {line:?}: {}", error.to_string().replace('\n', " ")),
        }
    }
}

/// The numbers after the name of a measurement.
fn numbers<const COUNT: usize>(words: &[&str]) -> Result<[u64; COUNT], Failure> {
    let numbers: Result<Vec<u64>, _> = words[1..].iter().map(|word| word.parse()).collect();
    let numbers = numbers.map_err(|error| format!("expected whole numbers: {error}"))?;
    let found = numbers.len();
    let numbers = numbers.try_into();
    numbers.map_err(|_| format!("expected {COUNT} numbers, found {found}").into())
}

/// The other process of a measurement.
struct Partner {
    child: Child,
    // None once it has been told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Partner {
    fn start(root: &str, prefix: &str) -> Partner {
        let program = std::env::current_exe().expect("this program is a file");
        let mut child = Command::new(program)
            .args([root, prefix, "partner"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("starting a partner: {error}"));
        Partner {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        }
    }

    /// Tells it what to do, and waits until it is about to begin.
    fn begin(&mut self, words: &[&str]) -> Result<(), Failure> {
        let input = self.input.as_mut().expect("it was not told to end");
        writeln!(input, "{}", words.join(" "))?;
        match self.hear()?.as_str() {
            "go" => Ok(()),
            other => Err(format!("the partner says {other}").into()),
        }
    }

    /// Its figures, when it is done.
    fn end(&mut self) -> Result<Vec<f64>, Failure> {
        let line = self.hear()?;
        if line.starts_with("error") {
            return Err(format!("the partner says {line}").into());
        }
        Ok(line
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?)
    }

    fn hear(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("the partner has ended".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Says that this partner is about to begin.
fn say_go() {
    println!("go");
}

/// The process that the report talks with.
struct Measuring {
    alone: HashMap<u64, Box<dyn blackboard::Alone>>,
    readers: HashMap<u64, Box<dyn blackboard::Reading>>,
    clients: HashMap<u64, Box<dyn call::Calling>>,
    partner: Partner,
    place: Place,
}

impl Measuring {
    fn new(place: Place, partner: Partner) -> Measuring {
        Measuring {
            alone: HashMap::new(),
            readers: HashMap::new(),
            clients: HashMap::new(),
            partner,
            place,
        }
    }
}

/// What belongs to `size`, made when it is asked for first.
fn kept<T: ?Sized>(
    map: &mut HashMap<u64, Box<T>>,
    size: u64,
    make: impl FnOnce() -> Result<Box<T>, Failure>,
) -> Result<&mut T, Failure> {
    use std::collections::hash_map::Entry;
    match map.entry(size) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(make()?)),
    }
}

impl Answering for Measuring {
    fn figures(&mut self, words: &[&str]) -> Result<Vec<f64>, Failure> {
        match words.first().copied() {
            Some(name @ ("write" | "write-loaned" | "loan" | "read")) => {
                let [size, milliseconds] = numbers(words)?;
                let make = || blackboard::alone(&self.place, size);
                let alone = kept(&mut self.alone, size, make)?;
                Ok(vec![match name {
                    "write" => alone.write(milliseconds),
                    "write-loaned" => alone.write_loaned(milliseconds),
                    "loan" => alone.loan(milliseconds),
                    _ => alone.read(milliseconds),
                }])
            }
            Some("flat-out") => {
                let [size, milliseconds] = numbers(words)?;
                let make = || blackboard::reading(&self.place, size);
                let reader = kept(&mut self.readers, size, make)?;
                self.partner.begin(words)?;
                let read = reader.flat_out(milliseconds);
                let mut figures = self.partner.end()?;
                figures.push(read);
                Ok(figures)
            }
            Some("freshness") => {
                let [size, milliseconds, _pause] = numbers(words)?;
                let make = || blackboard::reading(&self.place, size);
                let reader = kept(&mut self.readers, size, make)?;
                self.partner.begin(words)?;
                let ages = reader.ages(milliseconds);
                self.partner.end()?;
                parts(ages, &[0.5, 0.99])
            }
            Some("call") => {
                let [size, count] = numbers(words)?;
                let client = kept(&mut self.clients, size, || call::calling(&self.place, size))?;
                self.partner.begin(words)?;
                let times = client.calls(count)?;
                self.partner.end()?;
                parts(times, &[0.5, 0.99, 0.999])
            }
            _ => Err("there is no such measurement".into()),
        }
    }
}

/// The values of a distribution below which those parts of it are.
fn parts(mut values: Vec<u64>, parts: &[f64]) -> Result<Vec<f64>, Failure> {
    if values.is_empty() {
        return Err("nothing was seen".into());
    }
    values.sort_unstable();
    let at = |part: &f64| values[((values.len() - 1) as f64 * part) as usize] as f64;
    Ok(parts.iter().map(at).collect())
}

/// The partner's work.
struct Serving {
    writers: HashMap<u64, Box<dyn blackboard::Writing>>,
    servers: HashMap<u64, Box<dyn call::Answering>>,
    place: Place,
}

impl Serving {
    fn new(place: Place) -> Serving {
        Serving {
            writers: HashMap::new(),
            servers: HashMap::new(),
            place,
        }
    }
}

impl Answering for Serving {
    fn figures(&mut self, words: &[&str]) -> Result<Vec<f64>, Failure> {
        match words[0] {
            "call" => {
                let [size, count] = numbers(words)?;
                let server = kept(&mut self.servers, size, || {
                    call::answering(&self.place, size)
                })?;
                say_go();
                server.answer(count)?;
                Ok(Vec::new())
            }
            name => {
                let (size, milliseconds, pause) = match (name, words.len()) {
                    ("flat-out", 3) => numbers(words).map(|[size, time]| (size, time, None))?,
                    _ => numbers(words).map(|[size, time, pause]| (size, time, Some(pause)))?,
                };
                let make = || blackboard::writing(&self.place, size);
                let writer = kept(&mut self.writers, size, make)?;
                say_go();
                Ok(vec![writer.writes(milliseconds, pause)])
            }
        }
    }
}
