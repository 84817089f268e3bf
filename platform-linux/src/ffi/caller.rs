//! Calling host functions from C.

use super::{
    Failure, group_name, guard, memory, optional_text, place, put, required, ripc_status, timeout,
    to_fill, to_read,
};
use crate::codec::Encoding;
use crate::function::{
    Buffer, FunctionOptions, HostFunctionCaller, Progress, Received, Which, Withdrawal, raised,
};
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use static_assertions::const_assert_eq;
use std::time::Duration;

/// Of a call: no dispatcher has taken it yet.
pub const RIPC_CALL_QUEUED: u32 = 0;
/// Of a call: it is running.
pub const RIPC_CALL_RUNNING: u32 = 1;
/// Of a call: it has ended, in whichever way.
pub const RIPC_CALL_ENDED: u32 = 2;

/// Of a call that was taken back: it will never start.
pub const RIPC_NEVER_STARTED: u32 = 0;
/// Of a call that was taken back: it is running, and its response will be discarded.
pub const RIPC_STILL_RUNNING: u32 = 1;
/// Of a call that was taken back: it had ended, and its response is discarded.
pub const RIPC_HAD_ENDED: u32 = 2;

/// A function to be called. Many threads may use one at once; in a forked child it has
/// no calls yet.
#[derive(Debug)]
pub struct ripc_caller {
    pub(super) caller: HostFunctionCaller,
}

/// How a function is opened, by those who call it and by those who serve it. Call
/// `ripc_function_options_init` first, then change what should be otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_function_options {
    /// Bytes of this struct; set by `ripc_function_options_init`.
    pub struct_size: u64,
    /// How many bytes the arguments can have, 1 to 1 GiB; 4096 at first.
    /// `RIPC_ADOPT_SIZE`: this size and the next one are what exists.
    pub max_argument_size: u64,
    /// How many bytes a response can have, up to 1 GiB; 4096 at first. 0: calls are
    /// one-way.
    pub max_response_size: u64,
    /// How many calls can be under way at a time, 1 to 64; 0 for 16, or what exists.
    pub cells: u32,
    /// Permission bits such as 0660; -1 for what the environment says, or 0600.
    pub mode: i32,
    /// Whether all pages are there before they are used, `RIPC_MEMORY_…`; 0 for what the
    /// environment says, or on demand.
    pub memory: u32,
    /// Zero.
    pub reserved: u32,
    /// Callers: how long a call waits for a free cell, in ns; negative for 1 s.
    pub send_timeout_ns: i64,
    /// Dispatchers: calls that are older are not run, in ns; negative for no limit.
    pub max_age_ns: i64,
    /// Callers: how long a wait spins before it sleeps, in ns; negative for 200 µs.
    pub spin_ns: i64,
    /// The group to share with, by name or number; null for what the
    /// environment says, or the process's own.
    pub group: *const c_char,
    /// The folder; null for what the environment says, or /dev/shm.
    pub directory: *const c_char,
    /// The namespace; null for what the environment says, or "default".
    pub name_space: *const c_char,
}

/// What an open function is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ripc_function_info {
    /// How many bytes the arguments can have.
    pub max_argument_size: u64,
    /// How many bytes a response can have; 0: calls are one-way.
    pub max_response_size: u64,
    /// How many calls can be under way at a time.
    pub cells: u32,
    /// How many one-way calls were queued in a function of other sizes that nobody
    /// used, and that opening this one replaced.
    pub lost_calls: u32,
}

/// What stands beside a response.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ripc_response {
    /// Which call this is about, also with a status other than `RIPC_OK`; 0: none.
    pub call: u64,
    /// Bytes of the response; with `RIPC_BUFFER_TOO_SMALL` how many it takes.
    pub length: u32,
    /// How they were made, `RIPC_ENCODING_…`.
    pub encoding: u32,
    /// 1 if the function returned something; 0 if it returned nothing.
    pub has_value: u32,
    /// Zero.
    pub reserved: u32,
}

const_assert_eq!(size_of::<ripc_response>(), 24);

/// Sets every option to its default.
///
/// # Safety
/// `options` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_function_options_init(options: *mut ripc_function_options) {
    let defaults = ripc_function_options {
        struct_size: size_of::<ripc_function_options>() as u64,
        max_argument_size: 4096,
        max_response_size: 4096,
        cells: 0,
        mode: -1,
        memory: 0,
        reserved: 0,
        send_timeout_ns: -1,
        max_age_ns: -1,
        spin_ns: -1,
        group: core::ptr::null(),
        directory: core::ptr::null(),
        name_space: core::ptr::null(),
    };
    // SAFETY: as the caller promises.
    unsafe { put(options, defaults) };
}

