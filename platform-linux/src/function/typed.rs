//! Functions of values instead of bytes.

use super::at_work::FunctionId;
use super::dispatcher::{HostFunctionDispatcher, panic_text};
use super::{FunctionOptions, HostFunctionCaller, Mapped, PendingCall, Response};
use crate::error::{Reason, Result};
use core::fmt::Display;
use core::marker::PhantomData;
use robot_ipc_core::codec::{Codec, EncodeError, Full, Sink};
use robot_ipc_core::tunnel::{Draft, Withdrawal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A function that takes an `A::Value` and returns an `R::Value`.
///
/// ```
/// use robot_ipc::codec::Postcard;
/// use robot_ipc::{FunctionOptions, HostFunctionDispatcher};
/// use std::time::Duration;
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = FunctionOptions::new().place(place.clone());
/// type Arguments = Postcard<(f64, f64)>;
/// let dispatcher = HostFunctionDispatcher::new(1)?;
/// dispatcher.add_typed::<Arguments, Postcard<f64>, _, String>(&options, "divide", |(a, b)| {
///     if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(Some(a / b)) }
/// })?;
/// dispatcher.start()?;
///
/// let divide = options.open("divide")?.typed::<Arguments, Postcard<f64>>();
/// let patience = Duration::from_secs(5);
/// assert_eq!(divide.call_within(&(1.0, 4.0), patience)?, Some(0.25));
/// assert!(divide.call_within(&(1.0, 0.0), patience).unwrap_err().to_string().contains("zero"));
/// # divide.caller().remove(Duration::from_secs(1))
/// # }
/// ```
#[derive(Debug)]
pub struct TypedCaller<A, R> {
    caller: HostFunctionCaller,
    codecs: PhantomData<fn(A) -> R>,
}

/// A call of a [`TypedCaller`].
#[derive(Clone, Copy, Debug)]
pub struct TypedPendingCall<'a, R> {
    pending: PendingCall<'a>,
    caller: &'a HostFunctionCaller,
    codec: PhantomData<fn() -> R>,
}

impl<A: Codec, R: Codec> TypedCaller<A, R> {
    pub(super) fn new(caller: HostFunctionCaller) -> Self {
        TypedCaller {
            caller,
            codecs: PhantomData,
        }
    }

    /// The caller of bytes beneath.
    pub fn caller(&self) -> &HostFunctionCaller {
        &self.caller
    }

    /// Calls the function; `argument` is encoded straight into a cell.
    ///
    /// # Errors
    /// As [`HostFunctionCaller::call`]; it cannot be encoded.
    pub fn call(&self, argument: &A::Value) -> Result<TypedPendingCall<'_, R>> {
        self.call_for(argument, self.caller.send_timeout())
    }

    fn call_for(&self, argument: &A::Value, timeout: Duration) -> Result<TypedPendingCall<'_, R>> {
        let sent = self
            .caller
            .send_filled(A::ENCODING, timeout, |core, draft| {
                self.encode(core, draft, argument)
            })?;
        Ok(TypedPendingCall {
            pending: PendingCall::new(&self.caller, sent),
            caller: &self.caller,
            codec: PhantomData,
        })
    }

    fn encode(&self, core: &Mapped<'_>, draft: &Draft, argument: &A::Value) -> Result<u32> {
        let max_argument_size = self.caller.sizes().max_argument_size;
        let mut sink = ArgumentSink {
            core,
            draft,
            length: 0,
            limit: max_argument_size as usize,
        };
        match A::encode(argument, &mut sink) {
            Ok(()) => Ok(sink.length as u32),
            Err(EncodeError::Full) => Err(self.caller.error(Reason::ArgumentsTooLarge {
                size: u64::from(max_argument_size) + 1,
                max_argument_size,
            })),
            Err(EncodeError::Refused(why)) => Err(self.caller.error(Reason::Encode(why))),
        }
    }

    /// Calls the function and waits for its answer.
    ///
    /// # Errors
    /// As [`HostFunctionCaller::call_within`]; an answer that is no `R::Value`.
    pub fn call_within(&self, argument: &A::Value, timeout: Duration) -> Result<Option<R::Value>> {
        let start = Instant::now();
        let call = self.call_for(argument, self.caller.send_timeout().min(timeout))?;
        let answer = call.wait(Some(timeout.saturating_sub(start.elapsed())));
        if answer.is_err() {
            call.cancel();
        }
        answer
    }

    /// The next answer, in the order of the calls.
    ///
    /// # Errors
    /// As [`HostFunctionCaller::next_response`]; an answer that is no `R::Value`.
    pub fn next_response(&self, timeout: Option<Duration>) -> Result<Option<R::Value>> {
        decoded::<R>(&self.caller, self.caller.next_response(timeout)?)
    }
}

impl<R: Codec> TypedPendingCall<'_, R> {
    /// Waits for the answer of this call.
    ///
    /// # Errors
    /// As [`PendingCall::wait`]; an answer that is no `R::Value`.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<R::Value>> {
        decoded::<R>(self.caller, self.pending.wait(timeout)?)
    }

    /// Takes the call back.
    pub fn cancel(self) -> Withdrawal {
        self.pending.cancel()
    }
}

fn decoded<R: Codec>(
    caller: &HostFunctionCaller,
    response: Option<Response>,
) -> Result<Option<R::Value>> {
    let Some(response) = response else {
        return Ok(None);
    };
    R::check_encoding(response.encoding)
        .and_then(|()| R::decode(&response.bytes))
        .map(Some)
        .map_err(|error| caller.error(Reason::Decode(error)))
}

impl HostFunctionDispatcher {
    /// Adds a function of values: `function` gets an `A::Value` and returns an
    /// `R::Value`, nothing, or an error; if it panics, its caller gets the message.
    /// Arguments that are no `A::Value` are the caller's error.
    ///
    /// # Errors
    /// As [`add`](HostFunctionDispatcher::add).
    pub fn add_typed<A, R, F, E>(
        &self,
        options: &FunctionOptions,
        name: &str,
        mut function: F,
    ) -> Result<FunctionId>
    where
        A: Codec,
        R: Codec,
        E: Display,
        F: FnMut(A::Value) -> Result<Option<R::Value>, E> + Send + 'static,
    {
        self.add_raw(options, name.as_bytes(), move |call| {
            let mut answer = || {
                let argument = A::check_encoding(call.encoding())
                    .and_then(|()| A::decode(call.arguments()))
                    .map_err(|error| format!("the arguments cannot be used: {error}"))?;
                function(argument).map_err(|error| error.to_string())
            };
            let answer = catch_unwind(AssertUnwindSafe(&mut answer));
            match answer.unwrap_or_else(|panic| Err(panic_text(&*panic))) {
                Ok(Some(value)) => call.reply_value::<R>(&value),
                Ok(None) => call.reply_nothing(),
                Err(text) => call.reply_error(&text),
            }
        })
    }
}

/// Puts encoded pieces into the arguments of a call, one behind the other.
struct ArgumentSink<'a> {
    core: &'a Mapped<'a>,
    draft: &'a Draft,
    length: usize,
    limit: usize,
}

impl Sink for ArgumentSink<'_> {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.limit - self.length {
            return Err(Full);
        }
        self.core.fill_argument(self.draft, self.length, bytes);
        self.length += bytes.len();
        Ok(())
    }
}
