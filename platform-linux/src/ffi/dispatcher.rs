//! Serving host functions from C.

use super::caller::{function_options, ripc_function_info, ripc_function_options};
use super::{Failure, guard, optional_text, put, required, ripc_status, timeout, to_read};
use crate::codec::Encoding;
use crate::error::Reason;
use crate::function::{
    DEFAULT_MAX_FUNCTIONS, DispatcherOptions, FunctionId, HostFunctionDispatcher, IncomingCall,
};
use core::ffi::{c_char, c_void};
use core::mem::size_of;
use static_assertions::const_assert;
use std::sync::{Mutex, PoisonError};

/// As an outcome: the function returned the bytes.
pub const RIPC_REPLY_RETURNED: u32 = 0;
/// As an outcome: the function raised an error, and the bytes describe it.
pub const RIPC_REPLY_RAISED: u32 = 1;
/// As an outcome: the function returned nothing.
pub const RIPC_REPLY_NOTHING: u32 = 2;

/// Serves functions. In a forked child it serves nothing, and can only be freed.
#[derive(Debug)]
pub struct ripc_dispatcher {
    dispatcher: HostFunctionDispatcher,
    /// What `ripc_dispatcher_next_call` gave and nobody has replied to.
    current: Mutex<Option<IncomingCall>>,
}

/// How a dispatcher is made. Call `ripc_dispatcher_options_init` first.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_dispatcher_options {
    /// Bytes of this struct; set by `ripc_dispatcher_options_init`.
    pub struct_size: u64,
    /// How many functions will be added, 1 to 512; 16 at first. More than 127 at a time
    /// cost a sleeping thread each.
    pub max_functions: u32,
    /// Not 0: sleep as on a kernel older than 5.16, by one sleeping thread for each
    /// function.
    pub one_word_sleep: u32,
    /// How long it spins for the next call before it sleeps, in ns; negative for 200 µs.
    pub spin_ns: i64,
}

/// The answer of a function that is being run.
#[derive(Debug, Default)]
pub struct ripc_reply {
    answer: Answer,
}

#[derive(Debug, Default)]
enum Answer {
    #[default]
    Nothing,
    Bytes(Vec<u8>, Encoding),
    Failed(String),
}

/// A function: gets the `size` bytes of its arguments, which nobody else can change and
/// which are gone when it returns. Returns 0, after `ripc_reply_set` if there is
/// something to return; any other number tells the caller that it failed. It has to
/// return: neither `longjmp` nor the end of its thread may take it away.
pub type ripc_function = Option<
    unsafe extern "C" fn(
        arguments: *const c_void,
        size: usize,
        encoding: u32,
        reply: *mut ripc_reply,
        user_data: *mut c_void,
    ) -> i32,
>;

/// A call that is to be served.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ripc_call {
    /// Which function, as `ripc_dispatcher_add` gave it.
    pub function: u64,
    /// A private copy of the arguments, valid until the reply.
    pub arguments: *const c_void,
    /// When it was made: CLOCK_BOOTTIME in ns; 0 if that is not known.
    pub time_ns: u64,
    /// Bytes of the arguments.
    pub size: u32,
    /// How they were made, `RIPC_ENCODING_…`.
    pub encoding: u32,
    /// 0 for a one-way call.
    pub wants_response: u32,
    /// Zero.
    pub reserved: u32,
}

const_assert!(size_of::<ripc_call>() == 40 || cfg!(not(target_pointer_width = "64")));

/// What C passes to its own function; we only hand it on.
pub(super) struct UserData(pub(super) *mut c_void);

// SAFETY: C promised, by adding the function, that its data can be used by the thread
// that runs it, one at a time.
unsafe impl Send for UserData {}

impl UserData {
    pub(super) fn get(&self) -> *mut c_void {
        self.0
    }
}

