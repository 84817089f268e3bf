//! A dispatcher's thread at work, whichever it is.
//!
//! It looks at the bells of all its functions, takes the oldest call of the first one
//! that has any (beginning behind the one it served last, or a few times in a row with that
//! very one: see `rounds`), and sleeps on all bells at once when there is none. Every slice
//! it looks at all functions, whether their bells have rung or not: whoever should have rung
//! may have died before it did.

// Flags of this process: nobody else sees them.
#![allow(clippy::disallowed_types)]

use super::doorbells::{Control, Listener, MAX_BELLS, has_wait_any, sleep_error};
use super::incoming::IncomingCall;
use super::rounds::{FEW_FUNCTIONS, Noted, Rounds};
use super::serving::{Serving, this_thread, work_for};
use super::{Mapped, TunnelSegment};
use crate::brief::BriefLock;
use crate::error::{Error, Reason, Result};
use crate::spinning::{Spin, Turn};
use crate::{clock, fork, futex};
use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{BellWord, Outcome, Part, Taken, TunnelMemory};
use rustix::io::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a dispatcher looks whether the names still lead to its functions, and
/// whether those who hold cells live.
const NAME_INTERVAL: Duration = Duration::from_secs(2);

/// Which of a dispatcher's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u64);

pub(super) type Callback = Box<dyn FnMut(IncomingCall) -> Result<()> + Send>;
pub(super) type OnError = Arc<dyn Fn(&Error) + Send + Sync>;

/// One function of a dispatcher.
pub(super) struct Function {
    pub(super) id: FunctionId,
    pub(super) segment: Arc<TunnelSegment>,
    pub(super) lost_calls: u32,
    pub(super) max_age: Option<Duration>,
    /// Of its dispatcher.
    pub(super) at_work: Arc<AtWork>,
    /// Where the arguments of the call that is being served lie.
    pub(super) arguments: BriefLock<Box<[u8]>>,
    pub(super) callback: Mutex<Option<Callback>>,
    pub(super) serving: Mutex<Option<Serving>>,
    pub(super) listener: Mutex<Option<Listener>>,
    pub(super) is_removed: AtomicBool,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("id", &self.id)
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Function {
    pub(super) fn tunnel(&self) -> Mapped<'_> {
        self.segment.object()
    }

    /// Not served any more, and never again.
    pub(super) fn remove(&self) {
        self.is_removed.store(true, Relaxed);
        lock(&self.serving).take();
        lock(&self.listener).take();
    }

    /// Whether a call is older than this function's calls may be.
    fn refuses(&self, taken: &Taken) -> Option<Duration> {
        let max_age = self.max_age?;
        let made = taken.time_ns();
        // A time that means nothing here tells nothing.
        let is_known = made != 0 && self.segment.has_same_clock();
        let age = Duration::from_nanos(clock::now_ns().saturating_sub(made));
        (is_known && age > max_age).then_some(max_age)
    }
}

/// Where a dispatcher is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Phase {
    /// Nobody has asked for a call yet.
    New,
    /// Its functions are served.
    Serving,
    /// It was stopped, and not started again.
    Stopped,
}

/// Which call a dispatcher is at work for.
#[derive(Debug, Default)]
pub(super) struct AtWork {
    /// The thread that has taken a call which has no reply yet, or 0.
    thread: AtomicUsize,
    /// A call was taken and has no reply yet.
    is_replying: AtomicBool,
}

impl AtWork {
    pub(super) fn has_taken(&self) {
        self.thread.store(this_thread(), Relaxed);
    }

    pub(super) fn has_replied(&self) {
        self.thread.store(0, Relaxed);
        self.is_replying.store(false, Relaxed);
    }
}

