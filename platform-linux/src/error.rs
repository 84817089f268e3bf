//! What can go wrong, with the numbers in it.
//!
//! An [`Error`] says about which object it speaks and why; its text is one
//! line that also says what to do. Making one allocates nothing
//! once a handle is open.

mod text;

use crate::shm::Subject;
use core::fmt;
use robot_ipc_core::codec::{DecodeError, Explanation};
use robot_ipc_core::header::HeaderError;
use robot_ipc_core::name::NameError;
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;

/// The result of an operation on shared objects.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with which object.
#[derive(Clone, Debug)]
pub struct Error {
    subject: Option<Arc<Subject>>,
    reason: Reason,
}

/// A process that is in the way, and how many slots it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, as it told; 0 if it has not.
    pub pid: u32,
    /// How many slots it writes, has pinned or loaned.
    pub slots: u32,
}

/// The processes that are in the way; the first few if there are more.
pub type Holders = heapless::Vec<Holder, 6>;

/// A process that holds cells of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellHolder {
    /// Its process id, as it told; 0 if it has not.
    pub pid: u32,
    /// How many cells carry its calls.
    pub cells: u32,
    /// How many of them have an answer that it has not fetched.
    pub unfetched: u32,
}

/// The processes whose calls fill a function's cells; the first few if there are more.
pub type CellHolders = heapless::Vec<CellHolder, 6>;

/// What a function takes and returns, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionSizes {
    /// How many bytes the arguments can have.
    pub max_argument_size: u32,
    /// How many bytes a response can have; 0: no call wants one.
    pub max_response_size: u32,
}

