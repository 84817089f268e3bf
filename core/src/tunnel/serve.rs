//! The dispatcher's side.

use super::{CellWord, FLAG_ATTEMPTS, Outcome, Part, State, Tunnel, TunnelMemory};
use crate::codec::Encoding;
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::TunnelSite;

/// How often a dispatcher looks for the oldest call before it takes the one it
/// saw last: callers and other dispatchers may change the picture all the time.
const SCAN_ATTEMPTS: u32 = if cfg!(robot_ipc_loom) { 3 } else { 16 };

/// A call that is mine to run. It has to be ended by [`finish`](Tunnel::finish).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is dropped hangs its caller until the process ends"]
pub struct Taken {
    cell: u32,
    generation: u32,
    ticket: u32,
    argument: Part,
    time_ns: u64,
    one_way: bool,
}

impl Taken {
    /// Its place in the order.
    #[must_use]
    pub fn ticket(&self) -> u32 {
        self.ticket
    }

    /// What its arguments are.
    #[must_use]
    pub fn argument(&self) -> Part {
        self.argument
    }

    /// When it was made, in ns since boot; 0 if its caller has no clock.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.time_ns
    }

    /// Whether the cell still says that `me` runs this call.
    fn is_run_by(&self, me: Participant, seen: CellWord) -> bool {
        seen.state() == Some(State::Running)
            && seen.who() == me.claim()
            && seen.generation() == self.generation
    }

    /// Whether nobody wanted a response from the start.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.one_way
    }
}

/// Why a call could not be ended: somebody has changed words that were ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishError;

/// A ready cell, as it was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    cell: u32,
    word: CellWord,
    ticket: u32,
}

/// What a dispatcher remembers of a tunnel from one look to the next.
#[derive(Debug, Default)]
pub struct Lookout {
    /// All calls with a ticket before this one have started or ended.
    next: Option<u32>,
    /// Where the last call was found.
    cell: u32,
    /// Whether that was behind the one before.
    goes_on: bool,
    /// Whether the last look at all cells found no call.
    is_quiet: bool,
    /// Whether a call is likely to be ready behind that which is taken.
    more: bool,
}

impl Lookout {
    /// The ticket that comes next, if that is known.
    #[cfg(all(test, not(robot_ipc_loom)))]
    pub(super) fn next(&self) -> Option<u32> {
        self.next
    }

    /// Says whether more than one call was heard of: the next one can be fetched from its
    /// caller's processor meanwhile.
    pub fn expect_more(&mut self, more: bool) {
        self.more = more;
    }

    /// Whether it knows which call comes next, and need not look at all cells for it. It
    /// learns that when it finds no call.
    #[must_use]
    pub fn knows_next(&self) -> bool {
        self.next.is_some()
    }

    /// Whether there was no call to take. If not, though none was taken, there may be one.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.is_quiet
    }
}

/// What a look at all cells has shown.
enum Oldest {
    /// The ready one with the smallest ticket.
    Ready(Seen),
    /// None is ready, but callers are about to make some so.
    BeingMade,
    /// None is either.
    None,
}

