//! Host variables from C.

use super::{
    Failure, group_name, guard, memory, optional_text, place, put, required, ripc_status, timeout,
    to_fill, to_read,
};
use crate::codec::Encoding;
use crate::variable::{DEFAULT_WRITE_TIMEOUT, HostVariable, VariableOptions};
use core::ffi::{CStr, c_char, c_void};
use core::mem::size_of;
use robot_ipc_core::variable::Sample;
use static_assertions::const_assert_eq;
use std::time::Duration;

/// As `max_size`: take the size that the variable has; it has to exist then.
pub const RIPC_ADOPT_SIZE: u64 = u64::MAX;
/// As `memory`: each page comes when it is touched first.
pub const RIPC_MEMORY_ON_DEMAND: u32 = 1;
/// As `memory`: all pages are there when the object is open.
pub const RIPC_MEMORY_PREFAULTED: u32 = 2;
/// As `memory`: all pages are there, and stay. Needs room below `RLIMIT_MEMLOCK`, or
/// `CAP_IPC_LOCK`; `RIPC_PERMISSION_DENIED` if there is none.
pub const RIPC_MEMORY_LOCKED: u32 = 3;
/// The writer did not say how its bytes were made.
pub const RIPC_ENCODING_UNSPECIFIED: u32 = 0;
/// Bytes as they are, such as a C struct.
pub const RIPC_ENCODING_RAW: u32 = 1;
/// A Python pickle.
pub const RIPC_ENCODING_PICKLE: u32 = 2;
/// The postcard format of a serde value.
pub const RIPC_ENCODING_POSTCARD: u32 = 3;

const_assert_eq!(RIPC_ENCODING_UNSPECIFIED, Encoding::UNSPECIFIED.0);
const_assert_eq!(RIPC_ENCODING_RAW, Encoding::RAW.0);
const_assert_eq!(RIPC_ENCODING_PICKLE, Encoding::PICKLE.0);
const_assert_eq!(RIPC_ENCODING_POSTCARD, Encoding::POSTCARD.0);

/// An open variable. Many threads may use one at once; a forked child may use
/// its parent's.
#[derive(Debug)]
pub struct ripc_variable {
    pub(super) variable: HostVariable,
}

/// How a variable is opened. Call `ripc_variable_options_init` first, then
/// change what should be otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_variable_options {
    /// Bytes of this struct; set by `ripc_variable_options_init`.
    pub struct_size: u64,
    /// How many bytes a value can have, 1 to 1 GiB; 4096 at first.
    /// `RIPC_ADOPT_SIZE` takes what exists.
    pub max_size: u64,
    /// How many slots, 2 to 62; 0 for 14, or what exists.
    pub slots: u32,
    /// Permission bits such as 0660; -1 for what the environment says, or 0600.
    pub mode: i32,
    /// Not 0: map read-only, create nothing.
    pub read_only: u32,
    /// Whether all pages are there before they are used, `RIPC_MEMORY_…`; 0 for what the
    /// environment says, or on demand.
    pub memory: u32,
    /// How long a write looks for a free slot, in ns; negative for 1 s.
    pub write_timeout_ns: i64,
    /// The group to share with, by name or number; null for what the
    /// environment says, or the process's own.
    pub group: *const c_char,
    /// The folder; null for what the environment says, or /dev/shm.
    pub directory: *const c_char,
    /// The namespace; null for what the environment says, or "default".
    pub name_space: *const c_char,
}

/// What stands beside a value, all of one and the same write.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ripc_sample {
    /// Counts the writes, from 1.
    pub version: u64,
    /// CLOCK_BOOTTIME of the write in ns; 0 if its writer has no clock.
    pub time_ns: u64,
    /// Bytes of the value.
    pub length: u32,
    /// How they were made, `RIPC_ENCODING_…`.
    pub encoding: u32,
}

const_assert_eq!(size_of::<ripc_sample>(), 24);

/// What an open variable is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ripc_variable_info {
    /// How many bytes a value can have.
    pub max_size: u64,
    /// How many slots there are.
    pub slots: u32,
    /// 1 if the handle is read-only.
    pub read_only: u32,
}

impl From<Sample> for ripc_sample {
    fn from(sample: Sample) -> Self {
        ripc_sample {
            version: sample.version,
            time_ns: sample.time_ns,
            length: sample.length,
            encoding: sample.encoding.0,
        }
    }
}

/// Sets every option to its default.
///
/// # Safety
/// `options` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_options_init(options: *mut ripc_variable_options) {
    let defaults = ripc_variable_options {
        struct_size: size_of::<ripc_variable_options>() as u64,
        max_size: u64::from(robot_ipc_core::variable::DEFAULT_VALUE_SIZE),
        slots: 0,
        mode: -1,
        read_only: 0,
        memory: 0,
        write_timeout_ns: -1,
        group: core::ptr::null(),
        directory: core::ptr::null(),
        name_space: core::ptr::null(),
    };
    // SAFETY: as the caller promises.
    unsafe { put(options, defaults) };
}

