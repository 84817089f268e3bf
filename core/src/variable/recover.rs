//! Taking back what the dead have left.

use super::word::{self, claim_of, pins_of};
use super::{Memory, Suspects, Variable};
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::Site;

impl<M: Memory> Recoverable for Variable<M> {
    /// Clears the marks of `dead` from all slots. Returns how many it held.
    fn recover<E: Environment>(
        &self,
        environment: &E,
        dead: Participant,
        _proof: &E::Recovery,
    ) -> u32 {
        environment.step(Step::Taken);
        let pin = dead.pin_bit().unwrap_or(0);
        let mut held = 0;
        let lease = self.memory.lease();
        // SYNC recover ↔ lease, lease-check: as below.
        let release = Site::Recover.order(Release);
        if lease.load(Relaxed) == dead.claim()
            && lease
                .compare_exchange(dead.claim(), 0, release, Relaxed)
                .is_ok()
        {
            held += 1;
            environment.step(Step::Recovered);
        }
        // An error of one that fuzzing has to find, see `fuzz/run`; else nothing.
        let planted = cfg!(robot_ipc_planted_bug) as u32;
        for slot in 0..self.memory.slot_count() - planted {
            let owner = self.memory.owner(slot);
            let marks = owner.load(Relaxed);
            let claim = if claim_of(marks) == dead.claim() {
                word::CLAIM_MASK
            } else {
                0
            };
            let mine = claim | (marks & pin);
            if mine != 0 {
                // SYNC recover ↔ claim: what the dead did, which the proof is
                // ordered after, must not be seen after the slot is free.
                owner.fetch_and(!mine, Site::Recover.order(Release));
                held += 1;
                environment.step(Step::Recovered);
            }
        }
        held
    }

    fn parties(&self) -> impl Iterator<Item = Participant> {
        let holders = (0..self.memory.slot_count()).flat_map(|slot| self.holders(slot));
        self.leaseholder().into_iter().chain(holders)
    }

    fn is_retired(&self) -> bool {
        self.latest().retired()
    }

    /// Makes every later operation on the variable fail, and wakes those who
    /// wait. A write that has not published yet will not.
    fn retire<E: Environment>(&self, environment: &E) {
        let word = self.memory.latest();
        // Relaxed: the publishing swap fails on a changed word, whatever else
        // its writer sees.
        word.fetch_or(word::RETIRED, Relaxed);
        environment.wake_all(word);
    }
}

impl<M: Memory> Variable<M> {
    /// Who holds `slot` now: who writes it, then who has pinned it.
    pub fn holders(&self, slot: u32) -> impl Iterator<Item = Participant> {
        holders_of(self.memory.owner(slot).load(Relaxed))
    }

    /// Recovers the dead among the holders of a slot whose marks have not
    /// changed for a while. Returns whether there were any.
    #[cold]
    pub(super) fn look_into<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
        slot: u32,
        marks: u32,
        now_ns: u64,
    ) -> bool {
        let stamp = self.memory.head(slot).stamp.load(Relaxed);
        if !suspects.pass(slot, marks, stamp, now_ns) {
            return false;
        }
        let mut freed = false;
        for holder in holders_of(marks).filter(|holder| *holder != me) {
            freed |= self.reap(environment, holder);
        }
        freed
    }
}

/// The participants named in an owner word.
fn holders_of(marks: u32) -> impl Iterator<Item = Participant> {
    let pins = pins_of(marks);
    Participant::from_claim(claim_of(marks)).into_iter().chain(
        (0..u32::BITS)
            .filter(move |bit| pins & (1 << bit) != 0)
            .filter_map(Participant::new),
    )
}
