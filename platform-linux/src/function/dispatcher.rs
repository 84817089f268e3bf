//! Serving functions.
//!
//! A dispatcher has one thread at a time at work: its own after `start`, the calling
//! one in `run`, or that of whoever asks for `next_call` again and again. It looks at
//! the bells of all its functions, takes the oldest call of the first one that has any
//! (beginning behind the one it served last), and sleeps on all bells at once when
//! there is none.

use super::doorbells::{Control, Listener, MAX_BELLS, has_wait_any, sleep_error};
use super::incoming::{IncomingCall, IntoReply, Reply};
use super::serving::{Serving, is_at_work_for};
use super::{FunctionOptions, Mapped, TunnelSegment};
use crate::error::{Error, Reason, Result};
use crate::spinning::{DEFAULT_SPIN, Spin};
use crate::{clock, fork, futex};
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{BellWord, Outcome, Part, Taken, TunnelMemory};
use rustix::io::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many functions a dispatcher can have at most.
pub const MAX_FUNCTIONS: u32 = 512;
/// How many functions a dispatcher can have unless told otherwise.
pub const DEFAULT_MAX_FUNCTIONS: u32 = 16;
/// How often a dispatcher looks whether the names still lead to its functions, and
/// whether those who hold cells live.
const NAME_INTERVAL: Duration = Duration::from_secs(2);

/// Which of a dispatcher's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionId(pub u64);

type Callback = Box<dyn FnMut(IncomingCall) -> Result<()> + Send>;
type OnError = Arc<dyn Fn(&Error) + Send + Sync>;

/// One function of a dispatcher.
pub(super) struct Function {
    pub(super) id: FunctionId,
    pub(super) segment: Arc<TunnelSegment>,
    lost_calls: u32,
    max_age: Option<Duration>,
    /// Where the arguments of the call that is being served lie.
    pub(super) arguments: Mutex<Box<[u8]>>,
    callback: Mutex<Option<Callback>>,
    serving: Mutex<Option<Serving>>,
    listener: Mutex<Option<Listener>>,
    is_removed: AtomicBool,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("id", &self.id)
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Function {
    pub(super) fn tunnel(&self) -> Mapped<'_> {
        self.segment.object()
    }

    /// Not served any more, and never again.
    fn remove(&self) {
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

/// What a dispatcher and its thread share.
pub(super) struct Inner {
    max_functions: usize,
    one_word_sleep: AtomicBool,
    spin: Spin,
    on_error: Option<OnError>,
    control: Arc<Control>,
    functions: Mutex<Vec<Arc<Function>>>,
    next_id: Mutex<u64>,
    /// Held by the thread that is looking for a call.
    rounds: Mutex<Rounds>,
    /// A call was taken and has no reply yet.
    is_replying: AtomicBool,
    is_serving: AtomicBool,
    is_stopped: AtomicBool,
    generation: u32,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("max_functions", &self.max_functions)
            .field("is_serving", &self.is_serving)
            .finish_non_exhaustive()
    }
}

/// What the thread at work remembers from one look to the next.
#[derive(Debug, Default)]
struct Rounds {
    /// The control word when the functions were noted.
    noted_at: Option<u32>,
    functions: Vec<Noted>,
    /// With which function to begin.
    turn: usize,
    /// When it looked at all functions, whether their bells had rung or not.
    looked_around: Option<Instant>,
    checked_names: Option<Instant>,
}

#[derive(Debug)]
struct Noted {
    function: Arc<Function>,
    /// The bell when a look found no call.
    quiet_since: Option<BellWord>,
    /// What it slept on.
    armed: u32,
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

    pub(super) fn has_replied(&self) {
        self.is_replying.store(false, Relaxed);
    }

    fn check_generation(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        let what = "the dispatcher";
        Err(Error::without_subject(Reason::Forked { what }))
    }

    /// From now on functions count as served.
    fn resume(&self) -> Result<()> {
        self.is_stopped.store(false, Relaxed);
        self.is_serving.store(true, Relaxed);
        self.prepare()?;
        self.control.ring();
        Ok(())
    }

