//! Who is who in a segment.
//!
//! A *participant* is a process that changes something in a segment. Each has
//! an index, and marks what it holds with it: `index + 1` as a claim on a slot,
//! bit `index` as a pin. Whether the participant of an index lives is not
//! written in memory, where a killed process could not correct it: it is a lock
//! the kernel lets go of with the process, and core asks for it through
//! [`Environment::try_take`](crate::Environment::try_take).
//!
//! The table in the segment only helps people: it names the process behind an
//! index in error messages, and tells who serves a function. Whether what it says
//! still holds is asked of the kernel.

use crate::sync::AtomicU32;
#[cfg(not(robot_ipc_loom))]
use crate::sync::Ordering::Relaxed;

/// How many participants a segment can have at once.
pub const MAX_PARTICIPANTS: u32 = 255;
/// Participants below this index can borrow: their pins are bits of one word.
pub const MAX_PINNING_PARTICIPANTS: u32 = 24;

/// The index of a participant: 0 to 254.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Participant(u8);

impl Participant {
    /// The participant of `index`, if there can be one.
    #[must_use]
    pub const fn new(index: u32) -> Option<Participant> {
        if index < MAX_PARTICIPANTS {
            Some(Participant(index as u8))
        } else {
            None
        }
    }

    /// Its index, 0 to 254.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// The participant a claim names; 0 is no claim.
    #[must_use]
    pub(crate) const fn from_claim(claim: u32) -> Option<Participant> {
        if claim == 0 {
            None
        } else {
            Participant::new(claim - 1)
        }
    }

    /// What it writes into a word to claim it: 1 to 255.
    #[must_use]
    pub(crate) const fn claim(self) -> u32 {
        self.0 as u32 + 1
    }

    /// The bit it sets to pin, counted within the pin bits; `None` for those
    /// who cannot borrow.
    #[must_use]
    pub const fn pin_bit(self) -> Option<u32> {
        if (self.0 as u32) < MAX_PINNING_PARTICIPANTS {
            Some(1 << self.0)
        } else {
            None
        }
    }
}

/// What a participant says of itself, for people to read.
///
/// ```text
///  0      4         8
///  +------+---------+
///  | pid  | serving |
///  +------+---------+
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct ParticipantEntry {
    /// The process id in its own pid namespace, or 0. Written by the
    /// participant when it registers.
    pub pid: AtomicU32,
    /// How many of its dispatchers serve the function; 0 in a variable. Written by
    /// the participant, and cleared by who finds it dead.
    pub serving: AtomicU32,
}

#[cfg(not(robot_ipc_loom))]
impl ParticipantEntry {
    /// Says that this is the process `pid`, which serves nothing yet.
    pub fn introduce(&self, pid: u32) {
        self.serving.store(0, Relaxed);
        self.pid.store(pid, Relaxed);
    }

    /// Says that nobody is there.
    pub fn clear(&self) {
        self.serving.store(0, Relaxed);
        self.pid.store(0, Relaxed);
    }

    /// The process id, or 0.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.load(Relaxed)
    }
}

/// One entry per possible index; the last one is never used and only rounds
/// the table up to whole cache lines.
#[repr(C)]
#[derive(Debug)]
pub struct ParticipantTable {
    /// The entries, by index.
    pub entries: [ParticipantEntry; MAX_PARTICIPANTS as usize + 1],
}

#[cfg(not(robot_ipc_loom))]
const _: () = {
    use static_assertions::{assert_eq_align, const_assert_eq};
    const_assert_eq!(size_of::<ParticipantEntry>(), 8);
    const_assert_eq!(core::mem::offset_of!(ParticipantEntry, pid), 0);
    const_assert_eq!(core::mem::offset_of!(ParticipantEntry, serving), 4);
    const_assert_eq!(size_of::<ParticipantTable>(), 2048);
    assert_eq_align!(ParticipantTable, u32);
};

#[cfg(not(robot_ipc_loom))]
impl ParticipantTable {
    /// A table in which nobody has said anything yet.
    #[must_use]
    pub const fn new() -> Self {
        ParticipantTable {
            entries: [const {
                ParticipantEntry {
                    pid: AtomicU32::new(0),
                    serving: AtomicU32::new(0),
                }
            }; MAX_PARTICIPANTS as usize + 1],
        }
    }

    /// The entry of `participant`.
    #[must_use]
    pub fn entry(&self, participant: Participant) -> &ParticipantEntry {
        &self.entries[participant.0 as usize]
    }
}

#[cfg(not(robot_ipc_loom))]
impl Default for ParticipantTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;

    /// Against an index whose claim would read as "no claim" or as another's.
    #[test]
    fn claims_and_pins_at_the_edges() {
        assert!(Participant::new(255).is_none());
        let last = Participant::new(254).unwrap();
        assert_eq!(last.claim(), 255);
        assert_eq!(Participant::from_claim(255), Some(last));
        assert_eq!(Participant::from_claim(0), None);
        assert_eq!(Participant::new(23).unwrap().pin_bit(), Some(1 << 23));
        assert_eq!(Participant::new(24).unwrap().pin_bit(), None);
    }

    /// Against an entry that tells of its last holder, or of a neighbour.
    #[test]
    fn an_entry_says_who_is_there() {
        let table = ParticipantTable::new();
        let [one, other] = [0, 254].map(|index| table.entry(Participant::new(index).unwrap()));
        one.introduce(17);
        one.serving.store(2, Relaxed);
        assert_eq!((one.pid(), other.pid()), (17, 0));
        one.introduce(18);
        assert_eq!((one.pid(), one.serving.load(Relaxed)), (18, 0));
        one.serving.store(2, Relaxed);
        one.clear();
        assert_eq!((one.pid(), one.serving.load(Relaxed)), (0, 0));
    }
}