/// What a dispatcher and its thread share.
pub(super) struct Inner {
    pub(super) max_functions: usize,
    pub(super) one_word_sleep: AtomicBool,
    pub(super) spin: Spin,
    pub(super) on_error: Option<OnError>,
    pub(super) control: Arc<Control>,
    pub(super) functions: Mutex<Vec<Arc<Function>>>,
    pub(super) next_id: Mutex<u64>,
    /// Somebody is looking for a call.
    pub(super) is_looking: AtomicBool,
    /// Held by whoever does.
    pub(super) rounds: Mutex<Rounds>,
    pub(super) at_work: Arc<AtWork>,
    /// The thread that is inside a callback, or 0: also after the callback has replied.
    pub(super) in_callback: AtomicUsize,
    /// The dispatcher's own thread, or 0.
    pub(super) own_thread: AtomicUsize,
    /// A [`Phase`].
    pub(super) phase: AtomicU32,
    /// How often it was stopped.
    pub(super) stops: AtomicU32,
    pub(super) generation: u32,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("max_functions", &self.max_functions)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// Why there is no next call.
pub(crate) struct NoNextCall {
    pub(crate) error: Error,
    /// The function that cannot be served any more, if that is why.
    pub(crate) lost: Option<FunctionId>,
}

impl From<Error> for NoNextCall {
    fn from(error: Error) -> Self {
        NoNextCall { error, lost: None }
    }
}

/// What a look at all functions has come to.
enum Look {
    Call(IncomingCall),
    Quiet,
    /// There are calls that others may take; look again.
    Again,
}

impl Inner {
    /// Whether it serves the function in that segment.
    pub(super) fn serves(&self, segment: &TunnelSegment) -> bool {
        let is_it = |function: &Arc<Function>| function.segment.is_same_as(segment);
        lock(&self.functions).iter().any(is_it)
    }

    /// Whether the calling thread has taken a call that has no reply yet.
    pub(super) fn is_at_work_here(&self) -> bool {
        self.generation == fork::generation() && self.at_work.thread.load(Relaxed) == this_thread()
    }

    pub(super) fn check_generation(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        let what = "the dispatcher";
        Err(Error::without_subject(Reason::Forked { what }))
    }

    pub(super) fn is_in(&self, phase: Phase) -> bool {
        // Relaxed: the control word announces every change.
        self.phase.load(Relaxed) == phase as u32
    }

    /// From now on functions count as served.
    pub(super) fn resume(&self) -> Result<()> {
        self.phase.store(Phase::Serving as u32, Relaxed);
        self.prepare()?;
        self.control.ring();
        Ok(())
    }

    /// Makes every function known as served, and heard of.
    pub(super) fn prepare(&self) -> Result<()> {
        let functions = lock(&self.functions);
        let by_listeners = self.sleeps_on_one_word() || functions.len() > MAX_BELLS;
        for function in functions.iter() {
            let mut serving = lock(&function.serving);
            // Whoever stops it takes these away afterwards, under the same lock.
            if serving.is_none() && self.is_in(Phase::Serving) {
                *serving = Some(Serving::new(&function.segment)?);
            }
            let mut listener = lock(&function.listener);
            if listener.is_none() && by_listeners {
                *listener = Some(Listener::start(&function.segment, &self.control)?);
            }
        }
        Ok(())
    }

    fn sleeps_on_one_word(&self) -> bool {
        self.one_word_sleep.load(Relaxed) || !has_wait_any()
    }

    pub(super) fn stop(&self) {
        // Relaxed: as the phase.
        self.stops.fetch_add(1, Relaxed);
        self.phase.store(Phase::Stopped as u32, Relaxed);
        for function in lock(&self.functions).iter() {
            lock(&function.serving).take();
        }
        self.control.ring();
    }

    pub(super) fn take_out(&self, id: FunctionId) -> Option<Arc<Function>> {
        let mut functions = lock(&self.functions);
        let index = functions.iter().position(|function| function.id == id)?;
        let function = functions.remove(index);
        drop(functions);
        function.remove();
        // Nobody may look for a call again: then nobody else lets go of it.
        if let Ok(mut rounds) = self.rounds.try_lock() {
            rounds.functions.retain(|noted| noted.function.id != id);
        }
        self.control.ring();
        Some(function)
    }

    // -------------------------------------------------------------- next call

    pub(super) fn next_call(
        self: &Arc<Inner>,
        timeout: Option<Duration>,
    ) -> Result<IncomingCall, NoNextCall> {
        let (_looking, mut rounds) = self.begin_to_look()?;
        self.next_call_in(&mut rounds, timeout)
    }

    /// Makes sure that nobody else looks for a call meanwhile.
    fn begin_to_look(&self) -> Result<(Looking<'_>, MutexGuard<'_, Rounds>)> {
        self.check_generation()?;
        if self.is_looking.swap(true, Acquire) {
            return Err(Error::without_subject(Reason::Busy));
        }
        Ok((Looking(&self.is_looking), lock(&self.rounds)))
    }

