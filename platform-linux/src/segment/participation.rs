//! This process as a participant of a segment, and the system as its operations
//! see it.

use super::Segment;
use crate::error::{Reason, Result};
use crate::fork::{self, SlowPath};
use crate::lock::{self, Anchor, Byte, Held};
use crate::shm::{self, FileIdentity};
use crate::steps::reached;
use crate::{clock, futex};
use core::sync::atomic::{AtomicU32, Ordering};
use robot_ipc_core::Environment;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant};
use robot_ipc_core::variable::{Pins, Suspects};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// This process as a participant of a segment.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) participant: Participant,
    pub(crate) generation: u32,
    pub(crate) suspects: Suspects,
    pub(crate) pins: Mutex<Pins>,
    _anchor: Anchor,
}

/// Who uses a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// The process ids of those who have written or borrowed and live, as they
    /// told them.
    pub participants: Vec<u32>,
}

impl Segment {
    /// This process as a participant; registers it the first time.
    #[inline]
    pub(crate) fn registration(&self, operation: &'static str) -> Result<&Registration> {
        // Acquire: pairs with the store in `register`; another thread may have
        // registered just now.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: it points to one of `registrations`, which only grow in number
        // until `self` is dropped.
        match unsafe { current.as_ref() } {
            Some(registration) if registration.generation == fork::generation() => Ok(registration),
            _ => self.register(operation),
        }
    }

    #[cold]
    fn register(&self, operation: &'static str) -> Result<&Registration> {
        self.check_writable(operation)?;
        let slow_path = fork::slow_path();
        let mut registrations = self
            .registrations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let here = |registration: &Arc<Registration>| registration.generation == fork::generation();
        if !registrations.last().is_some_and(here) {
            let new = self
                .new_registration(&slow_path)
                .map_err(|reason| self.error(reason))?;
            registrations.push(Arc::new(new));
        }
        let newest = registrations.last().map_or(core::ptr::null(), Arc::as_ptr);
        // Release: pairs with the load in `registration`.
        self.current.store(newest.cast_mut(), Ordering::Release);
        // SAFETY: as in `registration`; one was pushed above if there was none.
        Ok(unsafe { &*newest })
    }

    fn new_registration(&self, slow_path: &SlowPath) -> Result<Registration, Reason> {
        let file = self.reopen()?;
        for index in 0..MAX_PARTICIPANTS {
            let Some(participant) = Participant::new(index) else {
                break;
            };
            if !lock::try_exclusive(&file, Byte::Participant(participant))
                .map_err(Reason::system("lock the segment"))?
            {
                continue;
            }
            reached("register: locked");
            // Whoever had this index before is dead: the lock is ours.
            let system = Registering { file: &file };
            let variable = self.variable();
            variable.recover(&system, participant, &None);
            reached("register: recovered");
            variable.reap_all(&system, participant);
            let entry = variable.memory().participants().entry(participant);
            entry.pid.store(std::process::id(), Ordering::Relaxed);
            let anchor = Anchor::new(&file, slow_path)
                .map_err(Reason::system("keep the lock of this process"))?;
            reached("register: anchored");
            return Ok(Registration {
                participant,
                generation: fork::generation(),
                suspects: Suspects::new(),
                pins: Mutex::new(Pins::new()),
                _anchor: anchor,
            });
        }
        Err(Reason::TooManyParticipants)
    }

    /// The system as this process's operations on the segment see it.
    pub(crate) fn system(&self) -> System<'_> {
        System { segment: self }
    }

    /// The segment's file, opened afresh: nobody keeps a descriptor.
    pub(super) fn reopen(&self) -> Result<OwnedFd, Reason> {
        let file = match shm::open_file(self.subject.path(), self.access) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Err(self.gone()),
            Err(errno) => return Err(Reason::system("open the segment again")(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(Reason::system("look at the segment"))?;
        if FileIdentity::of(&stat) == self.identity {
            Ok(file)
        } else {
            Err(self.gone())
        }
    }

    fn gone(&self) -> Reason {
        if self.is_retired() {
            Reason::Retired
        } else {
            Reason::NameRemoved
        }
    }

    /// Fails if the name does not lead here any more.
    pub(crate) fn check_name(&self) -> Result<()> {
        match shm::identity_at(self.subject.path()) {
            Ok(Some(identity)) if identity == self.identity => Ok(()),
            Ok(_) => Err(self.error(self.gone())),
            // It cannot be told; that is no reason to give up.
            Err(_) => Ok(()),
        }
    }

    /// How many participants live, and whether anybody has it open beside us.
    pub(crate) fn census(&self) -> Result<Census> {
        let count = || {
            let _slow_path = fork::slow_path();
            let file = self.reopen()?;
            let mut participants = Vec::new();
            for index in 0..MAX_PARTICIPANTS {
                let Some(participant) = Participant::new(index) else {
                    break;
                };
                let held = lock::is_held(&file, Byte::Participant(participant));
                if held.map_err(Reason::system("ask for the segment's locks"))? {
                    participants.push(self.variable().memory().pid(participant));
                }
            }
            Ok(Census { participants })
        };
        count().map_err(|reason: Reason| self.error(reason))
    }
}

/// The system around a registered participant's operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System<'a> {
    segment: &'a Segment,
}

impl Environment for System<'_> {
    type Recovery = Taken;

    #[inline]
    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    #[inline]
    fn write_time_ns(&self) -> u64 {
        // Another time namespace's time would make old values look young.
        if self.segment.same_clock {
            clock::now_ns()
        } else {
            0
        }
    }

    fn wake_all(&self, word: &AtomicU32) {
        futex::wake_all(word);
    }

    #[cold]
    fn try_take(&self, participant: Participant) -> Option<Taken> {
        let slow_path = fork::slow_path();
        let file = self.segment.reopen().ok()?;
        let byte = Byte::Participant(participant);
        matches!(lock::try_exclusive(&file, byte), Ok(true)).then_some(Taken {
            file,
            byte,
            _slow_path: slow_path,
        })
    }
}

/// A dead participant's byte, held while its marks are cleared.
#[derive(Debug)]
pub(crate) struct Taken {
    file: OwnedFd,
    byte: Byte,
    _slow_path: SlowPath,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Before the descriptor is closed: a child that some other library
        // made without our handlers could still have it.
        lock::unlock(&self.file, self.byte);
    }
}

/// The system around a registration, which is on the slow path already and has
/// the file open.
struct Registering<'a> {
    file: &'a OwnedFd,
}

impl<'a> Environment for Registering<'a> {
    /// `None` for the index that is being registered: its lock is kept.
    type Recovery = Option<Held<'a>>;

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn wake_all(&self, word: &AtomicU32) {
        futex::wake_all(word);
    }

    fn try_take(&self, participant: Participant) -> Option<Option<Held<'a>>> {
        Some(Some(Held::take(self.file, Byte::Participant(participant))?))
    }
}
