//! Writing as the only one who may: without taking and giving back slots.
//!
//! Where one process alone writes a variable, as a control loop does, what keeps
//! writers apart is paid for nothing. A participant that has the *lease* of a
//! variable is its only writer until it gives it back or dies. It marks no slot: it
//! goes on from what it published last, passes over slots that somebody has pinned,
//! and publishes by the same swap as everybody else. So a write costs one atomic
//! operation instead of three.
//!
//! *Lease.* 1 put one's claim into the lease word, which was 0. 2 look at each slot's
//! owner word by a read-modify-write, until none carries a claim. Another writer claims
//! its slot first and looks at the lease word then. Whichever of the two, its claim or
//! the look of step 2, comes first in the order of that owner word, the other one sees
//! it: so no other writer is at work once step 2 has come to its end.
//!
//! *Pins.* A borrower sets its bit and then looks at `latest`; the leaseholder swaps
//! `latest` and then looks at the owner words. That needs the one order of all
//! sequentially consistent operations, or each could miss what the other has done.
//! Where swaps are full barriers anyway, as on x86-64, it costs nothing.
//!
//! *Death.* What a dead leaseholder has left is the lease word and perhaps a slot that
//! is marked busy, or carries a version that was never published. The latest value is
//! not affected. Recovery clears the lease word; the slot is free as any other.

use super::suspects::next_in_group;
use super::word::{Latest, claim_of};
use super::write::slots_from;
use super::{
    ClaimError, ExclusiveDetails, Memory, PublishError, Sample, Suspects, Variable, WriteError,
};
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::{Site, sequential};

/// How often the leaseholder tries to publish: only the waiting and the retired bit
/// can be in its way.
const PUBLISH_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 8 } else { 64 };

/// The right to be the only writer, and what was published last. It has to be given
/// back by [`end_lease`](Variable::end_lease).
#[derive(Debug)]
#[must_use = "a lease that is dropped stays until the process ends"]
pub struct Lease {
    latest: Latest,
    version: u64,
}

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseError {
    /// The variable has been removed.
    Retired,
    /// That one has it, and lives.
    Held(Participant),
    /// The words in memory contradict each other.
    Corrupt,
}

