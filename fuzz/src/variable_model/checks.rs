//! What has to be true of a variable between any two steps.

use super::{MAX_SIZE, VariableWorld};
use crate::life::{self, PARTICIPANTS, Who, participant};
use robot_ipc_core::environment::Environment;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::sync::AtomicU32;
use robot_ipc_core::variable::{Memory, ReadError};

/// A mark in an owner word: the slot, and whether it is a claim (else a pin).
pub(super) type Mark = (u32, bool);

impl VariableWorld<'_> {
    pub(super) fn check(&self) {
        self.check_latest();
        self.check_lease();
        for who in 0..PARTICIPANTS.len() {
            self.check_marks(who);
        }
        for slot in 0..self.slots() {
            for holder in self.variable.holders(slot) {
                assert!(life::who_has(holder.index()).is_some(), "who is that?");
            }
        }
    }

    fn check_latest(&self) {
        let mut bytes = [0; MAX_SIZE];
        let read = self.variable.read(&mut bytes);
        if self.is_retired.get() {
            assert_eq!(read, Err(ReadError::Retired));
            return;
        }
        let latest = self.latest.borrow();
        let Some(value) = &*latest else {
            assert_eq!(read, Err(ReadError::NeverWritten));
            return;
        };
        assert_eq!(read, Ok(value.sample));
        assert_eq!(bytes[..value.bytes.len()], value.bytes);
        assert_eq!(self.variable.latest().waiting(), self.is_awaited.get());
    }

    fn check_marks(&self, who: Who) {
        let marks = self.marks_of(who);
        let process = self.process(who);
        let borrows = process.borrows.borrow();
        let loans = process.loans.borrow();
        let mut held: Vec<Mark> = loans.iter().map(|slot| (*slot, true)).collect();
        held.extend(borrows.iter().map(|(pin, _)| (pin.slot(), false)));
        held.sort_unstable();
        held.dedup();
        if self.lives.is_alive(who) {
            for mark in &held {
                assert!(marks.contains(mark), "{who} has lost {mark:?}");
            }
        }
        if self.lives.is_alive(who) && !self.lives.is_busy(who) {
            assert_eq!(marks, held, "what {who} holds");
        } else if self.is_clean[who].get() && !self.lives.is_busy(who) {
            assert_eq!(marks, [], "what {who} held");
        } else {
            let more = marks.iter().filter(|mark| !held.contains(mark)).count();
            assert!(more <= 1, "{who}: {marks:?} instead of {held:?}");
        }
        if !self.lives.is_alive(who) {
            return;
        }
        let latest = self.variable.latest().slot();
        assert!(loans.iter().all(|slot| Some(*slot) != latest));
        for (pin, value) in borrows.iter() {
            assert_eq!(
                self.owner(pin.slot()) >> 24,
                0,
                "a borrowed slot is claimed"
            );
            let mut bytes = vec![0; value.bytes.len()];
            self.variable.memory().copy(pin.slot(), 0, &mut bytes);
            assert_eq!(bytes, value.bytes, "a borrowed value has changed");
        }
    }

    /// All marks of `who`, in order.
    pub(super) fn marks_of(&self, who: Who) -> Vec<Mark> {
        let me = participant(who);
        let mut marks = Vec::new();
        for slot in 0..self.slots() {
            let owner = self.owner(slot);
            if owner & me.pin_bit().unwrap_or(0) != 0 {
                marks.push((slot, false));
            }
            if owner >> 24 == me.index() + 1 {
                marks.push((slot, true));
            }
        }
        marks
    }
}

/// An environment in which all others are dead.
pub(super) struct NobodyLives;

impl Environment for NobodyLives {
    type Recovery = ();
    fn now_ns(&self) -> u64 {
        0
    }
    fn wake_all(&self, _word: &AtomicU32) {}
    fn try_take(&self, _participant: Participant) -> Option<()> {
        Some(())
    }
}