/// Where a call was when its caller stopped waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has taken it, and nobody serves the function.
    NotServed,
    /// Nobody has taken it; the process of that id serves the function.
    Queued {
        /// Its process id.
        pid: u32,
    },
    /// The process of that id runs it.
    Running {
        /// Its process id.
        pid: u32,
    },
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// A name breaks the rules.
    BadName {
        /// Of what.
        what: &'static str,
        /// The name, quoted; only its beginning if it is long.
        name: String,
        /// Which rule.
        reason: NameError,
    },
    /// An option, or the environment variable of that name, has a value that
    /// cannot be used.
    BadOption {
        /// Which one.
        option: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Nothing has that name, and this handle does not create it.
    NotFound,
    /// The object exists, made for values of another size.
    SizeMismatch {
        /// The size it was made for.
        existing: u32,
        /// The size asked for.
        asked: u32,
    },
    /// The object exists with another number of slots.
    SlotsMismatch {
        /// The number it was made with.
        existing: u32,
        /// The number asked for.
        asked: u32,
    },
    /// A value has more bytes than the object can hold.
    TooLarge {
        /// How many it has.
        size: u64,
        /// How many it may have.
        max_size: u32,
    },
    /// A buffer has fewer bytes than the value that should be read into it.
    BufferTooSmall {
        /// How many it has.
        size: usize,
        /// How many the value has.
        needed: u32,
    },
    /// Nobody has written a value yet.
    NeverWritten,
    /// The value is older than it may be.
    TooOld {
        /// How old it is.
        age: Duration,
        /// How old it may be.
        max_age: Duration,
    },
    /// The value was written without a clock, or read where its clock is not
    /// known.
    NoAge {
        /// Why its age cannot be told.
        reason: &'static str,
    },
    /// The value is not what the reader can read.
    Decode(DecodeError),
    /// The value could not be encoded, for that reason.
    Encode(Explanation),
    /// Somebody else owns the file, or more people may use it than was asked.
    ForeignOwner {
        /// User id of its owner.
        uid: u32,
        /// Group id of the file.
        gid: u32,
        /// Its permission bits.
        mode: u32,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// What has that name is not a file.
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// The file's first bytes are not those of a segment we can use.
    Header(HeaderError),
    /// The words in memory contradict each other.
    Corrupt,
    /// The object was removed while it was open.
    Retired,
    /// The object's file was cut short while it was open: see
    /// [`survive_truncation`](crate::survive_truncation).
    Truncated {
        /// How many bytes the file has now; `None` if it has grown again, or is gone.
        size: Option<u64>,
        /// How many it had.
        needed: u64,
    },
    /// The object was removed by its owner, who has yet to take its name away.
    RetiredByOwner {
        /// User id of the owner.
        uid: u32,
    },
    /// Somebody took the name away behind our back.
    NameRemoved,
    /// Another process is removing the object, and does not get on with it.
    BeingRemoved,
    /// Every slot but the latest is taken.
    NoFreeSlot {
        /// How many there are.
        slots: u32,
        /// By whom.
        holders: Holders,
    },
    /// Others were faster all the time.
    Contended {
        /// How long this was tried.
        tried: Duration,
    },
    /// Somebody else has written meanwhile.
    Changed {
        /// The version that is the latest now.
        version: u64,
    },
    /// Nothing can be borrowed or loaned: too few slots, or too many are taken.
    CannotBorrow {
        /// How many slots there are.
        slots: u32,
        /// Whether writers are among those who hold them, which passes.
        passing: bool,
        /// Who holds slots.
        holders: Holders,
    },
    /// Somebody is the only one who may write it.
    ExclusiveWriter {
        /// Its process id, as it told it.
        pid: u32,
    },
    /// Only the first processes of an object can borrow, and this is a later one.
    TooManyBorrowers,
    /// As many processes as an object can have are using it already.
    TooManyParticipants,
    /// The handle is read-only.
    ReadOnly {
        /// What was asked of it.
        operation: &'static str,
    },
    /// This process may not lock so much memory.
    NotLocked {
        /// The bytes of the object.
        size: u64,
        /// How many bytes it may lock in all; `None` for no limit.
        limit: Option<u64>,
    },
    /// Nothing happened in time.
    TimedOut {
        /// How long it was waited for.
        waited: Duration,
    },
    /// A signal arrived during a wait.
    Interrupted,
    /// The function exists with other sizes, and somebody has it open.
    FunctionMismatch {
        /// The sizes it was made with.
        existing: FunctionSizes,
        /// The sizes asked for.
        asked: FunctionSizes,
    },
    /// The function exists with another number of cells.
    CellsMismatch {
        /// The number it was made with.
        existing: u32,
        /// The number asked for.
        asked: u32,
    },
    /// Arguments have more bytes than the function takes. Nothing was sent.
    ArgumentsTooLarge {
        /// How many they have.
        size: u64,
        /// How many they may have.
        max_argument_size: u32,
    },
    /// What the function returned has more bytes than a response can have.
    ResponseTooLarge {
        /// How many it has.
        size: u32,
        /// How many it may have.
        max_response_size: u32,
    },
    /// The function raised an error.
    Raised {
        /// What it says.
        text: String,
    },
    /// The process that ran the call died, or the function did not come back.
    DispatcherDied,
    /// Nobody serves the function any more. The call was taken back.
    NotServed,
    /// The call was older than its dispatcher allows; it was not run.
    CallTooOld {
        /// How old it could be.
        max_age: Duration,
    },
    /// No call of this handle is outstanding.
    NoCall,
    /// The end of that call was told already.
    Reported,
    /// No response came in time.
    CallTimedOut {
        /// How long it was waited for.
        waited: Duration,
        /// Where the call was then.
        stage: Stage,
    },
    /// No call arrived in time.
    NothingToServe {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The function was removed while a call of it was waiting.
    RetiredCall,
    /// This process may take no more cells, and all that it has hold answers that
    /// it has not fetched.
    Unfetched {
        /// How many.
        count: u32,
    },
    /// No cell came free in time.
    TunnelFull {
        /// How many there are.
        cells: u32,
        /// Whose calls are in them.
        holders: CellHolders,
    },
    /// The wait would be for this very thread.
    WouldDeadlock,
    /// The dispatcher has as many functions as it may have.
    TooManyFunctions {
        /// How many.
        max_functions: u32,
    },
    /// The dispatcher has a function of that name.
    AddedAlready,
    /// The dispatcher has no function of that number.
    NoSuchFunction,
    /// The dispatcher was stopped.
    Stopped,
    /// The dispatcher is at work in another thread, or with a call that has not been
    /// answered.
    Busy,
    /// It belongs to the process that this one was forked from.
    Forked {
        /// What.
        what: &'static str,
    },
    /// There is no room for the object.
    NoSpace {
        /// How many bytes it needs.
        needed: u64,
        /// How many are free.
        free: u64,
    },
    /// The process may not do that.
    PermissionDenied {
        /// What.
        operation: &'static str,
    },
    /// The system refused.
    System {
        /// What was asked of it.
        operation: &'static str,
        /// What it said.
        errno: Errno,
    },
}

impl Error {
    pub(crate) fn new(subject: &Arc<Subject>, reason: Reason) -> Error {
        Error {
            subject: Some(Arc::clone(subject)),
            reason,
        }
    }

    pub(crate) const fn without_subject(reason: Reason) -> Error {
        Error {
            subject: None,
            reason,
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// What it is about, if it is about one object.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_deref()
    }
}

impl Reason {
    pub(crate) fn bad_name(what: &'static str, name: &[u8], reason: NameError) -> Reason {
        const SHOWN: usize = 40;
        let shown = String::from_utf8_lossy(&name[..name.len().min(SHOWN)]);
        let rest = if name.len() > SHOWN { "…" } else { "" };
        let name = format!("'{}{rest}'", shown.escape_debug());
        Reason::BadName { what, name, reason }
    }

    pub(crate) fn bad_option(
        option: &'static str,
        value: impl fmt::Display,
        reason: &'static str,
    ) -> Reason {
        let value = value.to_string();
        Reason::BadOption {
            option,
            value,
            reason,
        }
    }

    /// Whether memory that was lost can be why.
    pub(crate) fn is_of_memory(&self) -> bool {
        !matches!(
            self,
            Reason::ReadOnly { .. }
                | Reason::TooLarge { .. }
                | Reason::ArgumentsTooLarge { .. }
                | Reason::PermissionDenied { .. }
                | Reason::BeingRemoved
                | Reason::Interrupted
                | Reason::Forked { .. }
        )
    }

    pub(crate) fn system(operation: &'static str) -> impl FnOnce(Errno) -> Reason {
        move |errno| match errno {
            Errno::INTR => Reason::Interrupted,
            Errno::ACCESS | Errno::PERM => Reason::PermissionDenied { operation },
            errno => Reason::System { operation, errno },
        }
    }
}

impl std::error::Error for Error {}

impl From<DecodeError> for Reason {
    fn from(error: DecodeError) -> Self {
        Reason::Decode(error)
    }
}

impl From<HeaderError> for Reason {
    fn from(error: HeaderError) -> Self {
        Reason::Header(error)
    }
}
