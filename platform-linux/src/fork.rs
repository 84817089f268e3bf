//! Noticing that this process is a forked child, and keeping forks out of the
//! moments in which a descriptor with a lock on it is open.
//!
//! A child gets a copy of our memory, but it is another participant: what its
//! parent has claimed, pinned or registered is not the child's. So each
//! registration carries the *generation* of its process, and every operation
//! compares it, which costs one relaxed load.

#![allow(unsafe_code)]

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering, Ordering::Relaxed};
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

/// Something that each process has for itself: made when it is first asked for, and
/// anew in a forked child. What the parent had stays where it is, since guards in the
/// child may still name it, and is dropped with the rest.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    current: AtomicPtr<Own<T>>,
    /// Boxed, so that they stay where they are. Locked on slow paths only, so never
    /// while somebody forks.
    all: Mutex<Vec<Box<Own<T>>>>,
}

#[derive(Debug)]
struct Own<T> {
    generation: u32,
    value: T,
}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess {
            current: AtomicPtr::new(core::ptr::null_mut()),
            all: Mutex::new(Vec::new()),
        }
    }

    /// This process's, if it has been made.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the store in `get_or_try_make`; another thread may
        // have made it just now.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: it points into one of `all`, which only grow in number until
        // `self` is dropped.
        let own = unsafe { current.as_ref() }?;
        (own.generation == generation()).then_some(&own.value)
    }

    /// This process's, made by `make` if it has not been yet.
    #[cold]
    pub(crate) fn get_or_try_make<E>(
        &self,
        make: impl FnOnce(&SlowPath) -> Result<T, E>,
    ) -> Result<&T, E> {
        let slow_path = slow_path();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get().is_none() {
            let value = make(&slow_path)?;
            let mut own = Box::new(Own {
                generation: generation(),
                value,
            });
            let place: *mut Own<T> = &raw mut *own;
            all.push(own);
            // Release: pairs with the load in `get`.
            self.current.store(place, Ordering::Release);
        }
        let current = self.current.load(Ordering::Relaxed);
        // SAFETY: not null, since it was made above or before; as in `get`.
        Ok(unsafe { &(*current).value })
    }
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
    crate::truncation::forget_visits();
    in_parent();
}
