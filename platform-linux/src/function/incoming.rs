//! One call that is being served.

use super::Mapped;
use super::at_work::Function;
use crate::error::{Reason, Result};
use crate::fork;
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::codec::{Codec, EncodeError, Encoding, Full, Sink};
use robot_ipc_core::participant::Participant;
use robot_ipc_core::tunnel::{Outcome, Part, Taken};
use std::sync::Arc;

/// A call that a dispatcher has taken, with a private copy of its arguments. It is
/// ended by one of the replies; dropped without one, its caller learns that the
/// function did not come back.
///
/// In a child that was forked meanwhile it can be read, and a reply is an error: the
/// call is the parent's.
#[derive(Debug)]
pub struct IncomingCall {
    function: Arc<Function>,
    me: Participant,
    taken: Option<Taken>,
    arguments: Box<[u8]>,
    generation: u32,
}

impl IncomingCall {
    pub(super) fn new(function: &Arc<Function>, me: Participant, taken: Taken) -> IncomingCall {
        // Allocated when the function was added; one call at a time has it.
        let mut arguments = function.arguments.with(core::mem::take);
        let length = taken.argument().length as usize;
        function
            .tunnel()
            .copy_argument(&taken, &mut arguments[..length]);
        IncomingCall {
            function: Arc::clone(function),
            me,
            taken: Some(taken),
            arguments,
            generation: fork::generation(),
        }
    }

    fn taken(&self) -> Option<&Taken> {
        self.taken.as_ref()
    }

    /// Which function of the dispatcher is called.
    #[must_use]
    pub fn function(&self) -> super::FunctionId {
        self.function.id
    }

    /// The arguments: nobody else can change them.
    #[must_use]
    pub fn arguments(&self) -> &[u8] {
        let length = self.taken().map_or(0, |taken| taken.argument().length);
        &self.arguments[..length as usize]
    }

    /// How the arguments were made.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.taken()
            .map_or(Encoding::UNSPECIFIED, |taken| taken.argument().encoding)
    }

    /// When the call was made: CLOCK_BOOTTIME in ns; 0 if that is not known.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.taken().map_or(0, Taken::time_ns)
    }

    /// Whether nobody waits for a response: it was a one-way call, or it was withdrawn
    /// since it began.
    #[must_use]
    pub fn is_unwanted(&self) -> bool {
        let tunnel = self.function.tunnel();
        self.taken()
            .is_none_or(|taken| taken.is_one_way() || !tunnel.is_wanted(taken))
    }

    /// Whether it was made without a wish for a response.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.taken().is_none_or(Taken::is_one_way)
    }

    /// Returns `bytes` to the caller.
    ///
    /// # Errors
    /// They are more than a response can have, which the caller is told, too.
    pub fn reply(self, bytes: &[u8], encoding: Encoding) -> Result<()> {
        self.finish(Outcome::RETURNED, bytes, encoding)
    }

    /// Returns nothing to the caller.
    ///
    /// # Errors
    /// Somebody has damaged the function's memory.
    pub fn reply_nothing(mut self) -> Result<()> {
        self.end(None)
    }

    /// Tells the caller that the function failed; as much of `text` as a response can
    /// have.
    ///
    /// # Errors
    /// Somebody has damaged the function's memory.
    pub fn reply_error(self, text: &str) -> Result<()> {
        let limit = self.max_response_size();
        let mut end = text.len().min(limit);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        self.finish(Outcome::RAISED, text.as_bytes(), Encoding::UNSPECIFIED)
    }

    /// As [`reply_error`](IncomingCall::reply_error), for an error that is more than
    /// text: after the text a NUL, and whatever `encoding` says. What does not fit is cut.
    ///
    /// # Errors
    /// Somebody has damaged the function's memory.
    pub fn reply_error_encoded(self, bytes: &[u8], encoding: Encoding) -> Result<()> {
        self.finish(Outcome::RAISED, bytes, encoding)
    }

    /// Returns a value to the caller, encoded straight into the response.
    ///
    /// # Errors
    /// It does not fit, or cannot be encoded: the caller is told, too.
    pub fn reply_value<C: Codec>(mut self, value: &C::Value) -> Result<()> {
        let Some(taken) = self
            .taken()
            .filter(|_| !self.is_foreign() && !self.is_one_way())
        else {
            return self.end(None);
        };
        let mut sink = ResponseSink {
            tunnel: self.function.tunnel(),
            taken,
            length: 0,
            limit: self.max_response_size(),
        };
        let encoded = C::encode(value, &mut sink).map(|()| sink.length);
        match encoded {
            Ok(length) => {
                let part = Part {
                    length: length as u32,
                    encoding: C::ENCODING,
                };
                self.end(Some((Outcome::RETURNED, part)))
            }
            Err(EncodeError::Full) => {
                let size = self.max_response_size() as u64 + 1;
                self.refuse_size(size)
            }
            Err(EncodeError::Refused(why)) => {
                let error = self.function.segment.error(Reason::Encode(why));
                self.reply_error(&format!("the function's answer cannot be encoded: {why}"))?;
                Err(error)
            }
        }
    }

    /// Whether the call is the parent's, and this process a child of it.
    fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    fn max_response_size(&self) -> usize {
        self.function.segment.geometry().max_response_size() as usize
    }

    fn finish(mut self, outcome: Outcome, bytes: &[u8], encoding: Encoding) -> Result<()> {
        if self.is_one_way() {
            return self.end(None);
        }
        let limit = self.max_response_size();
        if bytes.len() > limit && outcome == Outcome::RETURNED {
            return self.refuse_size(bytes.len() as u64);
        }
        let bytes = &bytes[..bytes.len().min(limit)];
        if let Some(taken) = self.taken().filter(|_| !self.is_foreign()) {
            self.function.tunnel().fill_response(taken, 0, bytes);
        }
        let part = Part {
            length: bytes.len() as u32,
            encoding,
        };
        self.end(Some((outcome, part)))
    }

    /// The answer is too large: says so to the caller and to the function.
    fn refuse_size(mut self, size: u64) -> Result<()> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let error = self.function.segment.error(Reason::ResponseTooLarge {
            size,
            max_response_size: self.max_response_size() as u32,
        });
        let part = Part {
            length: size,
            encoding: Encoding::UNSPECIFIED,
        };
        self.end(Some((Outcome::TOO_LARGE, part)))?;
        Err(error)
    }

    fn end(&mut self, response: Option<(Outcome, Part)>) -> Result<()> {
        let Some(taken) = self.taken.take() else {
            return Ok(());
        };
        if self.is_foreign() {
            let what = "the call";
            return Err(self.function.segment.error(Reason::Forked { what }));
        }
        let tunnel: Mapped<'_> = self.function.tunnel();
        let system = self.function.segment.system();
        let finished = tunnel.finish(&system, self.me, taken, response);
        // Only people wait for this.
        tunnel.memory().control().served.fetch_add(1, Relaxed);
        finished.map_err(|_| self.function.segment.error(Reason::Corrupt))
    }
}