impl<M: Memory> Variable<M> {
    /// Step 1 of a lease. A dead holder's is taken over.
    ///
    /// Nobody may write through it before [`settle`](Variable::settle) has succeeded.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub fn begin_lease<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
    ) -> Result<Lease, LeaseError> {
        let word = self.memory.lease();
        loop {
            if self.latest().retired() {
                return Err(LeaseError::Retired);
            }
            // SYNC lease ↔ end-lease, recover: nothing this writer does may happen
            // before the last leaseholder was done.
            let acquire = Site::Lease.order(Acquire);
            match word.compare_exchange(0, me.claim(), acquire, Relaxed) {
                Ok(_) => {
                    environment.step(Step::Leased);
                    return Ok(Lease {
                        latest: Latest::EMPTY,
                        version: 0,
                    });
                }
                Err(held) => {
                    let Some(holder) = Participant::from_claim(held) else {
                        return Err(LeaseError::Corrupt);
                    };
                    if holder == me || !self.reap(environment, holder) {
                        return Err(LeaseError::Held(holder));
                    }
                }
            }
        }
    }

    /// Step 2 of a lease: waits for nobody, but says whether other writers are still
    /// at work. After that the lease can be used.
    ///
    /// # Errors
    /// [`ClaimError::NoFreeSlot`] while others have claims; try again. The others as
    /// in a [`claim`](Variable::claim).
    pub fn settle<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
        lease: &mut Lease,
    ) -> Result<(), ClaimError> {
        for slot in 0..self.memory.slot_count() {
            // SYNC drain ↔ claim: whoever claims the slot after this sees the lease.
            // SYNC drain ↔ release-claim: what was done under claims is done.
            let marks = if Site::Drain.present() {
                self.memory.owner(slot).fetch_or(0, AcqRel)
            } else {
                self.memory.owner(slot).load(Relaxed)
            };
            if claim_of(marks) != 0 {
                let now_ns = environment.now_ns();
                if !self.look_into(environment, me, suspects, slot, marks, now_ns) {
                    return Err(ClaimError::NoFreeSlot);
                }
            }
        }
        // Relaxed: the lease and the looks above have made all publications visible.
        let latest = Latest::from_word(self.memory.latest().load(Relaxed));
        if latest.retired() {
            return Err(ClaimError::Retired);
        }
        // Nobody publishes any more, so the slot is what the word promises.
        let version = self.version_named_by(latest).ok_or(ClaimError::Corrupt)?;
        *lease = Lease { latest, version };
        Ok(())
    }

    /// Writes a whole value as the only writer.
    ///
    /// # Errors
    /// As [`write`](Variable::write); nothing was published then, and the lease stays.
    /// While no slot is free, [`take_back_slots`](Variable::take_back_slots) may help.
    #[inline(always)]
    pub fn write_exclusively<E: Environment>(
        &self,
        environment: &E,
        lease: &mut Lease,
        bytes: &[u8],
        details: ExclusiveDetails,
    ) -> Result<Sample, WriteError> {
        let length = self.check_size(bytes.len())?;
        let Some(slot) = self.free_slot(lease.latest.slot()) else {
            return Err(WriteError::Claim(ClaimError::NoFreeSlot));
        };
        let sample = self.prepare(environment, slot, lease.version, bytes, length, details);
        let word = self.memory.latest();
        let next = Latest::new(sample.version, slot);
        let mut seen = lease.latest;
        for _ in 0..PUBLISH_ATTEMPTS {
            // SYNC publish ↔ observe: as in every write. Sequentially consistent, since
            // the next write looks at the owner words: see the module.
            let publish = Site::ExclusivePublish.order(SeqCst);
            match word.compare_exchange(seen.word(), next.word(), publish, Relaxed) {
                Ok(_) => {
                    *lease = Lease {
                        latest: next,
                        version: sample.version,
                    };
                    environment.step(Step::Published);
                    if seen.waiting() {
                        environment.wake_all(word);
                    }
                    environment.step(Step::Woken);
                    return Ok(sample);
                }
                Err(now) => {
                    seen = Latest::from_word(now);
                    if seen.retired() {
                        return Err(WriteError::Publish(PublishError::Retired));
                    }
                    if !seen.same_value(lease.latest) {
                        return Err(WriteError::Publish(PublishError::Corrupt));
                    }
                }
            }
        }
        Err(WriteError::Publish(PublishError::Contended))
    }

    /// Gives a lease back, after which what [`begin_lease`](Variable::begin_lease) has
    /// returned must not be used.
    pub fn end_lease<E: Environment>(&self, environment: &E, me: Participant) {
        // SYNC end-lease ↔ lease, lease-check: all that was written under it is seen by
        // who finds it gone. A swap, since in damaged memory it may be another's.
        let release = Site::EndLease.order(Release);
        let word = self.memory.lease();
        let _ = word.compare_exchange(me.claim(), 0, release, Relaxed);
        environment.step(Step::LeaseEnded);
    }

    /// Who has the lease now.
    pub fn leaseholder(&self) -> Option<Participant> {
        Participant::from_claim(self.memory.lease().load(Relaxed))
    }

    /// Why a writer has to let go of the slot it has just claimed, if it has to.
    #[inline(always)]
    pub(super) fn check_lease<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
    ) -> Result<(), ClaimError> {
        // SYNC lease-check ↔ end-lease, recover: `latest` is not looked at before what
        // the last leaseholder published is seen.
        let held = self.memory.lease().load(Site::LeaseCheck.order(Acquire));
        if held == 0 {
            return Ok(());
        }
        Err(self.leased(environment, me, held))
    }

    #[cold]
    #[inline(never)]
    fn leased<E: Environment>(&self, environment: &E, me: Participant, held: u32) -> ClaimError {
        match Participant::from_claim(held) {
            None => ClaimError::Corrupt,
            // The dead one's is gone: worth another try.
            Some(holder) if holder != me && self.reap(environment, holder) => {
                ClaimError::NoFreeSlot
            }
            Some(holder) => ClaimError::Leased(holder),
        }
    }

    /// A slot that nobody holds, other than the latest.
    #[inline(always)]
    fn free_slot(&self, latest: Option<u32>) -> Option<u32> {
        // The swap that published the last value comes before these looks.
        sequential(Site::ExclusiveOrder);
        match latest.map(next_in_group) {
            Some(slot) if slot < self.memory.slot_count() && self.is_free_to_lead(slot) => {
                Some(slot)
            }
            _ => self.any_free_slot(latest),
        }
    }

    #[cold]
    #[inline(never)]
    fn any_free_slot(&self, latest: Option<u32>) -> Option<u32> {
        let first = latest.map_or(0, |slot| slot + 1);
        slots_from(first, self.memory.slot_count(), latest)
            .find(|slot| Some(*slot) != latest && self.is_free_to_lead(*slot))
    }

    #[inline(always)]
    fn is_free_to_lead(&self, slot: u32) -> bool {
        // SYNC free-look ↔ unpin: nothing is written before the last borrower was done.
        let order = Site::FreeLook.order(SeqCst);
        self.memory.owner(slot).load(order) == 0
    }

    /// Takes back the slots that the dead hold, as far as they have held them for a
    /// while. A claim does that by itself.
    #[cold]
    pub fn take_back_slots<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
    ) {
        let now_ns = environment.now_ns();
        for slot in 0..self.memory.slot_count() {
            let marks = self.memory.owner(slot).load(Relaxed);
            if marks != 0 {
                self.look_into(environment, me, suspects, slot, marks, now_ns);
            }
        }
    }
}
