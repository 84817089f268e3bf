//! Sleeping until any of many functions is called.
//!
//! A dispatcher has a *control* word of its own, in private memory, that changes when
//! it is stopped and when functions come or go. It sleeps on that word and on the bells
//! of all its functions at once, by FUTEX_WAITV. That call takes 128 words, needs Linux
//! 5.16, and may be forbidden by a seccomp filter. Where it does not serve, each
//! function gets a *listener*: a thread that sleeps on its bell and passes on each
//! ringing to the control word. Listeners use no processor while nothing rings; which
//! function it was is no secret: who wakes looks at all bells.

// A flag of this process: nobody else sees it.
#![allow(clippy::disallowed_types)]

use super::TunnelSegment;
use crate::error::{Error, Reason, Result};
use crate::futex::{self, Wakened};
use core::sync::atomic::{AtomicBool, Ordering};
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::sync::AtomicU32;
use robot_ipc_core::tunnel::TunnelMemory;
use rustix::io::Errno;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How many bells FUTEX_WAITV takes beside the control word.
pub(super) const MAX_BELLS: usize = futex::MAX_WORDS - 1;
/// A listener has nothing on its stack.
const STACK_SIZE: usize = 64 * 1024;
/// How long a listener sleeps. Its dispatcher looks around every slice, so nothing is
/// missed if nobody wakes it.
const LISTENER_SLICE: Duration = Duration::from_secs(60);

/// The word that a dispatcher sleeps on in any case.
#[derive(Debug, Default)]
pub(super) struct Control {
    word: AtomicU32,
}

impl Control {
    /// What it is now; to be looked at before everything that it announces.
    pub(super) fn seen(&self) -> u32 {
        // Acquire: pairs with `ring`.
        self.word.load(Ordering::Acquire)
    }

    /// Wakes the dispatcher: there is something to look at.
    pub(super) fn ring(&self) {
        // Release: pairs with `seen`.
        self.word.fetch_add(1, Ordering::Release);
        futex::wake_all(&self.word);
    }

    /// Sleeps until it rings.
    pub(super) fn sleep(&self, seen: u32, time: Duration) -> Result<Wakened, Errno> {
        futex::wait(&self.word, seen, time)
    }

    /// Sleeps until it or one of the armed `bells` rings.
    pub(super) fn sleep_with<'a>(
        &'a self,
        seen: u32,
        bells: impl Iterator<Item = (&'a AtomicU32, u32)>,
        time: Duration,
    ) -> Result<Wakened, Errno> {
        futex::wait_any([(&self.word, seen)].into_iter().chain(bells), time)
    }
}

/// A thread that passes the ringing of one bell on to a control word.
#[derive(Debug)]
pub(super) struct Listener {
    segment: Arc<TunnelSegment>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    generation: u32,
}

impl Listener {
    pub(super) fn start(segment: &Arc<TunnelSegment>, control: &Arc<Control>) -> Result<Listener> {
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("robot-ipc-bell".to_owned())
            .stack_size(STACK_SIZE)
            .spawn({
                let (segment, control) = (Arc::clone(segment), Arc::clone(control));
                let is_over = Arc::clone(&is_over);
                move || listen(&segment, &control, &is_over)
            })
            .map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
                segment.error(Reason::system("start a thread that listens for calls")(
                    errno,
                ))
            })?;
        Ok(Listener {
            segment: Arc::clone(segment),
            is_over,
            thread: Some(thread),
            generation: crate::fork::generation(),
        })
    }
}

fn listen(segment: &TunnelSegment, control: &Control, is_over: &AtomicBool) {
    let tunnel = segment.object();
    loop {
        let heard = tunnel.listen_for_calls();
        // Before it sleeps, so that what has rung until now is passed on.
        control.ring();
        if heard.is_retired() {
            return;
        }
        let Some(armed) = tunnel.arm_for_calls(heard) else {
            continue;
        };
        if is_over.load(Ordering::Relaxed) || tunnel.is_retired() {
            return;
        }
        let bell = tunnel.memory().bell();
        while tunnel.listen_for_calls().word() == armed && !is_over.load(Ordering::Relaxed) {
            if futex::wait_long(bell, armed, LISTENER_SLICE).is_err() {
                return;
            }
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        if self.generation != crate::fork::generation() {
            // The thread is the parent's.
            core::mem::forget(thread);
            return;
        }
        self.is_over.store(true, Ordering::Relaxed);
        while !thread.is_finished() {
            // It may be about to sleep: woken again and again until it has seen it.
            let tunnel = self.segment.object();
            futex::wake_all(tunnel.memory().bell());
            if tunnel.is_retired() && self.segment.is_lost() {
                // It sleeps on a word that is gone, and nobody can wake it. It will end
                // after its slice.
                return;
            }
            futex::sleep(Duration::from_micros(50));
        }
        let _ = thread.join();
    }
}

/// Whether the kernel can sleep on many words at once.
pub(super) fn has_wait_any() -> bool {
    // Not a `OnceLock`: see `spinning`. 0: nobody has asked yet; 1: no; 2: yes.
    static FOUND: AtomicU32 = AtomicU32::new(0);
    if FOUND.load(Ordering::Relaxed) == 0 {
        let word = AtomicU32::new(1);
        // Not the value: it comes back at once, if it is known at all.
        let tried = futex::wait_any([(&word, 0)].into_iter(), Duration::ZERO);
        let is_known = !matches!(tried, Err(Errno::NOSYS | Errno::PERM));
        FOUND.store(1 + u32::from(is_known), Ordering::Relaxed);
    }
    FOUND.load(Ordering::Relaxed) == 2
}

/// What an error of a sleep on bells means for the dispatcher.
pub(super) fn sleep_error(errno: Errno) -> Error {
    Error::without_subject(Reason::system("sleep until a call arrives")(errno))
}