    /// Makes every function known as served, and heard of.
    fn prepare(&self) -> Result<()> {
        let functions = lock(&self.functions);
        let by_listeners = self.sleeps_on_one_word() || functions.len() > MAX_BELLS;
        for function in functions.iter() {
            let mut serving = lock(&function.serving);
            if serving.is_none() && self.is_serving.load(Relaxed) {
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

    fn stop(&self) {
        self.is_stopped.store(true, Relaxed);
        self.is_serving.store(false, Relaxed);
        for function in lock(&self.functions).iter() {
            lock(&function.serving).take();
        }
        self.control.ring();
    }

    fn take_out(&self, id: FunctionId) -> Option<Arc<Function>> {
        let mut functions = lock(&self.functions);
        let index = functions.iter().position(|function| function.id == id)?;
        let function = functions.remove(index);
        drop(functions);
        function.remove();
        self.control.ring();
        Some(function)
    }

    // -------------------------------------------------------------- next call

    pub(super) fn next_call(
        self: &Arc<Inner>,
        timeout: Option<Duration>,
    ) -> Result<IncomingCall, NoNextCall> {
        self.check_generation()?;
        let busy = || Error::without_subject(Reason::Busy);
        let mut rounds = match self.rounds.try_lock() {
            Ok(rounds) => rounds,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(busy().into()),
        };
        if self.is_replying.load(Relaxed) {
            return Err(busy().into());
        }
        let start = Instant::now();
        let mut has_waited = false;
        loop {
            let control = self.control.seen();
            if self.is_stopped.load(Relaxed) {
                return Err(Error::without_subject(Reason::Stopped).into());
            }
            if !self.is_serving.load(Relaxed) {
                self.resume()?;
                continue;
            }
            if rounds.noted_at != Some(control) {
                self.note_functions(&mut rounds, control)?;
            }
            let is_quiet = match self.look(&mut rounds)? {
                Look::Call(call) => {
                    if has_waited {
                        self.spin.learn(start);
                    }
                    return Ok(call);
                }
                Look::Again => false,
                Look::Quiet => true,
            };
            let left = match timeout {
                None => Duration::MAX,
                Some(timeout) => timeout.saturating_sub(start.elapsed()),
            };
            if left.is_zero() {
                let waited = start.elapsed();
                return Err(Error::without_subject(Reason::NothingToServe { waited }).into());
            }
            if !is_quiet {
                continue;
            }
            has_waited = true;
            let has_rung = |noted: &Noted| {
                let now = noted.function.tunnel().listen_for_calls();
                noted
                    .quiet_since
                    .is_none_or(|quiet| !now.is_as_often_rung_as(quiet))
            };
            let changed =
                || self.control.seen() != control || rounds.functions.iter().any(has_rung);
            if self.spin.until(start, changed) {
                continue;
            }
            match self.sleep(&mut rounds, control, left)? {
                futex::Wakened::BySignal => {
                    return Err(Error::without_subject(Reason::Interrupted).into());
                }
                futex::Wakened::LookAgain => self.look_around(&mut rounds)?,
            }
        }
    }

    /// Notes which functions there are.
    fn note_functions(&self, rounds: &mut Rounds, control: u32) -> Result<()> {
        self.prepare()?;
        rounds.functions.clear();
        let functions = lock(&self.functions);
        rounds
            .functions
            .extend(functions.iter().map(|function| Noted {
                function: Arc::clone(function),
                quiet_since: None,
                armed: 0,
            }));
        rounds.noted_at = Some(control);
        Ok(())
    }

    /// Takes a call, if there is one.
    fn look(self: &Arc<Inner>, rounds: &mut Rounds) -> Result<Look, NoNextCall> {
        let count = rounds.functions.len();
        let mut again = false;
        for offset in 0..count {
            let index = (rounds.turn + offset) % count;
            let noted = &mut rounds.functions[index];
            let function = &noted.function;
            let tunnel = function.tunnel();
            let heard = tunnel.listen_for_calls();
            let is_quiet = |quiet: BellWord| heard.is_as_often_rung_as(quiet);
            if function.is_removed.load(Relaxed) || noted.quiet_since.is_some_and(is_quiet) {
                continue;
            }
            if heard.is_retired() {
                return Err(self.lose(function, function.segment.error(Reason::Retired)));
            }
            let me = function.segment.registration("serve it")?.participant;
            let system = function.segment.system();
            while let Some(taken) = tunnel.take(&system, me) {
                let Some(max_age) = function.refuses(&taken) else {
                    self.is_replying.store(true, Relaxed);
                    let call = IncomingCall::new(self, function, me, taken);
                    rounds.turn = index + 1;
                    return Ok(Look::Call(call));
                };
                tunnel.memory().control().dropped.fetch_add(1, Relaxed);
                let milliseconds = u32::try_from(max_age.as_millis()).unwrap_or(u32::MAX);
                let part = Part {
                    length: milliseconds,
                    encoding: Encoding::UNSPECIFIED,
                };
                let refusal = (!taken.is_one_way()).then_some((Outcome::TOO_OLD, part));
                if tunnel.finish(&system, me, taken, refusal).is_err() {
                    return Err(self.lose(function, function.segment.error(Reason::Corrupt)));
                }
            }
            if tunnel.has_calls() {
                again = true;
            } else {
                noted.quiet_since = Some(heard);
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
            Err(Errno::FAULT) => Err(self.drop_unmapped(rounds)),
            Err(errno) => Err(sleep_error(errno).into()),
        }
    }

    /// One bell cannot be slept on: its file was cut short. Finds it.
    fn drop_unmapped(&self, rounds: &Rounds) -> NoNextCall {
        for noted in &rounds.functions {
            let tunnel = noted.function.tunnel();
            let bell = [(tunnel.memory().bell(), !noted.armed)];
            if futex::wait_any(bell.into_iter(), Duration::ZERO) == Err(Errno::FAULT) {
                let reason = Reason::system("sleep until a call arrives")(Errno::FAULT);
                return self.lose(&noted.function, noted.function.segment.error(reason));
            }
        }
        sleep_error(Errno::FAULT).into()
    }

    /// Every slice: whoever should have rung may have died before it did.
    fn look_around(&self, rounds: &mut Rounds) -> Result<(), NoNextCall> {
        let now = Instant::now();
        let is_due = |last: &mut Option<Instant>, interval: Duration| {
            let is_due = now - *last.get_or_insert(now) >= interval;
            if is_due {
                *last = Some(now);
            }
            is_due
        };
        if !is_due(&mut rounds.looked_around, futex::SLICE.mul_f32(0.7)) {
            return Ok(());
        }
        for noted in &mut rounds.functions {
            noted.quiet_since = None;
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

    fn run(self: &Arc<Inner>, timeout: Option<Duration>) -> Result<()> {
        let start = Instant::now();
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            match self.next_call(left) {
                Ok(call) => self.serve(call),
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

    fn tell(&self, error: &Error) {
        if let Some(on_error) = &self.on_error {
            on_error(error);
        }
    }

    /// Runs the function of a call. Whatever it does, the dispatcher goes on.
    fn serve(&self, call: IncomingCall) {
        let function = Arc::clone(call.served_by());
        let mut callback = lock(&function.callback);
        let done = match &mut *callback {
            Some(callback) => catch_unwind(AssertUnwindSafe(|| callback(call))),
            None => Ok(call
                .reply_error("the function has no callback, and can only be served by next_call")),
        };
        if let Ok(Err(error)) = done {
            self.tell(&error);
        }
    }
}

/// How a dispatcher is made.
///
/// ```
/// use robot_ipc::DispatcherOptions;
/// let dispatcher = DispatcherOptions::new().max_functions(200).build()?;
/// # Ok::<(), robot_ipc::Error>(())
/// ```
#[must_use]
pub struct DispatcherOptions {
    max_functions: u32,
    one_word_sleep: bool,
    spin: Duration,
    on_error: Option<OnError>,
}

impl fmt::Debug for DispatcherOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherOptions")
            .field("max_functions", &self.max_functions)
            .field("one_word_sleep", &self.one_word_sleep)
            .field("spin", &self.spin)
            .finish_non_exhaustive()
    }
}

impl Default for DispatcherOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DispatcherOptions {
    /// Up to 16 functions.
    pub fn new() -> Self {
        DispatcherOptions {
            max_functions: DEFAULT_MAX_FUNCTIONS,
            one_word_sleep: false,
            spin: DEFAULT_SPIN,
            on_error: None,
        }
    }

    /// How many functions will be added: 1 to 512. More than 127 at a time cost a
    /// sleeping thread each.
    pub fn max_functions(mut self, max_functions: u32) -> Self {
        self.max_functions = max_functions;
        self
    }

    /// Sleeps as on a kernel older than 5.16: by one sleeping thread for each function.
    pub fn one_word_sleep(mut self, one_word_sleep: bool) -> Self {
        self.one_word_sleep = one_word_sleep;
        self
    }

    /// How long it spins for the next call before it sleeps, at most; 50 µs unless told
    /// otherwise, and never more than 10 ms.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Is told what goes wrong while it runs: a function was removed from the machine,
    /// an answer was too large.
    pub fn on_error(mut self, on_error: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Arc::new(on_error));
        self
    }

    /// Makes it.
    ///
    /// # Errors
    /// An option cannot be used.
    pub fn build(self) -> Result<HostFunctionDispatcher> {
        if !(1..=MAX_FUNCTIONS).contains(&self.max_functions) {
            return Err(Error::without_subject(Reason::bad_option(
                "max_functions",
                self.max_functions,
                "it has to be 1 to 512",
            )));
        }
        Ok(HostFunctionDispatcher {
            inner: Arc::new(Inner {
                max_functions: self.max_functions as usize,
                one_word_sleep: AtomicBool::new(self.one_word_sleep),
                spin: Spin::new(self.spin),
                on_error: self.on_error,
                control: Arc::default(),
                functions: Mutex::new(Vec::with_capacity(self.max_functions as usize)),
                next_id: Mutex::new(1),
                rounds: Mutex::new(Rounds::default()),
                is_replying: AtomicBool::new(false),
                is_serving: AtomicBool::new(false),
                is_stopped: AtomicBool::new(false),
                generation: fork::generation(),
            }),
            thread: Mutex::new(None),
        })
    }
}

/// Serves functions: runs the calls of any process, one at a time.
///
/// Functions count as served, so that callers know, from the first
/// [`start`](HostFunctionDispatcher::start), [`run`](HostFunctionDispatcher::run) or
/// [`next_call`](HostFunctionDispatcher::next_call) on, until
/// [`stop`](HostFunctionDispatcher::stop) or until this is dropped, or its process
/// ends. Several dispatchers, of any processes, may serve the same function: each call
/// goes to one of them. In a forked child it serves nothing.
///
/// See [`HostFunctionCaller`](super::HostFunctionCaller) for an example.
#[derive(Debug)]
pub struct HostFunctionDispatcher {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl HostFunctionDispatcher {
    /// A dispatcher for up to `max_functions` functions, 1 to 512.
    ///
    /// # Errors
    /// That is not such a number.
    pub fn new(max_functions: u32) -> Result<HostFunctionDispatcher> {
        DispatcherOptions::new()
            .max_functions(max_functions)
            .build()
    }

    /// Adds the function `name`, with default options: for arguments and responses of
    /// up to 4096 bytes. `function` gets the arguments, and returns bytes, nothing, or
    /// an error; if it panics, its caller gets the message. Also while the dispatcher is
    /// at work.
    ///
    /// # Errors
    /// As [`FunctionOptions::open`]; there are as many functions as there may be, or one
    /// of that name; as many processes as possible use it already.
    pub fn add<R: IntoReply>(
        &self,
        name: &str,
        function: impl FnMut(&[u8]) -> R + Send + 'static,
    ) -> Result<FunctionId> {
        self.add_with(&FunctionOptions::new(), name, function)
    }

    /// As [`add`](HostFunctionDispatcher::add), with options.
    ///
    /// # Errors
    /// As `add`.
    pub fn add_with<R: IntoReply>(
        &self,
        options: &FunctionOptions,
        name: &str,
        mut function: impl FnMut(&[u8]) -> R + Send + 'static,
    ) -> Result<FunctionId> {
        self.add_raw(options, name.as_bytes(), move |call| {
            let arguments = call.arguments();
            let reply = catch_unwind(AssertUnwindSafe(|| function(arguments).into_reply()));
            let reply = reply.unwrap_or_else(|panic| Reply::Failed(panic_text(&*panic)));
            reply.end(call)
        })
    }

    /// Adds a function that ends its calls itself.
    ///
    /// # Errors
    /// As [`add`](HostFunctionDispatcher::add).
    pub fn add_raw(
        &self,
        options: &FunctionOptions,
        name: &[u8],
        function: impl FnMut(IncomingCall) -> Result<()> + Send + 'static,
    ) -> Result<FunctionId> {
        self.add_callback(options, name, Some(Box::new(function)))
    }

    /// Adds a function that only [`next_call`](HostFunctionDispatcher::next_call)
    /// serves.
    ///
    /// # Errors
    /// As [`add`](HostFunctionDispatcher::add).
    pub fn add_for_next_call(&self, options: &FunctionOptions, name: &[u8]) -> Result<FunctionId> {
        self.add_callback(options, name, None)
    }

    fn add_callback(
        &self,
        options: &FunctionOptions,
        name: &[u8],
        callback: Option<Callback>,
    ) -> Result<FunctionId> {
        let inner = &self.inner;
        inner.check_generation()?;
        let max_functions = inner.max_functions;
        let too_many = || {
            Error::without_subject(Reason::TooManyFunctions {
                max_functions: max_functions as u32,
            })
        };
        // Before anything is created.
        if lock(&inner.functions).len() >= max_functions {
            return Err(too_many());
        }
        let (segment, lost_calls) = options.open_segment(name)?;
        segment.registration("serve it")?;
        let size = segment.geometry().max_argument_size() as usize;
        let mut functions = lock(&inner.functions);
        if functions.len() >= max_functions {
            return Err(too_many());
        }
        if functions
            .iter()
            .any(|other| other.segment.is_same_as(&segment))
        {
            return Err(segment.error(Reason::AddedAlready));
        }
        let id = {
            let mut next = lock(&inner.next_id);
            *next += 1;
            FunctionId(*next - 1)
        };
        functions.push(Arc::new(Function {
            id,
            segment,
            lost_calls,
            max_age: options.max_age,
            arguments: Mutex::new(vec![0; size].into_boxed_slice()),
            callback: Mutex::new(callback),
            serving: Mutex::new(None),
            listener: Mutex::new(None),
            is_removed: AtomicBool::new(false),
        }));
        drop(functions);
        if inner.is_serving.load(Relaxed)
            && let Err(error) = inner.prepare()
        {
            inner.take_out(id);
            return Err(error);
        }
        inner.control.ring();
        Ok(id)
    }

    fn function(&self, id: FunctionId) -> Result<Arc<Function>> {
        let found = lock(&self.inner.functions)
            .iter()
            .find(|function| function.id == id)
            .map(Arc::clone);
        found.ok_or(Error::without_subject(Reason::NoSuchFunction))
    }

    /// How many bytes arguments and responses of a function can have.
    ///
    /// # Errors
    /// The dispatcher has no such function.
    pub fn sizes(&self, id: FunctionId) -> Result<crate::error::FunctionSizes> {
        Ok(super::options::sizes(
            &self.function(id)?.segment.geometry(),
        ))
    }

    /// How many cells a function has.
    ///
    /// # Errors
    /// The dispatcher has no such function.
    pub fn cells(&self, id: FunctionId) -> Result<u32> {
        Ok(self.function(id)?.segment.geometry().cell_count())
    }

    /// How many one-way calls were queued in the function of other sizes that adding
    /// this one replaced.
    ///
    /// # Errors
    /// The dispatcher has no such function.
    pub fn lost_calls(&self, id: FunctionId) -> Result<u32> {
        Ok(self.function(id)?.lost_calls)
    }

    /// Does not serve the function any more. A call that is running goes on; the
    /// others wait for somebody else.
    ///
    /// # Errors
    /// The dispatcher has no such function.
    pub fn remove(&self, id: FunctionId) -> Result<()> {
        self.inner.check_generation()?;
        let removed = self.inner.take_out(id);
        removed
            .map(drop)
            .ok_or(Error::without_subject(Reason::NoSuchFunction))
    }

    /// Serves in a thread of its own, until it is stopped or dropped.
    ///
    /// # Errors
    /// It has one already, or the system gives none.
    pub fn start(&self) -> Result<()> {
        self.inner.check_generation()?;
        let mut thread = lock(&self.thread);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err(Error::without_subject(Reason::Busy));
        }
        self.inner.resume()?;
        let inner = Arc::clone(&self.inner);
        let spawned = std::thread::Builder::new()
            .name("robot-ipc".to_owned())
            .spawn(move || {
                loop {
                    match inner.run(None) {
                        // A signal that this thread happened to get is nobody's business.
                        Err(error) if *error.reason() == Reason::Interrupted => {}
                        Err(error) => return inner.tell(&error),
                        Ok(()) => return,
                    }
                }
            });
        let started = spawned.map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
            Error::without_subject(Reason::system("start the dispatcher's thread")(errno))
        });
        *thread = Some(started.inspect_err(|_| self.inner.stop())?);
        Ok(())
    }

    /// After a stop: lets it serve again. The others do so themselves, except
    /// [`next_call`](HostFunctionDispatcher::next_call).
    ///
    /// # Errors
    /// It belongs to the parent process.
    pub fn resume(&self) -> Result<()> {
        self.inner.check_generation()?;
        self.inner.resume()
    }

    /// Serves in the calling thread, until it is stopped, for at most `timeout`
    /// (`None`: without end).
    ///
    /// # Errors
    /// The time is up, a signal arrived, or another thread is at work.
    pub fn run(&self, timeout: Option<Duration>) -> Result<()> {
        self.resume()?;
        self.inner.run(timeout)
    }

    /// Waits for the next call, for at most `timeout` (`None`: without end); for those
    /// who bring a thread of their own. One call at a time.
    ///
    /// # Errors
    /// The time is up, a signal arrived, or it was stopped. One that names a function:
    /// that one was removed from the machine and is gone; go on with the others.
    pub fn next_call(&self, timeout: Option<Duration>) -> Result<IncomingCall> {
        self.try_next_call(timeout).map_err(|no_call| no_call.error)
    }

    /// As [`next_call`](HostFunctionDispatcher::next_call), and tells which function is
    /// gone.
    pub(crate) fn try_next_call(
        &self,
        timeout: Option<Duration>,
    ) -> Result<IncomingCall, NoNextCall> {
        self.inner.next_call(timeout)
    }

    /// Stops serving: callers know, and a call in progress is waited for if the
    /// dispatcher's own thread runs it. Calls that are queued wait for another
    /// dispatcher.
    pub fn stop(&self) {
        if self.inner.check_generation().is_err() {
            return;
        }
        self.inner.stop();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && !is_at_work_for(&self.inner)
        {
            let _ = thread.join();
        }
    }
}

impl Drop for HostFunctionDispatcher {
    fn drop(&mut self) {
        if self.inner.check_generation().is_err() {
            // All of it is the parent's, and any lock may be held for ever.
            let thread = self
                .thread
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            core::mem::forget(thread.take());
            return;
        }
        self.stop();
        let functions = core::mem::take(&mut *lock(&self.inner.functions));
        for function in &functions {
            function.remove();
        }
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the function panicked: {}", text.unwrap_or("no message"))
}
