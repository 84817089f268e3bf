//! Locks on single bytes of a segment's file: how the kernel tells who lives.
//!
//! An open-file-description lock belongs to what `open` returned, and ends when
//! the last reference to that goes. A descriptor is the wrong thing to hold it
//! with: a forked child inherits it and keeps a dead parent "alive", and a
//! program that closes all descriptors it does not know lets go of the lock
//! while it lives. A *mapping* made through the descriptor holds it just as
//! well, and can be told not to be inherited. So a participant locks its byte,
//! maps one page that cannot even be read, and closes the descriptor: the lock
//! then lives exactly as long as this process's memory.

#![allow(unsafe_code)]

use robot_ipc_core::participant::Participant;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// A byte of the file that stands for something. The bytes' values do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Byte {
    /// Held by the participant of that index while it lives, and by whoever
    /// recovers it then.
    Participant(Participant),
    /// Held by the participant of that index, and by nobody else.
    Life(Participant),
    /// Shared by everybody who has the segment open, read-only or not.
    Presence,
    /// Held by whoever is removing the segment.
    Admin,
}

impl Byte {
    const fn offset(self) -> i64 {
        match self {
            Byte::Participant(participant) => participant.index() as i64,
            Byte::Life(participant) => 512 + participant.index() as i64,
            Byte::Presence => 256,
            Byte::Admin => 257,
        }
    }
}

// The kernel takes 64-bit offsets for these locks. A 32-bit glibc has 32-bit ones in its
// `flock`, and which of the two its `fcntl` takes depends on its version: so not through it.
#[cfg(not(all(
    target_env = "gnu",
    target_pointer_width = "32",
    not(target_arch = "riscv32")
)))]
use libc::{fcntl, flock};
#[cfg(all(
    target_env = "gnu",
    target_pointer_width = "32",
    not(target_arch = "riscv32")
))]
use libc::{flock64 as flock, syscall};

#[cfg(all(
    target_env = "gnu",
    target_pointer_width = "32",
    not(target_arch = "riscv32")
))]
unsafe fn fcntl(descriptor: libc::c_int, command: libc::c_int, lock: *mut flock) -> libc::c_int {
    // SAFETY: as the caller promises.
    unsafe { syscall(libc::SYS_fcntl64, descriptor, command, lock) as _ }
}

fn control(
    file: BorrowedFd<'_>,
    command: libc::c_int,
    kind: libc::c_int,
    offset: i64,
    length: i64,
) -> Result<flock, Errno> {
    // SAFETY: a struct of integers, for which zeros are values.
    let mut lock: flock = unsafe { core::mem::zeroed() };
    lock.l_type = kind as _;
    lock.l_whence = libc::SEEK_SET as _;
    lock.l_start = offset as _;
    lock.l_len = length as _;
    // SAFETY: the descriptor is open, and these commands read and write one `flock`.
    match unsafe { fcntl(file.as_raw_fd(), command, &raw mut lock) } {
        0 => Ok(lock),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Takes `byte` for this open file alone; `false` if somebody else has it.
pub(crate) fn try_exclusive(file: impl AsFd, byte: Byte) -> Result<bool, Errno> {
    try_lock(file.as_fd(), byte, libc::F_WRLCK)
}

/// Takes `byte` together with others; `false` if somebody has it alone.
pub(crate) fn try_shared(file: impl AsFd, byte: Byte) -> Result<bool, Errno> {
    try_lock(file.as_fd(), byte, libc::F_RDLCK)
}

fn try_lock(file: BorrowedFd<'_>, byte: Byte, kind: libc::c_int) -> Result<bool, Errno> {
    match control(file, libc::F_OFD_SETLK, kind, byte.offset(), 1) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Lets go of `byte`.
pub(crate) fn unlock(file: impl AsFd, byte: Byte) {
    // Unlocking what is locked cannot fail in a way that matters: closing the
    // descriptor, which follows, does the same.
    let _ = control(
        file.as_fd(),
        libc::F_OFD_SETLK,
        libc::F_UNLCK,
        byte.offset(),
        1,
    );
}

/// Whether somebody other than this open file holds `byte` alone. Whoever may only read the
/// file can share a lock on it, which must not pass for life.
pub(crate) fn is_held(file: impl AsFd, byte: Byte) -> Result<bool, Errno> {
    let found = control(
        file.as_fd(),
        libc::F_OFD_GETLK,
        libc::F_RDLCK,
        byte.offset(),
        1,
    )?;
    Ok(found.l_type != libc::F_UNLCK as libc::c_short)
}

/// An exclusively locked byte, let go of when this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    file: &'a OwnedFd,
    byte: Byte,
}

impl<'a> Held<'a> {
    /// Takes `byte` if nobody has it.
    pub(crate) fn take(file: &'a OwnedFd, byte: Byte) -> Option<Held<'a>> {
        matches!(try_exclusive(file, byte), Ok(true)).then_some(Held { file, byte })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        unlock(self.file, self.byte);
    }
}

/// Keeps an open file, and with it the locks taken through it, for as long as
/// this process's memory lives and this is not dropped. Children do not get it.
#[derive(Debug)]
pub(crate) struct Anchor {
    page: NonNull<core::ffi::c_void>,
    generation: u32,
}

// SAFETY: it is an address that nobody reads or writes.
unsafe impl Send for Anchor {}
// SAFETY: as above.
unsafe impl Sync for Anchor {}

const ANCHOR_SIZE: usize = 1;

impl Anchor {
    /// Anchors what `file` has open. `_no_fork` shows that no fork can happen
    /// between the mapping and its being marked.
    pub(crate) fn new(file: &OwnedFd, _no_fork: &crate::fork::SlowPath) -> Result<Anchor, Errno> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap};
        // SAFETY: a new mapping at an address the kernel chooses.
        let page = unsafe {
            mmap(
                core::ptr::null_mut(),
                ANCHOR_SIZE,
                ProtFlags::empty(),
                MapFlags::SHARED,
                file,
                0,
            )?
        };
        let anchor = Anchor {
            page: NonNull::new(page).ok_or(Errno::NOMEM)?,
            generation: crate::fork::generation(),
        };
        // SAFETY: the page was mapped above and is nobody else's.
        unsafe { madvise(page, ANCHOR_SIZE, Advice::LinuxDontFork)? };
        Ok(anchor)
    }
}

impl Drop for Anchor {
    fn drop(&mut self) {
        // A child has no such mapping; something else may lie there.
        if self.generation == crate::fork::generation() {
            // SAFETY: mapped by `new` in this very process, and used by nobody.
            let _ = unsafe { rustix::mm::munmap(self.page.as_ptr(), ANCHOR_SIZE) };
        }
    }
}
