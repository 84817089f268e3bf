//! A lock for sections of a few instructions, inside of one process.
//!
//! A mutex costs an atomic operation to lock and another one to unlock, since it may
//! have to wake somebody. This one wakes nobody: who finds it locked looks again, and
//! after a few looks sleeps for some microseconds in between, so that a holder that was
//! preempted gets on, whatever its priority. Unlocking is then a plain store. That is
//! right only where nobody ever holds it for long.

#![allow(unsafe_code)]

use crate::futex;
use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering, Ordering::Relaxed};
use std::time::Duration;

/// So often it is looked at before the first sleep.
const LOOKS: u32 = 64;
/// From one look to the next after that.
const SLEEP: Duration = Duration::from_micros(20);

/// A value, and the lock before it.
#[derive(Debug, Default)]
pub(crate) struct BriefLock<T> {
    /// 1 while somebody uses the value.
    locked: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is used by one thread at a time.
unsafe impl<T: Send> Sync for BriefLock<T> {}

impl<T> BriefLock<T> {
    pub(crate) fn new(value: T) -> Self {
        BriefLock {
            locked: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `section` with the value, alone. It must neither panic, nor wait, nor lock
    /// the same lock.
    #[inline]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        // Acquire: pairs with `Unlock`; what the one before did to the value is seen.
        if self.locked.swap(1, Ordering::Acquire) != 0 {
            self.lock_patiently();
        }
        let _unlock = Unlock(&self.locked);
        // SAFETY: whoever finds the word 0 has the value alone until it is 0 again.
        section(unsafe { &mut *self.value.get() })
    }

    /// Runs `section` with the value, alone; not at all if somebody else uses it. It may
    /// take its time if nobody uses [`with`](BriefLock::with) on this lock.
    #[cfg(feature = "ffi")]
    #[inline]
    pub(crate) fn try_with<R>(&self, section: impl FnOnce(&mut T) -> R) -> Option<R> {
        // Acquire: as in `with`.
        if self.locked.swap(1, Ordering::Acquire) != 0 {
            return None;
        }
        let _unlock = Unlock(&self.locked);
        // SAFETY: as in `with`.
        Some(section(unsafe { &mut *self.value.get() }))
    }

    #[cold]
    fn lock_patiently(&self) {
        let mut looks = 0;
        loop {
            // Only looked at until it seems free, so that it stays with its holder.
            if self.locked.load(Relaxed) == 0 && self.locked.swap(1, Ordering::Acquire) == 0 {
                return;
            }
            if looks < LOOKS {
                looks += 1;
                spin_loop();
            } else {
                futex::sleep(SLEEP);
            }
        }
    }
}

/// Unlocks, also if the section unwinds.
struct Unlock<'a>(&'a AtomicU32);

impl Drop for Unlock<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: pairs with the swap that locks.
        self.0.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against two threads inside at once, and against one that never gets in.
    #[test]
    fn one_thread_at_a_time_and_each_in_the_end() {
        let lock = BriefLock::<(u64, u64)>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        lock.with(|value| {
                            value.0 += 1;
                            value.1 += 1;
                            assert_eq!(value.0, value.1);
                        });
                    }
                });
            }
        });
        assert_eq!(lock.with(|value| *value), (200_000, 200_000));
    }

    /// Against a second one who gets in, or gets one out who is inside, and against a lock
    /// that stays locked.
    #[cfg(feature = "ffi")]
    #[test]
    fn who_only_tries_is_sent_away_while_it_is_locked() {
        let lock = BriefLock::new(1);
        let inside = lock.try_with(|value| {
            *value += 1;
            assert_eq!(lock.try_with(|_| ()), None);
            assert_eq!(lock.try_with(|_| ()), None);
        });
        assert_eq!(inside, Some(()));
        assert_eq!(lock.try_with(|value| *value), Some(2));
    }
}
