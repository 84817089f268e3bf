//! Calling a function.

use super::options::{FunctionOptions, sizes};
use super::outstanding::{Entry, Outstanding, Which};
use super::{Mapped, TunnelSegment, TypedCaller, serving};
use crate::error::{CellHolder, CellHolders, Error, FunctionSizes, Reason, Result, Stage};
use crate::fork::PerProcess;
use crate::futex;
use crate::segment::Registration;
use crate::shm::Subject;
use crate::spinning::Spin;
use core::convert::Infallible;
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::codec::{Codec, Encoding};
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant};
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{
    self, Call, CellWord, Draft, DraftError, Outcome, Part, State, SubmitError, Tunnel,
    TunnelGeometry, TunnelMemory, Withdrawal,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long nobody may serve a function before its callers are told.
const NOT_SERVED_PATIENCE: Duration = Duration::from_secs(1);
/// How long all cells that a process may have have to hold answers that it does not
/// fetch before it is told so.
const UNFETCHED_PATIENCE: Duration = Duration::from_millis(100);
/// How often who waits looks whether the name still leads to its segment.
const NAME_INTERVAL: Duration = Duration::from_secs(2);

/// A function of another process, or of this one, to be called.
///
/// Calls go into cells of shared memory; the call itself returns at once, and the
/// response is fetched later. One handle can be used by many threads at once. Dropping
/// it withdraws its calls: none of them starts later. In a forked child it has no calls
/// yet.
///
/// ```
/// use robot_ipc::{FunctionOptions, HostFunctionDispatcher};
/// use std::time::Duration;
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = FunctionOptions::new().place(place.clone());
/// let dispatcher = HostFunctionDispatcher::new(1)?;
/// dispatcher.add_with(&options, "double", |arguments: &[u8]| arguments.repeat(2))?;
/// dispatcher.start()?;
///
/// let double = options.open("double")?;
/// let answer = double.call_within(b"ab", Duration::from_secs(5))?;
/// assert_eq!(answer.unwrap().bytes, b"abab");
/// # double.remove(Duration::from_secs(1))
/// # }
/// ```
#[derive(Debug)]
pub struct HostFunctionCaller {
    segment: Arc<TunnelSegment>,
    lost_calls: u32,
    send_timeout: Duration,
    spin: Spin,
    room_spin: Spin,
    outstanding: PerProcess<Mutex<Outstanding>>,
}

/// What a function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How they were made.
    pub encoding: Encoding,
}

/// What a function returned, its bytes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePart {
    /// How many bytes.
    pub length: usize,
    /// How they were made.
    pub encoding: Encoding,
}

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No dispatcher has taken it yet.
    Queued,
    /// It is running.
    Running,
    /// It has ended, in whichever way.
    Ended,
}

/// What came of a call, its bytes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The function returned something: so many bytes.
    Value(Part),
    /// It raised an error: so many bytes describe it.
    Raised(Part),
    /// It returned nothing.
    Nothing,
}

/// Where the bytes of a response go.
pub(crate) enum Buffer<'a> {
    /// As many as there are.
    Grows(&'a mut Vec<u8>),
    /// As many as fit, or none.
    Fixed(&'a mut [u8]),
}

impl Buffer<'_> {
    fn place(&mut self, length: usize) -> Option<&mut [u8]> {
        match self {
            Buffer::Grows(bytes) => {
                bytes.clear();
                bytes.resize(length, 0);
                Some(bytes)
            }
            Buffer::Fixed(bytes) => bytes.get_mut(..length),
        }
    }
}

/// What one look at the calls has shown.
enum Look {
    /// The call of that number (0: none) has come to this.
    Ended(u64, Result<Received>),
    /// It goes on.
    GoesOn(Pending),
}

/// Why a wait was over.
enum Waited {
    /// The call may have moved, or a slice has passed.
    GoOn,
    /// There is no time left.
    TimeIsUp,
}

