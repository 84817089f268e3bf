//! Calling host functions, as programs of the earlier C library do it.

use super::handle::{InUse, Kind, Object, TABLE};
use super::{carry_out, number, object_name, size_of_object};
use crate::codec::Encoding;
use crate::ffi::status::Failure;
use crate::ffi::status::ripc_status::RIPC_NO_CALL;
use crate::ffi::{to_fill, to_read};
use crate::function::{Buffer, FunctionOptions, HostFunctionCaller, Received, Which, raised};
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{null_mut, without_provenance_mut};

/// What a `host_function_caller` seems to point to.
#[derive(Debug)]
#[repr(C)]
pub struct _s_host_function_caller {
    _private: [u8; 0],
}

/// A caller, and what its calls are made of.
#[derive(Debug)]
pub(super) struct Caller {
    caller: HostFunctionCaller,
    argument_size: usize,
}

impl Kind for Caller {
    const STALE: &'static str =
        "this is no host_function_caller, or one that unlink_host_function let go of";

    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::Caller(caller) => Some(caller),
            _ => None,
        }
    }
}

fn find(p: *mut _s_host_function_caller) -> Result<InUse<'static, Caller>, Failure> {
    TABLE.get(p.addr())
}

/// How a function of these sizes is opened, by both sides. One without arguments has room
/// for a byte that nobody looks at.
pub(super) fn options(sz_arg: usize, sz_ret: usize) -> FunctionOptions {
    FunctionOptions::new()
        .max_argument_size(size_of_object(sz_arg.max(1)))
        .max_response_size(size_of_object(sz_ret))
}

/// Opens the function `name`, whose arguments have `sz_arg` bytes and whose result has
/// `sz_ret`; nobody has to serve it yet. Null on failure.
///
/// # Safety
/// `name` is null or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn link_host_function(
    name: *const c_char,
    sz_arg: usize,
    sz_ret: usize,
) -> *mut _s_host_function_caller {
    let linked = carry_out(|| {
        // SAFETY: as the caller promises.
        let name = unsafe { object_name(name)? };
        TABLE.add(Object::Caller(Caller {
            caller: options(sz_arg, sz_ret).open_bytes(name)?,
            argument_size: sz_arg,
        }))
    });
    linked.map_or(null_mut(), |handle| without_provenance_mut(handle as usize))
}

/// Lets go of the handle and takes its calls back: those that have not started never
/// will. Threads that wait for a response get a failure.
#[unsafe(no_mangle)]
pub extern "C" fn unlink_host_function(p: *mut _s_host_function_caller) -> c_int {
    number(|| {
        let removed = TABLE.remove::<Caller>(p.addr())?;
        // Even if another thread is just using it, and will be the one to drop it.
        removed.caller.withdraw_all();
        Ok(())
    })
}

/// Calls the function with the `sz_arg` bytes at `arg`, and does not wait for it.
///
/// # Safety
/// `arg` has as many readable bytes as the function's arguments, and nobody changes them
/// meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn call_host_function(
    p: *mut _s_host_function_caller,
    arg: *const c_void,
) -> c_int {
    number(|| {
        let found = find(p)?;
        let caller = &found.caller;
        // SAFETY: as the caller promises.
        let bytes = unsafe { to_read(arg, found.argument_size)? };
        caller.send(bytes, Encoding::UNSPECIFIED, caller.send_timeout())?;
        Ok(())
    })
}

/// Waits for the response of the oldest call of this handle that may still bring one, and
/// copies it to `ret_buf`, with zeros behind a shorter one. A failure if none can come.
///
/// # Safety
/// `ret_buf` has as many writable bytes as a response of the function, and nobody else
/// uses them meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn get_response_host_function(
    p: *mut _s_host_function_caller,
    ret_buf: *mut c_void,
) -> c_int {
    number(|| {
        let found = find(p)?;
        let caller = &found.caller;
        let size = caller.sizes().max_response_size;
        // SAFETY: as the caller promises.
        let buffer = unsafe { to_fill(ret_buf, size as usize, size)? };
        let (_, received) = caller.receive(Which::Oldest, &mut Buffer::Fixed(&mut *buffer), None);
        match received? {
            Received::Value(part) => {
                buffer[part.length as usize..].fill(0);
                Ok(())
            }
            Received::Raised(part) => {
                let text = &mut buffer[..part.length as usize];
                let error = caller.error(raised(text));
                // Not what a program should take for a result.
                text.fill(0);
                Err(error.into())
            }
            Received::Nothing => Err(Failure::Refused(
                RIPC_NO_CALL,
                libc::ENODATA,
                "the calls that were under way have ended without a response",
            )),
        }
    })
}
