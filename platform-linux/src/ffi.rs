//! The C interface, `ripc_…`: everything the Rust API can do.
//!
//! Each function returns a [`ripc_status`]; results come through pointers. A
//! status other than `RIPC_OK` leaves a text that [`ripc_last_error`] gives, for
//! the calling thread. No panic crosses this border, and nothing here allocates
//! after opening. The header `include/ripc.h` is generated from
//! these files and checked by a test.

#![allow(unsafe_code)]
#![allow(non_camel_case_types)] // names of C types

mod in_place;
mod status;
mod variable;

pub use in_place::*;
pub use status::{ripc_last_error, ripc_status, ripc_status_name};
pub use variable::*;

use core::ffi::{CStr, c_char};
use status::{Failure, guard};
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