impl<M: TunnelMemory> Tunnel<M> {
    /// Takes the call that was made first, if there is one. Who is about to sleep
    /// also asks whether it [is quiet](Lookout::is_quiet): with many callers and
    /// dispatchers at work this may give up without a call, though there is one.
    pub fn take<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        lookout: &mut Lookout,
    ) -> Option<Taken> {
        lookout.is_quiet = false;
        if self.is_retired() {
            return None;
        }
        let mut oldest = match self.expected(lookout) {
            Some(expected) => expected,
            None => self.look_for_oldest(lookout)?,
        };
        for attempt in 0..SCAN_ATTEMPTS {
            let is_next = lookout.next == Some(oldest.ticket);
            let again = if is_next || !TunnelSite::Rescan.present() {
                oldest
            } else {
                self.look_for_oldest(lookout)?
            };
            let agreed = again == oldest || !TunnelSite::Agree.present();
            if !agreed && attempt + 1 < SCAN_ATTEMPTS {
                oldest = again;
                continue;
            }
            environment.step(Step::CallSeen);
            let head = self.memory.head(again.cell);
            if !again.word.is_orphan()
                && let Some(caller) = Participant::from_claim(again.word.who())
                && TunnelSite::Ask.present()
                && !environment.lives(caller, head.time_ns())
            {
                // Nobody would hear of it: it never starts. No recovery is needed to
                // say so: whoever made this very word ready is dead, and the swap
                // fails if it is another one by now.
                self.free(environment, again.cell, again.word);
                oldest = self.look_for_oldest(lookout)?;
                continue;
            }
            // Who lives cannot be told any more of a function whose name is gone. It was
            // retired before that, and who has learned of the one sees the other.
            if TunnelSite::StillThere.present() && self.is_retired() {
                return None;
            }
            let mine = again.word.moved(State::Running, me.claim());
            // SYNC take ↔ submit: the arguments are not looked at before the
            // call is mine, nor as they were before it was ready.
            let acquire = TunnelSite::Take.order(Acquire);
            let swapped =
                head.word
                    .compare_exchange(again.word.word(), mine.word(), acquire, Relaxed);
            if swapped.is_err() {
                oldest = self.look_for_oldest(lookout)?;
                continue;
            }
            environment.step(Step::CallTaken);
            // Read again: the cell may have been used anew since it was seen.
            let ticket = head.ticket.load(Relaxed);
            let is_next = lookout.next == Some(ticket);
            lookout.next = is_next.then(|| ticket.wrapping_add(1));
            lookout.goes_on = again.cell == self.behind(lookout.cell);
            lookout.cell = again.cell;
            if lookout.more && lookout.goes_on {
                self.memory.expect_change(self.behind(again.cell));
            }
            let length = head.argument_length.load(Relaxed);
            // An error of one that fuzzing has to find, see `fuzz/run`; else nothing.
            let planted = cfg!(robot_ipc_planted_bug) as u32;
            return Some(Taken {
                cell: again.cell,
                generation: again.word.generation(),
                ticket,
                argument: Part {
                    length: length.min(self.memory.max_argument_size() + planted),
                    encoding: Encoding(head.argument_encoding.load(Relaxed)),
                },
                time_ns: head.time_ns(),
                one_way: again.word.is_orphan(),
            });
        }
        None
    }

    /// The call that comes next whatever the other cells hold, if it lies where it is
    /// looked for: in the cell of the last one, or in the one behind.
    fn expected(&self, lookout: &Lookout) -> Option<Seen> {
        let next = lookout.next?;
        let mut guesses = [lookout.cell, self.behind(lookout.cell)];
        if lookout.goes_on {
            guesses.reverse();
        }
        self.memory.expect_change(guesses[0]);
        let mut found = guesses.into_iter().filter_map(|cell| self.ready(cell).ok());
        found.find(|seen| seen.ticket == next)
    }

    /// The cell behind `cell`.
    fn behind(&self, cell: u32) -> u32 {
        if cell + 1 < self.memory.cell_count() {
            cell + 1
        } else {
            0
        }
    }

    /// A cell if it is ready; else its word.
    fn ready(&self, cell: u32) -> Result<Seen, CellWord> {
        let head = self.memory.head(cell);
        // SYNC scan ↔ submit: the ticket must be the one of this call.
        let word = head.word.load(TunnelSite::Scan.order(Acquire));
        let word = CellWord::from_word(word);
        if word.state() != Some(State::Ready) {
            return Err(word);
        }
        let ticket = head.ticket.load(Relaxed);
        Ok(Seen { cell, word, ticket })
    }

    /// The ready cell with the smallest ticket.
    fn oldest(&self) -> Oldest {
        let mut oldest: Option<Seen> = None;
        let mut is_any_being_made = false;
        for cell in 0..self.memory.cell_count() {
            match self.ready(cell) {
                Ok(seen) => {
                    let is_older =
                        |other: Seen| (seen.ticket.wrapping_sub(other.ticket) as i32) < 0;
                    if oldest.is_none_or(is_older) {
                        oldest = Some(seen);
                    }
                }
                Err(word) => is_any_being_made |= word.state() == Some(State::Writing),
            }
        }
        match oldest {
            Some(seen) => Oldest::Ready(seen),
            None if is_any_being_made && TunnelSite::BeingMade.present() => Oldest::BeingMade,
            None => Oldest::None,
        }
    }

    /// The same; notes if there is none, and, if it does not know, from which ticket on
    /// calls come then.
    fn look_for_oldest(&self, lookout: &mut Lookout) -> Option<Seen> {
        // SYNC tickets ↔ ticket: the cells of all calls that are counted must be seen at
        // least as they were then.
        let tickets = || {
            self.memory
                .tickets()
                .load(TunnelSite::Tickets.order(Acquire))
        };
        let tickets = lookout.next.is_none().then(tickets);
        let oldest = self.oldest();
        lookout.is_quiet = !matches!(oldest, Oldest::Ready(_));
        match oldest {
            Oldest::Ready(seen) => return Some(seen),
            // Whoever is to come next may have its ticket, and be counted.
            Oldest::BeingMade => {}
            Oldest::None => lookout.next = lookout.next.or(tickets),
        }
        None
    }

    /// Whether a call is waiting to be taken.
    pub fn has_calls(&self) -> bool {
        matches!(self.oldest(), Oldest::Ready(_))
    }

    /// Copies a call's arguments, or their beginning, into memory that nobody
    /// else can change.
    pub fn copy_argument(&self, taken: &Taken, buffer: &mut [u8]) {
        let length = buffer.len().min(taken.argument.length as usize);
        self.memory.copy_argument(taken.cell, &mut buffer[..length]);
    }

    /// Copies `bytes` into a call's response at `offset`; what lies past the
    /// largest size is left out.
    pub fn fill_response(&self, taken: &Taken, offset: usize, bytes: &[u8]) {
        let room = (self.memory.max_response_size() as usize).saturating_sub(offset);
        self.memory
            .fill_response(taken.cell, offset, &bytes[..bytes.len().min(room)]);
    }

    /// Whether anybody still wants the response of a running call.
    pub fn is_wanted(&self, taken: &Taken) -> bool {
        !self.see(taken.cell).is_orphan()
    }

    /// Ends a call: with a response that was filled in, or without one.
    ///
    /// # Errors
    /// The cell is not ours any more, which only damage or malice can bring
    /// about; it is left alone.
    pub fn finish<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        taken: Taken,
        response: Option<(Outcome, Part)>,
    ) -> Result<(), FinishError> {
        let head = self.memory.head(taken.cell);
        if let Some((outcome, part)) = response {
            let length = outcome.length(part.length, self.memory.max_response_size());
            let answer = self.memory.answer(taken.cell);
            answer.outcome.store(outcome.0, Relaxed);
            answer.length.store(length, Relaxed);
            answer.encoding.store(part.encoding.0, Relaxed);
        }
        if !taken.one_way {
            // Relaxed: a hint. Before the word, while the line of the response is here,
            // and its caller is to look at the word only when it has changed.
            let answer = self.memory.answer(taken.cell);
            answer.ticket.store(taken.ticket, Relaxed);
        }
        environment.step(Step::Answered);
        for _ in 0..FLAG_ATTEMPTS {
            // Relaxed: only flags can have changed, and the swap compares them.
            let seen = CellWord::from_word(head.word.load(Relaxed));
            if !taken.is_run_by(me, seen) {
                return Err(FinishError);
            }
            if response.is_none() || seen.is_orphan() {
                if self.free(environment, taken.cell, seen) {
                    return Ok(());
                }
            } else if self.hand_over(environment, taken.cell, seen, State::Done) {
                environment.step(Step::Finished);
                return Ok(());
            }
        }
        Err(FinishError)
    }

    /// Ends a call that its function did not come back from: its caller learns that
    /// it died.
    pub fn abandon<E: Environment>(&self, environment: &E, me: Participant, taken: Taken) {
        let head = self.memory.head(taken.cell);
        for _ in 0..FLAG_ATTEMPTS {
            let seen = CellWord::from_word(head.word.load(Relaxed));
            let done = !taken.is_run_by(me, seen)
                || if seen.is_orphan() {
                    self.free(environment, taken.cell, seen)
                } else {
                    self.hand_over(environment, taken.cell, seen, State::Died)
                };
            if done {
                return;
            }
        }
    }

    /// Moves a running call to `state`, its caller's again; `false` if its flags
    /// have changed since it was `seen`.
    pub(super) fn hand_over<E: Environment>(
        &self,
        environment: &E,
        cell: u32,
        seen: CellWord,
        state: State,
    ) -> bool {
        let head = self.memory.head(cell);
        let next = seen
            .moved(state, head.caller.load(Relaxed))
            .without_waiting();
        // SYNC finish ↔ see: the response must be seen with it.
        let release = TunnelSite::Finish.order(Release);
        if head
            .word
            .compare_exchange(seen.word(), next.word(), release, Relaxed)
            .is_err()
        {
            return false;
        }
        environment.step(Step::HandedOver);
        if seen.is_waiting() {
            environment.wake_all(&head.word);
        }
        true
    }
}
