//! The calls of one handle whose end has not been told yet.

use crate::fork;
use robot_ipc_core::tunnel::{Call, MAX_CELLS};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many calls are remembered. A process has fewer cells than this, so the list can
/// only be full of calls that have ended without an answer.
const CAPACITY: usize = 2 * MAX_CELLS as usize;
/// Where the number of the process begins in the number of a call.
const GENERATION_SHIFT: u32 = 40;

/// A call that was made.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number among the calls of this handle, here and in forked children.
    pub(super) id: u64,
    pub(super) call: Call,
    /// Whether somebody was said to serve the function when it was made.
    pub(super) was_served: bool,
    /// Since when nobody does, as far as its caller has looked.
    pub(super) not_served_since: Option<Instant>,
    /// When its caller last looked who lives.
    pub(super) looked_at: Option<Instant>,
}

/// A call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Its number among the calls of its handle.
    pub(crate) id: u64,
    /// Where it is; `None` if it is one-way.
    pub(super) call: Option<Call>,
    /// Since when it waited for a cell, if it had to.
    pub(super) waited_since: Option<Instant>,
}

/// Of which call somebody wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The oldest that may still bring a response.
    Oldest,
    /// The one with this number.
    Number(u64),
    /// This one.
    Sent(Sent),
}

impl Which {
    /// Its number, if that was told.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Which::Oldest => None,
            Which::Number(id) | Which::Sent(Sent { id, .. }) => Some(id),
        }
    }
}

/// The numbers of the calls that this very process makes come behind this one.
pub(super) fn first_id() -> u64 {
    u64::from(fork::generation()) << GENERATION_SHIFT
}

/// The calls of one handle, the oldest first.
#[derive(Debug)]
pub(super) struct Outstanding {
    next_id: u64,
    pub(super) entries: VecDeque<Entry>,
    /// A call that was passed over or forgotten had ended without an answer, and
    /// nobody has been told.
    pub(super) something_ended: bool,
    /// When somebody was found to serve the function, on the coarse clock.
    pub(super) served_at: Option<Duration>,
    /// When the name was last looked at.
    pub(super) name_checked: Instant,
}

impl Outstanding {
    pub(super) fn new() -> Self {
        Outstanding {
            next_id: first_id() + 1,
            entries: VecDeque::with_capacity(CAPACITY),
            something_ended: false,
            served_at: None,
            name_checked: Instant::now(),
        }
    }

    /// Whether a call of that number was made by this very process.
    pub(super) fn is_own(id: u64) -> bool {
        id >> GENERATION_SHIFT == u64::from(fork::generation())
    }

    /// Remembers a call. If the list is full, `has_ended` tells which are to be
    /// forgotten.
    pub(super) fn push(
        &mut self,
        call: Call,
        was_served: bool,
        has_ended: impl Fn(Call) -> bool,
    ) -> u64 {
        if self.entries.len() >= CAPACITY {
            let ended = |entry: &Entry| has_ended(entry.call);
            if let Some(oldest) = self.entries.iter().position(ended) {
                self.entries.remove(oldest);
                self.something_ended = true;
            }
        }
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push_back(Entry {
            id,
            call,
            was_served,
            not_served_since: None,
            looked_at: None,
        });
        id
    }

    /// Where the call is in the list.
    pub(super) fn position(&self, which: Which) -> Option<usize> {
        match which.number() {
            None => (!self.entries.is_empty()).then_some(0),
            // They are in order, and most are the newest.
            Some(id) => self.entries.iter().rposition(|entry| entry.id == id),
        }
    }
}
