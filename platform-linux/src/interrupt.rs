//! Putting off Ctrl-C while a value is being copied, in debug builds.
//!
//! Nothing needs this: a process may die at any instruction. It serves people
//! who step through a critical section in a debugger, or want their SIGINT
//! handler never to run inside one. In release builds there is nothing here,
//! since it costs two system calls per operation.
//!
//! The signal is blocked for the calling thread only, and delivered as soon as
//! the section ends.

#![allow(unsafe_code)]

/// While this lives, SIGINT waits (in a build with debug assertions).
#[derive(Debug)]
pub(crate) struct Deferral {
    #[cfg(debug_assertions)]
    before: libc::sigset_t,
    /// It belongs to its thread.
    not_send: core::marker::PhantomData<*const ()>,
}

impl Deferral {
    #[cfg(debug_assertions)]
    #[inline]
    pub(crate) fn new() -> Deferral {
        // SAFETY: `sigset_t` is plain integers; the sets are local and
        // initialized by the calls that take them for writing.
        unsafe {
            let mut interrupt: libc::sigset_t = core::mem::zeroed();
            let mut before: libc::sigset_t = core::mem::zeroed();
            libc::sigemptyset(&mut interrupt);
            libc::sigaddset(&mut interrupt, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &interrupt, &mut before);
            Deferral {
                before,
                not_send: core::marker::PhantomData,
            }
        }
    }

    #[cfg(not(debug_assertions))]
    #[inline(always)]
    pub(crate) fn new() -> Deferral {
        Deferral {
            not_send: core::marker::PhantomData,
        }
    }
}

impl Deferral {
    /// Runs `wait` with SIGINT as it was before the section: whoever only waits
    /// can be interrupted.
    pub(crate) fn lifted<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        // SAFETY: as in `drop`.
        #[cfg(debug_assertions)]
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, core::ptr::null_mut());
        }
        let waited = wait();
        #[cfg(debug_assertions)]
        {
            // What it replaces has nothing left to restore.
            core::mem::forget(core::mem::replace(self, Deferral::new()));
        }
        waited
    }
}

#[cfg(debug_assertions)]
impl Drop for Deferral {
    fn drop(&mut self) {
        // SAFETY: `before` is the mask this thread had when the section began.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, core::ptr::null_mut()) };
    }
}
