//! Taking back what the dead have left.

use super::{CellWord, FLAG_ATTEMPTS, State, Tunnel, TunnelMemory};
use crate::environment::{Environment, Step};
use crate::participant::{MAX_PARTICIPANTS, Participant};
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::TunnelSite;

impl<M: TunnelMemory> Tunnel<M> {
    /// Ends what `dead` was responsible for. `_proof` shows that it is dead and
    /// keeps its index unused. Returns how many cells it changed; may be
    /// repeated.
    pub fn recover<E: Environment>(
        &self,
        environment: &E,
        dead: Participant,
        _proof: &E::Recovery,
    ) -> u32 {
        environment.step(Step::Taken);
        let mut changed = 0;
        for cell in 0..self.memory.cell_count() {
            for _ in 0..FLAG_ATTEMPTS {
                match self.recover_cell(environment, dead, cell) {
                    Recovered::Nothing => break,
                    Recovered::Changed => {
                        changed += 1;
                        environment.step(Step::Recovered);
                        break;
                    }
                    Recovered::LookAgain => {}
                }
            }
        }
        changed
    }

    fn recover_cell<E: Environment>(
        &self,
        environment: &E,
        dead: Participant,
        cell: u32,
    ) -> Recovered {
        let head = self.memory.head(cell);
        // SYNC scan ↔ submit: the caller must be the one of this call.
        let seen = CellWord::from_word(head.word.load(TunnelSite::Scan.order(Acquire)));
        let is_responsible = seen.who() == dead.claim();
        let is_caller = head.caller.load(Relaxed) == dead.claim();
        let done = match seen.state() {
            Some(State::Writing | State::Done | State::Died) if is_responsible => {
                self.free(environment, cell, seen)
            }
            Some(State::Ready) if is_responsible && !seen.is_orphan() => {
                self.free(environment, cell, seen)
            }
            Some(State::Running) if is_responsible => {
                if seen.is_orphan() || is_caller {
                    self.free(environment, cell, seen)
                } else {
                    self.hand_over(environment, cell, seen, State::Died)
                }
            }
            Some(State::Running) if is_caller && !seen.is_orphan() => {
                let orphan = seen.with_orphan().without_waiting();
                // Relaxed: it hands nothing over; the dispatcher's swap sees it.
                head.word
                    .compare_exchange(seen.word(), orphan.word(), Relaxed, Relaxed)
                    .is_ok()
            }
            Some(State::Ready) if is_responsible => {
                // Nobody wanted a response: it stays. But its caller may have
                // died before it told anybody.
                self.ring(environment, self.memory.bell());
                return Recovered::Nothing;
            }
            _ => return Recovered::Nothing,
        };
        if done {
            Recovered::Changed
        } else {
            Recovered::LookAgain
        }
    }

    /// Recovers `participant` if it is dead. Returns whether it was.
    pub fn reap<E: Environment>(&self, environment: &E, participant: Participant) -> bool {
        match environment.try_take(participant) {
            Some(proof) => {
                self.recover(environment, participant, &proof);
                true
            }
            None => false,
        }
    }

    /// Recovers every dead participant that has to do with a cell, except `me`.
    pub fn reap_all<E: Environment>(&self, environment: &E, me: Participant) {
        let mut asked = [0u32; MAX_PARTICIPANTS.div_ceil(32) as usize];
        for cell in 0..self.memory.cell_count() {
            let head = self.memory.head(cell);
            let seen = CellWord::from_word(head.word.load(Relaxed));
            let caller = match seen.state() {
                Some(State::Running) => head.caller.load(Relaxed),
                _ => 0,
            };
            let claims = [seen.who(), caller];
            for party in claims.into_iter().filter_map(Participant::from_claim) {
                let (word, bit) = (party.index() as usize / 32, 1 << (party.index() % 32));
                if party != me && asked[word] & bit == 0 {
                    asked[word] |= bit;
                    self.reap(environment, party);
                }
            }
        }
    }
}

enum Recovered {
    Nothing,
    Changed,
    LookAgain,
}
