//! Who serves a function, and who must not wait for it.

use super::TunnelSegment;
use super::at_work::Inner;
use crate::error::{Reason, Result};
use crate::fork;
use crate::segment::lived_within;
use core::cell::RefCell;
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant};
use robot_ipc_core::recovery::Recoverable;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// As long as this is there, this process says that a dispatcher of its serves the
/// function.
#[derive(Debug)]
pub(super) struct Serving {
    segment: Arc<TunnelSegment>,
    generation: u32,
}

impl Serving {
    pub(super) fn new(segment: &Arc<TunnelSegment>) -> Result<Serving> {
        segment.count_serving(1)?;
        Ok(Serving {
            segment: Arc::clone(segment),
            generation: fork::generation(),
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // In a forked child it is the parent that serves.
        if self.generation == fork::generation() {
            let _ = self.segment.count_serving(u32::MAX);
        }
    }
}

impl TunnelSegment {
    /// Changes how many dispatchers of this process serve the function.
    fn count_serving(&self, change: u32) -> Result<()> {
        let me = self.registration("serve it")?.participant;
        let tunnel = self.object();
        let entry = tunnel.memory().participants().entry(me);
        entry.serving.fetch_add(change, Relaxed);
        Ok(())
    }

    /// Those who say that they serve the function, and with how many dispatchers.
    fn said_to_serve(&self) -> impl Iterator<Item = (Participant, u32)> {
        let tunnel = self.object();
        let participants = tunnel.memory().participants();
        (0..MAX_PARTICIPANTS)
            .filter_map(Participant::new)
            .map(move |participant| {
                let serving = &participants.entry(participant).serving;
                (participant, serving.load(Relaxed))
            })
            .filter(|(_, dispatchers)| *dispatchers > 0)
    }

    /// Whether somebody serves the function, or did when this process asked last, less
    /// than `time` ago. What the dead said whom it meets on the way is cleared, so that
    /// nobody has to ask for them again.
    pub(super) fn is_served_within(&self, time: Duration) -> bool {
        self.said_to_serve().any(|(participant, _)| {
            let is_there = lived_within(self, participant, time);
            if !is_there {
                self.object().reap(&self.system(), participant);
            }
            is_there
        })
    }

    /// Those who serve the function, and live.
    pub(super) fn servers(&self) -> impl Iterator<Item = Participant> {
        self.said_to_serve()
            .map(|(participant, _)| participant)
            .filter(|participant| self.lives(*participant))
    }
}

thread_local! {
    /// Its address tells threads apart that live at the same time.
    static HERE: u8 = const { 0 };
    /// Dispatchers whose calls this thread has taken.
    static TAKEN_FROM: RefCell<Vec<Weak<Inner>>> = const { RefCell::new(Vec::new()) };
}

/// The calling thread, as a number that is not 0.
pub(super) fn this_thread() -> usize {
    // One that is being torn down is nobody's any more.
    HERE.try_with(|here| core::ptr::from_ref(here).addr())
        .unwrap_or(usize::MAX)
}

/// This thread has taken a call of `dispatcher`, and is at work for it until that has
/// a reply.
pub(super) fn work_for(dispatcher: &Arc<Inner>) {
    dispatcher.at_work.has_taken();
    let _ = TAKEN_FROM.try_with(|taken_from| {
        let mut taken_from = taken_from.borrow_mut();
        let is_it = |other: &Weak<Inner>| core::ptr::eq(other.as_ptr(), Arc::as_ptr(dispatcher));
        if !taken_from.iter().any(is_it) {
            taken_from.retain(|other| other.strong_count() > 0);
            taken_from.push(Arc::downgrade(dispatcher));
        }
    });
}

/// Fails if only a dispatcher that this thread is running could answer a call of the
/// function.
pub(super) fn check_not_alone(segment: &TunnelSegment) -> Result<()> {
    let waits_for_itself = TAKEN_FROM.try_with(|taken_from| {
        let taken_from = taken_from.borrow();
        let mut mine = taken_from.iter().filter_map(Weak::upgrade);
        mine.any(|dispatcher| dispatcher.is_at_work_here() && dispatcher.serves(segment))
    });
    if waits_for_itself != Ok(true) {
        return Ok(());
    }
    let dispatchers: u32 = segment
        .said_to_serve()
        .filter(|(participant, _)| segment.lives(*participant))
        .map(|(_, dispatchers)| dispatchers)
        .fold(0, u32::saturating_add);
    if dispatchers > 1 {
        Ok(())
    } else {
        Err(segment.error(Reason::WouldDeadlock))
    }
}
