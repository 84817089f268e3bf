//! Surviving that somebody cuts a segment's file short while it is in use.
//!
//! Only who may write a file can do that, and the file system of shared memory knows no
//! means against it. Whoever then touches a page that is gone gets SIGBUS, which ends
//! the process. [`survive_truncation`] installs a handler of that signal. If the fault
//! lies in a segment of ours, it puts memory in the place of the whole mapping that
//! looks like that of a removed object (see the module `mapping`), notes that, and lets
//! the instruction run again. So every protocol comes to its end as after a removal, by
//! the very checks that it makes anyway, and the errors say what happened. Nothing is
//! looked at more often for it.
//!
//! Every other SIGBUS is handed on to whoever handled it before. Handlers that are
//! installed later get the signal first. Some of them, Python's faulthandler for one,
//! hand on by restoring what was there before and raising the signal once more: then the
//! address of the fault is lost. So if the process itself has raised the signal, all
//! mappings are looked at; if one of them was cut, its fault will not come again, and any
//! other one comes here with its address, as soon as that handler returns.
//!
//! The handler takes no lock, allocates nothing but pages, and may itself be interrupted
//! at any point, also by a handler that comes upon a page that is gone (SA_NODEFER).

#![allow(unsafe_code)]

mod mapping;
#[cfg(test)]
mod tests;

pub(crate) use mapping::{Mapping, forget_visits};

use crate::error::{Error, Reason, Result};
use crate::fork;
use core::mem::{MaybeUninit, transmute};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::{c_int, c_void, sigaction, siginfo_t};
use rustix::io::Errno;

/// What handled SIGBUS before; null while it is as it was.
static PREVIOUS: AtomicPtr<sigaction> = AtomicPtr::new(null_mut());

/// From now on this process survives that the file of a variable or function which it has
/// open is cut short (`truncate`, or opening it with `O_TRUNC`). Without this it is ended
/// by SIGBUS as soon as it touches what is gone.
///
/// Whatever uses the object from then on fails with [`Reason::Truncated`]: whoever waits
/// learns of it within a slice of 250 ms. A value that was borrowed, or is being filled in
/// place, turns into zeros under its user's eyes; publishing it fails. What was read, written
/// or answered before stays as it was. The object can only be removed and made anew.
///
/// It handles SIGBUS for the whole process; a SIGBUS that does not come from such a file
/// goes to whoever handled it before. So call it once and early, but after what does the
/// same for the program, such as a crash reporter; calling it again changes nothing. It does
/// not help threads that block SIGBUS, and it is inherited by forked children.
///
/// ```
/// use robot_ipc::{Reason, VariableOptions};
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = VariableOptions::new().place(place);
/// robot_ipc::survive_truncation()?;
/// let pose = options.open("pose")?;
/// pose.write(b"1.0 2.0")?;
///
/// // Somebody opens its file as if it were an ordinary one.
/// std::fs::File::create(pose.subject().path()).unwrap();
///
/// let error = pose.sample().unwrap_err();
/// assert!(matches!(error.reason(), Reason::Truncated { size: Some(0), .. }));
/// pose.remove(std::time::Duration::from_secs(1))
/// # }
/// ```
///
/// # Errors
/// The system lets no handler be installed.
pub fn survive_truncation() -> Result<()> {
    // Two that come at once are not to take each other for what was there before.
    let _alone = fork::slow_path();
    if !PREVIOUS.load(Ordering::Relaxed).is_null() {
        return Ok(());
    }
    // Known before the handler can run.
    let found = exchange(None)?;
    keep(found);
    let replaced = exchange(Some(&action()))?;
    if replaced.sa_sigaction != found.sa_sigaction {
        // Somebody else was at it at the same time.
        keep(replaced);
    }
    Ok(())
}

/// The action that SIGBUS has, after making it `new` if that is one.
fn exchange(new: Option<&sigaction>) -> Result<sigaction> {
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    let mut old = MaybeUninit::uninit();
    // SAFETY: both lead to an action or are null, and our handler may run at any time.
    match unsafe { sigaction(libc::SIGBUS, new, old.as_mut_ptr()) } {
        // SAFETY: the call has filled it in.
        0 => Ok(unsafe { old.assume_init() }),
        _ => {
            let errno = Errno::from_io_error(&std::io::Error::last_os_error());
            let reason = Reason::system("install a handler of SIGBUS");
            Err(Error::without_subject(reason(errno.unwrap_or(Errno::IO))))
        }
    }
}

/// Keeps for ever what handled SIGBUS before: a handler may be looking at it.
fn keep(action: sigaction) {
    // Release: pairs with the load in `hand_on`.
    PREVIOUS.store(Box::into_raw(Box::new(action)), Ordering::Release);
}

/// What SIGBUS does from now on.
fn action() -> sigaction {
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_sigbus;
    // SAFETY: a struct of integers and a set of signals, for which zeros are values.
    let mut action: sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    action
}

extern "C" fn on_sigbus(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a handler of this kind a filled-in `info`; an address for
    // the code of a fault, a process id for those of signals that somebody sent. Whatever
    // was interrupted finds its errno as it was.
    unsafe {
        let errno = *libc::__errno_location();
        let code = (*info).si_code;
        let survived = match code {
            libc::BUS_ADRERR => mapping::replace((*info).si_addr() as usize),
            ..=0 if (*info).si_pid() == libc::getpid() => mapping::replace_all_cut(),
            _ => false,
        };
        if !survived {
            hand_on(signal, info, context);
        }
        *libc::__errno_location() = errno;
    }
}

/// Does what would have been done without this handler.
///
/// # Safety
/// The arguments are those of a handler of SIGBUS.
unsafe fn hand_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // Acquire: pairs with `keep`.
    let previous = PREVIOUS.load(Ordering::Acquire);
    // SAFETY: `keep` has come before the handler, and what it keeps stays; `info` as the
    // caller promises.
    let (previous, code) = unsafe { (&*previous, (*info).si_code) };
    // Those of instructions, which will fault again.
    let comes_again = code > 0 && code != libc::BUS_MCEERR_AO;
    match previous.sa_sigaction {
        // An instruction that faults is not ignored by the kernel either.
        libc::SIG_IGN if !comes_again => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the default action runs nothing of ours.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                if !comes_again {
                    libc::raise(signal);
                }
            }
        }
        // SAFETY: it was installed as a handler of the kind that its flags say, and it is
        // called as the kernel would: with the signals blocked that it asked for.
        handler => unsafe {
            let mut blocked = previous.sa_mask;
            if previous.sa_flags & libc::SA_NODEFER == 0 {
                libc::sigaddset(&mut blocked, signal);
            }
            let mut before = MaybeUninit::uninit();
            libc::pthread_sigmask(libc::SIG_BLOCK, &blocked, before.as_mut_ptr());
            if previous.sa_flags & libc::SA_SIGINFO == 0 {
                transmute::<usize, extern "C" fn(c_int)>(handler)(signal);
            } else {
                type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
                transmute::<usize, Handler>(handler)(signal, info, context);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut());
        },
    }
}
