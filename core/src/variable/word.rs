//! What the bits of a variable's words mean.

const SLOT_MASK: u32 = 0x3F;
const NO_SLOT: u32 = 63;
const WAITING: u32 = 1 << 6;
/// In `latest`: the variable has been removed.
pub(super) const RETIRED: u32 = 1 << 7;
const VERSION_SHIFT: u32 = 8;
const VERSION_MASK: u32 = (1 << 24) - 1;

/// In an owner word: the bits of those who have pinned the slot.
pub(super) const PINS_MASK: u32 = (1 << 24) - 1;
/// In an owner word: who writes the slot.
pub(super) const CLAIM_MASK: u32 = !PINS_MASK;
const CLAIM_SHIFT: u32 = 24;

/// The claim in an owner word, 0 for none.
pub(super) const fn claim_of(owner: u32) -> u32 {
    owner >> CLAIM_SHIFT
}

/// The owner word of a slot that nobody has pinned and `claim` has taken.
pub(super) const fn claimed_by(claim: u32) -> u32 {
    claim << CLAIM_SHIFT
}

/// The pin bits in an owner word.
pub(super) const fn pins_of(owner: u32) -> u32 {
    owner & PINS_MASK
}

/// A version's low 31 and next 32 bits.
pub(super) const fn version_halves(version: u64) -> (u32, u32) {
    (version as u32 & Stamp::VERSION_MASK, (version >> 31) as u32)
}

/// The word `latest`: version:24 | retired:1 | waiting:1 | slot:6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest(u32);

impl Latest {
    /// Nothing written, nobody waiting.
    pub const EMPTY: Latest = Latest(NO_SLOT);

    /// `version` in `slot`, nobody waiting.
    pub(super) const fn new(version: u64, slot: u32) -> Latest {
        Latest((version as u32 & VERSION_MASK) << VERSION_SHIFT | slot & SLOT_MASK)
    }

    pub(super) const fn from_word(word: u32) -> Latest {
        Latest(word)
    }

    /// As it stands in memory.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The slot it names, which may be past the last one if the memory is
    /// damaged; `None` before the first write.
    #[must_use]
    pub const fn slot(self) -> Option<u32> {
        match self.0 & SLOT_MASK {
            NO_SLOT => None,
            slot => Some(slot),
        }
    }

    /// Whether the variable has been removed.
    #[must_use]
    pub const fn retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    /// Whether somebody sleeps until it changes.
    #[must_use]
    pub const fn waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    pub(super) const fn with_waiting(self) -> Latest {
        Latest(self.0 | WAITING)
    }

    /// Whether `self` and `other` stand for the same publication.
    pub(super) const fn same_value(self, other: Latest) -> bool {
        (self.0 ^ other.0) & !(WAITING | RETIRED) == 0
    }

    /// Whether a slot that carries `stamp` holds the value this word promises.
    pub(super) const fn names(self, stamp: Stamp) -> bool {
        !stamp.is_busy() && stamp.low() & VERSION_MASK == self.0 >> VERSION_SHIFT
    }
}

/// A slot's stamp: version:31 | busy:1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u32);

impl Stamp {
    const BUSY: u32 = 1;
    const VERSION_MASK: u32 = u32::MAX >> 1;

    pub(super) const fn new(low: u32) -> Stamp {
        Stamp(low << 1)
    }

    pub(super) const fn from_word(word: u32) -> Stamp {
        Stamp(word)
    }

    pub(super) const fn word(self) -> u32 {
        self.0
    }

    pub(super) const fn busy(self) -> Stamp {
        Stamp(self.0 | Self::BUSY)
    }

    pub(super) const fn is_busy(self) -> bool {
        self.0 & Self::BUSY != 0
    }

    /// The version's low 31 bits.
    const fn low(self) -> u32 {
        self.0 >> 1
    }

    /// The whole version, with the slot's `high` word.
    pub(super) const fn version(self, high: u32) -> u64 {
        (high as u64) << 31 | self.low() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against bits that run into each other.
    #[test]
    fn words_take_apart_what_they_put_together() {
        for version in [
            0,
            1,
            (1 << 24) - 1,
            1 << 24,
            (1 << 31) - 1,
            1 << 31,
            (1 << 63) - 1,
        ] {
            let (low, high) = version_halves(version);
            let stamp = Stamp::new(low);
            assert_eq!(stamp.version(high), version);
            assert!(stamp.busy().is_busy() && !stamp.is_busy());
            assert!(stamp.busy().busy().is_busy(), "set stays set");
            for slot in [0, 61] {
                let latest = Latest::new(version, slot);
                assert_eq!(latest.slot(), Some(slot));
                assert!(!latest.retired() && !latest.waiting());
                assert!(latest.names(stamp) && !latest.names(stamp.busy()));
                assert!(latest.with_waiting().waiting());
                assert!(latest.with_waiting().with_waiting().waiting());
                assert!(latest.same_value(latest.with_waiting()));
                assert!(!latest.same_value(Latest::new(version + 1, slot)));
            }
        }
        assert_eq!(Latest::EMPTY.slot(), None);
    }
}
