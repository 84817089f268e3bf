//! The caller's side.

use super::{CellWord, FLAG_ATTEMPTS, Outcome, Part, State, Tunnel, TunnelMemory, arm};
use crate::codec::Encoding;
use crate::environment::{Environment, Step};
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::TunnelSite;

/// A cell that is mine to put arguments in. It has to be given on by
/// [`submit`](Tunnel::submit) or back by [`discard`](Tunnel::discard).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a draft that is dropped keeps its cell until the process ends"]
pub struct Draft {
    cell: u32,
    word: CellWord,
}

/// A call that was made, for its caller to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    cell: u32,
    generation: u32,
    ticket: u32,
}

#[cfg(all(test, not(robot_ipc_loom)))]
impl Call {
    /// Which use of its cell it is.
    pub(super) fn generation(self) -> u32 {
        self.generation
    }
}

/// Why there is no cell for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftError {
    /// The function has been removed.
    Retired,
    /// All cells are in use. Try again.
    Full,
}

/// Why a call was not made. The draft is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The function has been removed.
    Retired,
    /// The words in memory contradict each other.
    Corrupt,
}

/// Where a call is, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nobody has taken it yet.
    Queued(CellWord),
    /// It is running.
    Running(CellWord),
    /// The response is in.
    Done(Outcome, Part),
    /// Its dispatcher died while it ran: it may or may not have done its work.
    Died,
    /// It ended without a response.
    Ended,
    /// The words in memory contradict each other.
    Corrupt,
}

/// What came of withdrawing a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// It will never start.
    NeverStarted,
    /// It is running; its response will be discarded.
    Running,
    /// It had ended; its response is discarded.
    Ended,
    /// The words in memory contradict each other.
    Corrupt,
}

impl Draft {
    /// In which cell it lies.
    #[must_use]
    pub fn cell(&self) -> u32 {
        self.cell
    }
}

