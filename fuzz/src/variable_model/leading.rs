//! One participant as the only writer.

use super::{MAX_SIZE, VariableWorld, patiently};
use crate::life::{self, Interruption, Who, act, participant};
use crate::tally::reached;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::variable::{
    ClaimError, ExclusiveDetails, LeaseError, PublishError, WriteError,
};

/// What became of an attempt to lead.
enum Led {
    Refused(LeaseError),
    NotSettled(ClaimError),
    Wrote(Result<robot_ipc_core::variable::Sample, WriteError>),
}

impl VariableWorld<'_> {
    /// Takes the lease, unless it has it, and writes; then gives it back or keeps it.
    pub(super) fn lead(&self, who: Who, interruption: Option<Interruption>, size: u8, keeps: bool) {
        let process = self.process(who);
        let me = participant(who);
        let value = self.new_value(size % (MAX_SIZE as u8 + 1));
        let kept = process.lease.borrow_mut().take();
        *process.writing.borrow_mut() = Some((value.clone(), None));
        let done = act(self, who, interruption, |system| {
            let mut lease = match kept {
                Some(lease) => lease,
                None => match self.variable.begin_lease(system, me) {
                    Ok(mut lease) => {
                        let settle = || {
                            let suspects = &process.suspects;
                            self.variable.settle(system, me, suspects, &mut lease)
                        };
                        let is_full = |done: &_| done == &Err(ClaimError::NoFreeSlot);
                        if let Err(error) = patiently(settle, is_full) {
                            self.variable.end_lease(system, me);
                            return (Led::NotSettled(error), system.was_interrupted());
                        }
                        lease
                    }
                    Err(error) => return (Led::Refused(error), system.was_interrupted()),
                },
            };
            let details = ExclusiveDetails {
                encoding: value.sample.encoding,
                has_time: true,
            };
            let write = || {
                let written =
                    self.variable
                        .write_exclusively(system, &mut lease, &value.bytes, details);
                if written == Err(WriteError::Claim(ClaimError::NoFreeSlot)) {
                    self.variable.take_back_slots(system, me, &process.suspects);
                }
                written
            };
            let is_full = |done: &_| done == &Err(WriteError::Claim(ClaimError::NoFreeSlot));
            let written = patiently(write, is_full);
            if keeps {
                *process.lease.borrow_mut() = Some(lease);
            } else {
                self.variable.end_lease(system, me);
            }
            (Led::Wrote(written), system.was_interrupted())
        });
        let Some((led, was_interrupted)) = done else {
            return;
        };
        match led {
            Led::Wrote(Ok(sample)) => self.has_written(&process, &value, sample, "led"),
            Led::Refused(LeaseError::Held(holder)) => self.justify_lease(holder, was_interrupted),
            Led::Refused(LeaseError::Retired)
            | Led::NotSettled(ClaimError::Retired)
            | Led::Wrote(Err(WriteError::Publish(PublishError::Retired))) => {
                assert!(self.is_retired.get());
            }
            Led::NotSettled(ClaimError::NoFreeSlot) => {
                let claims = (0..self.slots()).filter(|slot| self.owner(*slot) >> 24 != 0);
                assert!(was_interrupted || claims.count() > 0, "nobody is at work");
            }
            Led::Wrote(Err(WriteError::Claim(ClaimError::NoFreeSlot))) => {
                let free = self.slots_that_can_be_had().next();
                assert!(was_interrupted || free.is_none(), "there is a slot");
            }
            Led::Refused(LeaseError::Corrupt) | Led::NotSettled(_) | Led::Wrote(Err(_)) => {
                panic!("nothing is damaged, and it fits");
            }
        }
    }

    /// Nobody can take the lease from `holder`.
    pub(super) fn justify_lease(&self, holder: Participant, was_interrupted: bool) {
        let who = life::who_has(holder.index()).expect("one that takes part");
        assert!(was_interrupted || self.lives.is_out_of_reach(who));
        reached("led by another");
    }

    /// The lease word tells who has the lease.
    pub(super) fn check_lease(&self) {
        let holder = self.variable.leaseholder();
        let holder = holder.map(|holder| life::who_has(holder.index()).expect("who is that?"));
        for who in 0..life::PARTICIPANTS.len() {
            let is_at_rest = self.lives.is_alive(who) && !self.lives.is_busy(who);
            if is_at_rest {
                let leads = self.process(who).lease.borrow().is_some();
                assert_eq!(leads, holder == Some(who), "whether {who} leads");
            }
        }
    }
}
