//! Reads, writes and calls that are prepared once and done often.
//!
//! For languages in which every argument of a call into C has its price, such as Python
//! with ctypes, where five of them cost more than the read itself: what stays the same
//! from one time to the next stands in a struct, and no argument is wider than an `int`
//! but pointers. They do what their namesakes do.
//!
//! One thread uses a struct at a time, but for `ripc_prepared_write` and
//! `ripc_prepared_writer`, which nobody changes.

use super::caller::{receive_into, ripc_caller, ripc_response};
use super::exclusive::{ripc_writer, ripc_writer_write};
use super::variable::{
    RIPC_ENCODING_UNSPECIFIED, read_into, ripc_sample, ripc_variable, ripc_variable_write,
};
use super::{Failure, guard, required, ripc_status, to_read};
use crate::codec::Encoding;
use crate::function::Which;
use core::ffi::c_void;
use core::mem::size_of;
use static_assertions::const_assert;
use std::time::Duration;

/// What `ripc_read_prepared` needs, and where it puts what it finds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_prepared_read {
    /// An open variable.
    pub variable: *const ripc_variable,
    /// Where the value goes.
    pub buffer: *mut c_void,
    /// Bytes of the buffer.
    pub capacity: u64,
    /// How old the value may be; negative for no limit.
    pub max_age_ns: i64,
    /// How the value has to be made, `RIPC_ENCODING_…`, unless its writer did not say.
    pub encoding: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: what stands beside the value.
    pub sample: ripc_sample,
}

/// What `ripc_write_prepared` needs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_prepared_write {
    /// An open variable.
    pub variable: *const ripc_variable,
    /// How long to look for a free slot; negative for the handle's own limit.
    pub timeout_ns: i64,
    /// How the bytes are made, `RIPC_ENCODING_…`.
    pub encoding: u32,
    /// Zero.
    pub reserved: u32,
}

/// What `ripc_writer_write_prepared` needs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_prepared_writer {
    /// A writer.
    pub writer: *const ripc_writer,
    /// How long to look for a free slot; negative for the variable's own limit.
    pub timeout_ns: i64,
    /// How the bytes are made, `RIPC_ENCODING_…`.
    pub encoding: u32,
    /// Zero.
    pub reserved: u32,
}

/// What `ripc_call_prepared` needs, and where it puts what it finds.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_prepared_call {
    /// An open function.
    pub caller: *const ripc_caller,
    /// Where the response goes.
    pub buffer: *mut c_void,
    /// Bytes of the buffer.
    pub capacity: u64,
    /// How long to wait for the response; negative: without end.
    pub timeout_ns: i64,
    /// How the arguments are made, `RIPC_ENCODING_…`.
    pub encoding: u32,
    /// Zero.
    pub reserved: u32,
    /// Out: the response. If nothing was sent its `call` is 0.
    pub response: ripc_response,
}

const_assert!(size_of::<ripc_prepared_read>() == 64 || cfg!(not(target_pointer_width = "64")));
const_assert!(size_of::<ripc_prepared_write>() == 24 || cfg!(not(target_pointer_width = "64")));
const_assert!(size_of::<ripc_prepared_writer>() == 24 || cfg!(not(target_pointer_width = "64")));
const_assert!(size_of::<ripc_prepared_call>() == 64 || cfg!(not(target_pointer_width = "64")));

/// As `ripc_variable_read`. A value that is encoded in another way than asked for is
/// `RIPC_WRONG_ENCODING`, and in the buffer all the same.
///
/// # Safety
/// `read` is null, or what it says holds: its variable is open, its buffer has so many
/// writable bytes, and nobody else uses it meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_read_prepared(read: *mut ripc_prepared_read) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let read = unsafe { read.as_mut() }.ok_or(Failure::Null("read"))?;
        let capacity = usize::try_from(read.capacity).unwrap_or(usize::MAX);
        // SAFETY: as the caller promises.
        unsafe {
            read_into(
                read.variable,
                read.buffer,
                capacity,
                read.max_age_ns,
                &mut read.sample,
            )?;
        }
        match read.sample.encoding {
            RIPC_ENCODING_UNSPECIFIED => Ok(()),
            encoding if encoding == read.encoding => Ok(()),
            _ => Err(Failure::Refused(
                ripc_status::RIPC_WRONG_ENCODING,
                libc::EPROTOTYPE,
                "the value is encoded in another way than asked for",
            )),
        }
    })
}

/// As `ripc_variable_write`.
///
/// # Safety
/// `write` is null or leads to an open variable; `data` has `size` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_write_prepared(
    write: *const ripc_prepared_write,
    data: *const c_void,
    size: u32,
) -> ripc_status {
    // SAFETY: as the caller promises.
    let write = match unsafe { required(write, "write") } {
        Ok(write) => write,
        Err(failure) => return guard(|| Err(failure)),
    };
    // SAFETY: as the caller promises.
    unsafe {
        ripc_variable_write(
            write.variable,
            data,
            size as usize,
            write.encoding,
            write.timeout_ns,
            core::ptr::null_mut(),
        )
    }
}

/// As `ripc_writer_write`.
///
/// # Safety
/// `writer` is null, or its writer came from `ripc_variable_lead`; `data` has `size`
/// readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_writer_write_prepared(
    writer: *const ripc_prepared_writer,
    data: *const c_void,
    size: u32,
) -> ripc_status {
    // SAFETY: as the caller promises.
    let prepared = match unsafe { required(writer, "writer") } {
        Ok(prepared) => prepared,
        Err(failure) => return guard(|| Err(failure)),
    };
    // SAFETY: as the caller promises.
    unsafe {
        ripc_writer_write(
            prepared.writer,
            data,
            size as usize,
            prepared.encoding,
            prepared.timeout_ns,
            core::ptr::null_mut(),
        )
    }
}

/// Calls the function, as `ripc_caller_call` does but without waiting for a free cell, and
/// waits for the response of that very call, as `ripc_caller_response_of` does. If
/// `response.call` is 0 nothing was sent; else the call is under way, and goes on, with
/// whichever status it does not end.
///
/// # Safety
/// `call` is null, or what it says holds: its caller is open, its buffer has so many
/// writable bytes, and nobody else uses it meanwhile. `data` has `size` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_call_prepared(
    call: *mut ripc_prepared_call,
    data: *const c_void,
    size: u32,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let call = unsafe { call.as_mut() }.ok_or(Failure::Null("call"))?;
        call.response = ripc_response::default();
        // SAFETY: as the caller promises.
        let (caller, bytes) = unsafe {
            (
                required(call.caller, "caller")?,
                to_read(data, size as usize)?,
            )
        };
        let encoding = Encoding(call.encoding);
        let sent = caller.caller.send(bytes, encoding, Duration::ZERO)?;
        call.response.call = sent.id;
        let capacity = usize::try_from(call.capacity).unwrap_or(usize::MAX);
        // SAFETY: as the caller promises.
        let done = unsafe {
            receive_into(
                caller,
                Which::Sent(sent),
                call.buffer,
                capacity,
                call.timeout_ns,
                &mut call.response,
            )
        };
        // Also of a one-way call, which brings no response.
        call.response.call = sent.id;
        done
    })
}