impl Drop for IncomingCall {
    fn drop(&mut self) {
        if self.is_foreign() {
            return;
        }
        if let Some(taken) = self.taken.take() {
            let system = self.function.segment.system();
            self.function.tunnel().abandon(&system, self.me, taken);
        }
        let mut arguments = core::mem::take(&mut self.arguments);
        let place = &self.function.arguments;
        place.with(|place| core::mem::swap(place, &mut arguments));
        self.function.at_work.has_replied();
    }
}

/// Puts encoded pieces into a response, one behind the other.
struct ResponseSink<'a> {
    tunnel: Mapped<'a>,
    taken: &'a Taken,
    length: usize,
    limit: usize,
}

impl Sink for ResponseSink<'_> {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.limit - self.length {
            return Err(Full);
        }
        self.tunnel.fill_response(self.taken, self.length, bytes);
        self.length += bytes.len();
        Ok(())
    }
}

/// What a function written as a closure came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It returns these bytes.
    Bytes(Vec<u8>),
    /// It returns nothing.
    Nothing,
    /// It failed.
    Failed(String),
}

/// What a function written as a closure may return: bytes, nothing, or an error.
pub trait IntoReply {
    /// As a reply.
    fn into_reply(self) -> Reply;
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Reply::Nothing
    }
}

impl IntoReply for Vec<u8> {
    fn into_reply(self) -> Reply {
        Reply::Bytes(self)
    }
}

impl<T: IntoReply> IntoReply for Option<T> {
    fn into_reply(self) -> Reply {
        self.map_or(Reply::Nothing, T::into_reply)
    }
}

impl<T: IntoReply, E: core::fmt::Display> IntoReply for Result<T, E> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(value) => value.into_reply(),
            Err(error) => Reply::Failed(error.to_string()),
        }
    }
}

impl Reply {
    /// Ends `call` with it.
    pub(super) fn end(self, call: IncomingCall) -> Result<()> {
        match self {
            Reply::Bytes(bytes) => call.reply(&bytes, Encoding::RAW),
            Reply::Nothing => call.reply_nothing(),
            Reply::Failed(text) => call.reply_error(&text),
        }
    }
}
