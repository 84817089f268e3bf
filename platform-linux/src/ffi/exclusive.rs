//! The only writer of a variable, from C.

use super::status::{Failure, guard};
use super::variable::{ripc_sample, ripc_variable};
use super::{put, required, ripc_status, timeout, to_read};
use crate::brief::BriefLock;
use crate::codec::Encoding;
use crate::error::{Error, Reason};
use crate::fork;
use crate::variable::ExclusiveWriter;
use core::ffi::c_void;

/// The only writer of a variable. One thread at a time writes through it, another one gets
/// `RIPC_BUSY` meanwhile. It stays with the process that made it: in a forked child writes
/// are `RIPC_FORKED`.
#[derive(Debug)]
pub struct ripc_writer {
    generation: u32,
    writer: BriefLock<ExclusiveWriter>,
}

/// Becomes the only writer of the variable, until `ripc_writer_free` or the end of this
/// process: all other writes, also through `variable`, are `RIPC_EXCLUSIVE` then, and
/// those through `writer` are the fastest there are. `RIPC_EXCLUSIVE` too if there is one
/// already; a dead one is not in the way. Waits for writes and loans that are under way,
/// for at most `timeout_ns`; negative for the handle's own limit. The writer may outlive
/// `variable`.
///
/// `without_time`: not 0 to write values without the time, which asks no clock and is twice
/// as fast; asking for their age is `RIPC_NO_AGE`.
///
/// # Safety
/// `variable` is open; `writer` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_variable_lead(
    variable: *const ripc_variable,
    without_time: u32,
    timeout_ns: i64,
    writer: *mut *mut ripc_writer,
) -> ripc_status {
    guard(|| {
        if writer.is_null() {
            return Err(Failure::Null("writer"));
        }
        // SAFETY: as the caller promises.
        let variable = &unsafe { required(variable, "variable")? }.variable;
        let leads = variable.exclusive_writer_within(timeout(timeout_ns))?;
        let made = Box::new(ripc_writer {
            generation: fork::generation(),
            writer: BriefLock::new(leads.timestamps(without_time == 0)),
        });
        // SAFETY: not null, and writable as the caller promises.
        unsafe { put(writer, Box::into_raw(made)) };
        Ok(())
    })
}

/// Makes the `size` bytes at `data` the latest value. While all slots are borrowed it looks
/// for a free one for at most `timeout_ns`; negative for the variable's own limit. `sample`,
/// if not null, gets what was written.
///
/// # Safety
/// `writer` came from `ripc_variable_lead`, `data` has `size` readable bytes, `sample` is
/// null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_writer_write(
    writer: *const ripc_writer,
    data: *const c_void,
    size: usize,
    encoding: u32,
    timeout_ns: i64,
    sample: *mut ripc_sample,
) -> ripc_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let (writer, bytes) = unsafe { (required(writer, "writer")?, to_read(data, size)?) };
        let written = writer
            .writer
            .try_with(|writer| writer.write_within(timeout(timeout_ns), bytes, Encoding(encoding)));
        let written = written.ok_or_else(|| writer.refusal())??;
        // SAFETY: as the caller promises.
        unsafe { put(sample, written.into()) };
        Ok(())
    })
}

/// Lets others write again, and frees the writer. In a forked child it only frees the
/// child's copy. Null is ignored.
///
/// # Safety
/// `writer` is null or came from `ripc_variable_lead`, and is not used again, nor by
/// another thread meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ripc_writer_free(writer: *mut ripc_writer) {
    guard(|| {
        if !writer.is_null() {
            // SAFETY: as the caller promises.
            drop(unsafe { Box::from_raw(writer) });
        }
        Ok(())
    });
}

impl ripc_writer {
    /// Why it could not be had.
    #[cold]
    fn refusal(&self) -> Failure {
        if self.generation != fork::generation() {
            // A thread that was writing at the fork does not go on in the child.
            let what = "exclusive writer";
            return Error::without_subject(Reason::Forked { what }).into();
        }
        Failure::Refused(
            ripc_status::RIPC_BUSY,
            libc::EBUSY,
            "the writer is used by another thread",
        )
    }
}
