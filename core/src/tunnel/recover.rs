//! Taking back what the dead have left.

use super::{BellWord, CellWord, FLAG_ATTEMPTS, State, Tunnel, TunnelMemory};
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::TunnelSite;

impl<M: TunnelMemory> Recoverable for Tunnel<M> {
    /// Ends what `dead` was responsible for. Returns how many cells it changed.
    fn recover<E: Environment>(
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

    fn parties(&self) -> impl Iterator<Item = Participant> {
        self.cells()
            .flat_map(|cell| cell.responsible.into_iter().chain(cell.caller))
    }

    fn is_retired(&self) -> bool {
        // Not the bell: that is written for each call.
        BellWord::from_word(self.memory.end().load(Relaxed)).is_retired()
    }

    /// Makes every later call and every later take fail, and wakes everybody.
    fn retire<E: Environment>(&self, environment: &E) {
        // Relaxed: who hears of it from the words below sees it.
        self.memory.end().fetch_or(BellWord::RETIRED, Relaxed);
        // SYNC retire-bells ↔ listen-for-room: who hears of it from the room word
        // must see that.
        let release = TunnelSite::RetireBells.order(Release);
        for bell in [self.memory.bell(), self.memory.room()] {
            bell.fetch_or(BellWord::RETIRED, release);
            environment.wake_all(bell);
        }
        for cell in 0..self.memory.cell_count() {
            let word = &self.memory.head(cell).word;
            // Changed, and not only woken: who is about to sleep compares it.
            // SYNC retire-cells ↔ arm: and who says so later sees the bell.
            let release = TunnelSite::RetireCells.order(Release);
            word.fetch_and(CellWord::ALL_BUT_WAITING, release);
            environment.wake_all(word);
        }
    }
}

impl<M: TunnelMemory> Tunnel<M> {
    fn recover_cell<E: Environment>(
        &self,
        environment: &E,
        dead: Participant,
        cell: u32,
    ) -> Recovered {
        let head = self.memory.head(cell);
        // SYNC scan ↔ submit: the caller must be the one of this call.
        let acquire = TunnelSite::ScanToRecover.order(Acquire);
        let seen = CellWord::from_word(head.word.load(acquire));
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
}

enum Recovered {
    Nothing,
    Changed,
    LookAgain,
}
