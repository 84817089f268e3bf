//! Host variables, as programs of the earlier C library use them.

use super::handle::{InUse, Kind, Object, TABLE};
use super::{carry_out, number, object_name, size_of_object};
use crate::codec::Encoding;
use crate::error::Reason;
use crate::ffi::status::Failure;
use crate::ffi::{put, to_fill, to_read};
use crate::variable::{HostVariable, VariableOptions};
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{null_mut, without_provenance_mut};

/// What a `host_variable` seems to point to.
#[derive(Debug)]
#[repr(C)]
pub struct _s_host_variable {
    _private: [u8; 0],
}

impl Kind for HostVariable {
    const STALE: &'static str =
        "this is no host_variable, or one that unlink_host_variable let go of";

    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::Variable(variable) => Some(variable),
            _ => None,
        }
    }
}

fn find(p: *mut _s_host_variable) -> Result<InUse<'static, HostVariable>, Failure> {
    TABLE.get(p.addr())
}

/// Checks what read and write are told about sizes.
fn check_sizes(variable: &HostVariable, size: usize, op_size: usize) -> Result<(), Failure> {
    if size_of_object(size) != u64::from(variable.max_size()) {
        return Err(Failure::Argument(
            "size is not the one that the variable was linked with",
        ));
    }
    if op_size > size {
        return Err(Failure::Argument("op_size is more than size"));
    }
    Ok(())
}

/// Opens the variable `name` for values of up to `size` bytes, or creates it; null on
/// failure.
///
/// # Safety
/// `name` is null or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn link_host_variable(
    name: *const c_char,
    size: usize,
) -> *mut _s_host_variable {
    let linked = carry_out(|| {
        // SAFETY: as the caller promises.
        let name = unsafe { object_name(name)? };
        let options = VariableOptions::new().max_size(size_of_object(size));
        TABLE.add(Object::Variable(options.open_bytes(name)?))
    });
    linked.map_or(null_mut(), |handle| without_provenance_mut(handle as usize))
}

/// Copies the first `op_size` bytes of the latest value to `buf`, with zeros for those
/// that nobody has written.
///
/// # Safety
/// `buf` has `op_size` writable bytes that nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read_host_variable(
    p: *mut _s_host_variable,
    buf: *mut c_void,
    size: usize,
    op_size: usize,
) -> c_int {
    number(|| {
        let variable = find(p)?;
        check_sizes(&variable, size, op_size)?;
        // SAFETY: as the caller promises.
        let buffer = unsafe { to_fill(buf, op_size, variable.max_size())? };
        let length = match variable.read_prefix(buffer) {
            Ok(sample) => buffer.len().min(sample.length as usize),
            Err(error) if *error.reason() == Reason::NeverWritten => 0,
            Err(error) => return Err(error.into()),
        };
        buffer[length..].fill(0);
        Ok(())
    })
}

/// Makes the `op_size` bytes at `data` the latest value.
///
/// # Safety
/// `data` has `op_size` readable bytes that nobody changes meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write_host_variable(
    p: *mut _s_host_variable,
    data: *const c_void,
    size: usize,
    op_size: usize,
) -> c_int {
    number(|| {
        let variable = find(p)?;
        check_sizes(&variable, size, op_size)?;
        // SAFETY: as the caller promises.
        let bytes = unsafe { to_read(data, op_size)? };
        variable.write_encoded(bytes, Encoding::UNSPECIFIED)?;
        Ok(())
    })
}

/// When the latest value was written: `CLOCK_BOOTTIME`; zero if nobody has, or on
/// failure, which `errno` tells.
///
/// # Safety
/// `ret` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn get_host_variable_timestamp(
    p: *mut _s_host_variable,
    ret: *mut libc::timespec,
) {
    let time_ns = carry_out(|| {
        if ret.is_null() {
            return Err(Failure::Null("ret"));
        }
        match find(p)?.latest() {
            Ok(sample) => Ok(sample.time_ns),
            Err(error) if *error.reason() == Reason::NeverWritten => Ok(0),
            Err(error) => Err(error.into()),
        }
    });
    let time_ns = time_ns.unwrap_or(0);
    // SAFETY: a struct of integers, for which zeros are values.
    let mut time: libc::timespec = unsafe { core::mem::zeroed() };
    time.tv_sec = (time_ns / 1_000_000_000) as _;
    time.tv_nsec = (time_ns % 1_000_000_000) as _;
    // SAFETY: as the caller promises.
    unsafe { put(ret, time) };
}

/// Lets go of the handle; the variable and its value stay. `name` and `size` are those it
/// was linked with, and not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn unlink_host_variable(
    p: *mut _s_host_variable,
    _name: *const c_char,
    _size: usize,
) -> c_int {
    number(|| {
        TABLE.remove::<HostVariable>(p.addr())?;
        Ok(())
    })
}
