//! What a call came to.

use crate::error::{Error, Reason};
use core::cell::RefCell;
use core::ffi::{CStr, c_char, c_int};
use core::fmt::Write;
use robot_ipc_core::codec::DecodeError;
use robot_ipc_core::header::HeaderError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a call came to. Numbers never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum ripc_status {
    /// It was done.
    RIPC_OK = 0,
    /// Nobody has written a value yet.
    RIPC_NEVER_WRITTEN = 1,
    /// Nothing happened in time.
    RIPC_TIMED_OUT = 2,
    /// A signal arrived during a wait; call again to go on waiting.
    RIPC_INTERRUPTED = 3,
    /// Somebody else has written meanwhile.
    RIPC_CHANGED = 4,
    /// The value is older than it may be.
    RIPC_TOO_OLD = 5,
    /// The buffer has fewer bytes than the value; the sample tells how many.
    RIPC_BUFFER_TOO_SMALL = 6,
    /// The value has more bytes than the object can hold.
    RIPC_TOO_LARGE = 7,
    /// The value is encoded in another way than asked for.
    RIPC_WRONG_ENCODING = 8,
    /// Every slot but the latest is taken.
    RIPC_NO_FREE_SLOT = 9,
    /// Others were faster all the time.
    RIPC_CONTENDED = 10,
    /// The value cannot be borrowed or loaned.
    RIPC_CANNOT_BORROW = 11,
    /// As many processes as possible use the object already.
    RIPC_TOO_MANY_PARTICIPANTS = 12,
    /// The handle is read-only.
    RIPC_READ_ONLY = 13,
    /// Nothing has that name.
    RIPC_NOT_FOUND = 14,
    /// The object exists with another size or number of slots.
    RIPC_SIZE_MISMATCH = 15,
    /// The name breaks the rules.
    RIPC_BAD_NAME = 16,
    /// An option or environment variable cannot be used.
    RIPC_BAD_OPTION = 17,
    /// Somebody else owns the file, or more people may use it than was asked.
    RIPC_FOREIGN_OWNER = 18,
    /// What has the name is not a segment, or a damaged one.
    RIPC_NOT_A_SEGMENT = 19,
    /// The segment is of another version or byte order.
    RIPC_OTHER_FORMAT = 20,
    /// The words in memory contradict each other.
    RIPC_CORRUPT = 21,
    /// The object was removed.
    RIPC_RETIRED = 22,
    /// Somebody took the object's name away.
    RIPC_NAME_REMOVED = 23,
    /// Another process is removing the object and has not finished.
    RIPC_BEING_REMOVED = 24,
    /// There is no room for the object.
    RIPC_NO_SPACE = 25,
    /// The process may not do that.
    RIPC_PERMISSION_DENIED = 26,
    /// The age of the value cannot be told.
    RIPC_NO_AGE = 27,
    /// The system refused.
    RIPC_SYSTEM = 28,
    /// A pointer is null, or an argument makes no sense.
    RIPC_BAD_ARGUMENT = 29,
    /// A fault inside the library.
    RIPC_INTERNAL = 30,
    /// What the function returned has more bytes than a response can have.
    RIPC_RESPONSE_TOO_LARGE = 31,
    /// The function raised an error; the bytes in the buffer describe it.
    RIPC_RAISED = 32,
    /// The process that ran the call died; it may or may not have done its work.
    RIPC_DISPATCHER_DIED = 33,
    /// Nobody serves the function any more; the call was taken back.
    RIPC_NOT_SERVED = 34,
    /// The call was older than its dispatcher allows; it was not run.
    RIPC_CALL_TOO_OLD = 35,
    /// No call is outstanding.
    RIPC_NO_CALL = 36,
    /// The end of that call was told already, or it was taken back.
    RIPC_REPORTED = 37,
    /// For those who keep track of calls they took back; the library itself says
    /// `RIPC_REPORTED`.
    RIPC_CANCELLED = 38,
    /// This process has as many unfetched answers as it may have.
    RIPC_UNFETCHED = 39,
    /// No cell came free in time.
    RIPC_TUNNEL_FULL = 40,
    /// Only the dispatcher that this thread is running serves the function.
    RIPC_WOULD_DEADLOCK = 41,
    /// The dispatcher has as many functions as it was made for.
    RIPC_TOO_MANY_FUNCTIONS = 42,
    /// The dispatcher was stopped.
    RIPC_STOPPED = 43,
    /// The dispatcher is at work in another thread, or with a call without a reply; or
    /// another thread is using the writer.
    RIPC_BUSY = 44,
    /// It belongs to the process that this one was forked from.
    RIPC_FORKED = 45,
    /// The object's file was cut short while it was open; see `ripc_survive_truncation`.
    RIPC_TRUNCATED = 46,
    /// Another process, or another handle, is the only one who may write the variable.
    RIPC_EXCLUSIVE = 47,
}

use ripc_status::*;

