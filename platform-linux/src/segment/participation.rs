//! This process as a participant of a segment, and the system as its operations
//! see it.

use super::{Layout, Segment};
use crate::error::{Reason, Result};
use crate::fork::{self, SlowPath};
use crate::lock::{self, Anchor, Byte, Held};
use crate::shm::{self, FileIdentity};
use crate::steps::reached;
use crate::{clock, futex};
use core::marker::PhantomData;
use robot_ipc_core::Environment;
use robot_ipc_core::environment::Step;
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant, ParticipantTable};
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::sync::AtomicU32;
use std::os::fd::OwnedFd;

/// This process as a participant of a segment.
#[derive(Debug)]
pub(crate) struct Registration<L: Layout> {
    pub(crate) participant: Participant,
    pub(crate) generation: u32,
    pub(crate) local: L::Local,
    _anchor: Anchor,
}

/// Who uses a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// The process ids of those who have written or borrowed and live, as they
    /// told them.
    pub participants: Vec<u32>,
}

impl<L: Layout> Segment<L> {
    /// This process as a participant; registers it the first time.
    #[inline]
    pub(crate) fn registration(&self, operation: &'static str) -> Result<&Registration<L>> {
        match self.registration.get() {
            Some(registration) => Ok(registration),
            None => self.register(operation),
        }
    }

    #[cold]
    fn register(&self, operation: &'static str) -> Result<&Registration<L>> {
        self.check_writable(operation)?;
        self.registration
            .get_or_try_make(|slow_path| self.new_registration(slow_path))
            .map_err(|reason| self.error(reason))
    }

    fn new_registration(&self, slow_path: &SlowPath) -> Result<Registration<L>, Reason> {
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
            let object = self.object();
            let participants = L::participants(&object);
            let system = Registering::<L> {
                file: &file,
                participants,
                layout: PhantomData,
            };
            object.recover(&system, participant, &None);
            reached("register: recovered");
            object.reap_all(&system, participant);
            participants
                .entry(participant)
                .introduce(std::process::id());
            // Only now, or what the dead one has called would seem to have a caller. Nobody
            // else ever takes this lock alone, but whoever may read the file can share it.
            // Without it this process would look dead.
            if !lock::try_exclusive(&file, Byte::Life(participant))
                .map_err(Reason::system("lock the segment"))?
            {
                participants.entry(participant).clear();
                lock::unlock(&file, Byte::Participant(participant));
                continue;
            }
            let anchor = Anchor::new(&file, slow_path)
                .map_err(Reason::system("keep the lock of this process"))?;
            reached("register: anchored");
            return Ok(Registration {
                participant,
                generation: fork::generation(),
                local: L::Local::default(),
                _anchor: anchor,
            });
        }
        Err(Reason::TooManyParticipants)
    }

    /// The system as this process's operations on the segment see it.
    pub(crate) fn system(&self) -> System<'_, L> {
        System { segment: self }
    }

    /// The segment's file, opened afresh: nobody keeps a descriptor.
    pub(super) fn reopen(&self) -> Result<OwnedFd, Reason> {
        let file = match shm::open_file(self.subject.path(), self.access) {
            Ok(file) => file,
            Err(errno) => {
                // Somebody else may have put something there that cannot be opened.
                return Err(match shm::identity_at(self.subject.path()) {
                    Ok(now) if now != Some(self.identity) => self.gone(),
                    _ => Reason::system("open the segment again")(errno),
                });
            }
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

    /// Whether `participant` lives; also if that cannot be told.
    pub(crate) fn lives(&self, participant: Participant) -> bool {
        let is_here = |own: &Registration<L>| own.participant == participant;
        if self.registration.get().is_some_and(is_here) {
            return true;
        }
        let _slow_path = fork::slow_path();
        let asked = self.reopen().map(|file| {
            let held = lock::is_held(&file, Byte::Life(participant));
            held.unwrap_or(true)
        });
        asked.unwrap_or(true)
    }

    /// The process id that a participant has told, or 0.
    pub(crate) fn pid(&self, participant: Participant) -> u32 {
        L::participants(&self.object()).entry(participant).pid()
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
                let held = lock::is_held(&file, Byte::Life(participant));
                if held.map_err(Reason::system("ask for the segment's locks"))? {
                    participants.push(self.pid(participant));
                }
            }
            Ok(Census { participants })
        };
        count().map_err(|reason: Reason| self.error(reason))
    }
}

/// The system around a registered participant's operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System<'a, L: Layout> {
    segment: &'a Segment<L>,
}

impl<L: Layout> Environment for System<'_, L> {
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

    fn lives(&self, caller: Participant, time_ns: u64) -> bool {
        L::lives(self.segment, caller, time_ns)
    }

    #[inline(always)]
    fn step(&self, step: Step) {
        L::step(step);
    }

    fn wake_all(&self, word: &AtomicU32) {
        futex::wake_all(word);
    }

    #[cold]
    fn try_take(&self, participant: Participant) -> Option<Taken> {
        let slow_path = fork::slow_path();
        let file = self.segment.reopen().ok()?;
        let byte = Byte::Participant(participant);
        if !matches!(lock::try_exclusive(&file, byte), Ok(true)) {
            return None;
        }
        let object = self.segment.object();
        L::participants(&object).entry(participant).clear();
        Some(Taken {
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
struct Registering<'a, L> {
    file: &'a OwnedFd,
    participants: &'a ParticipantTable,
    layout: PhantomData<L>,
}

impl<'a, L: Layout> Environment for Registering<'a, L> {
    /// `None` for the index that is being registered: its lock is kept.
    type Recovery = Option<Held<'a>>;

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn wake_all(&self, word: &AtomicU32) {
        futex::wake_all(word);
    }

    fn step(&self, step: Step) {
        L::step(step);
    }

    fn try_take(&self, participant: Participant) -> Option<Option<Held<'a>>> {
        let held = Held::take(self.file, Byte::Participant(participant))?;
        self.participants.entry(participant).clear();
        Some(Some(held))
    }
}
