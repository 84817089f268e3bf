//! What the machine itself takes for a word there and back between two processes: the least
//! that any call can cost.
//!
//! - *spin*: both look at a shared word all the time. Nothing is faster.
//! - *spin with 4096 B*: the same, and as many bytes are copied in and out on each side.
//! - *futex*: both sleep on a shared word. Nothing that sleeps is faster.
//! - *named pipe*: both sleep in a read. It is what a program does without a library.

use crate::Context;
use crate::measuring::keep_on;
use crate::pace::now;
use crate::worker::{Worker, serve};
use robot_ipc_core::sync::Ordering::{Acquire, Release};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::cell::Cell;
use std::fs::File;
use std::hint::spin_loop;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;
use support::system::SharedWords;

/// The role of the other process.
pub(crate) const ROLE: &str = "machine";

/// Where the words are that both share: on cache lines of their own.
const ASKED: usize = 0;
const ANSWERED: usize = 64;
/// Where the bytes begin that go there, and those that come back.
const SENT: usize = 1024;
const RETURNED: usize = 4096;
/// How many words they are.
const COUNT: usize = 1024;

/// How two processes tell each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Means {
    Spin,
    SpinWithBytes,
    Futex,
    NamedPipe,
}

impl Means {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Means::Spin => "spin",
            Means::SpinWithBytes => "spin with 4096 B",
            Means::Futex => "futex",
            Means::NamedPipe => "named pipe",
        }
    }
}

/// Another process that answers at once, by whichever means.
pub(crate) struct Machine {
    words: SharedWords,
    pipes: Pipes,
    other: Worker,
    here: usize,
    last: Cell<u32>,
}

struct Pipes {
    incoming: File,
    outgoing: File,
}

impl Pipes {
    fn open(folder: &Path, [incoming, outgoing]: [&str; 2]) -> Pipes {
        // For both directions: whoever opens it does not wait for the other side.
        let open = |name: &str| {
            let options = File::options()
                .read(true)
                .write(true)
                .open(folder.join(name));
            options.expect("a named pipe")
        };
        Pipes {
            incoming: open(incoming),
            outgoing: open(outgoing),
        }
    }

    fn send(&self, number: u32) {
        let bytes = u64::from(number).to_ne_bytes();
        (&self.outgoing).write_all(&bytes).expect("room in a pipe");
    }

    fn receive(&self) {
        let mut bytes = [0; 8];
        (&self.incoming)
            .read_exact(&mut bytes)
            .expect("an open pipe");
    }
}

impl Machine {
    /// Starts the other process, on the second of those processors; this side asks on the
    /// first one.
    pub(crate) fn start(context: &Context, here: usize, there: usize) -> Machine {
        let name = format!("machine-{here}-{there}");
        let folder = context.scratch.place().directory().join(name);
        // There may be one of an earlier part of the table.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("a folder of ours");
        let words = SharedWords::create(&folder.join("words"), 8192);
        for name in ["asked", "answered"] {
            mkfifoat(CWD, folder.join(name), Mode::RWXU).expect("a named pipe");
        }
        let path = folder.to_str().expect("a path of ours").to_owned();
        Machine {
            words,
            pipes: Pipes::open(&folder, ["answered", "asked"]),
            other: Worker::start(context, ROLE, there, &[&path]),
            here,
            last: Cell::new(0),
        }
    }

    /// Microseconds of each of so many round trips, with a pause before each of them.
    pub(crate) fn round_trips(&self, means: Means, count: usize, pause: Duration) -> Vec<f64> {
        let kept = keep_on(&[self.here]);
        // The first one takes until the other side has heard of it.
        self.other
            .say(&format!("{means:?} {} {}", self.last.get(), count + 1));
        self.ask(means);
        let times = round_trips(count, pause, || self.ask(means));
        self.other.hear();
        keep_on(&kept);
        times
    }

    fn ask(&self, means: Means) {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        if let Means::NamedPipe = means {
            self.pipes.send(number);
            self.pipes.receive();
            return;
        }
        let mut bytes = [0; 4 * COUNT];
        if let Means::SpinWithBytes = means {
            self.words.bytes(SENT, COUNT).copy_in(0, &bytes);
        }
        self.words.word(ASKED).store(number, Release);
        if let Means::Futex = means {
            self.words.wake(ASKED);
        }
        wait(&self.words, ANSWERED, number, means);
        if let Means::SpinWithBytes = means {
            self.words.bytes(RETURNED, COUNT).copy_out(0, &mut bytes);
            std::hint::black_box(&mut bytes);
        }
    }
}

/// Until that number stands there.
fn wait(words: &SharedWords, index: usize, number: u32, means: Means) {
    loop {
        let found = words.word(index).load(Acquire);
        if found == number {
            return;
        }
        match means {
            Means::Futex => words.sleep(index, found),
            _ => spin_loop(),
        }
    }
}

/// The other process.
pub(crate) fn answer(arguments: &[&str]) {
    let folder = Path::new(arguments[0]);
    let words = SharedWords::open(folder.join("words"));
    let pipes = Pipes::open(folder, ["asked", "answered"]);
    serve(|told| {
        let [means, last, count] = told else {
            panic!("means, the last number and a count, not {told:?}");
        };
        let known = [
            Means::Spin,
            Means::SpinWithBytes,
            Means::Futex,
            Means::NamedPipe,
        ];
        let means = known
            .into_iter()
            .find(|known| format!("{known:?}") == *means);
        let means = means.expect("means that there are");
        let mut bytes = [0; 4 * COUNT];
        let mut number: u32 = last.parse().expect("a number");
        for _ in 0..count.parse().expect("a number") {
            number = number.wrapping_add(1);
            if let Means::NamedPipe = means {
                pipes.receive();
                pipes.send(number);
                continue;
            }
            wait(&words, ASKED, number, means);
            if let Means::SpinWithBytes = means {
                words.bytes(SENT, COUNT).copy_out(0, &mut bytes);
                words.bytes(RETURNED, COUNT).copy_in(0, &bytes);
            }
            words.word(ANSWERED).store(number, Release);
            if let Means::Futex = means {
                words.wake(ANSWERED);
            }
        }
        Vec::new()
    });
}

/// Microseconds of each of so many times `once`, with a pause before each of them.
pub(crate) fn round_trips(count: usize, pause: Duration, mut once: impl FnMut()) -> Vec<f64> {
    let times = (0..count).map(|_| {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let start = now();
        once();
        (now() - start) as f64 / 1000.0
    });
    times.collect()
}