    fn next_call_in(
        self: &Arc<Inner>,
        rounds: &mut Rounds,
        timeout: Option<Duration>,
    ) -> Result<IncomingCall, NoNextCall> {
        if self.at_work.is_replying.load(Relaxed) {
            return Err(Error::without_subject(Reason::Busy).into());
        }
        if core::mem::take(&mut rounds.has_slept) {
            // Who woke it for the last call may wait for its answer on this very processor.
            rustix::thread::sched_yield();
        }
        // Not if there is no limit: it takes longer than to find a call.
        let start = timeout.map(|timeout| (Instant::now(), timeout));
        // Not only behind a sleep: a busy one has to look around, too.
        self.look_around(rounds)?;
        let mut turn = None;
        let is_over_at_once = timeout == Some(Duration::ZERO);
        loop {
            let control = self.control.seen();
            if self.is_in(Phase::New) {
                // Not if it was stopped meanwhile.
                let (new, serving) = (Phase::New as u32, Phase::Serving as u32);
                let _ = self.phase.compare_exchange(new, serving, Relaxed, Relaxed);
            }
            let was_stopped = |before| before != self.stops.load(Relaxed);
            if self.is_in(Phase::Stopped) || rounds.stops.is_some_and(was_stopped) {
                return Err(Error::without_subject(Reason::Stopped).into());
            }
            if rounds.noted_at != Some(control) {
                self.note_functions(rounds, control)?;
            }
            // Not to look at all bells for each call of one function.
            let expects = !is_over_at_once && turn.is_none() && rounds.expects_last();
            let is_quiet = expects
                || match self.look(rounds)? {
                    Look::Call(call) => return Ok(call),
                    Look::Again => false,
                    Look::Quiet => true,
                };
            let left = match start {
                None => Duration::MAX,
                Some((start, timeout)) => timeout.saturating_sub(start.elapsed()),
            };
            if left.is_zero() && !rounds.functions.iter().any(|noted| noted.is_presumed) {
                let waited = start.map_or(Duration::ZERO, |(start, _)| start.elapsed());
                return Err(Error::without_subject(Reason::NothingToServe { waited }).into());
            }
            if !is_quiet {
                continue;
            }
            let heard = Cell::new(None);
            let functions = &rounds.functions;
            let (last, count) = (rounds.last_index(), functions.len());
            let one_has_rung = |index: usize| {
                let has_rung = functions.get(index).is_some_and(Noted::has_rung);
                if has_rung {
                    heard.set(Some(index));
                }
                has_rung
            };
            let changed = |look: u32| {
                self.control.seen() != control
                    || if count <= FEW_FUNCTIONS || Turn::is_close(look) {
                        (0..count).any(one_has_rung)
                    } else {
                        one_has_rung(last) || one_has_rung(look as usize % count)
                    }
            };
            let turn = turn.get_or_insert_with(|| self.spin.turn(left));
            if turn.at_once(changed) {
                rounds.heard = heard.get();
                continue;
            }
            if expects || rounds.functions.iter().any(|noted| noted.is_presumed) {
                // A look at all cells now would have taken them from those who were about
                // to call.
                for noted in rounds
                    .functions
                    .iter_mut()
                    .filter(|noted| noted.is_presumed)
                {
                    noted.forget();
                }
                continue;
            }
            if turn.until(changed) {
                rounds.heard = heard.get();
                continue;
            }
            rounds.has_slept = true;
            match self.sleep(rounds, control, left)? {
                futex::Wakened::BySignal => {
                    return Err(Error::without_subject(Reason::Interrupted).into());
                }
                futex::Wakened::LookAgain => self.look_around(rounds)?,
            }
        }
    }

    /// Notes which functions there are.
    fn note_functions(&self, rounds: &mut Rounds, control: u32) -> Result<()> {
        self.prepare()?;
        rounds.functions.clear();
        rounds.heard = None;
        let functions = lock(&self.functions);
        rounds.functions.extend(functions.iter().map(Noted::new));
        rounds.noted_at = Some(control);
        Ok(())
    }

