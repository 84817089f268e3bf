//! Serving functions.
//!
//! A dispatcher has one thread at a time at work: its own after `start`, the calling
//! one in `run`, or that of whoever asks for `next_call` again and again. What that
//! thread does stands in `at_work`.

// Flags of this process: nobody else sees them.
#![allow(clippy::disallowed_types)]

use super::FunctionOptions;
use super::at_work::{Callback, Function, FunctionId, Inner, NoNextCall, OnError, Phase, lock};
use super::incoming::{IncomingCall, IntoReply, Reply};
use super::rounds::Rounds;
use super::serving::this_thread;
use crate::brief::BriefLock;
use crate::error::{Error, FunctionSizes, Reason, Result};
use crate::fork;
use crate::spinning::{DEFAULT_SPIN, Spin};
use core::any::Any;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use rustix::io::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many functions a dispatcher can have at most.
pub const MAX_FUNCTIONS: u32 = 512;
/// How many functions a dispatcher can have unless told otherwise.
pub const DEFAULT_MAX_FUNCTIONS: u32 = 16;

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

    /// How long it spins for the next call before it sleeps, at most; 200 µs unless told
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
                is_looking: AtomicBool::new(false),
                rounds: Mutex::new(Rounds::default()),
                at_work: Arc::default(),
                stops: AtomicU32::new(0),
                in_callback: AtomicUsize::new(0),
                own_thread: AtomicUsize::new(0),
                phase: AtomicU32::new(Phase::New as u32),
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
    pub(super) inner: Arc<Inner>,
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
            at_work: Arc::clone(&inner.at_work),
            arguments: BriefLock::new(vec![0; size].into_boxed_slice()),
            callback: Mutex::new(callback),
            serving: Mutex::new(None),
            listener: Mutex::new(None),
            is_removed: AtomicBool::new(false),
        }));
        drop(functions);
        if inner.is_in(Phase::Serving)
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
    pub fn sizes(&self, id: FunctionId) -> Result<FunctionSizes> {
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

    /// Does not serve the function any more. A call of it that is running is waited for,
    /// except from within; the others wait for somebody else. Its callback does not begin
    /// again.
    ///
    /// # Errors
    /// The dispatcher has no such function.
    pub fn remove(&self, id: FunctionId) -> Result<()> {
        self.inner.check_generation()?;
        let Some(function) = self.inner.take_out(id) else {
            return Err(Error::without_subject(Reason::NoSuchFunction));
        };
        if self.inner.in_callback.load(Relaxed) != this_thread() {
            let callback = lock(&function.callback).take();
            drop(callback);
        }
        Ok(())
    }

    /// Serves in a thread of its own, until it is stopped or dropped.
    ///
    /// # Errors
    /// It has one already, which may be about to end, or the system gives none.
    pub fn start(&self) -> Result<()> {
        self.inner.check_generation()?;
        let busy = || Error::without_subject(Reason::Busy);
        if self.is_own_thread() {
            return Err(busy());
        }
        // Held by whoever stops it, until the last thread has ended.
        let mut thread = lock(&self.thread);
        if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Err(busy());
        }
        self.inner.resume()?;
        let inner = Arc::clone(&self.inner);
        let spawned = std::thread::Builder::new()
            .name("robot-ipc".to_owned())
            .spawn(move || serve_in_own_thread(&inner));
        let started = spawned.map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
            Error::without_subject(Reason::system("start the dispatcher's thread")(errno))
        });
        *thread = Some(started.inspect_err(|_| self.inner.stop())?);
        Ok(())
    }

    fn is_own_thread(&self) -> bool {
        self.inner.own_thread.load(Relaxed) == this_thread()
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
        if self.is_own_thread() {
            // It ends when it comes back to us.
            return;
        }
        let mut thread = lock(&self.thread);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the dispatcher's own thread does.
fn serve_in_own_thread(inner: &Arc<Inner>) {
    inner.own_thread.store(this_thread(), Relaxed);
    loop {
        match inner.run(None) {
            // A signal that this thread happened to get is nobody's business.
            Err(error) if *error.reason() == Reason::Interrupted => {}
            Err(error) => {
                // Nobody serves any more, and callers have to know.
                inner.stop();
                inner.tell(&error);
                break;
            }
            Ok(()) => break,
        }
    }
    inner.own_thread.store(0, Relaxed);
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
