//! The board: a page of memory on which every process notes what it does. It outlives
//! them, so nothing that they have done goes uncounted, and who hangs is seen at what.
//!
//! Each process has a row of 64 words:
//!
//! | word | what |
//! |---|---|
//! | 0 | its process id, 0: nobody |
//! | 1 | its progress: how many operations it has ended, whichever way |
//! | 2 | what it does: operation << 8 and object |
//! | 3 | in a child's row: its parent is about to fork it, or has |
//! | 4 | it has found a fault, and is about to end |
//! | 5 … | how often each object was in full use |
//! | then | how often each operation ended well, then how often in each error |
//!
//! The row of the process that a worker forks stands [`ROWS`] behind the worker's own. Behind
//! all rows stands the *graveyard*: the numbers of the last workers that died, and when they
//! were found dead, in ms.

use crate::table::{ERRORS, OBJECTS, Operation, VARIABLES, object_name};
use std::path::Path;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use support::system::SharedWords;

/// How many workers there can be.
pub(crate) const ROWS: usize = 32;
const WORDS: usize = 64;
const PID: usize = 0;
const PROGRESS: usize = 1;
const DOING: usize = 2;
const FORKED: usize = 3;
const FAILED: usize = 4;
const FIRST_OBJECT: usize = 5;
const FIRST_OPERATION: usize = FIRST_OBJECT + OBJECTS;
const FIRST_ERROR: usize = FIRST_OPERATION + Operation::ALL.len();
const GRAVEYARD: usize = 2 * ROWS * WORDS;
const GRAVES: usize = 1024;
const _: () = assert!(FIRST_ERROR + ERRORS.len() <= WORDS);

/// Sums of what stands in rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) objects: [u64; OBJECTS],
    pub(crate) operations: [u64; Operation::ALL.len()],
    pub(crate) errors: [u64; ERRORS.len()],
}

/// All rows, for who watches them.
#[derive(Debug)]
pub(crate) struct Board(SharedWords);

impl Board {
    pub(crate) fn create(path: &Path) -> Board {
        Board(SharedWords::create(path, GRAVEYARD + 2 * GRAVES))
    }

    fn load(&self, row: usize, word: usize) -> u32 {
        self.0.word(row * WORDS + word).load(Relaxed)
    }

    pub(crate) fn pid(&self, row: usize) -> u32 {
        self.load(row, PID)
    }

    pub(crate) fn set_pid(&self, row: usize, pid: u32) {
        self.0.word(row * WORDS + PID).store(pid, Relaxed);
    }

    pub(crate) fn progress(&self, row: usize) -> u32 {
        self.load(row, PROGRESS)
    }

    /// Whether the worker of that row is about to fork a child that works, or has.
    pub(crate) fn has_child(&self, row: usize) -> bool {
        self.load(row + ROWS, FORKED) != 0
    }

    /// Whether the process of that row has found a fault: it takes time to say so.
    pub(crate) fn has_failed(&self, row: usize) -> bool {
        self.load(row, FAILED) != 0
    }

    /// What a process does, in words.
    pub(crate) fn doing(&self, row: usize) -> String {
        let word = self.load(row, DOING) as usize;
        let operation = Operation::ALL.get(word >> 8).map(|(_, name, _)| *name);
        let object = word & 255;
        let kind = if object < VARIABLES.len() {
            "variable"
        } else {
            "function"
        };
        let name = if object < OBJECTS {
            object_name(object)
        } else {
            "?"
        };
        format!("'{}' with {kind} '{name}'", operation.unwrap_or("nothing"))
    }

    /// Adds what stands in a row to `counts`.
    pub(crate) fn add_to(&self, counts: &mut Counts, row: usize) {
        let add = |sums: &mut [u64], first: usize| {
            for (index, sum) in sums.iter_mut().enumerate() {
                *sum += u64::from(self.load(row, first + index));
            }
        };
        add(&mut counts.objects, FIRST_OBJECT);
        add(&mut counts.operations, FIRST_OPERATION);
        add(&mut counts.errors, FIRST_ERROR);
    }

    /// The worker of that number is dead.
    pub(crate) fn bury(&self, number: u64) {
        let grave = GRAVEYARD + 2 * (number as usize % GRAVES);
        self.0.word(grave + 1).store(now_ms(), Relaxed);
        self.0.word(grave).store(number as u32, Release);
    }