/// Sets every option to its default.
///
/// # Safety
/// `options` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_options_init(options: *mut ripc_dispatcher_options) {
    let defaults = ripc_dispatcher_options {
        struct_size: size_of::<ripc_dispatcher_options>() as u64,
        max_functions: DEFAULT_MAX_FUNCTIONS,
        one_word_sleep: 0,
        spin_ns: -1,
    };
    // SAFETY: as the caller promises.
    unsafe { put(options, defaults) };
}

/// Makes a dispatcher. `options` may be null for the defaults. Let go of it with
/// `ripc_dispatcher_free`.
///
/// # Safety
/// `options` is null or initialised; `dispatcher` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_new(
    options: *const ripc_dispatcher_options,
    dispatcher: *mut *mut ripc_dispatcher,
) -> ripc_status {
    guard(|| {
        if dispatcher.is_null() {
            return Err(Failure::Null("dispatcher"));
        }
        let mut chosen = DispatcherOptions::new();
        // SAFETY: as the caller promises.
        if let Some(options) = unsafe { options.as_ref() } {
            if options.struct_size != size_of::<ripc_dispatcher_options>() as u64 {
                return Err(Failure::Argument(
                    "the options were not set by ripc_dispatcher_options_init of this library's version",
                ));
            }
            chosen = chosen
                .max_functions(options.max_functions)
                .one_word_sleep(options.one_word_sleep != 0);
            if let Some(spin) = timeout(options.spin_ns) {
                chosen = chosen.spin(spin);
            }
        }
        let made = Box::new(ripc_dispatcher {
            dispatcher: chosen.build()?,
            current: Mutex::new(None),
        });
        // SAFETY: not null, and writable as the caller promises.
        unsafe { put(dispatcher, Box::into_raw(made)) };
        Ok(())
    })
}

/// Stops a dispatcher and lets go of it: its functions are not served any more. Waits
/// for a call that its own thread is running. A call from `ripc_dispatcher_next_call`
/// that has no reply yet is given up. Null is ignored.
///
/// # Safety
/// `dispatcher` is null or came from `ripc_dispatcher_new`, and is not used again, by no
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_free(dispatcher: *mut ripc_dispatcher) {
    guard(|| {
        if !dispatcher.is_null() {
            // SAFETY: as the caller promises.
            drop(unsafe { Box::from_raw(dispatcher) });
        }
        Ok(())
    });
}

/// Adds the function `name`; also while the dispatcher is at work. `options` may be null
/// for the defaults. `callback` may be null: then only `ripc_dispatcher_next_call` can
/// serve it. `function`, if not null, gets its number.
///
/// # Safety
/// - `dispatcher` is open, `name` a NUL-terminated string, `options` null or
///   initialised, `function` null or writable;
/// - `callback` can be called with `user_data` from any thread, one at a time, until the
///   function is removed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_add(
    dispatcher: *const ripc_dispatcher,
    name: *const c_char,
    options: *const ripc_function_options,
    callback: ripc_function,
    user_data: *mut c_void,
    function: *mut u64,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let dispatcher = &unsafe { required(dispatcher, "dispatcher")? }.dispatcher;
        // SAFETY: as the caller promises.
        let name = unsafe { optional_text(name) }.ok_or(Failure::Null("name"))?;
        // SAFETY: as the caller promises.
        let options = unsafe { function_options(options)? };
        let user_data = UserData(user_data);
        let id = match callback {
            None => dispatcher.add_for_next_call(&options, name.to_bytes())?,
            Some(callback) => dispatcher.add_raw(&options, name.to_bytes(), move |call| {
                let mut reply = ripc_reply::default();
                let arguments = call.arguments();
                // SAFETY: as C promised when it added the function.
                let status = unsafe {
                    callback(
                        arguments.as_ptr().cast(),
                        arguments.len(),
                        call.encoding().0,
                        &mut reply,
                        user_data.get(),
                    )
                };
                match reply.answer {
                    Answer::Failed(text) => call.reply_error(&text),
                    _ if status != 0 => {
                        call.reply_error(&format!("the function failed with status {status}"))
                    }
                    Answer::Bytes(bytes, encoding) => call.reply(&bytes, encoding),
                    Answer::Nothing => call.reply_nothing(),
                }
            })?,
        };
        // SAFETY: as the caller promises.
        unsafe { put(function, id.0) };
        Ok(())
    })
}