impl From<&Reason> for ripc_status {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::BadName { .. } => RIPC_BAD_NAME,
            Reason::BadOption { .. } => RIPC_BAD_OPTION,
            Reason::NotFound => RIPC_NOT_FOUND,
            Reason::SizeMismatch { .. } | Reason::SlotsMismatch { .. } => RIPC_SIZE_MISMATCH,
            Reason::TooLarge { .. } => RIPC_TOO_LARGE,
            Reason::BufferTooSmall { .. } => RIPC_BUFFER_TOO_SMALL,
            Reason::NeverWritten => RIPC_NEVER_WRITTEN,
            Reason::TooOld { .. } => RIPC_TOO_OLD,
            Reason::NoAge { .. } => RIPC_NO_AGE,
            Reason::Decode(DecodeError::WrongEncoding { .. }) => RIPC_WRONG_ENCODING,
            Reason::Decode(_) | Reason::Encode(_) => RIPC_BAD_ARGUMENT,
            Reason::ForeignOwner { .. } => RIPC_FOREIGN_OWNER,
            Reason::Header(HeaderError::OtherFormat { .. } | HeaderError::ForeignByteOrder) => {
                RIPC_OTHER_FORMAT
            }
            Reason::Header(HeaderError::Plain) => RIPC_READ_ONLY,
            Reason::NotAFile { .. } | Reason::Header(_) => RIPC_NOT_A_SEGMENT,
            Reason::Corrupt => RIPC_CORRUPT,
            Reason::Truncated { .. } => RIPC_TRUNCATED,
            Reason::Retired | Reason::RetiredByOwner { .. } => RIPC_RETIRED,
            Reason::NameRemoved => RIPC_NAME_REMOVED,
            Reason::BeingRemoved => RIPC_BEING_REMOVED,
            Reason::NoFreeSlot { .. } => RIPC_NO_FREE_SLOT,
            Reason::Contended { .. } => RIPC_CONTENDED,
            Reason::Changed { .. } => RIPC_CHANGED,
            Reason::CannotBorrow { .. } | Reason::TooManyBorrowers => RIPC_CANNOT_BORROW,
            Reason::ExclusiveWriter { .. } => RIPC_EXCLUSIVE,
            Reason::TooManyParticipants => RIPC_TOO_MANY_PARTICIPANTS,
            Reason::ReadOnly { .. } => RIPC_READ_ONLY,
            Reason::NotLocked { .. } => RIPC_PERMISSION_DENIED,
            Reason::TimedOut { .. } => RIPC_TIMED_OUT,
            Reason::Interrupted => RIPC_INTERRUPTED,
            Reason::NoSpace { .. } => RIPC_NO_SPACE,
            Reason::PermissionDenied { .. } => RIPC_PERMISSION_DENIED,
            Reason::System { .. } => RIPC_SYSTEM,
            Reason::FunctionMismatch { .. } | Reason::CellsMismatch { .. } => RIPC_SIZE_MISMATCH,
            Reason::ArgumentsTooLarge { .. } => RIPC_TOO_LARGE,
            Reason::ResponseTooLarge { .. } => RIPC_RESPONSE_TOO_LARGE,
            Reason::Raised { .. } => RIPC_RAISED,
            Reason::DispatcherDied => RIPC_DISPATCHER_DIED,
            Reason::NotServed => RIPC_NOT_SERVED,
            Reason::CallTooOld { .. } => RIPC_CALL_TOO_OLD,
            Reason::NoCall => RIPC_NO_CALL,
            Reason::Reported => RIPC_REPORTED,
            Reason::CallTimedOut { .. } | Reason::NothingToServe { .. } => RIPC_TIMED_OUT,
            Reason::RetiredCall => RIPC_RETIRED,
            Reason::Unfetched { .. } => RIPC_UNFETCHED,
            Reason::TunnelFull { .. } => RIPC_TUNNEL_FULL,
            Reason::WouldDeadlock => RIPC_WOULD_DEADLOCK,
            Reason::TooManyFunctions { .. } => RIPC_TOO_MANY_FUNCTIONS,
            Reason::AddedAlready | Reason::NoSuchFunction => RIPC_BAD_ARGUMENT,
            Reason::Stopped => RIPC_STOPPED,
            Reason::Busy => RIPC_BUSY,
            Reason::Forked { .. } => RIPC_FORKED,
        }
    }
}

/// Why a call from C failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Library(Error),
    Null(&'static str),
    Argument(&'static str),
    /// Another failure of the interface itself: the status, its number in `errno`, and
    /// what to say.
    Refused(ripc_status, c_int, &'static str),
    Panic,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Library(error)
    }
}

impl Failure {
    pub(super) fn status(&self) -> ripc_status {
        match self {
            Failure::Library(error) => error.reason().into(),
            Failure::Null(_) | Failure::Argument(_) => RIPC_BAD_ARGUMENT,
            Failure::Refused(status, _, _) => *status,
            Failure::Panic => RIPC_INTERNAL,
        }
    }
}

/// The last failure of a thread. Its text is only made when somebody asks.
struct LastError {
    failure: Option<Failure>,
    text: String,
}

thread_local! {
    static LAST: RefCell<LastError> =
        const { RefCell::new(LastError { failure: None, text: String::new() }) };
}

/// Carries out a call from C: no panic leaves, and a failure is remembered.
#[inline]
pub(super) fn guard(call: impl FnOnce() -> Result<(), Failure>) -> ripc_status {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => RIPC_OK,
        Ok(Err(failure)) => remember(failure),
        Err(_) => remember(Failure::Panic),
    }
}