/// The options that C gave us; null for the defaults.
///
/// # Safety
/// `options` is null or initialised; the texts in it are null or NUL-terminated strings.
pub(super) unsafe fn function_options(
    options: *const ripc_function_options,
) -> Result<FunctionOptions, Failure> {
    let mut chosen = FunctionOptions::new();
    // SAFETY: as the caller promises.
    let Some(options) = (unsafe { options.as_ref() }) else {
        return Ok(chosen);
    };
    if options.struct_size != size_of::<ripc_function_options>() as u64 {
        return Err(Failure::Argument(
            "the options were not set by ripc_function_options_init of this library's version",
        ));
    }
    if options.reserved != 0 || options.mode < -1 {
        return Err(Failure::Argument(
            "reserved has to be 0, and mode -1 or more",
        ));
    }
    if let Some(memory) = memory(options.memory)? {
        chosen = chosen.memory(memory);
    }
    chosen = if options.max_argument_size == super::RIPC_ADOPT_SIZE {
        chosen.adopt_sizes()
    } else {
        chosen
            .max_argument_size(options.max_argument_size)
            .max_response_size(options.max_response_size)
    };
    if options.cells != 0 {
        chosen = chosen.cells(options.cells);
    }
    if let Ok(mode) = u32::try_from(options.mode) {
        chosen = chosen.mode(mode);
    }
    if let Some(time) = timeout(options.send_timeout_ns) {
        chosen = chosen.send_timeout(time);
    }
    if let Some(time) = timeout(options.max_age_ns) {
        chosen = chosen.max_age(time);
    }
    if let Some(time) = timeout(options.spin_ns) {
        chosen = chosen.spin(time);
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

/// Opens the function `name` to call it; nobody has to serve it yet. `options` may be
/// null for the defaults. Let go of it with `ripc_caller_free`.
///
/// # Safety
/// - `name` is a NUL-terminated string, `options` null or initialised;
/// - `caller` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_open(
    name: *const c_char,
    options: *const ripc_function_options,
    caller: *mut *mut ripc_caller,
) -> ripc_status {
    guard(|| {
        if caller.is_null() {
            return Err(Failure::Null("caller"));
        }
        // SAFETY: as the caller promises.
        let name = unsafe { optional_text(name) }.ok_or(Failure::Null("name"))?;
        // SAFETY: as the caller promises.
        let options = unsafe { function_options(options)? };
        let opened = Box::new(ripc_caller {
            caller: options.open_bytes(name.to_bytes())?,
        });
        // SAFETY: not null, and writable as the caller promises.
        unsafe { put(caller, Box::into_raw(opened)) };
        Ok(())
    })
}

/// Lets go of a handle and takes its calls back: those that have not started never
/// will. One-way calls are delivered all the same. Null is ignored.
///
/// # Safety
/// `caller` is null or came from `ripc_caller_open`, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_free(caller: *mut ripc_caller) {
    guard(|| {
        if !caller.is_null() {
            // SAFETY: as the caller promises.
            drop(unsafe { Box::from_raw(caller) });
        }
        Ok(())
    });
}

/// What the function is.
///
/// # Safety
/// `caller` is open; `info` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_get_info(
    caller: *const ripc_caller,
    info: *mut ripc_function_info,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let caller = &unsafe { required(caller, "caller")? }.caller;
        let sizes = caller.sizes();
        let found = ripc_function_info {
            max_argument_size: u64::from(sizes.max_argument_size),
            max_response_size: u64::from(sizes.max_response_size),
            cells: caller.cells(),
            lost_calls: caller.lost_calls(),
        };
        // SAFETY: as the caller promises.
        unsafe { put(info, found) };
        Ok(())
    })
}

/// Calls the function with the `size` bytes at `data`, and returns once they lie in a
/// cell: it does not wait for the function. `timeout_ns` limits the wait for a free
/// cell; negative for the handle's own limit. `call`, if not null, gets the call's
/// number among those of this handle, which is not 0.
///
/// # Safety
/// `caller` is open, `data` has `size` readable bytes, `call` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_call(
    caller: *const ripc_caller,
    data: *const c_void,
    size: usize,
    encoding: u32,
    timeout_ns: i64,
    call: *mut u64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let caller = &unsafe { required(caller, "caller")? }.caller;
        // SAFETY: as the caller promises.
        let bytes = unsafe { to_read(data, size)? };
        let limit = timeout(timeout_ns).unwrap_or(caller.send_timeout());
        let id = caller.send(bytes, Encoding(encoding), limit)?.id;
        // SAFETY: as the caller promises.
        unsafe { put(call, id) };
        Ok(())
    })
}

/// Waits for the response of the oldest call of this handle that may still bring one,
/// for at most `timeout_ns` (negative: without end), and copies it to `buffer`, which
/// has `capacity` bytes. Calls that ended without a response are passed over; if all
/// have, `has_value` is 0, once. If none is outstanding: `RIPC_NO_CALL`. With one-way
/// calls `has_value` is 0 at once. `RIPC_TIMED_OUT` and `RIPC_BUFFER_TOO_SMALL` lose
/// nothing: ask again. With `RIPC_RAISED` the bytes describe the error: text, and after
/// a NUL whatever the encoding says.
///
/// # Safety
/// `caller` is open, `buffer` has `capacity` writable bytes, `response` is null or may
/// be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_next_response(
    caller: *const ripc_caller,
    buffer: *mut c_void,
    capacity: usize,
    timeout_ns: i64,
    response: *mut ripc_response,
) -> ripc_status {
    // SAFETY: as the caller promises.
    unsafe {
        receive(
            caller,
            Which::Oldest,
            buffer,
            capacity,
            timeout_ns,
            response,
        )
    }
}

