//! Taking back what the dead have left, for objects of every kind.
//!
//! What a dead participant holds differs from one kind to the other; who may take
//! it back does not: only who holds the dead one's index, so that nobody becomes
//! that participant meanwhile. Both are repeated harmlessly, whoever dies in the
//! middle of it.

use crate::environment::Environment;
use crate::participant::{MAX_PARTICIPANTS, Participant};

/// What stands in for the memory of an object if that was lost: zeros, but for these
/// words. Whatever is done to it, or was begun before, ends as after a removal.
#[derive(Clone, Copy, Debug)]
pub struct Remains {
    /// Where the word stands that says that the object is removed, and that word.
    pub(crate) retired: (usize, u32),
    /// The same word in every part (slot, cell), which says that nothing is to be had
    /// there: where the first one stands, from one to the next, how many, the word.
    pub(crate) marks: (usize, usize, usize, u32),
}

impl Remains {
    /// Each word and its offset in the segment.
    pub fn words(self) -> impl Iterator<Item = (usize, u32)> {
        let (first, stride, count, mark) = self.marks;
        let marks = (0..count).map(move |part| (first + part * stride, mark));
        core::iter::once(self.retired).chain(marks)
    }
}

/// An object in shared memory that participants can die in, and that can be removed.
pub trait Recoverable {
    /// Takes back what `dead` holds. `_proof` shows that it is dead and keeps its
    /// index unused. Returns how many places it changed; may be repeated.
    fn recover<E: Environment>(
        &self,
        environment: &E,
        dead: Participant,
        _proof: &E::Recovery,
    ) -> u32;

    /// Who holds something; the same one may come several times.
    fn parties(&self) -> impl Iterator<Item = Participant>;

    /// Whether the object has been removed.
    fn is_retired(&self) -> bool;

    /// Makes whatever begins later fail, and wakes everybody who waits.
    fn retire<E: Environment>(&self, environment: &E);

    /// Recovers `participant` if it is dead. Returns whether it was.
    fn reap<E: Environment>(&self, environment: &E, participant: Participant) -> bool {
        match environment.try_take(participant) {
            Some(proof) => {
                self.recover(environment, participant, &proof);
                true
            }
            None => false,
        }
    }

    /// Recovers every dead participant that holds something, except `me`.
    fn reap_all<E: Environment>(&self, environment: &E, me: Participant) {
        let mut asked = [0u32; MAX_PARTICIPANTS.div_ceil(32) as usize];
        for party in self.parties() {
            let (word, bit) = (party.index() as usize / 32, 1 << (party.index() % 32));
            if party != me && asked[word] & bit == 0 {
                asked[word] |= bit;
                self.reap(environment, party);
            }
        }
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;
    use crate::environment::SingleProcess;
    use core::cell::RefCell;
    extern crate std;
    use std::vec::Vec;

    /// An object whose parties are told, and an environment that is asked for them.
    struct Parties(&'static [u32]);
    struct Asked(RefCell<Vec<u32>>);

    impl Environment for Asked {
        type Recovery = ();
        fn now_ns(&self) -> u64 {
            0
        }
        fn wake_all(&self, _word: &crate::sync::AtomicU32) {}
        fn try_take(&self, participant: Participant) -> Option<()> {
            self.0.borrow_mut().push(participant.index());
            SingleProcess.try_take(participant)
        }
    }

    impl Recoverable for Parties {
        fn recover<E: Environment>(&self, _: &E, _: Participant, _: &E::Recovery) -> u32 {
            0
        }
        fn parties(&self) -> impl Iterator<Item = Participant> {
            self.0.iter().filter_map(|index| Participant::new(*index))
        }
        fn is_retired(&self) -> bool {
            false
        }
        fn retire<E: Environment>(&self, _: &E) {}
    }

    /// Against a question for each place that somebody holds, each of which costs
    /// system calls, and against one that is left out.
    #[test]
    fn everybody_but_me_is_asked_for_once() {
        let parties = Parties(&[3, 3, 35, 0, 254, 3, 31, 32, 254, 7, 0, 31, 35]);
        let asked = Asked(RefCell::default());
        parties.reap_all(&asked, Participant::new(7).unwrap());
        assert_eq!(*asked.0.borrow(), [3, 35, 0, 254, 31, 32]);
    }
}
