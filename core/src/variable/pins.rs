//! Borrowing: reading a value in place.

use super::{Claim, ClaimError, MAX_SLOTS, Memory, ReadError, Sample, Suspects, Variable, word};
use crate::environment::{Environment, Step};
use crate::participant::{MAX_PINNING_PARTICIPANTS, Participant};
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Relaxed, Release, SeqCst};
use crate::sync::{Site, sequential};
use word::{claim_of, pins_of};

/// How often a borrow starts again before it reports that it was contended.
const BORROW_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 3 } else { 16 };

/// How often each slot is pinned within one process: its threads share one bit.
/// The process keeps it behind a lock of its own.
#[derive(Debug)]
pub struct Pins {
    counts: [u32; MAX_SLOTS as usize],
}

impl Pins {
    /// Nothing pinned.
    #[must_use]
    pub const fn new() -> Self {
        Pins {
            counts: [0; MAX_SLOTS as usize],
        }
    }
}

impl Default for Pins {
    fn default() -> Self {
        Self::new()
    }
}

/// A slot that nobody writes until it is unpinned, and what stands in it. It has
/// to be given back by [`unpin`](Variable::unpin).
#[derive(Debug)]
#[must_use = "a pin that is dropped keeps its slot until the process ends"]
pub struct Pin {
    slot: u32,
    sample: Sample,
}

impl Pin {
    /// The slot's number.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// What stands in it.
    #[must_use]
    pub fn sample(&self) -> Sample {
        self.sample
    }

    /// A pin taken apart before, put together again: for interfaces that
    /// cannot hold a Rust object.
    pub fn from_parts(slot: u32, sample: Sample) -> Pin {
        Pin { slot, sample }
    }
}

/// Why a value could not be borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BorrowError {
    /// As for reading it.
    Read(ReadError),
    /// Only participants with an index below 24 can borrow.
    NotAmongTheFirst {
        /// This one's index.
        index: u32,
    },
    /// The variable has only two slots, and writers need both.
    TooFewSlots,
    /// So many slots are pinned that another one would leave none to write.
    TooManyPinned,
    /// So many slots are pinned, loaned or just being written that another one
    /// would leave none to write. It passes as far as they are being written.
    Crowded,
}

