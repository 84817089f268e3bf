//! Sleeping until a shared word changes, and waking those who sleep.

use robot_ipc_core::sync::AtomicU32;
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;
use std::time::Duration;

/// The longest sleep before a sleeper looks around again: whoever should wake
/// it may have been killed just before.
pub(crate) const SLICE: Duration = Duration::from_millis(250);

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
    let timeout = timespec(timeout.min(SLICE));
    match futex::wait(word, Flags::empty(), expected, Some(&timeout)) {
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