/// # Safety
/// The texts in `options` are null or NUL-terminated strings.
unsafe fn read_options(options: &ripc_variable_options) -> Result<VariableOptions, Failure> {
    if options.struct_size != size_of::<ripc_variable_options>() as u64 {
        return Err(Failure::Argument(
            "the options were not set by ripc_variable_options_init of this library's version",
        ));
    }
    if options.mode < -1 {
        return Err(Failure::Argument("mode has to be -1 or more"));
    }
    let mut chosen = VariableOptions::new().read_only(options.read_only != 0);
    if let Some(memory) = memory(options.memory)? {
        chosen = chosen.memory(memory);
    }
    chosen = match options.max_size {
        RIPC_ADOPT_SIZE => chosen.adopt_size(),
        max_size => chosen.max_size(max_size),
    };
    if options.slots != 0 {
        chosen = chosen.slots(options.slots);
    }
    if let Ok(mode) = u32::try_from(options.mode) {
        chosen = chosen.mode(mode);
    }
    if let Some(timeout) = timeout(options.write_timeout_ns) {
        chosen = chosen.write_timeout(timeout);
    }
    // SAFETY: as the caller promises.
    if let Some(group) = unsafe { group_name(options.group)? } {
        chosen = chosen.group_name(group);
    }
    // SAFETY: as the caller promises.
    if let Some(place) = unsafe { place(options.directory, options.name_space)? } {
        chosen = chosen.place(place);
    }
    Ok(chosen)
}

/// Opens the variable `name`, or creates it. `options` may be null for the
/// defaults. Let go of it with `ripc_variable_free`.
///
/// # Safety
/// - `name` is a NUL-terminated string, `options` null or initialised;
/// - `variable` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_open(
    name: *const c_char,
    options: *const ripc_variable_options,
    variable: *mut *mut ripc_variable,
) -> ripc_status {
    guard(|| {
        if variable.is_null() {
            return Err(Failure::Null("variable"));
        }
        // SAFETY: as the caller promises.
        let (name, options) = unsafe { (optional_text(name), options.as_ref()) };
        let name: &CStr = name.ok_or(Failure::Null("name"))?;
        let options = match options {
            // SAFETY: as the caller promises.
            Some(options) => unsafe { read_options(options)? },
            None => VariableOptions::new(),
        };
        let opened = Box::new(ripc_variable {
            variable: options.open_bytes(name.to_bytes())?,
        });
        // SAFETY: not null, and writable as the caller promises.
        unsafe { put(variable, Box::into_raw(opened)) };
        Ok(())
    })
}

/// Lets go of a handle; the variable and its value stay. Null is ignored.
///
/// # Safety
/// `variable` is null or came from `ripc_variable_open`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_free(variable: *mut ripc_variable) {
    guard(|| {
        if !variable.is_null() {
            // SAFETY: as the caller promises.
            drop(unsafe { Box::from_raw(variable) });
        }
        Ok(())
    });
}

/// What the variable is.
///
/// # Safety
/// `variable` is open; `info` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_get_info(
    variable: *const ripc_variable,
    info: *mut ripc_variable_info,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let variable = &unsafe { required(variable, "variable")? }.variable;
        let found = ripc_variable_info {
            max_size: u64::from(variable.max_size()),
            slots: variable.slots(),
            read_only: u32::from(variable.is_read_only()),
        };
        // SAFETY: as the caller promises.
        unsafe { put(info, found) };
        Ok(())
    })
}

/// Makes the `size` bytes at `data` the latest value. `timeout_ns` limits the
/// search for a free slot; negative for the handle's own limit. `sample`, if not
/// null, gets what was written.
///
/// # Safety
/// `variable` is open, `data` has `size` readable bytes, `sample` is null or may
/// be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_write(
    variable: *const ripc_variable,
    data: *const c_void,
    size: usize,
    encoding: u32,
    timeout_ns: i64,
    sample: *mut ripc_sample,
) -> ripc_status {
    // SAFETY: as the caller promises.
    unsafe { write(variable, data, size, encoding, None, timeout_ns, sample) }
}

/// As `ripc_variable_write`, but only if `version` is the latest (0: if nobody
/// has written yet); else `RIPC_CHANGED`.
///
/// # Safety
/// As `ripc_variable_write`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_write_if(
    variable: *const ripc_variable,
    version: u64,
    data: *const c_void,
    size: usize,
    encoding: u32,
    timeout_ns: i64,
    sample: *mut ripc_sample,
) -> ripc_status {
    // SAFETY: as the caller promises.
    unsafe {
        write(
            variable,
            data,
            size,
            encoding,
            Some(version),
            timeout_ns,
            sample,
        )
    }
}