/// Inside a function: what it returns. The last one counts; the bytes are copied.
///
/// # Safety
/// `reply` is what the function was given, and it has not returned; `data` has `size`
/// readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_reply_set(
    reply: *mut ripc_reply,
    data: *const c_void,
    size: usize,
    encoding: u32,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let bytes = unsafe { to_read(data, size)? };
        // SAFETY: as the caller promises.
        let reply = unsafe { reply.as_mut() }.ok_or(Failure::Null("reply"))?;
        reply.answer = Answer::Bytes(bytes.to_vec(), Encoding(encoding));
        Ok(())
    })
}

/// Inside a function: it failed, and its caller gets `text`.
///
/// # Safety
/// `reply` is what the function was given, and it has not returned; `text` is a
/// NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_reply_fail(
    reply: *mut ripc_reply,
    text: *const c_char,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let text = unsafe { optional_text(text) }.ok_or(Failure::Null("text"))?;
        // SAFETY: as the caller promises.
        let reply = unsafe { reply.as_mut() }.ok_or(Failure::Null("reply"))?;
        reply.answer = Answer::Failed(text.to_string_lossy().into_owned());
        Ok(())
    })
}

/// Does not serve a function any more. A call of it that is running is waited for, except
/// from within: afterwards `user_data` is not used again.
///
/// # Safety
/// `dispatcher` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_remove(
    dispatcher: *const ripc_dispatcher,
    function: u64,
) -> ripc_status {
    on(dispatcher, |dispatcher| {
        Ok(dispatcher.dispatcher.remove(FunctionId(function))?)
    })
}

/// What a function is.
///
/// # Safety
/// `dispatcher` is open; `info` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_get_info(
    dispatcher: *const ripc_dispatcher,
    function: u64,
    info: *mut ripc_function_info,
) -> ripc_status {
    on(dispatcher, |dispatcher| {
        let id = FunctionId(function);
        let sizes = dispatcher.dispatcher.sizes(id)?;
        let found = ripc_function_info {
            max_argument_size: u64::from(sizes.max_argument_size),
            max_response_size: u64::from(sizes.max_response_size),
            cells: dispatcher.dispatcher.cells(id)?,
            lost_calls: dispatcher.dispatcher.lost_calls(id)?,
        };
        // SAFETY: as the caller promises.
        unsafe { put(info, found) };
        Ok(())
    })
}

/// Serves in a thread of the library's, until the dispatcher is stopped or freed.
///
/// # Safety
/// `dispatcher` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_start(dispatcher: *const ripc_dispatcher) -> ripc_status {
    on(dispatcher, |dispatcher| {
        Ok(dispatcher.dispatcher.start()?)
    })
}

/// Serves in the calling thread until the dispatcher is stopped, for at most
/// `timeout_ns` (negative: without end; then `RIPC_TIMED_OUT`). `RIPC_INTERRUPTED` after
/// a signal.
///
/// # Safety
/// `dispatcher` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_run(
    dispatcher: *const ripc_dispatcher,
    timeout_ns: i64,
) -> ripc_status {
    on(dispatcher, |dispatcher| {
        Ok(dispatcher.dispatcher.run(timeout(timeout_ns))?)
    })
}

/// Stops serving: callers know. Waits for a call that the library's own thread is
/// running. `ripc_dispatcher_next_call` returns `RIPC_STOPPED` from now on.
///
/// # Safety
/// `dispatcher` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_stop(dispatcher: *const ripc_dispatcher) -> ripc_status {
    on(dispatcher, |dispatcher| {
        dispatcher.dispatcher.stop();
        Ok(())
    })
}

