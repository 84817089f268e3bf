//! Calling a function.

use super::options::{FunctionOptions, sizes};
use super::outstanding::{Outstanding, Sent, Which};
use super::receiving::{Buffer, Limit, Received, raised};
use super::{Mapped, TunnelSegment, TypedCaller};
use crate::error::{Error, FunctionSizes, Reason, Result};
use crate::fork::PerProcess;
use crate::shm::Subject;
use crate::spinning::Spin;
use core::convert::Infallible;
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::codec::{Codec, Encoding};
use robot_ipc_core::tunnel::{Call, Withdrawal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    pub(super) segment: Arc<TunnelSegment>,
    lost_calls: u32,
    pub(super) send_timeout: Duration,
    pub(super) spin: Spin,
    pub(super) room_spin: Spin,
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

    pub(super) fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
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
        let sent = self.send(arguments, encoding, self.send_timeout)?;
        Ok(PendingCall::new(self, sent))
    }

    /// Calls the function and waits for its response; `None` if it returns nothing.
    ///
    /// # Errors
    /// As [`call`](HostFunctionCaller::call) and [`PendingCall::wait`]. If that ends by
    /// the time limit or by a signal, the call is withdrawn: it never starts later, and
    /// if it is running, nobody hears of its response.
    pub fn call_within(&self, arguments: &[u8], timeout: Duration) -> Result<Option<Response>> {
        self.call_encoded_within(arguments, Encoding::RAW, timeout)
    }

    /// As [`call_within`](HostFunctionCaller::call_within), for bytes that another codec
    /// made.
    ///
    /// # Errors
    /// As `call_within`.
    pub fn call_encoded_within(
        &self,
        arguments: &[u8],
        encoding: Encoding,
        timeout: Duration,
    ) -> Result<Option<Response>> {
        let send_timeout = self.send_timeout.min(timeout);
        let sent = self.send(arguments, encoding, send_timeout)?;
        let limit = Limit::since(sent.waited_since, timeout);
        let response = self.response(Which::Sent(sent), limit);
        if response.is_err() {
            self.withdraw(sent.id);
        }
        response
    }

    pub(crate) fn send_timeout(&self) -> Duration {
        self.send_timeout
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

    fn response(&self, which: Which, limit: impl Into<Limit>) -> Result<Option<Response>> {
        let mut bytes = Vec::new();
        let (_, received) = self.receive(which, &mut Buffer::Grows(&mut bytes), limit);
        match received? {
            Received::Value(part) => Ok(Some(Response {
                bytes,
                encoding: part.encoding,
            })),
            Received::Raised(_) => Err(self.error(raised(&bytes))),
            Received::Nothing => Ok(None),
        }
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
                self.take_back(call)
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
                self.take_back(entry.call);
            }
        }
    }

    fn take_back(&self, call: Call) -> Withdrawal {
        // Before its cell is free: who finds it taken compares this.
        self.count_fetch();
        self.core().withdraw(&self.segment.system(), call)
    }

    /// An answer is fetched, or will not be wanted any more.
    pub(super) fn count_fetch(&self) {
        if let Ok(me) = self.segment.registration("call it") {
            me.local.fetches.fetch_add(1, Relaxed);
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

/// A call that was made. Dropping this does not withdraw it: its response can still be
/// fetched by [`HostFunctionCaller::next_response`].
#[derive(Clone, Copy, Debug)]
pub struct PendingCall<'a> {
    caller: &'a HostFunctionCaller,
    sent: Sent,
}

impl<'a> PendingCall<'a> {
    pub(super) fn new(caller: &'a HostFunctionCaller, sent: Sent) -> Self {
        PendingCall { caller, sent }
    }

    /// Its number among the calls of its handle, never 0.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.sent.id
    }

    /// Waits for the response of this call, for at most `timeout` (`None`: without
    /// end); `None` if the function returned nothing. A time limit that is reached
    /// withdraws nothing: ask again.
    ///
    /// # Errors
    /// As [`next_response`](HostFunctionCaller::next_response); its end was told
    /// already.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<Response>> {
        self.caller.response(Which::Sent(self.sent), timeout)
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
            .response_into(Which::Sent(self.sent), buffer, timeout)
    }

    /// Where it is.
    ///
    /// # Errors
    /// The function's file was removed behind our back.
    pub fn progress(&self) -> Result<Progress> {
        self.caller.progress(self.sent.id)
    }

    /// Takes the call back: it never starts later, and a response is discarded.
    pub fn cancel(self) -> Withdrawal {
        self.caller.withdraw(self.sent.id)
    }
}
