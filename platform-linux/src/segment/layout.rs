//! What a segment has to know of the kind of object in it.

#![allow(unsafe_code)]

use super::Segment;
use crate::brief::BriefLock;
use crate::{clock, steps};
use core::fmt::Debug;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use robot_ipc_core::environment::Step;
use robot_ipc_core::header::{Creator, Header, HeaderError};
use robot_ipc_core::participant::{MAX_PARTICIPANTS, Participant, ParticipantTable};
use robot_ipc_core::recovery::{Recoverable, Remains};
use robot_ipc_core::tunnel::{self, MappedTunnel, Tunnel, TunnelGeometry};
use robot_ipc_core::variable::{self, MappedVariable, Pins, Suspects, Variable, VariableGeometry};
use std::time::{Duration, Instant};

/// The geometry of one kind of object.
pub(crate) trait Layout: Copy + Debug + Send + Sync + 'static {
    /// The object in its memory.
    type Object<'a>: Recoverable;
    /// The first bytes of a new segment; zeros follow.
    type Initial: AsRef<[u8]>;
    /// What a participant keeps in its own memory.
    type Local: Debug + Default + Send + Sync;

    fn from_header(header: &Header) -> Result<Self, HeaderError>;
    fn header(&self, creator: &Creator) -> Header;
    fn initial_bytes(&self, creator: &Creator) -> Self::Initial;
    fn file_size(&self) -> u64;
    /// What stands in for its memory if that was lost.
    fn remains(&self) -> Remains;

    /// # Safety
    /// - `start` is aligned to a page, and `file_size` bytes from there stay mapped
    ///   for `'a`, to read, and to write if anything that writes is used;
    /// - all who touch them during `'a` do so through core, or from outside.
    unsafe fn object<'a>(self, start: NonNull<u8>) -> Self::Object<'a>;

    fn participants<'a>(object: &Self::Object<'a>) -> &'a ParticipantTable;

    /// Whether `participant`, who did something at `time_ns`, lives.
    fn lives(segment: &Segment<Self>, participant: Participant, time_ns: u64) -> bool {
        let _ = time_ns;
        segment.lives(participant)
    }

    /// A step of the protocol was done.
    #[inline(always)]
    fn step(step: Step) {
        let _ = step;
    }
}

/// What a process that writes a variable remembers.
#[derive(Debug, Default)]
pub(crate) struct VariableLocal {
    pub(crate) suspects: Suspects,
    pub(crate) pins: BriefLock<Pins>,
}

impl Layout for VariableGeometry {
    type Object<'a> = Variable<MappedVariable<'a>>;
    type Initial = variable::InitialBytes;
    type Local = VariableLocal;

    fn from_header(header: &Header) -> Result<Self, HeaderError> {
        VariableGeometry::from_header(header)
    }
    fn header(&self, creator: &Creator) -> Header {
        VariableGeometry::header(self, creator)
    }
    fn initial_bytes(&self, creator: &Creator) -> Self::Initial {
        variable::initial_bytes(self, creator)
    }
    fn file_size(&self) -> u64 {
        VariableGeometry::file_size(self)
    }
    fn remains(&self) -> Remains {
        VariableGeometry::remains(self)
    }
    #[inline(always)]
    unsafe fn object<'a>(self, start: NonNull<u8>) -> Self::Object<'a> {
        // SAFETY: as the caller promises.
        Variable::new(unsafe { MappedVariable::new(start, self) })
    }
    fn participants<'a>(object: &Self::Object<'a>) -> &'a ParticipantTable {
        object.memory().participants()
    }
}

/// For so long after a call was made, or its caller was asked for, that caller is taken
/// to live. Less than a process takes to end: nobody can know of its death earlier.
const FRESH: Duration = Duration::from_micros(10);

/// What a process has of a function's cells.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// How many cells it has taken since it counted its own, and those it had then.
    pub(crate) taken: u32,
    /// How many it has ever taken.
    pub(crate) drafts: u64,
    /// In which one it looks first.
    pub(crate) next_cell: u32,
    /// Since when all that it may have hold answers that nobody fetches, and how many
    /// had been fetched then.
    pub(crate) stuck_since: Option<(Instant, u32)>,
}

/// What a process that calls or serves a function remembers.
#[derive(Debug)]
pub(crate) struct TunnelLocal {
    pub(crate) quota: BriefLock<Quota>,
    /// How many answers it has fetched; wraps.
    pub(crate) fetches: AtomicU32,
    /// When it last asked whether each participant lives, in units of 1024 ns.
    asked: Box<[AtomicU32]>,
}

impl Default for TunnelLocal {
    fn default() -> Self {
        TunnelLocal {
            quota: BriefLock::default(),
            fetches: AtomicU32::new(0),
            asked: (0..MAX_PARTICIPANTS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

/// Whether `participant` lives, or did when this process asked last, less than `time`
/// ago.
pub(crate) fn lived_within(
    segment: &Segment<TunnelGeometry>,
    participant: Participant,
    time: Duration,
) -> bool {
    let Ok(me) = segment.registration("call it") else {
        return true;
    };
    let asked = &me.local.asked[participant.index() as usize];
    let now = (clock::now_ns() >> 10) as u32;
    if u128::from(now.wrapping_sub(asked.load(Relaxed))) < time.as_nanos() >> 10 {
        return true;
    }
    let lives = segment.lives(participant);
    if lives {
        asked.store(now, Relaxed);
    }
    lives
}

impl Layout for TunnelGeometry {
    type Object<'a> = Tunnel<MappedTunnel<'a>>;
    type Initial = [u8; robot_ipc_core::header::HEADER_SIZE];
    type Local = TunnelLocal;

    fn from_header(header: &Header) -> Result<Self, HeaderError> {
        TunnelGeometry::from_header(header)
    }
    fn header(&self, creator: &Creator) -> Header {
        TunnelGeometry::header(self, creator)
    }
    fn initial_bytes(&self, creator: &Creator) -> Self::Initial {
        tunnel::initial_bytes(self, creator)
    }
    fn file_size(&self) -> u64 {
        TunnelGeometry::file_size(self)
    }
    fn remains(&self) -> Remains {
        TunnelGeometry::remains(self)
    }
    #[inline(always)]
    unsafe fn object<'a>(self, start: NonNull<u8>) -> Self::Object<'a> {
        // SAFETY: as the caller promises.
        Tunnel::new(unsafe { MappedTunnel::new(start, self) })
    }
    fn participants<'a>(object: &Self::Object<'a>) -> &'a ParticipantTable {
        object.memory().participants()
    }
    fn lives(segment: &Segment<Self>, participant: Participant, time_ns: u64) -> bool {
        let now_ns = clock::now_ns();
        let fresh = FRESH.as_nanos() as u64;
        if time_ns != 0 && segment.has_same_clock() && now_ns.wrapping_sub(time_ns) < fresh {
            return true;
        }
        lived_within(segment, participant, FRESH)
    }
    #[inline]
    fn step(step: Step) {
        steps::reached_step(step);
    }
}
