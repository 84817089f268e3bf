//! Noticing that this process is a forked child, and keeping forks out of the
//! moments in which a descriptor with a lock on it is open.
//!
//! A child gets a copy of our memory, but it is another participant: what its
//! parent has claimed, pinned or registered is not the child's. So each
//! registration carries the *generation* of its process, and every operation
//! compares it, which costs one relaxed load.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

static GENERATION: AtomicU32 = AtomicU32::new(1);

/// Changes with every fork, in the child.
#[inline(always)]
pub(crate) fn generation() -> u32 {
    // Relaxed: only the child's single thread has seen it change.
    GENERATION.load(Relaxed)
}

static SLOW_PATH: Mutex<()> = Mutex::new(());

thread_local! {
    /// The lock, while this thread forks.
    static FORKING: RefCell<Option<SlowPath>> = const { RefCell::new(None) };
}

/// While this is held nobody in this process forks, and nobody else is on a
/// slow path: opening, registering, asking who lives, removing.
pub(crate) type SlowPath = MutexGuard<'static, ()>;

/// Enters a slow path. Not reentrant.
pub(crate) fn slow_path() -> SlowPath {
    install_handlers();
    SLOW_PATH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Run when the library is loaded: no fork can be under way in another thread
/// then, and whoever registers handlers later, and calls us under a lock that
/// they take, has them run in the right order around ours.
#[used]
#[unsafe(link_section = ".init_array")]
static INSTALL_HANDLERS: extern "C" fn() = install_handlers;

/// Called again on slow paths, for programs whose linker has left the line above
/// out.
extern "C" fn install_handlers() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: the handlers are functions of this library, which libc
        // forgets when the library is unloaded; they neither allocate in the
        // child nor unwind. Failure (no memory) leaves forks unnoticed only
        // where memory is gone anyway.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
}

extern "C" fn before() {
    let lock = SLOW_PATH.lock().unwrap_or_else(PoisonError::into_inner);
    // A thread that is being torn down can fork too; then the lock is not kept.
    let _ = FORKING.try_with(|forking| *forking.borrow_mut() = Some(lock));
}

extern "C" fn in_parent() {
    let _ = FORKING.try_with(|forking| forking.borrow_mut().take());
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Relaxed);
    in_parent();
}
