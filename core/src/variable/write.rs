//! Writing, step by step, and removing.

use super::word::{self, Latest, Stamp, claim_of, version_halves};
use super::{
    Claim, ClaimError, Details, Memory, PublishError, Sample, Suspects, VERSION_MODULUS, Variable,
    WriteError,
};
use crate::codec::Encoding;
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, Site, fence};

/// How often a publication is tried again before it reports
/// [`PublishError::Contended`].
const PUBLISH_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 8 } else { 64 };

impl<M: Memory> Variable<M> {
    /// Writes a whole value: claim, fill, publish. Tries each a bounded number
    /// of times.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing was published then.
    pub fn write<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
        bytes: &[u8],
        encoding: Encoding,
    ) -> Result<Sample, WriteError> {
        let length = self.check_size(bytes.len())?;
        let claim = self
            .claim(environment, me, suspects)
            .map_err(WriteError::Claim)?;
        self.memory.fill(claim.slot, 0, bytes);
        environment.step(Step::Filled);
        let details = Details {
            length,
            encoding,
            replaces: None,
        };
        self.publish(environment, me, claim, &details)
            .map_err(|(error, claim)| {
                self.abandon(environment, me, claim);
                WriteError::Publish(error)
            })
    }

    /// Steps 1 to 4: a slot that is mine, not the latest, and marked busy.
    ///
    /// A slot whose marks have not changed for a millisecond is looked into:
    /// whoever of its holders is dead is recovered. `suspects` remembers that.
    ///
    /// # Errors
    /// [`ClaimError`].
    #[inline(always)]
    pub fn claim<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
    ) -> Result<Claim, ClaimError> {
        let count = self.memory.slot_count();
        // Relaxed: only where to start; step 3 looks again.
        let latest = Latest::from_word(self.memory.latest().load(Relaxed));
        if latest.retired() {
            return Err(ClaimError::Retired);
        }
        if latest.slot().is_some_and(|slot| slot >= count) {
            return Err(ClaimError::Corrupt);
        }
        environment.step(Step::Looked);
        let mut slot = suspects.next_slot();
        if Suspects::begins_round(slot) {
            self.look_around(environment, me, suspects);
        }
        let is_candidate = slot < count && latest.slot() != Some(slot);
        if !is_candidate || !self.try_claim(environment, me, slot)? {
            slot = self.claim_any(environment, me, suspects, latest)?;
        }
        environment.step(Step::Rechecked);
        let stamp = &self.memory.head(slot).stamp;
        // `|=`, not `+ 1`: a writer that died here has left it busy.
        stamp.store(Stamp::from_word(stamp.load(Relaxed)).busy().word(), Relaxed);
        // SYNC busy ↔ validate: the mark must not be seen after any of the
        // payload that follows it.
        if Site::BusyFence.present() {
            fence(Release);
        }
        environment.step(Step::Busy);
        Ok(Claim { slot })
    }

    /// Steps 2 and 3 with one slot; `false` if somebody holds it, or it is the latest.
    #[inline(always)]
    fn try_claim<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        slot: u32,
    ) -> Result<bool, ClaimError> {
        let owner = self.memory.owner(slot);
        // SYNC claim ↔ release-claim, unpin, recover, drain: nothing this writer
        // does to the slot may happen before the last holder was done.
        let mine = word::claimed_by(me.claim());
        if owner
            .compare_exchange(0, mine, Site::Claim.order(Acquire), Relaxed)
            .is_err()
        {
            return Ok(false);
        }
        environment.step(Step::Claimed);
        if let Err(error) = self.check_lease(environment, me) {
            self.release(owner);
            return Err(error);
        }
        // Relaxed: the swap above has made everything visible that was done
        // before the slot was let go of, its publication included.
        let latest = Latest::from_word(self.memory.latest().load(Relaxed));
        if Site::Recheck.present() && latest.slot() == Some(slot) {
            self.release(owner);
            return Ok(false);
        }
        Ok(true)
    }

    /// Looks at one of all the slots, in turn: the dead may hold some that no writer
    /// comes to.
    #[inline(never)]
    fn look_around<E: Environment>(&self, environment: &E, me: Participant, suspects: &Suspects) {
        let slot = suspects.next_to_look_at(self.memory.slot_count());
        let marks = self.memory.owner(slot).load(Relaxed);
        if marks != 0 {
            self.look_into(environment, me, suspects, slot, marks, environment.now_ns());
        }
    }

    /// Steps 2 and 3 where the first slot cannot be had.
    #[cold]
    #[inline(never)]
    fn claim_any<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
        latest: Latest,
    ) -> Result<u32, ClaimError> {
        let count = self.memory.slot_count();
        let first = suspects.begin_at(me, count);
        // Asked for only if a slot is in the way, and once.
        let mut now_ns = None;
        for slot in slots_from(first, count, latest.slot()) {
            let marks = self.memory.owner(slot).load(Relaxed);
            if marks != 0 {
                let now_ns = *now_ns.get_or_insert_with(|| environment.now_ns());
                if !self.look_into(environment, me, suspects, slot, marks, now_ns) {
                    continue;
                }
            }
            if self.try_claim(environment, me, slot)? {
                return Ok(slot);
            }
        }
        Err(ClaimError::NoFreeSlot)
    }

    /// Copies `bytes` into a claimed slot's payload at `offset` (part of step 5).
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] if they reach past the largest size.
    #[inline]
    pub fn fill(&self, claim: &Claim, offset: usize, bytes: &[u8]) -> Result<(), WriteError> {
        self.check_size(offset.saturating_add(bytes.len()))?;
        self.memory.fill(claim.slot, offset, bytes);
        Ok(())
    }

    /// Steps 5 (all but the payload) to 9.
    ///
    /// # Errors
    /// [`PublishError`], and the claim again, to publish it once more or to
    /// [`abandon`](Variable::abandon) it.
    #[inline(always)]
    pub fn publish<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        claim: Claim,
        details: &Details,
    ) -> Result<Sample, (PublishError, Claim)> {
        self.check_mine(me, &claim);
        let head = self.memory.head(claim.slot);
        let time_ns = environment.write_time_ns();
        head.length.store(details.length, Relaxed);
        head.encoding.store(details.encoding.0, Relaxed);
        head.time_ns[0].store(time_ns as u32, Relaxed);
        head.time_ns[1].store((time_ns >> 32) as u32, Relaxed);

        let word = self.memory.latest();
        // SYNC observe-to-write ↔ publish: the latest version's upper half must
        // not be older than the word that names its slot.
        let observe = Site::ObserveToWrite.order(Acquire);
        let mut latest = Latest::from_word(word.load(observe));
        for _ in 0..PUBLISH_ATTEMPTS {
            if latest.retired() {
                return Err((PublishError::Retired, claim));
            }
            let Some(version) = self.version_named_by(latest) else {
                if latest
                    .slot()
                    .is_some_and(|slot| slot >= self.memory.slot_count())
                {
                    return Err((PublishError::Corrupt, claim));
                }
                latest = Latest::from_word(word.load(observe));
                continue;
            };
            if details.replaces.is_some_and(|replaces| replaces != version) {
                return Err((PublishError::Changed { version }, claim));
            }
            let version = (version + 1) % VERSION_MODULUS;
            let (low, high) = version_halves(version);
            head.high.store(high, Relaxed);
            head.stamp.store(Stamp::new(low).word(), Relaxed);
            environment.step(Step::Stamped);
            let next = Latest::new(version, claim.slot);
            // SYNC publish ↔ observe, observe-to-write: payload, details and
            // stamp must not be seen after the word that leads to them.
            match word.compare_exchange(
                latest.word(),
                next.word(),
                Site::Publish.order(Release),
                Relaxed,
            ) {
                Ok(_) => {
                    environment.step(Step::Published);
                    self.release(self.memory.owner(claim.slot));
                    environment.step(Step::Released);
                    if latest.waiting() {
                        environment.wake_all(word);
                    }
                    environment.step(Step::Woken);
                    let Details {
                        length, encoding, ..
                    } = *details;
                    return Ok(Sample {
                        version,
                        time_ns,
                        length,
                        encoding,
                    });
                }
                Err(_) => latest = Latest::from_word(word.load(observe)),
            }
        }
        Err((PublishError::Contended, claim))
    }

    /// Gives a claimed slot back unpublished. It stays busy, and free.
    pub fn abandon<E: Environment>(&self, environment: &E, me: Participant, claim: Claim) {
        self.check_mine(me, &claim);
        self.release(self.memory.owner(claim.slot));
        environment.step(Step::Released);
    }

    /// In the model a claim is what its holder wrote. In memory that others can
    /// write it may be anything, which is no reason to panic.
    fn check_mine(&self, me: Participant, claim: &Claim) {
        if cfg!(robot_ipc_loom) {
            let marks = self.memory.owner(claim.slot).load(Relaxed);
            assert_eq!(claim_of(marks), me.claim());
        }
    }

    /// Lets go of my claim. Not by a store: a borrower may have set its bit
    /// meanwhile, and will clear it itself.
    #[inline(always)]
    fn release(&self, owner: &AtomicU32) {
        // SYNC release-claim ↔ claim, pin: nothing done to the slot, nor its
        // publication, may be seen after it is free.
        owner.fetch_and(word::PINS_MASK, Site::ReleaseClaim.order(Release));
    }
}

/// All slots from `first` on. The latest, unless it comes last, is left out.
pub(super) fn slots_from(first: u32, count: u32, latest: Option<u32>) -> impl Iterator<Item = u32> {
    (first..count)
        .chain(0..first.min(count))
        .enumerate()
        .filter(move |(turn, slot)| latest != Some(*slot) || *turn as u32 + 1 == count)
        .map(|(_, slot)| slot)
}