/// # Safety
/// As `ripc_variable_write`.
#[inline(always)]
unsafe fn write(
    variable: *const ripc_variable,
    data: *const c_void,
    size: usize,
    encoding: u32,
    replaces: Option<u64>,
    timeout_ns: i64,
    sample: *mut ripc_sample,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let variable = &unsafe { required(variable, "variable")? }.variable;
        // SAFETY: as the caller promises.
        let bytes = unsafe { to_read(data, size)? };
        let limit = timeout(timeout_ns).unwrap_or(variable.write_timeout());
        let written = variable.write_within(limit, bytes, Encoding(encoding), replaces)?;
        // SAFETY: as the caller promises.
        unsafe { put(sample, written.into()) };
        Ok(())
    })
}

/// Copies the latest value to `buffer`, which has `capacity` bytes. A value
/// older than `max_age_ns` is `RIPC_TOO_OLD`; negative for no limit. `sample`, if
/// not null, gets what stands beside the value, also with `RIPC_TOO_OLD`,
/// `RIPC_NO_AGE` and `RIPC_BUFFER_TOO_SMALL`; what fits the buffer is in it then.
///
/// # Safety
/// `variable` is open, `buffer` has `capacity` writable bytes, `sample` is null
/// or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_read(
    variable: *const ripc_variable,
    buffer: *mut c_void,
    capacity: usize,
    max_age_ns: i64,
    sample: *mut ripc_sample,
) -> ripc_status {
    // SAFETY: as the caller promises.
    guard(|| unsafe { read_into(variable, buffer, capacity, max_age_ns, sample) })
}

/// # Safety
/// As `ripc_variable_read`.
#[inline(always)]
pub(super) unsafe fn read_into(
    variable: *const ripc_variable,
    buffer: *mut c_void,
    capacity: usize,
    max_age_ns: i64,
    sample: *mut ripc_sample,
) -> Result<(), Failure> {
    // SAFETY: as the caller promises.
    let variable = &unsafe { required(variable, "variable")? }.variable;
    // SAFETY: as the caller promises.
    let buffer = unsafe { to_fill(buffer, capacity, variable.max_size())? };
    let found = variable.read_prefix(buffer)?;
    // SAFETY: as the caller promises.
    unsafe { put(sample, found.into()) };
    if let Some(max_age) = timeout(max_age_ns) {
        variable.check_age(&found, max_age)?;
    }
    if found.length as usize > buffer.len() {
        return Err(variable.buffer_too_small(capacity, &found).into());
    }
    Ok(())
}

/// What stands beside the latest value, without copying it.
///
/// # Safety
/// `variable` is open; `sample` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_latest(
    variable: *const ripc_variable,
    sample: *mut ripc_sample,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let latest = unsafe { required(variable, "variable")? }
            .variable
            .latest()?;
        // SAFETY: as the caller promises.
        unsafe { put(sample, latest.into()) };
        Ok(())
    })
}

/// The latest version; 0 before the first write.
///
/// # Safety
/// `variable` is open; `version` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_version(
    variable: *const ripc_variable,
    version: *mut u64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let found = unsafe { required(variable, "variable")? }
            .variable
            .version()?;
        // SAFETY: as the caller promises.
        unsafe { put(version, found) };
        Ok(())
    })
}

/// How long ago the latest value was written, in ns.
///
/// # Safety
/// `variable` is open; `age_ns` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_age(
    variable: *const ripc_variable,
    age_ns: *mut u64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let age = unsafe { required(variable, "variable")? }.variable.age()?;
        // SAFETY: as the caller promises.
        unsafe { put(age_ns, u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)) };
        Ok(())
    })
}

/// Waits until the latest version is not `since` any more, for at most
/// `timeout_ns` (negative: without end). `version`, if not null, gets the new one.
///
/// # Safety
/// `variable` is open; `version` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_wait(
    variable: *const ripc_variable,
    since: u64,
    timeout_ns: i64,
    version: *mut u64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let variable = &unsafe { required(variable, "variable")? }.variable;
        let found = variable.wait_for_update(since, timeout(timeout_ns))?;
        // SAFETY: as the caller promises.
        unsafe { put(version, found) };
        Ok(())
    })
}

/// Removes the variable from the machine: every handle on it fails from now on,
/// this one too (it still has to be freed). Waits for somebody else who is
/// removing it, for at most `timeout_ns` (negative: 1 s).
///
/// # Safety
/// `variable` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_remove(
    variable: *const ripc_variable,
    timeout_ns: i64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let variable = &unsafe { required(variable, "variable")? }.variable;
        Ok(variable.remove(timeout(timeout_ns).unwrap_or(Duration::from_secs(1)))?)
    })
}

/// How long a write looks for a free slot by default, in ns.
#[unsafe(no_mangle)]
pub extern "C" fn ripc_default_write_timeout_ns() -> i64 {
    DEFAULT_WRITE_TIMEOUT.as_nanos() as i64
}
