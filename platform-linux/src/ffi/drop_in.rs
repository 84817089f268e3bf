//! The C interface that programs of the earlier C library use: the same functions, the
//! same link name, headers written by hand (`include/robot_ipc.h` and what it includes).
//!
//! A function returns 0, or a handle; on failure it returns another number, or null,
//! sets `errno`, and leaves a text that `ripc_last_error()` gives. No panic crosses this
//! border.
//!
//! Handles are small numbers in a pointer's clothes, see `handle`: one that was let go
//! of, or was never a handle, is an error and not a crash.
//!
//! What is written carries no encoding, and what is read may have any: these functions
//! only move bytes, and their users agree on what the bytes mean.

mod caller;
mod dispatcher;
mod handle;
mod variable;

pub use caller::*;
pub use dispatcher::*;
pub use variable::*;

use super::status::{Failure, guard, ripc_status};
use crate::error::Reason;
use core::ffi::{CStr, c_char, c_int};

/// As a result: done.
pub const ROBOT_OK: c_int = 0;
/// As a result: there is no response, and none can come.
pub const WARN_SHM_NOREAD: c_int = 100;
/// As a result: as many calls are under way as can be.
pub const WARN_SHM_QUFULL: c_int = 101;
/// As a result: no slot came free for the value, or writers were faster than the reader.
pub const ERR_SHM_AQMETALOCK: c_int = 200;
/// As a result: the time of the value cannot be told. Nothing gives it: the function for
/// that returns nothing.
pub const ERR_SHM_NOWRITETIME: c_int = 201;
/// As a result: it could not be done; `errno` says more.
pub const ERR_PIPE_REQ: c_int = 202;
/// As a result: the other side, or the object itself, is gone.
pub const ERR_PIPE_CLOSE: c_int = 203;
/// As a result: what lies in memory is damaged.
pub const FATAL_SHM_CORRUPT: c_int = 300;

/// Carries out a call from C; on failure sets `errno` and gives the number to return.
fn carry_out<T>(call: impl FnOnce() -> Result<T, Failure>) -> Result<T, c_int> {
    let mut done = None;
    let mut errno = libc::ENOTRECOVERABLE;
    let status = guard(|| {
        done = Some(call().inspect_err(|failure| errno = errno_of(failure))?);
        Ok(())
    });
    done.ok_or_else(|| {
        // SAFETY: the address of this thread's own `errno`.
        unsafe { *libc::__errno_location() = errno };
        result_of(status)
    })
}

/// As `carry_out`, for functions that return a number.
fn number(call: impl FnOnce() -> Result<(), Failure>) -> c_int {
    carry_out(call).map_or_else(|failed| failed, |()| ROBOT_OK)
}

/// The number that tells a status apart, as far as there are such numbers.
fn result_of(status: ripc_status) -> c_int {
    use ripc_status::*;
    match status {
        RIPC_NO_CALL => WARN_SHM_NOREAD,
        RIPC_UNFETCHED | RIPC_TUNNEL_FULL => WARN_SHM_QUFULL,
        RIPC_NO_FREE_SLOT | RIPC_CONTENDED => ERR_SHM_AQMETALOCK,
        RIPC_RETIRED | RIPC_NAME_REMOVED | RIPC_DISPATCHER_DIED | RIPC_NOT_SERVED
        | RIPC_STOPPED => ERR_PIPE_CLOSE,
        RIPC_CORRUPT | RIPC_TRUNCATED => FATAL_SHM_CORRUPT,
        _ => ERR_PIPE_REQ,
    }
}

/// What `errno` says of a failure.
fn errno_of(failure: &Failure) -> c_int {
    use ripc_status::*;
    match failure {
        Failure::Refused(_, errno, _) => return *errno,
        Failure::Null(_) | Failure::Argument(_) => return libc::EINVAL,
        Failure::Library(error) => match error.reason() {
            Reason::System { errno, .. } => return errno.raw_os_error(),
            Reason::AddedAlready => return libc::EEXIST,
            _ => {}
        },
        Failure::Panic => {}
    }
    match failure.status() {
        RIPC_BAD_NAME | RIPC_BAD_OPTION | RIPC_BAD_ARGUMENT | RIPC_SIZE_MISMATCH => libc::EINVAL,
        RIPC_NOT_FOUND => libc::ENOENT,
        RIPC_INTERRUPTED => libc::EINTR,
        RIPC_TOO_LARGE | RIPC_RESPONSE_TOO_LARGE => libc::EMSGSIZE,
        RIPC_NO_FREE_SLOT | RIPC_CONTENDED | RIPC_UNFETCHED | RIPC_TUNNEL_FULL => libc::EAGAIN,
        RIPC_BUSY | RIPC_BEING_REMOVED => libc::EBUSY,
        RIPC_FOREIGN_OWNER | RIPC_PERMISSION_DENIED => libc::EACCES,
        RIPC_FORKED => libc::EPERM,
        RIPC_NO_SPACE | RIPC_TOO_MANY_FUNCTIONS => libc::ENOSPC,
        RIPC_TOO_MANY_PARTICIPANTS => libc::EUSERS,
        RIPC_NOT_A_SEGMENT | RIPC_OTHER_FORMAT => libc::EBADMSG,
        RIPC_RETIRED | RIPC_NAME_REMOVED => libc::EIDRM,
        RIPC_RAISED => libc::EREMOTEIO,
        RIPC_DISPATCHER_DIED => libc::EOWNERDEAD,
        RIPC_NOT_SERVED | RIPC_STOPPED => libc::ECONNREFUSED,
        RIPC_CALL_TOO_OLD | RIPC_TIMED_OUT => libc::ETIMEDOUT,
        RIPC_NO_CALL => libc::ENODATA,
        RIPC_WOULD_DEADLOCK => libc::EDEADLK,
        RIPC_INTERNAL => libc::ENOTRECOVERABLE,
        _ => libc::EIO,
    }
}

/// The name of an object, without the slash that names of shared memory begin with.
///
/// # Safety
/// `name` is null or a NUL-terminated string that lives for `'a`.
unsafe fn object_name<'a>(name: *const c_char) -> Result<&'a [u8], Failure> {
    // SAFETY: as the caller promises.
    let name = unsafe { super::optional_text(name) }.ok_or(Failure::Null("name"))?;
    let name = CStr::to_bytes(name);
    Ok(name.strip_prefix(b"/").unwrap_or(name))
}

/// A size as options take it.
fn size_of_object(size: usize) -> u64 {
    // No size_t is wider than this anywhere; and if it were, it would be refused.
    u64::try_from(size).unwrap_or(u64::MAX)
}
