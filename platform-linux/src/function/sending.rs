//! Putting a call into a cell, and waiting for one.

use super::Mapped;
use super::caller::HostFunctionCaller;
use super::outstanding::{self, Outstanding, Sent};
use crate::error::{CellHolder, CellHolders, Error, Reason, Result};
use crate::segment::{Quota, Registration};
use crate::{clock, futex};
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant};
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{
    self, Draft, DraftError, Part, State, SubmitError, TunnelGeometry, TunnelMemory,
};
use std::time::{Duration, Instant};

/// How long all cells that a process may have have to hold answers that it does not
/// fetch before it is told so.
const UNFETCHED_PATIENCE: Duration = Duration::from_millis(100);

/// How often it pauses before it looks again whether a cell is free: for a quarter of a
/// microsecond in all.
const PAUSES: u32 = 8;

/// Who served a function so long ago is taken to serve it when a call is made.
const LATELY: Duration = Duration::from_millis(250);

impl HostFunctionCaller {
    /// Puts arguments into a cell.
    pub(crate) fn send(&self, bytes: &[u8], encoding: Encoding, timeout: Duration) -> Result<Sent> {
        let max_argument_size = self.segment.geometry().max_argument_size();
        let Some(length) = u32::try_from(bytes.len())
            .ok()
            .filter(|length| *length <= max_argument_size)
        else {
            return Err(self.error(Reason::ArgumentsTooLarge {
                size: bytes.len() as u64,
                max_argument_size,
            }));
        };
        self.send_filled(encoding, timeout, |core, draft| {
            core.fill_argument(draft, 0, bytes);
            Ok(length)
        })
    }

