//! What a process remembers of the slots: which it wrote last, and who has been in its
//! way for so long that it may be dead.

use crate::participant::{MAX_PARTICIPANTS, Participant};
use crate::sync::Ordering::Relaxed;
use crate::variable::MAX_SLOTS;

// Not from `crate::sync`: this is one process's memory aid, not protocol. It
// decides only when to ask, never what is done, so the model need not see it.
use core::sync::atomic::AtomicU32;

/// Marks that have not changed for so long are looked into.
const PATIENCE_NS: u64 = 1_000_000;
/// Times are kept in units of 2^18 ns (0.26 ms), in one word: it wraps after
/// 13 days, when a suspect may be looked into too early or 13 days too late.
const TIME_SHIFT: u32 = 18;

/// A process goes round so many slots: a reader of one of them is lapped only after
/// three other publications, and their bytes stay in the nearest cache.
const GROUP: u32 = 4;

/// The slot after `slot` in its group, which may be past the last slot.
#[inline(always)]
pub(super) const fn next_in_group(slot: u32) -> u32 {
    slot / GROUP * GROUP + slot.wrapping_add(1) % GROUP
}

/// One process's memory of the slots: the one it took last, and those it had to pass
/// over. Shared by its threads.
///
/// Each process has a group of slots that it looks at first, so that processes on two
/// processors do not hand the bytes of a slot to and fro.
///
/// Asking whether a holder lives costs some microseconds; asking once per
/// millisecond and slot keeps that below notice, and asking at all keeps the
/// dead from shrinking the rotation.
#[derive(Debug)]
pub struct Suspects {
    /// Looked at last; past all slots before the first time.
    last: AtomicU32,
    /// Looked around at last.
    looked_at: AtomicU32,
    slots: [Suspect; MAX_SLOTS as usize],
}

/// What was seen of a slot, and since when. Threads may mix these up; then a
/// question is asked too early or late.
#[derive(Debug)]
struct Suspect {
    marks: AtomicU32,
    stamp: AtomicU32,
    since: AtomicU32,
}

impl Suspects {
    /// Nobody yet.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(MAX_PARTICIPANTS < 256) }
        Suspects {
            last: AtomicU32::new(u32::MAX),
            looked_at: AtomicU32::new(0),
            slots: [const {
                Suspect {
                    marks: AtomicU32::new(0),
                    stamp: AtomicU32::new(0),
                    since: AtomicU32::new(0),
                }
            }; MAX_SLOTS as usize],
        }
    }

    /// The slot to look at first.
    #[inline(always)]
    pub(super) fn next_slot(&self) -> u32 {
        let slot = next_in_group(self.last.load(Relaxed));
        self.last.store(slot, Relaxed);
        slot
    }

    /// Whether `slot` is the first of a group: once in a round it is looked around.
    #[inline(always)]
    pub(super) const fn begins_round(slot: u32) -> bool {
        slot.is_multiple_of(GROUP)
    }

    /// The slot to look at in this round.
    pub(super) fn next_to_look_at(&self, count: u32) -> u32 {
        let next = self.looked_at.load(Relaxed) + 1;
        let next = if next < count { next } else { 0 };
        self.looked_at.store(next, Relaxed);
        next
    }

    /// The slot that `me` begins at where that one was none, or taken.
    pub(super) fn begin_at(&self, me: Participant, count: u32) -> u32 {
        let last = self.last.load(Relaxed);
        if last < count {
            return last;
        }
        let groups = (count / GROUP).max(1);
        let first = me.index() % groups * GROUP;
        self.last.store(first, Relaxed);
        first
    }

    /// Notes that `slot` was passed over for its `marks`, and says whether it is
    /// time to ask for its holders. `stamp` tells two claims of one holder apart.
    pub(super) fn pass(&self, slot: u32, marks: u32, stamp: u32, now_ns: u64) -> bool {
        let Some(suspect) = self.slots.get(slot as usize) else {
            return false;
        };
        let now = (now_ns >> TIME_SHIFT) as u32;
        let known = suspect.marks.load(Relaxed) == marks && suspect.stamp.load(Relaxed) == stamp;
        if !known {
            suspect.marks.store(marks, Relaxed);
            suspect.stamp.store(stamp, Relaxed);
            suspect.since.store(now, Relaxed);
            // The model has no time, and has to ask.
            return cfg!(robot_ipc_loom);
        }
        let patience = (PATIENCE_NS >> TIME_SHIFT) as u32;
        if now.wrapping_sub(suspect.since.load(Relaxed)) <= patience {
            return cfg!(robot_ipc_loom);
        }
        suspect.since.store(now, Relaxed);
        true
    }
}

impl Default for Suspects {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;

    /// Against asking the kernel on every pass, and against never asking.
    #[test]
    fn only_what_stays_is_suspected_and_then_once_per_millisecond() {
        let suspects = Suspects::new();
        let millisecond = 1_000_000;
        assert!(!suspects.pass(3, 1 << 24, 10, 0));
        assert!(!suspects.pass(3, 1 << 24, 10, millisecond / 2));
        assert!(suspects.pass(3, 1 << 24, 10, 2 * millisecond));
        assert!(!suspects.pass(3, 1 << 24, 10, 2 * millisecond + 1));
        assert!(
            !suspects.pass(3, 1 << 24, 12, 9 * millisecond),
            "another claim"
        );
        assert!(
            !suspects.pass(3, 2 << 24, 12, 18 * millisecond),
            "another holder"
        );
        assert!(suspects.pass(3, 2 << 24, 12, 20 * millisecond));
        // The clock's word wraps between the two looks.
        let wrap = (1u64 << 32) << TIME_SHIFT;
        assert!(!suspects.pass(4, 1 << 24, 10, wrap - 1));
        assert!(!suspects.pass(4, 1 << 24, 10, wrap + millisecond / 2));
        assert!(suspects.pass(4, 1 << 24, 10, wrap + 2 * millisecond));
        assert!(
            !suspects.pass(62, 2 << 24, 12, 20 * millisecond),
            "past the last slot"
        );
    }
}
