//! Roles that write, read, wait and hold.

use crate::{Act, SIZE, hear, number, open};
use robot_ipc::testing::write_stepping;
use robot_ipc::{Encoding, HostVariable, Sample};
use std::cell::Cell;
use std::time::{Duration, Instant};
use support::{fill_pattern, pattern, pattern_of, system};

fn write(variable: &HostVariable, number: u64) -> Sample {
    variable
        .write(&pattern(SIZE, number))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// `NAME [idle-children]`: writes as fast as it can until it is killed.
pub(crate) fn write_forever(arguments: &[&str]) {
    let variable = open(arguments[0]);
    let mut buffer = vec![0; SIZE];
    let mine = u64::from(std::process::id()) << 32;
    for count in 0.. {
        fill_pattern(&mut buffer, mine | count);
        variable
            .write(&buffer)
            .unwrap_or_else(|error| panic!("{error}"));
        if count == 0 && arguments.contains(&"idle-children") {
            system::fork_idle_child();
        }
    }
}

/// `NAME`: says `leads` as the only writer, and writes as fast as it can until it is
/// killed.
pub(crate) fn write_exclusively(arguments: &[&str]) {
    let variable = open(arguments[0]);
    let mut writer = variable
        .exclusive_writer()
        .unwrap_or_else(|error| panic!("{error}"));
    let mut buffer = vec![0; SIZE];
    println!("leads");
    for count in 0.. {
        fill_pattern(&mut buffer, count);
        writer
            .write(&buffer)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

/// `NAME`: writes the pattern of each number it is told, and says its version.
pub(crate) fn write_when_told(arguments: &[&str]) {
    let variable = open(arguments[0]);
    println!("ready");
    while let Some(line) = hear() {
        println!("wrote {}", write(&variable, number(&line)).version);
    }
}

/// `NAME STEP ACT NUMBER`: writes NUMBER, and when it is told goes on writing it
/// until it finds somebody dead, and acts at STEP of the recovery.
pub(crate) fn stop_in_recovery(arguments: &[&str]) {
    let [name, step, act, value] = arguments else {
        panic!("too few arguments")
    };
    let (act, number) = (Act::from(act), number(value));
    let variable = open(name);
    write(&variable, number);
    println!("ready");
    hear();
    loop {
        let written = write_stepping(
            &variable,
            &pattern(SIZE, number),
            Encoding::RAW,
            &|reached| {
                if format!("{reached:?}") == *step {
                    act.now();
                }
            },
        );
        written.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// `NAME STEP ACT NUMBER [idle-children] [close-descriptors]`: writes NUMBER,
/// and when it is told the next one, in which it acts at STEP.
pub(crate) fn stop_in_write(arguments: &[&str]) {
    let [name, step, act, first, options @ ..] = arguments else {
        panic!("too few arguments")
    };
    let (act, first) = (Act::from(act), number(first));
    let variable = open(name);
    write(&variable, first);
    println!("ready");
    hear();
    if options.contains(&"close-descriptors") {
        system::close_unknown_descriptors();
    }
    let idle_children = options.contains(&"idle-children");
    if idle_children {
        system::fork_idle_child();
    }
    let filled = Cell::new(0);
    let acted = Cell::new(false);
    let written = write_stepping(
        &variable,
        &pattern(SIZE, first + 1),
        Encoding::RAW,
        &|reached| {
            let mut name = format!("{reached:?}");
            if name == "Filled" {
                filled.set(filled.get() + 1);
                if filled.get() == 1 {
                    name = "Filled halfway".to_owned();
                }
            }
            // Some steps are reached again, when others were faster.
            if name == *step && !acted.replace(true) {
                if idle_children {
                    system::fork_idle_child();
                }
                act.now();
            }
        },
    );
    match written {
        Ok(sample) => println!("wrote {}", sample.version),
        Err(error) => println!("failed: {error:?}"),
    }
}

/// `NAME WHAT...`: borrows and loans, and keeps what it got until it is killed.
pub(crate) fn hold(arguments: &[&str]) {
    let (name, what) = arguments.split_first().expect("a name");
    let variable = open(name);
    let mut borrows = Vec::new();
    let mut loans = Vec::new();
    for what in what {
        match *what {
            "borrow" => borrows.push(variable.borrow().unwrap_or_else(|error| panic!("{error}"))),
            "loan" => loans.push(variable.loan().unwrap_or_else(|error| panic!("{error}"))),
            "write" => drop(write(&variable, 0)),
            _ => panic!("cannot hold '{what}'"),
        }
    }
    println!("holding");
    while hear().is_some() {}
}

/// `NAME THREADS SECONDS`: writes in so many threads; says how often it did.
pub(crate) fn write_threads(arguments: &[&str]) {
    let variable = open(arguments[0]);
    let (threads, seconds) = (number(arguments[1]), number(arguments[2]));
    println!("ready");
    hear();
    let start = Instant::now();
    let written: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let variable = &variable;
                scope.spawn(move || {
                    let mut buffer = vec![0; SIZE];
                    let mine = u64::from(std::process::id()) << 32 | thread << 28;
                    let mut count = 0;
                    while start.elapsed() < Duration::from_secs(seconds) {
                        fill_pattern(&mut buffer, mine | count);
                        variable
                            .write(&buffer)
                            .unwrap_or_else(|error| panic!("{error}"));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer that does not panic"))
            .sum()
    });
    println!("written {written}");
}

/// `NAME THREADS`: reads in so many threads until the input ends, each with a
/// handle of its own, every other one read-only; fails on a torn value and on a
/// version that goes back.
pub(crate) fn read_threads(arguments: &[&str]) {
    let (name, threads) = (arguments[0], number(arguments[1]));
    let stop = std::sync::atomic::AtomicU32::new(0);
    println!("ready");
    let read: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|thread| {
                let stop = &stop;
                scope.spawn(move || {
                    let options = robot_ipc::VariableOptions::new().read_only(thread % 2 == 1);
                    let variable = crate::open_with(options, name);
                    let mut reader = Reader::new();
                    while stop.load(std::sync::atomic::Ordering::Relaxed) == 0 {
                        reader.read(&variable);
                    }
                    reader.read
                })
            })
            .collect();
        while hear().is_some() {}
        stop.store(1, std::sync::atomic::Ordering::Relaxed);
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a reader that does not panic"))
            .sum()
    });
    println!("read {read}");
}

struct Reader {
    buffer: Vec<u8>,
    version: u64,
    read: u64,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            buffer: vec![0; SIZE],
            version: 0,
            read: 0,
        }
    }

    fn read(&mut self, variable: &HostVariable) {
        let sample = variable
            .read_into(&mut self.buffer)
            .unwrap_or_else(|error| panic!("{error}"));
        let whole = pattern_of(&self.buffer[..sample.length as usize]);
        assert!(whole.is_some(), "version {} is torn", sample.version);
        assert!(
            sample.version >= self.version,
            "{} after {}",
            sample.version,
            self.version
        );
        self.version = sample.version;
        self.read += 1;
    }
}

/// `NAME TIMES`: adds 1 to a number so many times.
pub(crate) fn count_up(arguments: &[&str]) {
    let variable = open(arguments[0]);
    println!("ready");
    hear();
    for _ in 0..number(arguments[1]) {
        let counted = variable.update(|old| {
            let old = old.map_or(0, |bytes| {
                u64::from_ne_bytes(bytes.try_into().expect("8 bytes"))
            });
            (old + 1).to_ne_bytes().to_vec()
        });
        counted.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// `NAME`: waits for versions without end.
pub(crate) fn wait_forever(arguments: &[&str]) {
    let variable = open(arguments[0]);
    let mut version = variable.version().unwrap_or_else(|error| panic!("{error}"));
    println!("ready");
    loop {
        version = variable
            .wait_for_update(version, None)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