    /// As [`send`](HostFunctionCaller::send); `fill` puts the arguments in and returns
    /// how many bytes they are.
    pub(super) fn send_filled(
        &self,
        encoding: Encoding,
        timeout: Duration,
        fill: impl FnOnce(&Mapped<'_>, &Draft) -> Result<u32>,
    ) -> Result<Sent> {
        let me = self.segment.registration("call it")?;
        let core = self.core();
        let system = self.segment.system();
        let mut waited_since = None;
        let Drafted { draft, number } = match self.try_draft(me) {
            Ok(drafted) => drafted,
            Err(_) => self.wait_for_draft(me, timeout, &mut waited_since)?,
        };
        // Filling runs code of the value's own, which may fail or panic: the cell goes
        // back then.
        let draft = Discarded {
            caller: self,
            draft: Some(draft),
        };
        let length = draft.fill(|draft| fill(&core, draft))?;
        let part = Part { length, encoding };
        let one_way = self.is_one_way();
        // Held while the call is made, so that the list is in the order of the calls.
        let mut outstanding = (!one_way).then(|| self.outstanding());
        let was_served = outstanding.as_deref_mut();
        let was_served = was_served.is_some_and(|known| self.was_served_lately(known));
        let submitted = core.submit(&system, me.participant, draft.take(), part, one_way);
        let call = match submitted {
            Ok(call) => call,
            Err((error, draft)) => return Err(self.give_back(draft, error)),
        };
        let Some(outstanding) = &mut outstanding else {
            return Ok(Sent {
                id: outstanding::first_id() + number,
                call: None,
                waited_since,
            });
        };
        let has_ended = |call| core.progress(call) == tunnel::Progress::Ended;
        Ok(Sent {
            id: outstanding.push(call, was_served, has_ended),
            call: Some(call),
            waited_since,
        })
    }

    #[cold]
    fn give_back(&self, draft: Draft, error: SubmitError) -> Error {
        self.core().discard(&self.segment.system(), draft);
        self.error(match error {
            SubmitError::Retired => Reason::Retired,
            SubmitError::Corrupt => Reason::Corrupt,
        })
    }

    /// Whether somebody serves the function, or did when it was asked last.
    fn was_served_lately(&self, outstanding: &mut Outstanding) -> bool {
        let now = clock::coarse_now();
        let is_lately = |since: Duration| now.saturating_sub(since) < LATELY;
        if outstanding.served_at.is_some_and(is_lately) {
            return true;
        }
        let is_served = self.segment.is_served_within(Duration::ZERO);
        outstanding.served_at = is_served.then_some(now);
        is_served
    }

    /// A cell for a call; waits for one, and tells since when if it has to.
    #[cold]
    fn wait_for_draft(
        &self,
        me: &Registration<TunnelGeometry>,
        timeout: Duration,
        waited_since: &mut Option<Instant>,
    ) -> Result<Drafted> {
        let core = self.core();
        let system = self.segment.system();
        let start = *waited_since.insert(Instant::now());
        let mut has_looked = false;
        let mut turn = None;
        loop {
            let heard = core.listen_for_room();
            let look_again = match self.try_draft(me) {
                Ok(drafted) => return Ok(drafted),
                Err(NoDraft::Failed(reason)) => return Err(self.error(reason)),
                Err(NoDraft::Full(time)) => time,
            };
            if !has_looked {
                has_looked = true;
                // Perhaps the dead are in the way.
                core.reap_all(&system, me.participant);
                continue;
            }
            let waited = start.elapsed();
            if waited >= timeout {
                // Without its name nobody can ask who of them is dead.
                self.segment.check_name()?;
                return Err(self.error(Reason::TunnelFull {
                    cells: self.cells(),
                    holders: self.holders(),
                }));
            }
            let changed = |_| {
                // Not all the time: whoever frees a cell has to fetch the word back for
                // each, and one free cell is no use to who makes many calls.
                self.room_spin.pause_often(PAUSES);
                let now = core.listen_for_room();
                !now.is_as_often_rung_as(heard)
            };
            let turn = turn.get_or_insert_with(|| self.room_spin.turn(timeout));
            if turn.until(changed) {
                continue;
            }
            let Some(armed) = core.arm_for_room(heard) else {
                continue;
            };
            if core.is_retired() {
                return Err(self.error(Reason::Retired));
            }
            let time = look_again.min(timeout - waited);
            let wakened = futex::wait(core.memory().room(), armed, time);
            match wakened.map_err(|errno| self.error(Reason::system("wait")(errno)))? {
                futex::Wakened::BySignal => return Err(self.error(Reason::Interrupted)),
                futex::Wakened::LookAgain => {}
            }
            if start.elapsed() - waited >= futex::SLICE {
                core.reap_all(&system, me.participant);
                self.check_name_now_and_then(&mut self.outstanding())?;
            }
        }
    }

    /// A cell, if one is free and this process may have another one.
    #[inline]
    fn try_draft(&self, me: &Registration<TunnelGeometry>) -> Result<Drafted, NoDraft> {
        me.local.quota.with(|own| {
            let quota = self.cells().saturating_sub(2).max(1);
            if own.taken >= quota {
                self.count_own(me, own, quota)?;
            }
            let core = self.core();
            let system = self.segment.system();
            match core.draft_from(&system, me.participant, own.next_cell) {
                Ok(draft) => {
                    // Who waits for an answer has the cell at hand; who does not best leaves
                    // it to the dispatcher.
                    own.next_cell = draft.cell() + u32::from(self.is_one_way());
                    own.taken += 1;
                    own.drafts += 1;
                    own.stuck_since = None;
                    let number = own.drafts;
                    Ok(Drafted { draft, number })
                }
                Err(DraftError::Full) => Err(NoDraft::Full(futex::SLICE)),
                Err(DraftError::Retired) => Err(NoDraft::Failed(Reason::Retired)),
            }
        })
    }

    /// Counts the cells of this process; an error if it has as many as it may have.
    #[cold]
    fn count_own(
        &self,
        me: &Registration<TunnelGeometry>,
        own: &mut Quota,
        quota: u32,
    ) -> Result<(), NoDraft> {
        // Those it counted may have been given back since.
        let core = self.core();
        let mine = core
            .cells()
            .filter(|cell| cell.state != State::Free && cell.caller == Some(me.participant));
        let (mut count, mut unfetched) = (0, 0);
        for cell in mine {
            count += 1;
            unfetched += u32::from(matches!(cell.state, State::Done | State::Died));
        }
        own.taken = count;
        if count < quota {
            return Ok(());
        }
        if unfetched < count {
            return Err(NoDraft::Full(futex::SLICE));
        }
        // Another thread may be about to fetch its answer.
        let fetches = me.local.fetches.load(Relaxed);
        let stuck = own.stuck_since.filter(|(_, before)| *before == fetches);
        let (since, _) = *own
            .stuck_since
            .insert(stuck.unwrap_or((Instant::now(), fetches)));
        Err(match UNFETCHED_PATIENCE.checked_sub(since.elapsed()) {
            Some(left) => NoDraft::Full(left),
            None => NoDraft::Failed(Reason::Unfetched { count }),
        })
    }

    /// Whose calls fill the cells, the busiest first.
    fn holders(&self) -> CellHolders {
        let mut found = [(0u32, 0u32); MAX_PARTICIPANTS as usize];
        for cell in self.core().cells() {
            if let Some(caller) = cell.caller.filter(|_| cell.state != State::Free) {
                let (cells, unfetched) = &mut found[caller.index() as usize];
                *cells += 1;
                *unfetched += u32::from(matches!(cell.state, State::Done | State::Died));
            }
        }
        let mut holders = CellHolders::new();
        while let Some((index, (cells, unfetched))) = found
            .iter()
            .copied()
            .enumerate()
            .max_by_key(|(_, (cells, _))| *cells)
            .filter(|(_, (cells, _))| *cells > 0)
        {
            let pid = Participant::new(index as u32).map_or(0, |caller| self.segment.pid(caller));
            let holder = CellHolder {
                pid,
                cells,
                unfetched,
            };
            if holders.push(holder).is_err() {
                break;
            }
            found[index].0 = 0;
        }
        holders
    }
}

/// A cell for a call.
struct Drafted {
    draft: Draft,
    /// How many cells this process has ever taken, with this one.
    number: u64,
}

/// Why there is no cell for a call.
enum NoDraft {
    /// None is free, or this process has as many as it may have: wait, and look again
    /// after so long.
    Full(Duration),
    /// Waiting is no use.
    Failed(Reason),
}

/// A cell that goes back unless it is taken out.
struct Discarded<'a> {
    caller: &'a HostFunctionCaller,
    draft: Option<Draft>,
}

impl Discarded<'_> {
    fn fill(&self, fill: impl FnOnce(&Draft) -> Result<u32>) -> Result<u32> {
        match &self.draft {
            Some(draft) => fill(draft),
            None => Ok(0),
        }
    }

    fn take(mut self) -> Draft {
        match self.draft.take() {
            Some(draft) => draft,
            None => unreachable!("it is taken once"),
        }
    }
}

impl Drop for Discarded<'_> {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            let system = self.caller.segment.system();
            self.caller.core().discard(&system, draft);
        }
    }
}