/// A call that has not ended.
#[derive(Clone, Copy)]
struct Pending {
    id: u64,
    call: Call,
    seen: CellWord,
    is_running: bool,
}

impl HostFunctionCaller {
    /// Opens the function `name` with default options: for arguments and responses of
    /// up to 4096 bytes. Nobody has to serve it yet.
    ///
    /// # Errors
    /// As [`FunctionOptions::open`].
    pub fn open(name: &str) -> Result<HostFunctionCaller> {
        FunctionOptions::new().open(name)
    }

    pub(super) fn new(
        segment: Arc<TunnelSegment>,
        lost_calls: u32,
        options: &FunctionOptions,
    ) -> Self {
        let caller = HostFunctionCaller {
            segment,
            lost_calls,
            send_timeout: options.send_timeout,
            spin: Spin::new(options.spin),
            room_spin: Spin::new(options.spin),
            outstanding: PerProcess::new(),
        };
        // Allocated now, and not by the first call.
        drop(caller.outstanding());
        caller
    }

    /// This function for arguments and answers of one type each.
    #[must_use]
    pub fn typed<A: Codec, R: Codec>(self) -> TypedCaller<A, R> {
        TypedCaller::new(self)
    }

    pub(crate) fn core(&self) -> Mapped<'_> {
        self.segment.object()
    }

    pub(crate) fn error(&self, reason: Reason) -> Error {
        self.segment.error(reason)
    }

    /// Its name and file.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        self.segment.subject()
    }

    /// How many bytes arguments and responses can have.
    #[must_use]
    pub fn sizes(&self) -> FunctionSizes {
        sizes(&self.segment.geometry())
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> u32 {
        self.segment.geometry().cell_count()
    }

    /// How many one-way calls were queued in the function of other sizes that opening
    /// this one replaced.
    #[must_use]
    pub fn lost_calls(&self) -> u32 {
        self.lost_calls
    }

    /// Whether calls are one-way: nothing comes back.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.segment.geometry().max_response_size() == 0
    }

    fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        let mine = self.outstanding.get().unwrap_or_else(|| {
            let make = |_: &_| Ok::<_, Infallible>(Mutex::new(Outstanding::new()));
            let Ok(mine) = self.outstanding.get_or_try_make(make);
            mine
        });
        mine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ------------------------------------------------------------------- call

    /// Calls the function with `arguments`, and returns once they lie in a cell: it
    /// does not wait for the function.
    ///
    /// # Errors
    /// They are too many bytes, no cell came free within the send timeout, or the
    /// function was removed. Nothing was sent then.
    pub fn call(&self, arguments: &[u8]) -> Result<PendingCall<'_>> {
        self.call_encoded(arguments, Encoding::RAW)
    }

    /// As [`call`](HostFunctionCaller::call), for bytes that another codec made.
    ///
    /// # Errors
    /// As `call`.
    pub fn call_encoded(&self, arguments: &[u8], encoding: Encoding) -> Result<PendingCall<'_>> {
        let id = self.send(arguments, encoding, self.send_timeout)?;
        Ok(PendingCall { caller: self, id })
    }

    /// Calls the function and waits for its response; `None` if it returns nothing.
    ///
    /// # Errors
    /// As [`call`](HostFunctionCaller::call) and [`PendingCall::wait`]. If that ends by
    /// the time limit or by a signal, the call is withdrawn: it never starts later, and
    /// if it is running, nobody hears of its response.
    pub fn call_within(&self, arguments: &[u8], timeout: Duration) -> Result<Option<Response>> {
        let start = Instant::now();
        let limit = self.send_timeout.min(timeout);
        let id = self.send(arguments, Encoding::RAW, limit)?;
        let left = timeout.saturating_sub(start.elapsed());
        let response = self.response(Which::Number(id), Some(left));
        if response.is_err() {
            self.withdraw(id);
        }
        response
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        self.send_timeout
    }

    /// Puts arguments into a cell; the number of the call.
    pub(crate) fn send(&self, bytes: &[u8], encoding: Encoding, timeout: Duration) -> Result<u64> {
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
    ) -> Result<u64> {
        let me = self.segment.registration("call it")?;
        let core = self.core();
        let system = self.segment.system();
        let draft = self.draft_within(me, timeout)?;
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
        let mut outstanding = self.outstanding();
        let was_served = !one_way && self.segment.is_said_to_be_served();
        match core.submit(&system, me.participant, draft.take(), part, one_way) {
            Ok(_) if one_way => Ok(outstanding.next_number()),
            Ok(call) => Ok(outstanding.push(call, was_served, |call| {
                core.progress(call) == tunnel::Progress::Ended
            })),
            Err((error, draft)) => {
                core.discard(&system, draft);
                Err(self.error(match error {
                    SubmitError::Retired => Reason::Retired,
                    SubmitError::Corrupt => Reason::Corrupt,
                }))
            }
        }
    }

    /// A cell for a call; waits for one.
    fn draft_within(&self, me: &Registration<TunnelGeometry>, timeout: Duration) -> Result<Draft> {
        let core = self.core();
        let system = self.segment.system();
        let start = Instant::now();
        let mut has_looked = false;
        loop {
            let heard = core.listen_for_room();
            let look_again = match self.try_draft(me) {
                Ok(draft) => {
                    if has_looked {
                        self.room_spin.learn(start);
                    }
                    return Ok(draft);
                }
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
            let changed = || {
                let now = core.listen_for_room();
                !now.is_as_often_rung_as(heard)
            };
            if self.room_spin.until(start, changed) {
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
    fn try_draft(&self, me: &Registration<TunnelGeometry>) -> Result<Draft, NoDraft> {
        let core = self.core();
        let quota = self.cells().saturating_sub(2).max(1);
        let mut own = me
            .local
            .quota
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if own.taken >= quota {
            // Those it counted may have been given back since.
            let mine = core
                .cells()
                .filter(|cell| cell.state != State::Free && cell.caller == Some(me.participant));
            let (mut count, mut unfetched) = (0, 0);
            for cell in mine {
                count += 1;
                unfetched += u32::from(matches!(cell.state, State::Done | State::Died));
            }
            own.taken = count;
            if count >= quota && unfetched == count {
                // Another thread may be about to fetch its answer.
                let fetches = me.local.fetches.load(Relaxed);
                let stuck = own.stuck_since.filter(|(_, before)| *before == fetches);
                let (since, _) = *own
                    .stuck_since
                    .insert(stuck.unwrap_or((Instant::now(), fetches)));
                return Err(match UNFETCHED_PATIENCE.checked_sub(since.elapsed()) {
                    Some(left) => NoDraft::Full(left),
                    None => NoDraft::Failed(Reason::Unfetched { count }),
                });
            }
            if count >= quota {
                return Err(NoDraft::Full(futex::SLICE));
            }
        }
        match core.draft(&self.segment.system(), me.participant) {
            Ok(draft) => {
                own.taken += 1;
                Ok(draft)
            }
            Err(DraftError::Full) => Err(NoDraft::Full(futex::SLICE)),
            Err(DraftError::Retired) => Err(NoDraft::Failed(Reason::Retired)),
        }
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

    // --------------------------------------------------------------- response

    /// Waits for the response of the oldest call of this handle that may still bring
    /// one, for at most `timeout` (`None`: without end). Calls that ended without a
    /// response are passed over; if all have, it is `None` once. A time limit that is
    /// reached withdraws nothing: ask again.
    ///
    /// With one-way calls it is `None` at once.
    ///
    /// # Errors
    /// No call is outstanding; the function raised an error or returned too much; its
    /// dispatcher died, or there is none any more; the call was too old; the function
    /// was removed; nothing came in time, or a signal did.
    pub fn next_response(&self, timeout: Option<Duration>) -> Result<Option<Response>> {
        self.response(Which::Oldest, timeout)
    }

    /// As [`next_response`](HostFunctionCaller::next_response), into a buffer of one's
    /// own: nothing is allocated. A buffer that is too small loses nothing.
    ///
    /// # Errors
    /// As `next_response`; [`Reason::BufferTooSmall`].
    pub fn next_response_into(
        &self,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<Option<ResponsePart>> {
        self.response_into(Which::Oldest, buffer, timeout)
    }

    fn response_into(
        &self,
        which: Which,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<Option<ResponsePart>> {
        let (_, received) = self.receive(which, &mut Buffer::Fixed(&mut *buffer), timeout);
        match received? {
            Received::Value(part) => Ok(Some(ResponsePart {
                length: part.length as usize,
                encoding: part.encoding,
            })),
            Received::Raised(part) => Err(self.error(raised(&buffer[..part.length as usize]))),
            Received::Nothing => Ok(None),
        }
    }

    fn response(&self, which: Which, timeout: Option<Duration>) -> Result<Option<Response>> {
        let mut bytes = Vec::new();
        let (_, received) = self.receive(which, &mut Buffer::Grows(&mut bytes), timeout);
        match received? {
            Received::Value(part) => Ok(Some(Response {
                bytes,
                encoding: part.encoding,
            })),
            Received::Raised(_) => Err(self.error(raised(&bytes))),
            Received::Nothing => Ok(None),
        }
    }

    /// Waits until a call has ended; which one (0 if that makes no sense), and how.
    pub(crate) fn receive(
        &self,
        which: Which,
        buffer: &mut Buffer<'_>,
        timeout: Option<Duration>,
    ) -> (u64, Result<Received>) {
        if self.is_one_way() {
            return (0, Ok(Received::Nothing));
        }
        if let Which::Number(id) = which
            && !Outstanding::is_own(id)
        {
            let what = "the call";
            return (id, Err(self.error(Reason::Forked { what })));
        }
        let start = Instant::now();
        let mut has_waited = false;
        loop {
            let look = self.look(&mut self.outstanding(), which, buffer);
            let pending = match look {
                Look::Ended(id, received) => {
                    if has_waited {
                        self.spin.learn(start);
                    }
                    return (id, received);
                }
                Look::GoesOn(pending) => pending,
            };
            if !has_waited {
                has_waited = true;
                if let Err(error) = serving::check_not_alone(&self.segment) {
                    return (pending.id, Err(error));
                }
            }
            match self.wait_a_while(&pending, start, timeout) {
                Ok(Waited::GoOn) => {}
                Ok(Waited::TimeIsUp) => {
                    let last = self.look(&mut self.outstanding(), which, buffer);
                    return match last {
                        Look::Ended(id, received) => (id, received),
                        Look::GoesOn(pending) => {
                            let waited = start.elapsed();
                            let stage = self.stage(&pending);
                            let reason = Reason::CallTimedOut { waited, stage };
                            (pending.id, Err(self.error(reason)))
                        }
                    };
                }
                Err(error) => return (pending.id, Err(error)),
            }
        }
    }

    /// Waits until a call may have moved, for a slice at most.
    fn wait_a_while(
        &self,
        pending: &Pending,
        start: Instant,
        timeout: Option<Duration>,
    ) -> Result<Waited> {
        let core = self.core();
        let word = core.word_of(pending.call);
        let left = match timeout {
            None => Duration::MAX,
            Some(timeout) => timeout.saturating_sub(start.elapsed()),
        };
        if left > Duration::ZERO {
            let moved = || word.load(Relaxed) != pending.seen.word();
            if self.spin.until(start, moved) {
                return Ok(Waited::GoOn);
            }
            let Some(armed) = core.arm_for_response(pending.call, pending.seen) else {
                return Ok(Waited::GoOn);
            };
            if core.is_retired() {
                return self.end_as(pending, Reason::RetiredCall);
            }
            let wakened = futex::wait(word, armed, left);
            match wakened.map_err(|errno| self.error(Reason::system("wait")(errno)))? {
                futex::Wakened::BySignal => return Err(self.error(Reason::Interrupted)),
                futex::Wakened::LookAgain => {}
            }
            if word.load(Relaxed) != armed {
                return Ok(Waited::GoOn);
            }
        } else if core.is_retired() {
            return self.end_as(pending, Reason::RetiredCall);
        }
        self.look_around(&mut self.outstanding(), pending.id, start)?;
        Ok(match timeout {
            Some(timeout) if start.elapsed() >= timeout => Waited::TimeIsUp,
            _ => Waited::GoOn,
        })
    }

    /// Where a call is, for people.
    fn stage(&self, pending: &Pending) -> Stage {
        if pending.is_running {
            let runner = Tunnel::<tunnel::MappedTunnel<'_>>::runner(pending.seen);
            return Stage::Running {
                pid: runner.map_or(0, |runner| self.segment.pid(runner)),
            };
        }
        let server = self.segment.servers().next();
        server.map_or(Stage::NotServed, |server| Stage::Queued {
            pid: self.segment.pid(server),
        })
    }

    /// What has become of a call, and forgets it if it has ended.
    fn look(&self, outstanding: &mut Outstanding, which: Which, buffer: &mut Buffer<'_>) -> Look {
        let core = self.core();
        loop {
            let Some(index) = outstanding.position(which) else {
                let told = match which {
                    Which::Oldest if core::mem::take(&mut outstanding.something_ended) => {
                        Ok(Received::Nothing)
                    }
                    Which::Oldest => Err(self.error(Reason::NoCall)),
                    Which::Number(_) => Err(self.error(Reason::Reported)),
                };
                let id = match which {
                    Which::Oldest => 0,
                    Which::Number(id) => id,
                };
                return Look::Ended(id, told);
            };
            let entry = &outstanding.entries[index];
            let (id, call, is_abandoned) = (entry.id, entry.call, self.is_abandoned(entry));
            let pending = |seen, is_running| {
                Look::GoesOn(Pending {
                    id,
                    call,
                    seen,
                    is_running,
                })
            };
            let end = match core.progress(call) {
                tunnel::Progress::Queued(_)
                    if is_abandoned && core.unqueue(&self.segment.system(), call) =>
                {
                    Err(Reason::NotServed)
                }
                tunnel::Progress::Queued(seen) => return pending(seen, false),
                tunnel::Progress::Running(seen) => return pending(seen, true),
                tunnel::Progress::Ended if which == Which::Oldest => {
                    outstanding.entries.remove(index);
                    outstanding.something_ended = true;
                    continue;
                }
                tunnel::Progress::Ended => Ok(Received::Nothing),
                tunnel::Progress::Died => Err(Reason::DispatcherDied),
                tunnel::Progress::Corrupt => Err(Reason::Corrupt),
                tunnel::Progress::Done(outcome, part) => self.fetch(call, outcome, part, buffer),
            };
            if !matches!(end, Err(Reason::BufferTooSmall { .. })) {
                // Before its cell is free: who finds it taken compares this.
                if let Ok(me) = self.segment.registration("call it") {
                    me.local.fetches.fetch_add(1, Relaxed);
                }
                core.forget(&self.segment.system(), call);
                outstanding.entries.remove(index);
            }
            return Look::Ended(id, end.map_err(|reason| self.error(reason)));
        }
    }

    /// Copies a response that is in.
    fn fetch(
        &self,
        call: Call,
        outcome: Outcome,
        part: Part,
        buffer: &mut Buffer<'_>,
    ) -> Result<Received, Reason> {
        match outcome {
            Outcome::TOO_LARGE => {
                return Err(Reason::ResponseTooLarge {
                    size: part.length,
                    max_response_size: self.segment.geometry().max_response_size(),
                });
            }
            Outcome::TOO_OLD => {
                return Err(Reason::CallTooOld {
                    max_age: Duration::from_millis(part.length.into()),
                });
            }
            _ => {}
        }
        let Some(place) = buffer.place(part.length as usize) else {
            let size = match buffer {
                Buffer::Grows(bytes) => bytes.len(),
                Buffer::Fixed(bytes) => bytes.len(),
            };
            let needed = part.length;
            return Err(Reason::BufferTooSmall { size, needed });
        };
        self.core().copy_response(call, place);
        match outcome {
            Outcome::RETURNED => Ok(Received::Value(part)),
            // Whatever a newer version may report.
            _ => Ok(Received::Raised(part)),
        }
    }

    /// Looks who lives, if nobody has since `start`, or for a while: whoever runs the
    /// call, or serves the function at all.
    fn look_around(&self, outstanding: &mut Outstanding, id: u64, start: Instant) -> Result<()> {
        let now = Instant::now();
        let Some(index) = outstanding.position(Which::Number(id)) else {
            return Ok(());
        };
        let entry = &mut outstanding.entries[index];
        // Who polls only asks after a slice; who slept for less than that will again.
        let last = *entry.looked_at.get_or_insert(start);
        if now - last < futex::SLICE.mul_f32(0.7) {
            return Ok(());
        }
        entry.looked_at = Some(now);
        let core = self.core();
        let system = self.segment.system();
        match core.progress(entry.call) {
            tunnel::Progress::Running(seen) => {
                if let Some(runner) = Tunnel::<tunnel::MappedTunnel<'_>>::runner(seen) {
                    core.reap(&system, runner);
                }
            }
            tunnel::Progress::Queued(_) if entry.was_served => {
                if self.segment.servers().next().is_some() {
                    entry.not_served_since = None;
                } else {
                    entry.not_served_since.get_or_insert(now);
                }
            }
            tunnel::Progress::Queued(_) => {}
            _ => return Ok(()),
        }
        self.check_name_now_and_then(outstanding)
    }

    /// Whether nobody has served the function for a while, though somebody did when
    /// the call was made.
    fn is_abandoned(&self, entry: &Entry) -> bool {
        let is_over = |since: Instant| since.elapsed() >= NOT_SERVED_PATIENCE;
        entry.not_served_since.is_some_and(is_over) && self.segment.servers().next().is_none()
    }

    fn check_name_now_and_then(&self, outstanding: &mut Outstanding) -> Result<()> {
        let now = Instant::now();
        if now - outstanding.name_checked < NAME_INTERVAL {
            return Ok(());
        }
        outstanding.name_checked = now;
        self.segment.check_name()
    }

    /// Ends a call that nobody can answer any more, unless it has an answer already.
    fn end_as(&self, pending: &Pending, reason: Reason) -> Result<Waited> {
        let core = self.core();
        let mut outstanding = self.outstanding();
        let goes_on = matches!(
            core.progress(pending.call),
            tunnel::Progress::Queued(_) | tunnel::Progress::Running(_)
        );
        let index = outstanding.position(Which::Number(pending.id));
        match index.filter(|_| goes_on) {
            Some(index) => {
                outstanding.entries.remove(index);
                core.withdraw(&self.segment.system(), pending.call);
                Err(self.error(reason))
            }
            None => Ok(Waited::GoOn),
        }
    }

    /// Where the call of that number is; changes nothing.
    pub(crate) fn progress(&self, id: u64) -> Result<Progress> {
        if self.is_one_way() || !Outstanding::is_own(id) {
            return Ok(Progress::Ended);
        }
        let mut outstanding = self.outstanding();
        let Some(index) = outstanding.position(Which::Number(id)) else {
            return Ok(Progress::Ended);
        };
        let call = outstanding.entries[index].call;
        let is_under_way = || {
            matches!(
                self.core().progress(call),
                tunnel::Progress::Queued(_) | tunnel::Progress::Running(_)
            )
        };
        if is_under_way() {
            // Who only ever polls has to learn of a death, too.
            self.look_around(&mut outstanding, id, Instant::now())?;
            if self.core().is_retired() || self.is_abandoned(&outstanding.entries[index]) {
                // To be told to whoever asks for the response.
                return Ok(Progress::Ended);
            }
        }
        Ok(match self.core().progress(call) {
            tunnel::Progress::Queued(_) => Progress::Queued,
            tunnel::Progress::Running(_) => Progress::Running,
            _ => Progress::Ended,
        })
    }

    /// Takes the call of that number back.
    pub(crate) fn withdraw(&self, id: u64) -> Withdrawal {
        if self.is_one_way() || !Outstanding::is_own(id) {
            return Withdrawal::Ended;
        }
        let mut outstanding = self.outstanding();
        match outstanding.position(Which::Number(id)) {
            Some(index) => {
                let call = outstanding.entries[index].call;
                outstanding.entries.remove(index);
                self.core().withdraw(&self.segment.system(), call)
            }
            None => Withdrawal::Ended,
        }
    }

    /// Takes back all calls of this handle, as dropping it does.
    pub fn withdraw_all(&self) {
        // In a forked child there are none of its own, and its parent's stay.
        if let Some(mine) = self.outstanding.get() {
            let mut outstanding = mine.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in outstanding.entries.drain(..) {
                self.core().withdraw(&self.segment.system(), entry.call);
            }
        }
    }

    /// Removes the function from the machine: every handle on it fails from now on, and
    /// whoever opens the name gets a new one. Waits at most `timeout` for somebody else
    /// who is removing it.
    ///
    /// # Errors
    /// This process may not remove the file, or somebody else does and hangs.
    pub fn remove(&self, timeout: Duration) -> Result<()> {
        self.segment.retire(timeout)
    }
}

impl Drop for HostFunctionCaller {
    fn drop(&mut self) {
        self.withdraw_all();
    }
}

/// The error that `bytes` describe: text, up to the first NUL.
pub(crate) fn raised(bytes: &[u8]) -> Reason {
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = &bytes[..end.unwrap_or(bytes.len())];
    Reason::Raised {
        text: String::from_utf8_lossy(text).into_owned(),
    }
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

/// A call that was made. Dropping this does not withdraw it: its response can still be
/// fetched by [`HostFunctionCaller::next_response`].
#[derive(Clone, Copy, Debug)]
pub struct PendingCall<'a> {
    caller: &'a HostFunctionCaller,
    id: u64,
}

impl<'a> PendingCall<'a> {
    pub(super) fn new(caller: &'a HostFunctionCaller, id: u64) -> Self {
        PendingCall { caller, id }
    }

    /// Its number, unique in this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the response of this call, for at most `timeout` (`None`: without
    /// end); `None` if the function returned nothing. A time limit that is reached
    /// withdraws nothing: ask again.
    ///
    /// # Errors
    /// As [`next_response`](HostFunctionCaller::next_response); its end was told
    /// already.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Response>> {
        self.caller.response(Which::Number(self.id), timeout)
    }

    /// As [`wait`](PendingCall::wait), into a buffer of one's own: nothing is allocated.
    /// A buffer that is too small loses nothing.
    ///
    /// # Errors
    /// As `wait`; [`Reason::BufferTooSmall`].
    pub fn wait_into(
        &self,
        buffer: &mut [u8],
        timeout: Option<Duration>,
    ) -> Result<Option<ResponsePart>> {
        self.caller
            .response_into(Which::Number(self.id), buffer, timeout)
    }

    /// Where it is.
    ///
    /// # Errors
    /// The function's file was removed behind our back.
    pub fn progress(&self) -> Result<Progress> {
        self.caller.progress(self.id)
    }

    /// Takes the call back: it never starts later, and a response is discarded.
    pub fn cancel(self) -> Withdrawal {
        self.caller.withdraw(self.id)
    }
}