#[cold]
fn remember(failure: Failure) -> ripc_status {
    let status = failure.status();
    // A thread that is being torn down has no place to remember it.
    let _ = LAST.try_with(|last| last.borrow_mut().failure = Some(failure));
    status
}

/// What went wrong in the last call of this thread that failed, as one line.
/// Valid until the next call of this function in this thread; empty if none did.
#[unsafe(no_mangle)]
pub extern "C" fn ripc_last_error() -> *const c_char {
    let text = catch_unwind(|| {
        LAST.try_with(|last| {
            let LastError { failure, text } = &mut *last.borrow_mut();
            text.clear();
            let _ = match failure {
                None => Ok(()),
                Some(Failure::Library(error)) => write!(text, "{error}"),
                Some(Failure::Null(what)) => write!(text, "{what} is a null pointer"),
                Some(Failure::Argument(what) | Failure::Refused(_, _, what)) => {
                    write!(text, "{what}")
                }
                Some(Failure::Panic) => {
                    write!(text, "a fault inside the library; please report it")
                }
            };
            text.retain(|letter| letter != '\0');
            text.push('\0');
            text.as_ptr().cast::<c_char>()
        })
    });
    text.ok().and_then(Result::ok).unwrap_or(c"".as_ptr())
}

/// The name of a status, such as `"RIPC_TOO_LARGE"`; `"unknown"` for a number
/// that is none.
#[unsafe(no_mangle)]
pub extern "C" fn ripc_status_name(status: i32) -> *const c_char {
    const NAMES: [&CStr; 48] = [
        c"RIPC_OK",
        c"RIPC_NEVER_WRITTEN",
        c"RIPC_TIMED_OUT",
        c"RIPC_INTERRUPTED",
        c"RIPC_CHANGED",
        c"RIPC_TOO_OLD",
        c"RIPC_BUFFER_TOO_SMALL",
        c"RIPC_TOO_LARGE",
        c"RIPC_WRONG_ENCODING",
        c"RIPC_NO_FREE_SLOT",
        c"RIPC_CONTENDED",
        c"RIPC_CANNOT_BORROW",
        c"RIPC_TOO_MANY_PARTICIPANTS",
        c"RIPC_READ_ONLY",
        c"RIPC_NOT_FOUND",
        c"RIPC_SIZE_MISMATCH",
        c"RIPC_BAD_NAME",
        c"RIPC_BAD_OPTION",
        c"RIPC_FOREIGN_OWNER",
        c"RIPC_NOT_A_SEGMENT",
        c"RIPC_OTHER_FORMAT",
        c"RIPC_CORRUPT",
        c"RIPC_RETIRED",
        c"RIPC_NAME_REMOVED",
        c"RIPC_BEING_REMOVED",
        c"RIPC_NO_SPACE",
        c"RIPC_PERMISSION_DENIED",
        c"RIPC_NO_AGE",
        c"RIPC_SYSTEM",
        c"RIPC_BAD_ARGUMENT",
        c"RIPC_INTERNAL",
        c"RIPC_RESPONSE_TOO_LARGE",
        c"RIPC_RAISED",
        c"RIPC_DISPATCHER_DIED",
        c"RIPC_NOT_SERVED",
        c"RIPC_CALL_TOO_OLD",
        c"RIPC_NO_CALL",
        c"RIPC_REPORTED",
        c"RIPC_CANCELLED",
        c"RIPC_UNFETCHED",
        c"RIPC_TUNNEL_FULL",
        c"RIPC_WOULD_DEADLOCK",
        c"RIPC_TOO_MANY_FUNCTIONS",
        c"RIPC_STOPPED",
        c"RIPC_BUSY",
        c"RIPC_FORKED",
        c"RIPC_TRUNCATED",
        c"RIPC_EXCLUSIVE",
    ];
    let name = usize::try_from(status)
        .ok()
        .and_then(|index| NAMES.get(index).copied());
    name.unwrap_or(c"unknown").as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(status: i32) -> &'static str {
        // SAFETY: a static string.
        unsafe { CStr::from_ptr(ripc_status_name(status)) }
            .to_str()
            .unwrap()
    }

    /// Against a table of names that drifts from the numbers.
    #[test]
    fn names_stand_at_their_numbers() {
        for status in [RIPC_OK, RIPC_TOO_LARGE, RIPC_INTERNAL, RIPC_EXCLUSIVE] {
            assert_eq!(name(status as i32), format!("{status:?}"));
        }
        assert_eq!(name(48), "unknown");
        assert_eq!(name(-1), "unknown");
    }

    /// Against a panic that unwinds into C.
    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(guard(|| panic!("on purpose")), RIPC_INTERNAL);
    }
}