impl<M: Memory> Variable<M> {
    /// Pins the latest value.
    ///
    /// # Errors
    /// [`BorrowError`]; nothing is pinned then.
    #[inline]
    pub fn pin<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        pins: &mut Pins,
    ) -> Result<Pin, BorrowError> {
        let count = self.memory.slot_count();
        let Some(bit) = me.pin_bit() else {
            const { assert!(MAX_PINNING_PARTICIPANTS <= 24) }
            return Err(BorrowError::NotAmongTheFirst { index: me.index() });
        };
        if count <= 2 {
            return Err(BorrowError::TooFewSlots);
        }
        let mut crowded = false;
        let mut has_reaped = false;
        for attempt in 0..BORROW_ATTEMPTS {
            let latest = self.latest();
            if latest.retired() {
                return Err(BorrowError::Read(ReadError::Retired));
            }
            let Some(slot) = latest.slot() else {
                return Err(BorrowError::Read(ReadError::NeverWritten));
            };
            let Some(held) = pins.counts.get_mut(slot as usize).filter(|_| slot < count) else {
                return Err(BorrowError::Read(ReadError::Corrupt));
            };
            let owner = self.memory.owner(slot);
            if *held == 0 {
                // SYNC pin ↔ release-claim: nothing is read from the slot, and
                // `latest` is not looked at again, before the bit is set. If
                // the writer of another value had this slot in between, this
                // sees that it has published.
                // Sequentially consistent, as the look after it, since an exclusive
                // writer does the two things the other way round: see `exclusive`.
                let before = owner.fetch_or(bit, Site::Pin.order(SeqCst));
                environment.step(Step::Pinned);
                if Site::Pin.present() {
                    sequential(Site::PinOrder);
                }
                let now = word::Latest::from_word(self.memory.latest().load(SeqCst));
                let mine = claim_of(before) == 0
                    && (!Site::PinRecheck.present() || now.same_value(latest));
                if !mine {
                    self.clear_pin(owner, bit);
                    // A writer that died between publishing and letting go has
                    // left its claim on the latest slot, which no other writer
                    // may ever pass.
                    if attempt == BORROW_ATTEMPTS / 2
                        && let Some(holder) = Participant::from_claim(claim_of(before))
                        && holder != me
                    {
                        self.reap(environment, holder);
                    }
                    continue;
                }
                // Advice, not safety; the models have too few slots to follow it.
                crowded = !cfg!(robot_ipc_loom) && !self.are_two_free();
                if crowded {
                    let pinned = self.pinned_slots();
                    self.clear_pin(owner, bit);
                    environment.step(Step::Unpinned);
                    if !has_reaped {
                        // Writers may have had no reason to look at what the dead hold.
                        has_reaped = true;
                        self.reap_all(environment, me);
                    } else if pinned > count - 2 {
                        return Err(BorrowError::TooManyPinned);
                    }
                    continue;
                }
            }
            // Relaxed: `latest` was read with acquire, and nobody writes here now.
            let whole = self.sample_of(slot, latest);
            let Some((sample, _)) =
                whole.filter(|(sample, _)| sample.length <= self.memory.max_size())
            else {
                if *held == 0 {
                    self.clear_pin(owner, bit);
                }
                return Err(BorrowError::Read(ReadError::Corrupt));
            };
            *held += 1;
            environment.step(Step::Borrowed);
            return Ok(Pin { slot, sample });
        }
        Err(if crowded {
            BorrowError::Crowded
        } else {
            BorrowError::Read(ReadError::Contended)
        })
    }

    /// Claims a slot to be written in place, for as long as its holder likes.
    /// Unlike a write it leaves one more slot to the others.
    ///
    /// # Errors
    /// [`ClaimError::NoFreeSlot`] also where a mere write would have found one;
    /// always with two slots.
    #[inline]
    pub fn claim_to_loan<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        suspects: &Suspects,
    ) -> Result<Claim, ClaimError> {
        let claim = self.claim(environment, me, suspects)?;
        let is_crowded = || {
            !self.are_two_free() && {
                self.reap_all(environment, me);
                !self.are_two_free()
            }
        };
        if is_crowded() {
            self.abandon(environment, me, claim);
            return Err(ClaimError::NoFreeSlot);
        }
        Ok(claim)
    }

    /// Gives a pinned slot back.
    #[inline]
    pub fn unpin<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        pins: &mut Pins,
        pin: Pin,
    ) {
        let Some(held) = pins.counts.get_mut(pin.slot as usize) else {
            return;
        };
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.clear_pin(self.memory.owner(pin.slot), me.pin_bit().unwrap_or(0));
            environment.step(Step::Unpinned);
        }
    }

    /// Whether two slots are neither pinned nor loaned nor being written by anybody.
    #[inline]
    fn are_two_free(&self) -> bool {
        let is_free = |slot: &u32| self.memory.owner(*slot).load(Relaxed) == 0;
        (0..self.memory.slot_count())
            .filter(is_free)
            .nth(1)
            .is_some()
    }

    /// How many slots are pinned by anybody.
    #[must_use]
    pub fn pinned_slots(&self) -> u32 {
        let pinned = |slot: &u32| pins_of(self.memory.owner(*slot).load(Relaxed)) != 0;
        (0..self.memory.slot_count()).filter(pinned).count() as u32
    }

    fn clear_pin(&self, owner: &crate::sync::AtomicU32, bit: u32) {
        // SYNC unpin ↔ claim: nothing is read from the slot after this.
        owner.fetch_and(!bit, Site::Unpin.order(Release));
    }
}