/// After a stop: lets `ripc_dispatcher_next_call` go on.
///
/// # Safety
/// `dispatcher` is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_resume(dispatcher: *const ripc_dispatcher) -> ripc_status {
    on(dispatcher, |dispatcher| {
        Ok(dispatcher.dispatcher.resume()?)
    })
}

/// For those who bring a thread of their own: waits for the next call, for at most
/// `timeout_ns` (negative: without end). It has to be ended by `ripc_dispatcher_reply`
/// before the next one is asked for. `RIPC_TIMED_OUT`, `RIPC_STOPPED`,
/// `RIPC_INTERRUPTED`. If another status comes with a `function` that is not 0, that one
/// was removed from the machine and is not served any more; go on with the others.
///
/// # Safety
/// `dispatcher` is open; `call` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_next_call(
    dispatcher: *const ripc_dispatcher,
    timeout_ns: i64,
    call: *mut ripc_call,
) -> ripc_status {
    on(dispatcher, |dispatcher| {
        if call.is_null() {
            return Err(Failure::Null("call"));
        }
        let taken = match dispatcher.dispatcher.try_next_call(timeout(timeout_ns)) {
            Ok(taken) => taken,
            Err(no_call) => {
                let lost = ripc_call {
                    function: no_call.lost.map_or(0, |id| id.0),
                    arguments: core::ptr::null(),
                    time_ns: 0,
                    size: 0,
                    encoding: 0,
                    wants_response: 0,
                    reserved: 0,
                };
                // SAFETY: not null, and writable as the caller promises.
                unsafe { put(call, lost) };
                return Err(no_call.error.into());
            }
        };
        let arguments = taken.arguments();
        let found = ripc_call {
            function: taken.function().0,
            arguments: arguments.as_ptr().cast(),
            time_ns: taken.time_ns(),
            size: arguments.len() as u32,
            encoding: taken.encoding().0,
            wants_response: u32::from(!taken.is_one_way()),
            reserved: 0,
        };
        *dispatcher
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(taken);
        // SAFETY: not null, and writable as the caller promises.
        unsafe { put(call, found) };
        Ok(())
    })
}

/// Ends the call that `ripc_dispatcher_next_call` gave. `outcome` is `RIPC_REPLY_…`.
/// `RIPC_RESPONSE_TOO_LARGE`: so much cannot be returned, and the caller was told so.
///
/// # Safety
/// `dispatcher` is open; `data` has `size` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_dispatcher_reply(
    dispatcher: *const ripc_dispatcher,
    outcome: u32,
    data: *const c_void,
    size: usize,
    encoding: u32,
) -> ripc_status {
    on(dispatcher, |dispatcher| {
        // SAFETY: as the caller promises.
        let bytes = unsafe { to_read(data, size)? };
        if outcome > RIPC_REPLY_NOTHING {
            return Err(Failure::Argument("outcome is none of RIPC_REPLY_…"));
        }
        let current = dispatcher
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(call) = current else {
            return Err(crate::Error::without_subject(Reason::NoCall).into());
        };
        match outcome {
            RIPC_REPLY_RETURNED => call.reply(bytes, Encoding(encoding))?,
            RIPC_REPLY_RAISED => call.reply_error_encoded(bytes, Encoding(encoding))?,
            _ => call.reply_nothing()?,
        }
        Ok(())
    })
}

/// Carries out a call from C on an open dispatcher.
fn on(
    dispatcher: *const ripc_dispatcher,
    what: impl FnOnce(&ripc_dispatcher) -> Result<(), Failure>,
) -> ripc_status {
    guard(|| {
        // SAFETY: C promised in every function that uses this that it is open.
        let dispatcher = unsafe { required(dispatcher, "dispatcher")? };
        what(dispatcher)
    })
}
