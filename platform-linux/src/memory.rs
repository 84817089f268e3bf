//! Whether the pages of a segment are there before they are used.
//!
//! The first time that a process touches a page of a mapping, the kernel has to enter it
//! into that process's tables: a *page fault*, of a microsecond or a few. And if memory gets
//! scarce, the kernel may write pages to a swap device, which takes milliseconds to undo. A
//! control loop that cannot have either says so when it opens an object, or by the
//! environment variable `ROBOT_IPC_MEMORY` for all that a process opens.

#![allow(unsafe_code)]

use crate::error::Reason;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use rustix::io::Errno;
use rustix::mm::mlock;
use rustix::process::{Resource, getrlimit};

/// What counts if nobody says.
const VARIABLE: &str = "ROBOT_IPC_MEMORY";
/// No page is smaller.
const SMALLEST_PAGE: usize = 4096;

/// Whether the pages of an object are there before they are used.
///
/// It is a matter of this process alone: another one that has the object open has its own.
/// A forked child has pages that are prefaulted, but not locked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// Each comes when it is touched first.
    #[default]
    OnDemand,
    /// All are there when the object is open: no page fault later, unless memory is scarce.
    Prefaulted,
    /// All are there, and stay: never a page fault. Needs room below `RLIMIT_MEMLOCK`
    /// (`ulimit -l`), or the capability `CAP_IPC_LOCK`.
    Locked,
}

impl Memory {
    /// What was asked for, or else what the environment says, or else on demand.
    pub(crate) fn or_environment(asked: Option<Memory>) -> Result<Memory, Reason> {
        if let Some(asked) = asked {
            return Ok(asked);
        }
        let Some(text) = std::env::var_os(VARIABLE) else {
            return Ok(Memory::OnDemand);
        };
        match text.to_str() {
            Some("on-demand") => Ok(Memory::OnDemand),
            Some("prefaulted") => Ok(Memory::Prefaulted),
            Some("locked") => Ok(Memory::Locked),
            _ => Err(Reason::bad_option(
                "the memory (ROBOT_IPC_MEMORY)",
                format_args!("{text:?}"),
                "it has to be 'on-demand', 'prefaulted' or 'locked'",
            )),
        }
    }

    /// Sees to it for the `size` bytes from `start` on.
    ///
    /// # Safety
    /// They are mapped as a whole, to be written if `is_writable`, and stay so meanwhile.
    pub(crate) unsafe fn apply(
        self,
        start: NonNull<u8>,
        size: usize,
        is_writable: bool,
    ) -> Result<(), Reason> {
        if self == Memory::OnDemand {
            return Ok(());
        }
        for offset in (0..size).step_by(SMALLEST_PAGE) {
            // SAFETY: inside what is mapped, aligned, and only reached as atomics.
            let word = unsafe { start.byte_add(offset).cast::<AtomicU32>().as_ref() };
            let seen = core::hint::black_box(word.load(Relaxed));
            if is_writable {
                // A write that changes nothing: on a disk's file system one comes to a page
                // that was only read. If somebody has changed the word, it is there as well.
                let _ = word.compare_exchange(seen, seen, Relaxed, Relaxed);
            }
        }
        if self == Memory::Prefaulted {
            return Ok(());
        }
        // SAFETY: as above.
        let locked = unsafe { mlock(start.as_ptr().cast(), size) };
        locked.map_err(|errno| match errno {
            Errno::NOMEM | Errno::PERM | Errno::AGAIN => Reason::NotLocked {
                size: size as u64,
                limit: getrlimit(Resource::Memlock).current,
            },
            errno => Reason::system("lock the segment into memory")(errno),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_place;
    use crate::{HostVariable, VariableOptions};
    use std::time::Duration;

    /// Minor page faults of this thread so far.
    fn faults() -> libc::c_long {
        // SAFETY: all zeros are a value of it.
        let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
        // SAFETY: it may be written.
        let told = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
        assert_eq!(told, 0);
        usage.ru_minflt
    }

    /// How many faults it takes to read and write a value of 256 KiB.
    fn faults_of_use(memory: Memory) -> libc::c_long {
        let options = VariableOptions::new()
            .max_size(1 << 18)
            .place(scratch_place())
            .memory(memory);
        let variable: HostVariable = options.open("frame").unwrap();
        let mut value = vec![7; 1 << 18];
        // Whatever else is used for the first time.
        let small = VariableOptions::new().place(scratch_place());
        let small = small.open("small").unwrap();
        small.write(&value[..64]).unwrap();
        small.read_into(&mut value[..64]).unwrap();
        // Who writes first becomes a participant.
        variable.write(&value[..1]).unwrap();
        let before = faults();
        variable.write(&value).unwrap();
        variable.read_into(&mut value).unwrap();
        let faults = faults() - before;
        for variable in [variable, small] {
            variable.remove(Duration::from_secs(5)).unwrap();
        }
        faults
    }

    /// Against an option that changes nothing: a page fault in the middle of a control loop.
    #[test]
    fn what_is_prefaulted_or_locked_spares_the_faults() {
        // 64 pages are written. A checker that runs this has faults of its own.
        let on_demand = faults_of_use(Memory::OnDemand);
        let spared = |memory| on_demand - faults_of_use(memory);
        assert!(spared(Memory::Prefaulted) >= 48, "{on_demand} on demand");
        if getrlimit(Resource::Memlock)
            .current
            .is_some_and(|limit| limit < 8 << 20)
        {
            eprintln!("\n*** NOT TESTED: locked memory: this process may not lock 8 MiB");
            return;
        }
        assert!(spared(Memory::Locked) >= 48, "{on_demand} on demand");
    }

    /// Against a value of the environment that is not understood, and ignored.
    #[test]
    fn what_was_asked_for_counts_first() {
        let asked = Some(Memory::Locked);
        assert_eq!(Memory::or_environment(asked).unwrap(), Memory::Locked);
        assert_eq!(Memory::or_environment(None).unwrap(), Memory::OnDemand);
    }
}
