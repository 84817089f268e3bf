//! Who serves a function, and who must not wait for it.

use super::TunnelSegment;
use super::at_work::Inner;
use crate::error::{Reason, Result};
use crate::fork;
use core::cell::RefCell;
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant};
use std::sync::Arc;

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

    /// Whether somebody is said to serve the function: a few loads, and no question
    /// whether it lives.
    pub(super) fn is_said_to_be_served(&self) -> bool {
        self.said_to_serve().next().is_some()
    }

    /// Those who serve the function, and live.
    pub(super) fn servers(&self) -> impl Iterator<Item = Participant> {
        self.said_to_serve()
            .map(|(participant, _)| participant)
            .filter(|participant| self.lives(*participant))
    }
}

thread_local! {
    /// The dispatcher whose call this thread is running.
    static AT_WORK_FOR: RefCell<Option<Arc<Inner>>> = const { RefCell::new(None) };
}

/// This thread runs a call of `dispatcher` from now on, or of none. Returns the one
/// before.
pub(super) fn work_for(dispatcher: Option<Arc<Inner>>) -> Option<Arc<Inner>> {
    // A thread that is being torn down waits for nobody any more.
    AT_WORK_FOR
        .try_with(|at_work| at_work.replace(dispatcher))
        .ok()
        .flatten()
}

/// Whether this thread runs a call of `dispatcher`.
pub(super) fn is_at_work_for(dispatcher: &Arc<Inner>) -> bool {
    let is_it = |other: &Arc<Inner>| Arc::ptr_eq(other, dispatcher);
    AT_WORK_FOR
        .try_with(|at_work| at_work.borrow().as_ref().is_some_and(is_it))
        .unwrap_or(false)
}

/// Fails if only the dispatcher that this thread is running could answer a call of
/// the function.
pub(super) fn check_not_alone(segment: &TunnelSegment) -> Result<()> {
    let is_mine = |dispatcher: &Arc<Inner>| dispatcher.serves(segment);
    let waits_for_itself = AT_WORK_FOR
        .try_with(|at_work| at_work.borrow().as_ref().is_some_and(is_mine))
        .unwrap_or(false);
    if !waits_for_itself {
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