    /// Takes a call, if there is one.
    fn look(self: &Arc<Inner>, rounds: &mut Rounds) -> Result<Look, NoNextCall> {
        let count = rounds.functions.len();
        let mut again = false;
        let first = rounds.first_index();
        for offset in 0..count {
            let index = (first + offset) % count;
            let noted = &mut rounds.functions[index];
            let function = &noted.function;
            let tunnel = function.tunnel();
            if !noted.has_left {
                // Not for each call: whoever rings it has to fetch it back.
                noted.heard = tunnel.listen_for_calls();
            }
            let heard = noted.heard;
            let is_quiet = |quiet: BellWord| heard.is_as_often_rung_as(quiet);
            if function.is_removed.load(Relaxed) || noted.quiet_since.is_some_and(is_quiet) {
                continue;
            }
            if tunnel.is_retired() {
                return Err(self.lose(function, function.segment.error(Reason::Retired)));
            }
            let me = function.segment.registration("serve it")?.participant;
            let system = function.segment.system();
            while let Some(taken) = tunnel.take(&system, me, &mut noted.lookout) {
                noted.is_presumed = noted.quiet_since.is_some() && noted.lookout.knows_next();
                let quiet_since = noted.quiet_since.filter(|_| noted.is_presumed);
                noted.quiet_since = quiet_since.map(BellWord::rung);
                let is_left = |quiet: BellWord| !heard.is_as_often_rung_as(quiet);
                noted.has_left = noted.quiet_since.is_some_and(is_left);
                noted.lookout.expect_more(noted.has_left);
                let Some(max_age) = function.refuses(&taken) else {
                    self.at_work.is_replying.store(true, Relaxed);
                    work_for(self);
                    let call = IncomingCall::new(function, me, taken);
                    if function.segment.is_lost() {
                        // Its arguments may be zeros.
                        drop(call);
                        return Err(self.lose(function, function.segment.error(Reason::Retired)));
                    }
                    rounds.turn = index + 1;
                    rounds.heard = noted.is_presumed.then_some(index);
                    rounds.in_a_row += 1;
                    return Ok(Look::Call(call));
                };
                tunnel.memory().control().dropped.fetch_add(1, Relaxed);
                let milliseconds = max_age.as_micros().div_ceil(1000);
                let milliseconds = u32::try_from(milliseconds).unwrap_or(u32::MAX);
                let part = Part {
                    length: milliseconds,
                    encoding: Encoding::UNSPECIFIED,
                };
                let refusal = (!taken.is_one_way()).then_some((Outcome::TOO_OLD, part));
                if tunnel.finish(&system, me, taken, refusal).is_err() {
                    return Err(self.lose(function, function.segment.error(Reason::Corrupt)));
                }
            }
            if noted.lookout.is_quiet() {
                noted.quiet_since = Some(heard);
                noted.is_presumed = false;
                noted.has_left = false;
            } else {
                noted.has_left = false;
                again = true;
            }
        }
        Ok(if again { Look::Again } else { Look::Quiet })
    }

    fn sleep(
        &self,
        rounds: &mut Rounds,
        control: u32,
        time: Duration,
    ) -> Result<futex::Wakened, NoNextCall> {
        let count = rounds.functions.len();
        if count > MAX_BELLS || self.sleeps_on_one_word() {
            // The listeners ring the control word.
            return Ok(self.control.sleep(control, time).map_err(sleep_error)?);
        }
        for noted in &mut rounds.functions {
            let tunnel = noted.function.tunnel();
            let Some(armed) = noted.quiet_since.and_then(|quiet| {
                // Somebody else who serves it may be waiting already.
                let heard = tunnel.listen_for_calls();
                heard
                    .is_as_often_rung_as(quiet)
                    .then(|| tunnel.arm_for_calls(heard))
                    .flatten()
            }) else {
                return Ok(futex::Wakened::LookAgain);
            };
            noted.armed = armed;
        }
        let bells: heapless::Vec<Mapped<'_>, MAX_BELLS> = rounds
            .functions
            .iter()
            .map(|noted| noted.function.tunnel())
            .collect();
        let armed = rounds.functions.iter().map(|noted| noted.armed);
        let words = bells.iter().map(|tunnel| tunnel.memory().bell()).zip(armed);
        match self.control.sleep_with(control, words, time) {
            Ok(wakened) => Ok(wakened),
            Err(Errno::NOSYS | Errno::PERM) => {
                // A seccomp filter may have been installed since we asked.
                self.one_word_sleep.store(true, Relaxed);
                self.prepare()?;
                Ok(futex::Wakened::LookAgain)
            }
            Err(Errno::FAULT) => self.find_unmapped(rounds, control, time),
            Err(errno) => Err(sleep_error(errno).into()),
        }
    }

