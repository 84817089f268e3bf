//! Waiting for the end of a call.

use super::caller::{HostFunctionCaller, Progress};
use super::outstanding::{Entry, Outstanding, Sent, Which};
use super::serving;
use crate::error::{Reason, Result, Stage};
use crate::futex;
use crate::spinning::Turn;
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{self, Call, CellWord, MappedTunnel, Outcome, Part, Tunnel};
use std::time::{Duration, Instant};

/// How long nobody may serve a function before its callers are told.
const NOT_SERVED_PATIENCE: Duration = Duration::from_secs(1);
/// How often who waits looks whether the name still leads to its segment.
const NAME_INTERVAL: Duration = Duration::from_secs(2);

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

/// How long to wait for the end of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// `None`: without end.
    timeout: Option<Duration>,
    /// Since when; `None`: since it is first asked for. Reading the clock takes longer than
    /// many a wait.
    start: Option<Instant>,
}

impl From<Option<Duration>> for Limit {
    fn from(timeout: Option<Duration>) -> Self {
        let start = None;
        Limit { timeout, start }
    }
}

impl Limit {
    /// Such a time since `start`.
    pub(super) fn since(start: Option<Instant>, timeout: Duration) -> Limit {
        let timeout = Some(timeout);
        Limit { timeout, start }
    }

    /// Whether there is no time at all.
    fn is_none(&self) -> bool {
        self.timeout == Some(Duration::ZERO)
    }

    fn start(&mut self) -> Instant {
        *self.start.get_or_insert_with(Instant::now)
    }

