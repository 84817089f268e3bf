//! What is told in the end: who was killed and how, and what was done meanwhile.

use crate::board::Counts;
use crate::table::{ERRORS, OBJECTS, Operation, object_name};
use std::time::Duration;

/// How many were started, and how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deaths {
    rust_started: u64,
    python_started: u64,
    /// By a signal, while they were at work.
    at_work: u64,
    /// Before they had done anything.
    at_startup: u64,
    /// While they were stopped.
    stopped: u64,
    /// By themselves, at a step of a protocol.
    at_a_step: u64,
    /// Of the others: how many were Python.
    python: u64,
    /// Children of the dead.
    pub(crate) orphans: u64,
    pub(crate) orphan_kills: u64,
    pub(crate) stops: u64,
}

impl Deaths {
    pub(crate) fn started(&mut self, is_python: bool) {
        self.rust_started += u64::from(!is_python);
        self.python_started += u64::from(is_python);
    }

    pub(crate) fn killed(&mut self, is_python: bool, by_us: bool, stopped: bool, at_work: bool) {
        self.python += u64::from(is_python);
        let kind = if !by_us {
            &mut self.at_a_step
        } else if stopped {
            &mut self.stopped
        } else if at_work {
            &mut self.at_work
        } else {
            &mut self.at_startup
        };
        *kind += 1;
    }

    /// Of workers and of children of the dead.
    pub(crate) fn kills(&self) -> u64 {
        self.at_work + self.at_startup + self.stopped + self.at_a_step + self.orphan_kills
    }

    pub(crate) fn report(&self, time: Duration) {
        println!(
            "{} processes were started ({} in Rust, {} in Python) in {:.1} s",
            self.rust_started + self.python_started,
            self.rust_started,
            self.python_started,
            time.as_secs_f64()
        );
        println!(
            "{} kills: {} at work, {} at a step of a protocol, {} while stopped, {} at startup, \
             {} of orphans; {} of them were Python",
            self.kills(),
            self.at_work,
            self.at_a_step,
            self.stopped,
            self.at_startup,
            self.orphan_kills,
            self.python
        );
        println!("{} stops, {} orphans", self.stops, self.orphans);
    }
}

impl Counts {
    pub(crate) fn report(&self) {
        let pairs = |names: Vec<&str>, counts: &[u64]| {
            let both = names.into_iter().zip(counts);
            let told: Vec<String> = both
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            told.join(", ")
        };
        let operations = Operation::ALL.iter().map(|(_, name, _)| *name).collect();
        println!("done: {}", pairs(operations, &self.operations));
        println!("errors: {}", pairs(ERRORS.to_vec(), &self.errors));
        let objects = (0..OBJECTS).map(object_name).collect();
        println!("in full use: {}", pairs(objects, &self.objects));
    }
}
