//! Taking back what the dead have left, for objects of every kind.
//!
//! What a dead participant holds differs from one kind to the other; who may take
//! it back does not: only who holds the dead one's index, so that nobody becomes
//! that participant meanwhile. Both are repeated harmlessly, whoever dies in the
//! middle of it.

use crate::environment::Environment;
use crate::participant::{MAX_PARTICIPANTS, Participant};

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
