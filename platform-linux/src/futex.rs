//! Sleeping until a shared word changes, and waking those who sleep.

use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::sync::AtomicU32;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;
use std::time::Duration;

/// The longest sleep before a sleeper looks around again: whoever should wake
/// it may have been killed just before.
pub(crate) const SLICE: Duration = Duration::from_millis(250);

/// How many words [`wait_any`] takes: the kernel's limit.
pub(crate) const MAX_WORDS: usize = 128;

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakened {
    /// Somebody woke us, the word was not as expected, or time is up. The
    /// caller looks at the word in any case.
    LookAgain,
    /// A signal arrived.
    BySignal,
}

/// Sleeps while `word` is `expected`, for at most `timeout`, which is at most
/// one [`SLICE`].
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) -> Result<Wakened, Errno> {
    wait_long(word, expected, timeout.min(SLICE))
}

/// As [`wait`], and possibly for longer than a slice: for those whom somebody else
/// looks after.
pub(crate) fn wait_long(
    word: &AtomicU32,
    expected: u32,
    timeout: Duration,
) -> Result<Wakened, Errno> {
    let time = timespec(timeout);
    let woken = futex::wait(word, Flags::empty(), expected, Some(&time));
    if woken == Err(Errno::FAULT) {
        // The word is gone: its file was cut. The system says so; who touches it learns of
        // it (see `truncation`).
        core::hint::black_box(word.load(Relaxed));
    }
    wakened(woken)
}

/// Sleeps while each of the words is as told beside it, for at most one [`SLICE`].
/// At most [`MAX_WORDS`] of them; needs Linux 5.16.
pub(crate) fn wait_any<'a>(
    words: impl Iterator<Item = (&'a AtomicU32, u32)>,
    timeout: Duration,
) -> Result<Wakened, Errno> {
    let mut waits = heapless::Vec::<futex::Wait, MAX_WORDS>::new();
    for (word, expected) in words {
        let mut wait = futex::Wait::new();
        wait.val = u64::from(expected);
        wait.uaddr = futex::WaitPtr::new(word.as_ptr().cast());
        wait.flags = futex::WaitFlags::SIZE_U32;
        waits.push(wait).map_err(|_| Errno::INVAL)?;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    // This call takes a point in time.
    let end = timespec(now + timeout.min(SLICE));
    let flags = futex::WaitvFlags::empty();
    let woken = futex::waitv(&waits, flags, Some(&end), futex::ClockId::Monotonic);
    wakened(woken.map(drop))
}

fn wakened(woken: Result<(), Errno>) -> Result<Wakened, Errno> {
    match woken {
        Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT) => Ok(Wakened::LookAgain),
        Err(Errno::INTR) => Ok(Wakened::BySignal),
        Err(errno) => Err(errno),
    }
}

/// Wakes everybody who sleeps on `word`, in any process.
pub(crate) fn wake_all(word: &AtomicU32) {
    // Can only fail for an address that is not mapped, and then nobody sleeps.
    let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
}

/// Sleeps without a word to wait for.
pub(crate) fn sleep(time: Duration) -> Wakened {
    match rustix::thread::nanosleep(&timespec(time)) {
        rustix::thread::NanosleepRelativeResult::Interrupted(_) => Wakened::BySignal,
        _ => Wakened::LookAgain,
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: time.subsec_nanos() as _,
    }
}