/// As `ripc_caller_next_response`, for one call. If its end was told already:
/// `RIPC_REPORTED`.
///
/// # Safety
/// As `ripc_caller_next_response`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_response_of(
    caller: *const ripc_caller,
    call: u64,
    buffer: *mut c_void,
    capacity: usize,
    timeout_ns: i64,
    response: *mut ripc_response,
) -> ripc_status {
    let which = Which::Number(call);
    // SAFETY: as the caller promises.
    unsafe { receive(caller, which, buffer, capacity, timeout_ns, response) }
}

/// # Safety
/// As `ripc_caller_next_response`.
unsafe fn receive(
    caller: *const ripc_caller,
    which: Which,
    place: *mut c_void,
    capacity: usize,
    timeout_ns: i64,
    response: *mut ripc_response,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let caller = unsafe { required(caller, "caller")? };
        // SAFETY: as the caller promises.
        unsafe { receive_into(caller, which, place, capacity, timeout_ns, response) }
    })
}

/// # Safety
/// As `ripc_caller_next_response`.
pub(super) unsafe fn receive_into(
    caller: &ripc_caller,
    which: Which,
    place: *mut c_void,
    capacity: usize,
    timeout_ns: i64,
    response: *mut ripc_response,
) -> Result<(), Failure> {
    let caller = &caller.caller;
    let max_size = caller.sizes().max_response_size;
    // SAFETY: as the caller promises.
    let buffer = unsafe { to_fill(place, capacity, max_size)? };
    let (call, received) =
        caller.receive(which, &mut Buffer::Fixed(&mut *buffer), timeout(timeout_ns));
    let mut found = ripc_response {
        call,
        ..ripc_response::default()
    };
    let done = match received {
        Ok(Received::Value(part)) => {
            found.length = part.length;
            found.encoding = part.encoding.0;
            found.has_value = 1;
            Ok(())
        }
        Ok(Received::Raised(part)) => {
            found.length = part.length;
            found.encoding = part.encoding.0;
            Err(caller.error(raised(&buffer[..part.length as usize])))
        }
        Ok(Received::Nothing) => Ok(()),
        Err(error) => {
            if let crate::Reason::BufferTooSmall { needed, .. } = error.reason() {
                found.length = *needed;
            }
            Err(error)
        }
    };
    // SAFETY: as the caller promises.
    unsafe { put(response, found) };
    Ok(done?)
}

/// Where a call is, `RIPC_CALL_…`; changes nothing.
///
/// # Safety
/// `caller` is open; `progress` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_progress(
    caller: *const ripc_caller,
    call: u64,
    progress: *mut u32,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let caller = &unsafe { required(caller, "caller")? }.caller;
        let found = match caller.progress(call)? {
            Progress::Queued => RIPC_CALL_QUEUED,
            Progress::Running => RIPC_CALL_RUNNING,
            Progress::Ended => RIPC_CALL_ENDED,
        };
        // SAFETY: as the caller promises.
        unsafe { put(progress, found) };
        Ok(())
    })
}

/// Takes a call back: it never starts later, and a response is discarded.
/// `withdrawal`, if not null, gets what came of it: `RIPC_NEVER_STARTED`,
/// `RIPC_STILL_RUNNING` or `RIPC_HAD_ENDED`.
///
/// # Safety
/// `caller` is open; `withdrawal` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_cancel(
    caller: *const ripc_caller,
    call: u64,
    withdrawal: *mut u32,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let caller = &unsafe { required(caller, "caller")? }.caller;
        let found = match caller.withdraw(call) {
            Withdrawal::NeverStarted => RIPC_NEVER_STARTED,
            Withdrawal::Running => RIPC_STILL_RUNNING,
            Withdrawal::Ended => RIPC_HAD_ENDED,
            Withdrawal::Corrupt => return Err(caller.error(crate::Reason::Corrupt).into()),
        };
        // SAFETY: as the caller promises.
        unsafe { put(withdrawal, found) };
        Ok(())
    })
}

/// Takes all calls of this handle back, as `ripc_caller_free` does.
///
/// # Safety
/// `caller` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_withdraw_all(caller: *const ripc_caller) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { required(caller, "caller")? }.caller.withdraw_all();
        Ok(())
    })
}

/// Removes the function from the machine: every handle on it fails from now on, this
/// one too (it still has to be freed). Waits for somebody else who is removing it, for
/// at most `timeout_ns` (negative: 1 s).
///
/// # Safety
/// `caller` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_caller_remove(
    caller: *const ripc_caller,
    timeout_ns: i64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let caller = &unsafe { required(caller, "caller")? }.caller;
        Ok(caller.remove(timeout(timeout_ns).unwrap_or(Duration::from_secs(1)))?)
    })
}
