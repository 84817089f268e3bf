//! What iceoryx2 does on this machine: a process that works when it is told to.
//!
//!     peers PROCESSOR ROOT PREFIX
//!
//! The bench `report` starts some of these, each kept on one processor, and tells them and
//! its own processes in turns what to do: the lines are the same, and so is the work, as far
//! as what is built is the same. Times are nanoseconds; START is a moment of CLOCK_MONOTONIC.
//!
//!     read SIZE START DURATION           reads a value without a rest; how long one takes
//!     write SIZE START DURATION          writes it without a rest; how long one takes
//!     fill SIZE START DURATION           the same into a loan: less copying of large values,
//!                                        and less chance for a reader to get one
//!     publish SIZE START DURATION GAP    writes what time it is into a loan, with a gap in
//!                                        between; how many
//!     observe SIZE START DURATION        looks until it changes; ages, 50 % and 99 %
//!     alone SIZE DURATION                one process, nobody else: a write that copies, a
//!                                        write into a loan, a loan as it is, a read
//!     call SIZE COUNT                    calls; a round trip, 50 %, 99 % and 99.9 %
//!     answer SIZE COUNT                  answers so many calls, polling
//!
//! A value has to be there before it is written: the first `read` or `observe` creates it.
//! A DURATION or COUNT of 0 does only that. Each answer is a line of figures, or `error` and
//! why. Files stand below ROOT, and in /dev/shm under names that begin with PREFIX: who has
//! started this removes them afterwards, so that nothing stays even if it was killed.

mod blackboard;
mod call;
#[path = "../../benches/report/pace.rs"]
mod pace;
mod place;

use place::{Failure, Place};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::collections::HashMap;

/// Values are handed over by value, several times: up to 8 MiB each.
const STACK: usize = 256 << 20;

fn main() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("SIGKILL is a signal");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let work = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            let [processor, root, prefix] = &arguments[..] else {
                return Err("usage: peers PROCESSOR ROOT PREFIX".into());
            };
            let mut only = CpuSet::new();
            only.set(processor.parse()?);
            sched_setaffinity(None, &only)?;
            work(&mut Worker::new(Place::new(root, prefix)?));
            Ok::<(), Failure>(())
        });
    let worked = work.expect("room for a thread").join();
    match worked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            // Whoever has started this listens there.
            println!("error {error}");
            std::process::exit(2);
        }
        Err(_) => std::process::exit(101),
    }
}

/// Does what each line says, until there are no more.
fn work(worker: &mut Worker) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match worker.figures(&line) {
            Ok(figures) => {
                let figures: Vec<String> = figures.iter().map(f64::to_string).collect();
                println!("{}", figures.join(" "));
            }
            Err(error) => println!("error {line:?}: {}", error.to_string().replace('\n', " ")),
        }
    }
}

/// What this process has opened, by size.
struct Worker {
    alone: HashMap<u64, Box<dyn blackboard::Alone>>,
    readers: HashMap<u64, Box<dyn blackboard::Reading>>,
    writers: HashMap<u64, Box<dyn blackboard::Writing>>,
    callers: HashMap<u64, Box<dyn call::Calling>>,
    servers: HashMap<u64, Box<dyn call::Answering>>,
    place: Place,
}

impl Worker {
    fn new(place: Place) -> Worker {
        Worker {
            alone: HashMap::new(),
            readers: HashMap::new(),
            writers: HashMap::new(),
            callers: HashMap::new(),
            servers: HashMap::new(),
            place,
        }
    }

    /// The figures of what the line says.
    fn figures(&mut self, line: &str) -> Result<Vec<f64>, Failure> {
        let place = &self.place;
        let mut words = line.split_whitespace();
        let what = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
        let size = *numbers.first().ok_or("of which size?")?;
        let reader = || blackboard::reading(place, size);
        let writer = || blackboard::writing(place, size);
        Ok(match (what, &numbers[1..]) {
            ("read", &[start, duration]) => {
                vec![kept(&mut self.readers, size, reader)?.reads(start, start + duration)?]
            }
            ("observe", &[start, duration]) => {
                let ages = kept(&mut self.readers, size, reader)?.ages(start, start + duration);
                parts(ages, &[0.5, 0.99])
            }
            ("write", &[start, duration]) => {
                vec![kept(&mut self.writers, size, writer)?.writes(start, start + duration)]
            }
            ("fill", &[start, duration]) => {
                vec![kept(&mut self.writers, size, writer)?.fills(start, start + duration)]
            }
            ("publish", &[start, duration, gap]) => {
                let writer = kept(&mut self.writers, size, writer)?;
                vec![writer.publishes(start, start + duration, gap)]
            }
            ("alone", &[duration]) => {
                let make = || blackboard::alone(place, size);
                kept(&mut self.alone, size, make)?.each(duration).to_vec()
            }
            ("call", &[count]) => {
                let caller = kept(&mut self.callers, size, || call::calling(place, size))?;
                match count {
                    0 => Vec::new(),
                    _ => parts(caller.calls(count)?, &[0.5, 0.99, 0.999]),
                }
            }
            ("answer", &[count]) => {
                let server = kept(&mut self.servers, size, || call::answering(place, size))?;
                server.answer(count)?;
                Vec::new()
            }
            _ => return Err("there is no such work, or it needs other numbers".into()),
        })
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

/// The figures below which those parts of the values lie; no numbers if there are no values.
fn parts(mut values: Vec<u64>, parts: &[f64]) -> Vec<f64> {
    values.sort_unstable();
    let last = values.len().saturating_sub(1) as f64;
    let at = |part: &f64| values.get((last * part) as usize);
    let figures = parts
        .iter()
        .map(|part| at(part).map_or(f64::NAN, |found| *found as f64));
    figures.collect()
}