impl<M: TunnelMemory> Tunnel<M> {
    /// Takes a free cell.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn draft<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
    ) -> Result<Draft, DraftError> {
        self.draft_from(environment, me, 0)
    }

    /// As [`draft`](Tunnel::draft), the first free cell from `first` on. A caller that
    /// waits for each response best takes the cell that it had, and one that waits for
    /// none the next one.
    ///
    /// # Errors
    /// [`DraftError`].
    pub fn draft_from<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        first: u32,
    ) -> Result<Draft, DraftError> {
        if self.is_retired() {
            return Err(DraftError::Retired);
        }
        let count = self.memory.cell_count();
        let first = if first < count { first } else { 0 };
        for cell in (first..count).chain(0..first) {
            if cell == first {
                self.memory.expect_change(cell);
            }
            let word = &self.memory.head(cell).word;
            let seen = CellWord::from_word(word.load(Relaxed));
            if seen.state() != Some(State::Free) {
                continue;
            }
            let mine = CellWord::new(State::Writing, me.claim(), seen.generation() + 1);
            // SYNC draft ↔ free: nothing is put in before the last user is done.
            let acquire = TunnelSite::Draft.order(Acquire);
            if word
                .compare_exchange(seen.word(), mine.word(), acquire, Relaxed)
                .is_ok()
            {
                environment.step(Step::Drafted);
                return Ok(Draft { cell, word: mine });
            }
        }
        Err(DraftError::Full)
    }

    /// Copies `bytes` into a draft's arguments at `offset`; what lies past the
    /// largest size is left out, and is refused by whoever takes a length.
    pub fn fill_argument(&self, draft: &Draft, offset: usize, bytes: &[u8]) {
        let room = (self.memory.max_argument_size() as usize).saturating_sub(offset);
        self.memory
            .fill_argument(draft.cell, offset, &bytes[..bytes.len().min(room)]);
    }

    /// Hands a filled draft over. `one_way`: nobody wants a response, and the
    /// call is delivered even if its caller dies.
    ///
    /// # Errors
    /// [`SubmitError`], and the draft again, to be discarded.
    pub fn submit<E: Environment>(
        &self,
        environment: &E,
        me: Participant,
        draft: Draft,
        argument: Part,
        one_way: bool,
    ) -> Result<Call, (SubmitError, Draft)> {
        if self.is_retired() {
            return Err((SubmitError::Retired, draft));
        }
        let head = self.memory.head(draft.cell);
        let length = argument.length.min(self.memory.max_argument_size());
        let time_ns = environment.write_time_ns();
        head.caller.store(me.claim(), Relaxed);
        head.argument_length.store(length, Relaxed);
        head.argument_encoding.store(argument.encoding.0, Relaxed);
        head.time_ns[0].store(time_ns as u32, Relaxed);
        head.time_ns[1].store((time_ns >> 32) as u32, Relaxed);
        // As late as possible: what is submitted before another one begins must
        // have the smaller ticket.
        // SYNC ticket ↔ tickets: who counts this one sees at least that the cell is
        // being filled.
        let release = TunnelSite::Ticket.order(Release);
        let ticket = self.memory.tickets().fetch_add(1, release);
        head.ticket.store(ticket, Relaxed);
        environment.step(Step::Ticketed);
        let ready = draft.word.moved(State::Ready, me.claim());
        let ready = if one_way { ready.with_orphan() } else { ready };
        // SYNC submit ↔ scan, take: all of the above must be seen with it.
        let release = TunnelSite::Submit.order(Release);
        let swapped = head
            .word
            .compare_exchange(draft.word.word(), ready.word(), release, Relaxed);
        if swapped.is_err() {
            return Err((SubmitError::Corrupt, draft));
        }
        environment.step(Step::Submitted);
        self.ring(environment, self.memory.bell());
        environment.step(Step::Rung);
        Ok(Call {
            cell: draft.cell,
            generation: draft.word.generation(),
            ticket,
        })
    }

    /// Gives a draft back.
    pub fn discard<E: Environment>(&self, environment: &E, draft: Draft) {
        self.free(environment, draft.cell, draft.word);
    }

    /// The word of a call's cell; `None` if the cell is free, or another call's by now.
    /// The generation alone would tell that for 2^19 uses of the cell only.
    fn see_own(&self, call: Call) -> Option<CellWord> {
        let seen = self.see(call.cell);
        let is_own = seen.generation() == call.generation
            && !matches!(seen.state(), Some(State::Free | State::Writing))
            && self.memory.head(call.cell).ticket.load(Relaxed) == call.ticket;
        let is_own = is_own || !TunnelSite::Own.present();
        is_own.then_some(seen)
    }

    /// Where a call is.
    pub fn progress(&self, call: Call) -> Progress {
        let Some(seen) = self.see_own(call) else {
            return Progress::Ended;
        };
        match seen.state() {
            Some(State::Ready) => Progress::Queued(seen),
            Some(State::Running) => Progress::Running(seen),
            Some(State::Done) => {
                let head = self.memory.answer(call.cell);
                let outcome = Outcome(head.outcome.load(Relaxed));
                let length = head.length.load(Relaxed);
                let part = Part {
                    length: outcome.length(length, self.memory.max_response_size()),
                    encoding: Encoding(head.encoding.load(Relaxed)),
                };
                Progress::Done(outcome, part)
            }
            Some(State::Died) => Progress::Died,
            Some(State::Free | State::Writing) | None => Progress::Corrupt,
        }
    }

    /// Whether a call's dispatcher says that it is about to end. Who waits looks at this,
    /// and only then, or now and then, whether it [has ended](Tunnel::has_ended): the
    /// dispatcher would have to fetch the cell's word back otherwise.
    #[inline]
    pub fn is_about_to_end(&self, call: Call) -> bool {
        let ticket = self.memory.answer(call.cell).ticket.load(Relaxed);
        if ticket == call.ticket {
            self.memory.expect_change(call.cell);
        }
        ticket == call.ticket
    }

    /// Whether a call is neither queued nor running any more.
    pub fn has_ended(&self, call: Call) -> bool {
        let goes_on = |seen: CellWord| matches!(seen.state(), Some(State::Ready | State::Running));
        !self.see_own(call).is_some_and(goes_on)
    }

    /// The claim of the dispatcher that runs a call.
    #[must_use]
    pub fn runner(seen: CellWord) -> Option<Participant> {
        Participant::from_claim(seen.who())
    }

    /// Sets the waiting bit of a call that was seen queued or running; the word
    /// and value to sleep on, or `None` if it has changed. Who would not wait for a
    /// removed function looks at [`is_retired`](Tunnel::is_retired) after it, not
    /// only before.
    pub fn arm_for_response(&self, call: Call, seen: CellWord) -> Option<u32> {
        arm(
            &self.memory.head(call.cell).word,
            seen.word(),
            seen.with_waiting().word(),
        )
    }

    /// The word to sleep on for a call.
    pub fn word_of(&self, call: Call) -> &crate::sync::AtomicU32 {
        &self.memory.head(call.cell).word
    }

    /// Copies the beginning of a response that is in, as much as fits.
    pub fn copy_response(&self, call: Call, buffer: &mut [u8]) {
        let length = buffer.len().min(self.memory.max_response_size() as usize);
        self.memory.copy_response(call.cell, &mut buffer[..length]);
    }

    /// Lets go of a call that is done or died; `false` if it is neither.
    pub fn forget<E: Environment>(&self, environment: &E, call: Call) -> bool {
        let own = self.see_own(call);
        let ended = |seen: &CellWord| matches!(seen.state(), Some(State::Done | State::Died));
        own.filter(ended)
            .is_some_and(|seen| self.free(environment, call.cell, seen))
    }

    /// Takes a call back that has not started; `false` if it has, or has ended.
    pub fn unqueue<E: Environment>(&self, environment: &E, call: Call) -> bool {
        let own = self.see_own(call);
        own.filter(|seen| seen.state() == Some(State::Ready))
            .is_some_and(|seen| self.free(environment, call.cell, seen))
    }

    /// Takes a call back: it never starts later, and its response is discarded.
    pub fn withdraw<E: Environment>(&self, environment: &E, call: Call) -> Withdrawal {
        for _ in 0..FLAG_ATTEMPTS {
            let Some(seen) = self.see_own(call) else {
                return Withdrawal::Ended;
            };
            match seen.state() {
                Some(State::Ready) => {
                    if self.free(environment, call.cell, seen) {
                        return Withdrawal::NeverStarted;
                    }
                }
                Some(State::Done | State::Died) => {
                    if self.free(environment, call.cell, seen) {
                        return Withdrawal::Ended;
                    }
                }
                Some(State::Running) => {
                    let orphan = seen.with_orphan().without_waiting();
                    // Relaxed: it hands nothing over; the dispatcher's own swap
                    // sees it.
                    let word = &self.memory.head(call.cell).word;
                    if word
                        .compare_exchange(seen.word(), orphan.word(), Relaxed, Relaxed)
                        .is_ok()
                    {
                        if seen.is_waiting() {
                            // Another thread of its caller: it waits for nothing.
                            environment.wake_all(word);
                        }
                        return Withdrawal::Running;
                    }
                }
                Some(State::Free | State::Writing) | None => return Withdrawal::Corrupt,
            }
        }
        Withdrawal::Corrupt
    }
}
