//! Serving host functions, as programs of the earlier C library do it.

use super::caller::options;
use super::handle::{InUse, Kind, Object, TABLE};
use super::{carry_out, number, object_name};
use crate::codec::Encoding;
use crate::ffi::dispatcher::UserData;
use crate::ffi::status::Failure;
use crate::function::{HostFunctionDispatcher, IncomingCall};
use core::ffi::{c_char, c_int, c_void};
use core::mem::size_of;
use core::ptr::{null_mut, without_provenance_mut};

/// What a `host_function_dispatcher` seems to point to.
#[derive(Debug)]
#[repr(C)]
pub struct _s_host_function_dispatcher {
    _private: [u8; 0],
}

/// A function: gets its arguments, and returns where its result lies, or null for none.
pub type host_function = Option<unsafe extern "C" fn(args: *const c_void) -> *mut c_void>;
/// A function that also gets what it was attached with.
pub type host_function_ex =
    Option<unsafe extern "C" fn(args: *const c_void, user_data: *mut c_void) -> *mut c_void>;

impl Kind for HostFunctionDispatcher {
    const STALE: &'static str = "this is no host_function_dispatcher, or one that delete_host_function_dispatcher let go of";

    fn of(object: &Object) -> Option<&Self> {
        match object {
            Object::Dispatcher(dispatcher) => Some(dispatcher),
            _ => None,
        }
    }
}

fn find(
    p: *mut _s_host_function_dispatcher,
) -> Result<InUse<'static, HostFunctionDispatcher>, Failure> {
    TABLE.get(p.addr())
}

/// Arguments for a function of C or C++: aligned for any type, and its own to change.
#[derive(Debug)]
struct Arguments {
    lines: Box<[Line]>,
    size: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Arguments {
    fn new(size: usize) -> Arguments {
        Arguments {
            lines: vec![Line([0; 64]); size.div_ceil(size_of::<Line>())].into_boxed_slice(),
            size,
        }
    }

    /// Takes in what a caller sent: zeros behind what is shorter than the arguments of
    /// the function, as those of other languages may be.
    fn fill(&mut self, bytes: &[u8]) -> *const c_void {
        let start = self.lines.as_mut_ptr().cast::<u8>();
        // SAFETY: the lines are bytes without gaps, at least `size` of them, and borrowed
        // from `self` alone.
        let all = unsafe { core::slice::from_raw_parts_mut(start, self.size) };
        let length = bytes.len().min(all.len());
        all[..length].copy_from_slice(&bytes[..length]);
        all[length..].fill(0);
        start.cast()
    }
}

/// Makes a dispatcher for up to `n` functions, 1 to 512. Null on failure.
#[unsafe(no_mangle)]
pub extern "C" fn create_host_function_dispatcher(n: usize) -> *mut _s_host_function_dispatcher {
    let made = carry_out(|| {
        let max_functions = u32::try_from(n).unwrap_or(u32::MAX);
        let dispatcher = HostFunctionDispatcher::new(max_functions)?;
        TABLE.add(Object::Dispatcher(dispatcher))
    });
    made.map_or(null_mut(), |handle| without_provenance_mut(handle as usize))
}

/// Serves the function `name` with `f`; also after the start.
///
/// # Safety
/// - `name` is null or a NUL-terminated string;
/// - `f` can be called from another thread until the dispatcher is deleted, and what it
///   returns is null or has `sz_ret` readable bytes until its next call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attach_host_function(
    p: *mut _s_host_function_dispatcher,
    name: *const c_char,
    f: host_function,
    sz_arg: usize,
    sz_ret: usize,
) -> c_int {
    number(|| {
        let function = f.ok_or(Failure::Null("f"))?;
        // SAFETY: as the caller promises.
        let run = move |arguments| unsafe { function(arguments) };
        // SAFETY: as the caller promises.
        unsafe { attach(p, name, run, sz_arg, sz_ret) }
    })
}

/// As `attach_host_function`, for a function that also gets `user_data`.
///
/// # Safety
/// As `attach_host_function`; `f` can use `user_data` from another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attach_host_function_ex(
    p: *mut _s_host_function_dispatcher,
    name: *const c_char,
    f: host_function_ex,
    user_data: *mut c_void,
    sz_arg: usize,
    sz_ret: usize,
) -> c_int {
    number(|| {
        let function = f.ok_or(Failure::Null("f"))?;
        let user_data = UserData(user_data);
        // SAFETY: as the caller promises.
        let run = move |arguments| unsafe { function(arguments, user_data.get()) };
        // SAFETY: as the caller promises.
        unsafe { attach(p, name, run, sz_arg, sz_ret) }
    })
}

/// # Safety
/// - `name` is null or a NUL-terminated string;
/// - what `run` returns is null or has `sz_ret` readable bytes.
unsafe fn attach(
    p: *mut _s_host_function_dispatcher,
    name: *const c_char,
    mut run: impl FnMut(*const c_void) -> *mut c_void + Send + 'static,
    sz_arg: usize,
    sz_ret: usize,
) -> Result<(), Failure> {
    let dispatcher = find(p)?;
    // SAFETY: as the caller promises.
    let name = unsafe { object_name(name)? };
    // Made by the first call: sizes that are refused take no memory.
    let mut arguments: Option<Arguments> = None;
    let serve = move |call: IncomingCall| {
        let arguments = arguments.get_or_insert_with(|| Arguments::new(sz_arg));
        let result = run(arguments.fill(call.arguments()));
        if result.is_null() {
            return call.reply_nothing();
        }
        // SAFETY: as the caller promises; not longer than a response can be.
        let bytes = unsafe { core::slice::from_raw_parts(result.cast::<u8>(), sz_ret) };
        call.reply(bytes, Encoding::UNSPECIFIED)
    };
    dispatcher.add_raw(&options(sz_arg, sz_ret), name, serve)?;
    Ok(())
}

/// Serves in a thread of the library's, until the dispatcher is deleted.
#[unsafe(no_mangle)]
pub extern "C" fn start_host_function_dispatcher(p: *mut _s_host_function_dispatcher) -> c_int {
    number(|| Ok(find(p)?.start()?))
}

/// Stops serving, waits for a call in progress (but not from within it), and lets go of
/// the handle.
#[unsafe(no_mangle)]
pub extern "C" fn delete_host_function_dispatcher(p: *mut _s_host_function_dispatcher) -> c_int {
    number(|| {
        let removed = TABLE.remove::<HostFunctionDispatcher>(p.addr())?;
        // Even if another thread is just using it, and will be the one to drop it.
        removed.stop();
        Ok(())
    })
}
