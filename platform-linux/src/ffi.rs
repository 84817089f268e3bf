//! The C interface, `ripc_…`: everything the Rust API can do.
//!
//! Each function returns a [`ripc_status`]; results come through pointers. A
//! status other than `RIPC_OK` leaves a text that [`ripc_last_error`] gives, for
//! the calling thread. No panic crosses this border, and nothing here allocates
//! after opening. The header `include/ripc.h` is generated from
//! these files and checked by a test. The functions of the earlier C library, whose
//! headers are written by hand, stand in [`drop_in`].

#![allow(unsafe_code)]
#![allow(non_camel_case_types)] // names of C types

mod caller;
mod dispatcher;
pub mod drop_in;
mod exclusive;
mod in_place;
mod prepared;
mod status;
mod variable;

pub use caller::*;
pub use dispatcher::*;
pub use exclusive::*;
pub use in_place::*;
pub use prepared::*;
pub use status::{ripc_last_error, ripc_status, ripc_status_name};
pub use variable::*;

use crate::memory::Memory;
use crate::shm::Place;
use core::ffi::{CStr, c_char, c_void};
use status::{Failure, guard};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// The library's version, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn ripc_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL in it"),
        };
    VERSION.as_ptr()
}

/// Tells builds of the library apart: version, a hash of its sources, profile.
#[unsafe(no_mangle)]
pub extern "C" fn ripc_build_id() -> *const c_char {
    crate::build_id::BUILD_ID_C.as_ptr()
}

/// From now on this process survives that the file of a variable or function which it
/// has open is cut short. Without this it is ended by SIGBUS as soon as it touches what
/// is gone.
///
/// Whatever uses the object from then on fails with `RIPC_TRUNCATED`. A value that was
/// borrowed, or is being filled in place, turns into zeros under its user's eyes;
/// publishing it fails. The object can only be removed and made anew.
///
/// It handles SIGBUS for the whole process; a SIGBUS that does not come from such a file
/// goes to whoever handled it before. Call it once and early, but after what does the
/// same for the program; calling it again changes nothing. It does not help threads that
/// block SIGBUS, and it is inherited by forked children.
#[unsafe(no_mangle)]
pub extern "C" fn ripc_survive_truncation() -> ripc_status {
    guard(|| Ok(crate::survive_truncation()?))
}

/// A text that C gave us; `None` for null.
///
/// # Safety
/// `text` is null or a NUL-terminated string that lives for `'a`.
unsafe fn optional_text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as the caller promises.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// What a pointer that C gave us leads to.
///
/// # Safety
/// `pointer` is null or leads to a `T` that lives for `'a` and that nobody
/// changes meanwhile.
unsafe fn required<'a, T>(pointer: *const T, what: &'static str) -> Result<&'a T, Failure> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or(Failure::Null(what))
}

/// Puts a result where C wants it; nowhere if that is null.
///
/// # Safety
/// `place` is null or may be written.
unsafe fn put<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: as the caller promises; what was there has no destructor.
        unsafe { place.write(value) };
    }
}

/// A time limit in nanoseconds; negative means none.
fn timeout(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// Whether pages are there before they are used; `None` for what the environment says.
fn memory(number: u32) -> Result<Option<Memory>, Failure> {
    match number {
        0 => Ok(None),
        RIPC_MEMORY_ON_DEMAND => Ok(Some(Memory::OnDemand)),
        RIPC_MEMORY_PREFAULTED => Ok(Some(Memory::Prefaulted)),
        RIPC_MEMORY_LOCKED => Ok(Some(Memory::Locked)),
        _ => Err(Failure::Argument("memory is none of RIPC_MEMORY_…")),
    }
}

/// The name of a group that C gave us.
///
/// # Safety
/// `group` is null or a NUL-terminated string that lives for `'a`.
unsafe fn group_name<'a>(group: *const c_char) -> Result<Option<&'a str>, Failure> {
    // SAFETY: as the caller promises.
    let group = unsafe { optional_text(group) };
    let group = group.map(CStr::to_str).transpose();
    group.map_err(|_| Failure::Argument("the name of the group is not UTF-8"))
}

/// The place that C told us; `None` for what the environment says.
///
/// # Safety
/// Both are null or NUL-terminated strings.
unsafe fn place(
    directory: *const c_char,
    namespace: *const c_char,
) -> Result<Option<Place>, Failure> {
    // SAFETY: as the caller promises.
    let (directory, namespace) = unsafe { (optional_text(directory), optional_text(namespace)) };
    if directory.is_none() && namespace.is_none() {
        return Ok(None);
    }
    let mut place = Place::from_environment()?;
    if let Some(directory) = directory {
        place = place.with_directory(Path::new(OsStr::from_bytes(directory.to_bytes())))?;
    }
    if let Some(namespace) = namespace {
        place = place.with_namespace(namespace.to_bytes())?;
    }
    Ok(Some(place))
}

/// The bytes that C gave us to read.
///
/// # Safety
/// `data` has `size` readable bytes that nobody changes during `'a`.
unsafe fn to_read<'a>(data: *const c_void, size: usize) -> Result<&'a [u8], Failure> {
    if size == 0 {
        Ok(&[])
    } else if data.is_null() || isize::try_from(size).is_err() {
        Err(Failure::Null("data"))
    } else {
        // SAFETY: as the caller promises; not longer than memory can be.
        Ok(unsafe { core::slice::from_raw_parts(data.cast::<u8>(), size) })
    }
}

/// The buffer that C gave us to fill: of its `capacity` bytes as many as can be needed.
/// It need not be initialized, and is only written to.
///
/// # Safety
/// `buffer` has `capacity` writable bytes that nobody else uses during `'a`.
unsafe fn to_fill<'a>(
    buffer: *mut c_void,
    capacity: usize,
    max_size: u32,
) -> Result<&'a mut [u8], Failure> {
    if capacity == 0 {
        Ok(&mut [])
    } else if buffer.is_null() || isize::try_from(capacity).is_err() {
        Err(Failure::Null("buffer"))
    } else {
        let length = capacity.min(max_size as usize);
        // SAFETY: as the caller promises; bytes have no invalid values that matter to a
        // copy that only writes.
        Ok(unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) })
    }
}
