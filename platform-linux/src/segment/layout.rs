//! What a segment has to know of the kind of object in it.

use core::fmt::Debug;
use core::ptr::NonNull;
use robot_ipc_core::header::{Creator, Header, HeaderError};
use robot_ipc_core::participant::ParticipantTable;
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{self, MappedTunnel, Tunnel, TunnelGeometry};
use robot_ipc_core::variable::{self, MappedVariable, Pins, Suspects, Variable, VariableGeometry};
use std::sync::Mutex;

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

    /// # Safety
    /// - `start` is aligned to a page, and `file_size` bytes from there stay mapped
    ///   for `'a`, to read, and to write if anything that writes is used;
    /// - all who touch them during `'a` do so through core, or from outside.
    unsafe fn object<'a>(self, start: NonNull<u8>) -> Self::Object<'a>;

    fn participants<'a>(object: &Self::Object<'a>) -> &'a ParticipantTable;
}

/// What a process that writes a variable remembers.
#[derive(Debug, Default)]
pub(crate) struct VariableLocal {
    pub(crate) suspects: Suspects,
    pub(crate) pins: Mutex<Pins>,
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
    #[inline(always)]
    unsafe fn object<'a>(self, start: NonNull<u8>) -> Self::Object<'a> {
        // SAFETY: as the caller promises.
        Variable::new(unsafe { MappedVariable::new(start, self) })
    }
    fn participants<'a>(object: &Self::Object<'a>) -> &'a ParticipantTable {
        object.memory().participants()
    }
}

/// What a process that calls a function remembers: how many cells it has taken since
/// it counted them, and those it had then.
#[derive(Debug, Default)]
pub(crate) struct TunnelLocal {
    pub(crate) cells_taken: Mutex<u32>,
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
    #[inline(always)]
    unsafe fn object<'a>(self, start: NonNull<u8>) -> Self::Object<'a> {
        // SAFETY: as the caller promises.
        Tunnel::new(unsafe { MappedTunnel::new(start, self) })
    }
    fn participants<'a>(object: &Self::Object<'a>) -> &'a ParticipantTable {
        object.memory().participants()
    }
}