    /// Empties a row whose process is gone.
    pub(crate) fn clear(&self, row: usize) {
        for word in 0..WORDS {
            self.0.word(row * WORDS + word).store(0, Relaxed);
        }
    }
}

/// A process's own row.
#[derive(Debug)]
pub(crate) struct Row {
    words: SharedWords,
    row: AtomicUsize,
}

impl Row {
    pub(crate) fn open(path: &str, row: usize) -> Row {
        Row {
            words: SharedWords::open(path),
            row: AtomicUsize::new(row),
        }
    }

    fn number(&self) -> usize {
        self.row.load(Relaxed)
    }

    fn add(&self, word: usize) {
        let word = self.words.word(self.number() * WORDS + word);
        word.fetch_add(1, Relaxed);
    }

    fn store(&self, row: usize, word: usize, value: u32) {
        self.words.word(row * WORDS + word).store(value, Relaxed);
    }

    /// In the parent, before it forks a child that works, and when that has ended.
    pub(crate) fn set_has_child(&self, has: bool) {
        let child = self.number() + ROWS;
        self.store(child, PID, 0);
        self.store(child, FORKED, u32::from(has));
    }

    /// In the child.
    pub(crate) fn become_child(&self) {
        self.row.store(self.number() + ROWS, Relaxed);
        self.store(self.number(), PID, std::process::id());
    }

    /// For how many ms the worker of that number had been known to be dead at the time
    /// `when_ms`; 0 if it lived, or is not among the last that died.
    pub(crate) fn dead_for(&self, number: u64, when_ms: u32) -> u32 {
        let grave = GRAVEYARD + 2 * (number as usize % GRAVES);
        // Numbers of forked children are larger; they have no grave.
        let is_dead = self.words.word(grave).load(Acquire) as u64 == number;
        let since = self.words.word(grave + 1).load(Relaxed);
        let time = when_ms.wrapping_sub(since);
        if is_dead && (time as i32) > 0 {
            time
        } else {
            0
        }
    }

    /// Something was done that has no error.
    pub(crate) fn count(&self, operation: Operation) {
        self.add(FIRST_OPERATION + operation as usize);
    }

    /// This process has found a fault, and is about to say so.
    pub(crate) fn set_failed(&self) {
        self.store(self.number(), FAILED, 1);
    }

    /// An operation that may take some time gets on.
    pub(crate) fn go_on(&self) {
        self.add(PROGRESS);
    }

    /// Does something to an object, notes what came of it, and stops everything at an
    /// error that cannot be expected of that operation.
    pub(crate) fn run<T>(
        &self,
        operation: Operation,
        object: usize,
        act: impl FnOnce() -> robot_ipc::Result<T>,
    ) -> robot_ipc::Result<T> {
        let doing = (operation as u32) << 8 | object as u32;
        self.store(self.number(), DOING, doing);
        let result = act();
        self.add(PROGRESS);
        match &result {
            Ok(_) => {
                if operation.proves_use() {
                    self.add(FIRST_OBJECT + object);
                }
                self.count(operation);
            }
            Err(error) => self.count_error(operation, object, error),
        }
        result
    }

    fn count_error(&self, operation: Operation, object: usize, error: &robot_ipc::Error) {
        let (_, name, allowed) = Operation::ALL[operation as usize];
        let kind = kind_of(error);
        let position = ERRORS.iter().position(|known| *known == kind);
        match position.filter(|_| allowed.contains(&&*kind)) {
            Some(index) => self.add(FIRST_ERROR + index),
            None => panic!(
                "'{name}' with '{}' failed as it must not: {kind}: {error}",
                object_name(object)
            ),
        }
    }
}

/// The time that all processes here share; wraps.
pub(crate) fn now_ms() -> u32 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (now.tv_sec as u32)
        .wrapping_mul(1000)
        .wrapping_add(now.tv_nsec as u32 / 1_000_000)
}

/// The name of an error's reason.
pub(crate) fn kind_of(error: &robot_ipc::Error) -> String {
    let text = format!("{:?}", error.reason());
    let end = text.find(|letter: char| !letter.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}