    /// How much time is left.
    fn left(&mut self) -> Duration {
        match self.timeout {
            None => Duration::MAX,
            Some(timeout) => timeout.saturating_sub(self.start().elapsed()),
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
    /// Waits until a call has ended; which one (0 if that makes no sense), and how.
    pub(crate) fn receive(
        &self,
        which: Which,
        buffer: &mut Buffer<'_>,
        limit: impl Into<Limit>,
    ) -> (u64, Result<Received>) {
        let mut limit = limit.into();
        if self.is_one_way() {
            return (0, Ok(Received::Nothing));
        }
        if let Some(id) = which.number()
            && !Outstanding::is_own(id)
        {
            let what = "the call";
            return (id, Err(self.error(Reason::Forked { what })));
        }
        let mut turn = None;
        if !limit.is_none() {
            // The cell itself is looked at when there is something to see: until then its
            // dispatcher needs it.
            let call = match which {
                Which::Sent(Sent { call, .. }) => call,
                Which::Oldest | Which::Number(_) => {
                    let outstanding = self.outstanding();
                    let index = outstanding.position(which);
                    index.map(|index| outstanding.entries[index].call)
                }
            };
            if let Some(call) = call {
                let turn = turn.insert(self.spin.turn(limit.timeout.unwrap_or(Duration::MAX)));
                turn.at_once(self.has_ended(call));
            }
        }
        let mut is_first = true;
        loop {
            let look = self.look(&mut self.outstanding(), which, buffer);
            let pending = match look {
                Look::Ended(id, received) => return (id, received),
                Look::GoesOn(pending) => pending,
            };
            // Who does not wait may look.
            if core::mem::take(&mut is_first)
                && !limit.is_none()
                && let Err(error) = serving::check_not_alone(&self.segment)
            {
                return (pending.id, Err(error));
            }
            let turn = turn.get_or_insert_with(|| self.spin.turn(limit.left()));
            match self.wait_a_while(&pending, turn, &mut limit) {
                Ok(Waited::GoOn) => {}
                Ok(Waited::TimeIsUp) => {
                    let last = self.look(&mut self.outstanding(), which, buffer);
                    return match last {
                        Look::Ended(id, received) => (id, received),
                        Look::GoesOn(pending) => {
                            let waited = limit.start().elapsed();
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

    /// Whether a call has ended: looks at its word only when that is said to be about to
    /// change, and now and then.
    fn has_ended(&self, call: Call) -> impl Fn(u32) -> bool {
        let core = self.core();
        move |look| (core.is_about_to_end(call) || Turn::is_close(look)) && core.has_ended(call)
    }

    /// Waits until a call may have moved, for a slice at most.
    fn wait_a_while(
        &self,
        pending: &Pending,
        turn: &mut Turn<'_>,
        limit: &mut Limit,
    ) -> Result<Waited> {
        let core = self.core();
        let word = core.word_of(pending.call);
        let start = limit.start();
        let left = limit.left();
        if left > Duration::ZERO {
            if turn.until(self.has_ended(pending.call)) {
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
        } else if core.is_retired() {
            return self.end_as(pending, Reason::RetiredCall);
        }
        if self.look_around(&mut self.outstanding(), pending.id, start)? == Around::RunnerIsDead {
            return self.end_as(pending, Reason::DispatcherDied);
        }
        if !pending.is_running && !left.is_zero() {
            // The others that served it may have gone.
            serving::check_not_alone(&self.segment)?;
        }
        Ok(if limit.left().is_zero() {
            Waited::TimeIsUp
        } else {
            Waited::GoOn
        })
    }

    /// Where a call is, for people.
    fn stage(&self, pending: &Pending) -> Stage {
        if pending.is_running {
            let runner = Tunnel::<MappedTunnel<'_>>::runner(pending.seen);
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
                    _ => Err(self.error(Reason::Reported)),
                };
                return Look::Ended(which.number().unwrap_or(0), told);
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
            let mut end = match core.progress(call) {
                tunnel::Progress::Queued(_)
                    if is_abandoned && core.unqueue(&self.segment.system(), call) =>
                {
                    Err(Reason::NotServed)
                }
                tunnel::Progress::Queued(seen) => return pending(seen, false),
                tunnel::Progress::Running(seen) => return pending(seen, true),
                tunnel::Progress::Ended if which == Which::Oldest && !self.segment.is_lost() => {
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
                self.count_fetch();
                if !core.forget(&self.segment.system(), call) && self.segment.is_lost() {
                    // What was found may be zeros.
                    end = Err(Reason::RetiredCall);
                }
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
    fn look_around(
        &self,
        outstanding: &mut Outstanding,
        id: u64,
        start: Instant,
    ) -> Result<Around> {
        let now = Instant::now();
        let Some(index) = outstanding.position(Which::Number(id)) else {
            return Ok(Around::Nothing);
        };
        let entry = &mut outstanding.entries[index];
        // Who polls only asks after a slice; who slept for less than that will again.
        let last = *entry.looked_at.get_or_insert(start);
        if now - last < futex::SLICE.mul_f32(0.7) {
            return Ok(Around::Nothing);
        }
        entry.looked_at = Some(now);
        let core = self.core();
        let system = self.segment.system();
        match core.progress(entry.call) {
            tunnel::Progress::Running(seen) => {
                if let Some(runner) = Tunnel::<MappedTunnel<'_>>::runner(seen)
                    && !core.reap(&system, runner)
                    && !self.segment.lives(runner)
                {
                    // Somebody has its index: to recover it, or to be in the way.
                    return Ok(Around::RunnerIsDead);
                }
            }
            tunnel::Progress::Queued(_) => {
                if self.segment.is_served_within(Duration::ZERO) {
                    entry.not_served_since = None;
                } else if entry.was_served {
                    entry.not_served_since.get_or_insert(now);
                }
            }
            _ => return Ok(Around::Nothing),
        }
        self.check_name_now_and_then(outstanding)?;
        Ok(Around::Nothing)
    }

    /// Whether nobody has served the function for a while, though somebody did when
    /// the call was made.
    fn is_abandoned(&self, entry: &Entry) -> bool {
        let is_over = |since: Instant| since.elapsed() >= NOT_SERVED_PATIENCE;
        entry.not_served_since.is_some_and(is_over)
            && !self.segment.is_served_within(Duration::ZERO)
    }

    pub(super) fn check_name_now_and_then(&self, outstanding: &mut Outstanding) -> Result<()> {
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
            let around = self.look_around(&mut outstanding, id, Instant::now())?;
            if around == Around::RunnerIsDead
                || self.core().is_retired()
                || self.is_abandoned(&outstanding.entries[index])
            {
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
}

/// What is found by looking who lives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Nothing that ends the call.
    Nothing,
    /// Whoever runs the call is dead, and cannot be recovered at the moment.
    RunnerIsDead,
}

/// The error that `bytes` describe: text, up to the first NUL.
pub(crate) fn raised(bytes: &[u8]) -> Reason {
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = &bytes[..end.unwrap_or(bytes.len())];
    Reason::Raised {
        text: String::from_utf8_lossy(text).into_owned(),
    }
}