    /// One bell cannot be slept on: its file was cut short.
    fn find_unmapped(
        &self,
        rounds: &Rounds,
        control: u32,
        time: Duration,
    ) -> Result<futex::Wakened, NoNextCall> {
        let is_retired = |noted: &Noted| noted.function.tunnel().is_retired();
        if rounds.functions.iter().any(is_retired) {
            // Who survives touching it finds it removed, and the next look says which.
            return Ok(futex::Wakened::LookAgain);
        }
        // It has grown again.
        Ok(self.control.sleep(control, time).map_err(sleep_error)?)
    }

    /// Every slice: whoever should have rung may have died before it did.
    fn look_around(&self, rounds: &mut Rounds) -> Result<(), NoNextCall> {
        let now = clock::coarse_now();
        let is_due = |last: &mut Option<Duration>, interval: Duration| {
            let is_due = now.saturating_sub(*last.get_or_insert(now)) >= interval;
            if is_due {
                *last = Some(now);
            }
            is_due
        };
        if !is_due(&mut rounds.looked_around, futex::SLICE.mul_f32(0.7)) {
            return Ok(());
        }
        for noted in &mut rounds.functions {
            noted.forget();
        }
        if is_due(&mut rounds.checked_names, NAME_INTERVAL) {
            for noted in &rounds.functions {
                let function = &noted.function;
                if let Err(error) = function.segment.check_name() {
                    return Err(self.lose(function, error));
                }
                // Nobody may need the cells of the dead, and nobody else may look.
                let me = function.segment.registration("serve it")?.participant;
                let tunnel = function.tunnel();
                tunnel.reap_all(&function.segment.system(), me);
            }
        }
        Ok(())
    }

    /// A function cannot be served any more; the others can.
    fn lose(&self, function: &Function, error: Error) -> NoNextCall {
        self.take_out(function.id);
        NoNextCall {
            error,
            lost: Some(function.id),
        }
    }

    // -------------------------------------------------------------------- run

    pub(super) fn run(self: &Arc<Inner>, timeout: Option<Duration>) -> Result<()> {
        let stops = self.stops.load(Relaxed);
        // For as long as it serves: nobody else can look anyway.
        let (_looking, mut rounds) = self.begin_to_look()?;
        // A stop ends it, though somebody else may go on before it has seen that.
        rounds.stops = Some(stops);
        let ended = self.run_in(&mut rounds, timeout);
        rounds.stops = None;
        // Those that their own callback has removed: see `take_out`.
        let is_there = |noted: &Noted| !noted.function.is_removed.load(Relaxed);
        rounds.functions.retain(is_there);
        ended
    }

    fn run_in(self: &Arc<Inner>, rounds: &mut Rounds, timeout: Option<Duration>) -> Result<()> {
        let start = Instant::now();
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            match self.next_call_in(rounds, left) {
                Ok(call) => {
                    let noted = &rounds.functions[rounds.last_index()];
                    self.serve(&noted.function, call);
                }
                Err(NoNextCall {
                    error,
                    lost: Some(_),
                }) => self.tell(&error),
                Err(NoNextCall { error, .. }) => match error.reason() {
                    Reason::Stopped => return Ok(()),
                    _ => return Err(error),
                },
            }
        }
    }

    pub(super) fn tell(&self, error: &Error) {
        if let Some(on_error) = &self.on_error {
            // A panic there is not to end the serving.
            let _ = catch_unwind(AssertUnwindSafe(|| on_error(error)));
        }
    }

    /// Runs the function of a call. Whatever it does, the dispatcher goes on.
    fn serve(&self, function: &Function, call: IncomingCall) {
        self.in_callback.store(this_thread(), Relaxed);
        let mut callback = lock(&function.callback);
        let done = match &mut *callback {
            Some(callback) => catch_unwind(AssertUnwindSafe(|| callback(call))),
            None if function.is_removed.load(Relaxed) => {
                Ok(call.reply_error("the function was removed before the call began"))
            }
            None => Ok(call
                .reply_error("the function has no callback, and can only be served by next_call")),
        };
        drop(callback);
        self.in_callback.store(0, Relaxed);
        if let Ok(Err(error)) = done {
            self.tell(&error);
        }
    }
}

/// Somebody is looking for a call, until this is dropped.
struct Looking<'a>(&'a AtomicBool);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        // Release: pairs with the swap of whoever looks next.
        self.0.store(false, Release);
    }
}

#[cfg(test)]
mod tests;
