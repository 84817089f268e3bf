//! Where the words of a variable lie in a segment.
//!
//! ```text
//! offset  size
//!      0   256  Header            who made it, how large it is
//!    256  2048  ParticipantTable  names for people
//!   2304    64  latest, lease     alone in their cache line; the lease rarely changes
//!   2368   256  owners            64 words; only writers and borrowers touch them
//!   2624        slots             slot_count times slot_stride bytes:
//!                +0   64          SlotHead
//!                +64              payload, rounded up to whole cache lines
//! ```
//!
//! A reader that copies touches the line of `latest`, the slot's head and its
//! payload, and writes to none of them. The owner words stand apart from the
//! stamps, so that taking and pinning slots does not disturb readers.

#![allow(unsafe_code)]

use super::word::{RETIRED, Stamp};
use super::{
    DEFAULT_SLOTS, Latest, MAX_SLOTS, MAX_VALUE_SIZE, MIN_SLOTS, Memory, PlainVariable, SlotHead,
    Variable,
};
use crate::header::{Creator, HEADER_SIZE, Header, HeaderError, Kind, PLAIN, whole};
use crate::participant::{Participant, ParticipantTable};
use crate::recovery::Remains;
use crate::sync::AtomicU32;
use crate::words::{PAYLOAD_ALIGNMENT, Words};
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::NonNull;
use static_assertions::{const_assert, const_assert_eq};

impl SlotHead {
    /// A slot in which nothing was ever written.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        SlotHead {
            stamp: AtomicU32::new(0),
            high: AtomicU32::new(0),
            length: AtomicU32::new(0),
            encoding: AtomicU32::new(0),
            time_ns: [const { AtomicU32::new(0) }; 2],
            reserved: [const { AtomicU32::new(0) }; 10],
        }
    }
}

const_assert_eq!(size_of::<SlotHead>(), 64);
const_assert_eq!(align_of::<SlotHead>(), 64);
const_assert_eq!(offset_of!(SlotHead, stamp), 0);
const_assert_eq!(offset_of!(SlotHead, high), 4);
const_assert_eq!(offset_of!(SlotHead, length), 8);
const_assert_eq!(offset_of!(SlotHead, encoding), 12);
const_assert_eq!(offset_of!(SlotHead, time_ns), 16);
const_assert_eq!(offset_of!(SlotHead, reserved), 24);

/// The words that all users of a variable share.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct VariableControl {
    /// Which slot is the latest.
    pub latest: AtomicU32,
    /// Who is the only writer.
    pub lease: AtomicU32,
    /// Zero.
    pub reserved: [AtomicU32; 14],
    /// Who holds each slot; two more than there can be slots.
    pub owners: [AtomicU32; 64],
}

const_assert_eq!(size_of::<VariableControl>(), 320);
const_assert_eq!(align_of::<VariableControl>(), 64);
const_assert_eq!(offset_of!(VariableControl, latest), 0);
const_assert_eq!(offset_of!(VariableControl, lease), 4);
const_assert_eq!(offset_of!(VariableControl, reserved), 8);
const_assert_eq!(offset_of!(VariableControl, owners), 64);
const_assert!(MAX_SLOTS <= 62); // 63 is "nothing written"; 64 owner words

impl VariableControl {
    const fn new() -> Self {
        VariableControl {
            latest: AtomicU32::new(Latest::EMPTY.word()),
            lease: AtomicU32::new(0),
            reserved: [const { AtomicU32::new(0) }; 14],
            owners: [const { AtomicU32::new(0) }; 64],
        }
    }
}

/// Everything before the slots.
#[repr(C, align(64))]
#[derive(Debug)]
struct Front {
    header: Header,
    participants: ParticipantTable,
    control: VariableControl,
}

/// Where the slots start, in bytes.
pub const SLOTS_OFFSET: usize = 2624;
const_assert_eq!(size_of::<Front>(), SLOTS_OFFSET);
const_assert_eq!(offset_of!(Front, header), 0);
const_assert_eq!(offset_of!(Front, participants), HEADER_SIZE);
const_assert_eq!(offset_of!(Front, control), 2304);

/// How many slots of which size: all that the layout of a variable depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableGeometry {
    slot_count: u32,
    max_size: u32,
    /// Made of `max_size`, once.
    slot_stride: u32,
    is_plain: bool,
}

impl VariableGeometry {
    /// `slot_count` slots for values of up to `max_size` bytes, if both are
    /// within the limits and the whole is addressable here.
    ///
    /// ```
    /// use robot_ipc_core::variable::VariableGeometry;
    /// assert_eq!(VariableGeometry::new(14, 4096).unwrap().file_size(), 2624 + 14 * (64 + 4096));
    /// assert!(VariableGeometry::new(1, 4096).is_none());
    /// assert!(VariableGeometry::new(14, 0).is_none());
    /// ```
    #[must_use]
    pub const fn new(slot_count: u32, max_size: u32) -> Option<Self> {
        if slot_count < MIN_SLOTS
            || slot_count > MAX_SLOTS
            || max_size == 0
            || max_size > MAX_VALUE_SIZE
        {
            return None;
        }
        let geometry = VariableGeometry {
            slot_count,
            max_size,
            slot_stride: size_of::<SlotHead>() as u32
                + max_size.next_multiple_of(PAYLOAD_ALIGNMENT as u32),
            is_plain: false,
        };
        if geometry.file_size() > isize::MAX as u64 {
            None
        } else {
            Some(geometry)
        }
    }

    /// The same for a variable with one fixed writer: see [`PlainVariable`].
    #[must_use]
    pub const fn plain(self) -> Self {
        VariableGeometry {
            is_plain: true,
            ..self
        }
    }

    /// Whether it has one fixed writer. Then all others may only read it.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// How many slots.
    #[must_use]
    pub const fn slot_count(&self) -> u32 {
        self.slot_count
    }

    /// How many bytes a value can have.
    #[must_use]
    pub const fn max_size(&self) -> u32 {
        self.max_size
    }

    /// Bytes reserved for the payload of a slot.
    #[must_use]
    pub const fn payload_size(&self) -> u32 {
        self.slot_stride - size_of::<SlotHead>() as u32
    }

    /// From one slot to the next, in bytes.
    #[must_use]
    pub const fn slot_stride(&self) -> u32 {
        self.slot_stride
    }

    /// Bytes of the whole segment.
    #[must_use]
    pub const fn file_size(&self) -> u64 {
        SLOTS_OFFSET as u64 + self.slot_count as u64 * self.slot_stride() as u64
    }

    /// What stands in for the memory of such a segment if that was lost. Slots are busy:
    /// a stamp of zero would be that of every version which is a multiple of 2^24.
    #[must_use]
    pub const fn remains(&self) -> Remains {
        let latest = Latest::EMPTY.word() | RETIRED;
        Remains {
            retired: (offset_of!(Front, control), latest),
            marks: (
                SLOTS_OFFSET + offset_of!(SlotHead, stamp),
                self.slot_stride() as usize,
                self.slot_count as usize,
                Stamp::new(0).busy().word(),
            ),
        }
    }

    /// The header of a segment of this geometry.
    #[must_use]
    pub const fn header(&self, creator: &Creator) -> Header {
        let geometry = [
            self.slot_count,
            self.max_size,
            self.slot_stride(),
            SLOTS_OFFSET as u32,
            0,
            0,
            0,
            0,
        ];
        let flags = if self.is_plain { PLAIN } else { 0 };
        Header::new(Kind::Variable, self.file_size(), geometry, creator).with_flags(flags)
    }

    /// The geometry that a checked header tells.
    ///
    /// # Errors
    /// [`HeaderError::BadGeometry`] if it is not one of ours.
    pub fn from_header(header: &Header) -> Result<Self, HeaderError> {
        let mut geometry = VariableGeometry::new(header.geometry[0], header.geometry[1])
            .ok_or(HeaderError::BadGeometry)?;
        geometry.is_plain = header.flags & PLAIN != 0;
        let expected = geometry.header(&header.creator());
        if expected.geometry == header.geometry && expected.file_size == header.file_size {
            Ok(geometry)
        } else {
            Err(HeaderError::BadGeometry)
        }
    }
}

impl Default for VariableGeometry {
    fn default() -> Self {
        const DEFAULT: VariableGeometry =
            match VariableGeometry::new(DEFAULT_SLOTS, super::DEFAULT_VALUE_SIZE) {
                Some(geometry) => geometry,
                None => panic!("within the limits"),
            };
        DEFAULT
    }
}

/// The memory of a variable that lies in a segment.
#[derive(Clone, Copy, Debug)]
pub struct MappedVariable<'a> {
    start: NonNull<u8>,
    geometry: VariableGeometry,
    memory: PhantomData<&'a AtomicU32>,
}

// SAFETY: all access is atomic.
unsafe impl Send for MappedVariable<'_> {}
// SAFETY: as above.
unsafe impl Sync for MappedVariable<'_> {}

impl<'a> MappedVariable<'a> {
    /// The variable in the segment at `start`.
    ///
    /// # Safety
    /// - `start` is aligned to 64 bytes, and `geometry.file_size()` bytes from
    ///   there stay mapped for `'a`, to read and, if any operation that writes
    ///   is used, to write;
    /// - all who touch them during `'a` do so through this crate, or from
    ///   outside this program. What the bytes *are* does not matter.
    #[must_use]
    pub const unsafe fn new(start: NonNull<u8>, geometry: VariableGeometry) -> Self {
        MappedVariable {
            start,
            geometry,
            memory: PhantomData,
        }
    }

    /// How many slots of which size.
    #[must_use]
    pub const fn geometry(&self) -> VariableGeometry {
        self.geometry
    }

    /// Who the participants say they are.
    #[must_use]
    pub fn participants(&self) -> &'a ParticipantTable {
        // SAFETY: inside the `SLOTS_OFFSET` bytes that `new` was promised,
        // aligned since `start` is, and made of atomics.
        unsafe {
            self.start
                .byte_add(offset_of!(Front, participants))
                .cast()
                .as_ref()
        }
    }

    /// The process id that `participant` has told.
    #[must_use]
    pub fn pid(&self, participant: Participant) -> u32 {
        self.participants().entry(participant).pid()
    }

    /// The payload of `slot`, to be written or read in place.
    #[must_use]
    #[inline(always)]
    pub fn payload(&self, slot: u32) -> Words<'a> {
        let start = self.slot(slot);
        // SAFETY: a slot is a head, 64 bytes, and `payload_size` bytes more,
        // a multiple of 64; all of it lies inside what `new` was promised, and
        // nobody here reaches a payload but through `Words`.
        unsafe {
            Words::new(
                start.byte_add(size_of::<SlotHead>()),
                self.geometry.payload_size() as usize,
            )
        }
    }

    /// Where `slot` starts. A number past the last slot gives the first one, so
    /// that none can lead outside.
    #[inline(always)]
    fn slot(&self, slot: u32) -> NonNull<u8> {
        let slot = if slot < self.geometry.slot_count {
            slot as usize
        } else {
            0
        };
        // SAFETY: `file_size` fits an isize (checked by `VariableGeometry::new`)
        // and the slot ends inside it.
        unsafe {
            self.start
                .byte_add(SLOTS_OFFSET + slot * self.geometry.slot_stride() as usize)
        }
    }

    #[inline(always)]
    fn control(&self) -> &'a VariableControl {
        // SAFETY: inside the `SLOTS_OFFSET` bytes that `new` was promised,
        // aligned to 64 since `start` is, and made of atomics.
        unsafe {
            self.start
                .byte_add(offset_of!(Front, control))
                .cast()
                .as_ref()
        }
    }
}

impl Memory for MappedVariable<'_> {
    #[inline(always)]
    fn slot_count(&self) -> u32 {
        self.geometry.slot_count
    }
    #[inline(always)]
    fn max_size(&self) -> u32 {
        self.geometry.max_size
    }
    #[inline(always)]
    fn latest(&self) -> &AtomicU32 {
        &self.control().latest
    }
    #[inline(always)]
    fn lease(&self) -> &AtomicU32 {
        &self.control().lease
    }
    #[inline(always)]
    fn owner(&self, slot: u32) -> &AtomicU32 {
        &self.control().owners[slot as usize % 64]
    }
    #[inline(always)]
    fn head(&self, slot: u32) -> &SlotHead {
        // SAFETY: a slot starts with its head, aligned to 64 as the stride is a
        // multiple of it; inside what `new` was promised; made of atomics.
        unsafe { self.slot(slot).cast().as_ref() }
    }
    #[inline(always)]
    fn fill(&self, slot: u32, offset: usize, bytes: &[u8]) {
        self.payload(slot).copy_in(offset, bytes);
    }
    #[inline(always)]
    fn copy(&self, slot: u32, offset: usize, bytes: &mut [u8]) {
        self.payload(slot).copy_out(offset, bytes);
    }
}

#[repr(C, align(64))]
struct StaticSlot<const MAX_SIZE: usize> {
    head: SlotHead,
    payload: UnsafeCell<[u8; MAX_SIZE]>,
}

/// A whole segment whose numbers are known when the program is compiled, so
/// that it can lie in a `static`, or in RAM that firmware shares with Linux.
/// Its bytes are those of a mapped segment of the same geometry.
///
/// ```
/// use robot_ipc_core::variable::StaticVariable;
/// static JOINTS: StaticVariable<3, 24> = StaticVariable::new();
/// assert_eq!(JOINTS.variable().sample().unwrap_err(),
///            robot_ipc_core::variable::ReadError::NeverWritten);
/// ```
#[repr(C, align(64))]
pub struct StaticVariable<const SLOTS: usize, const MAX_SIZE: usize> {
    front: UnsafeCell<Front>,
    slots: [StaticSlot<MAX_SIZE>; SLOTS],
}

// SAFETY: reached only through `variable`, whose operations are atomic.
unsafe impl<const SLOTS: usize, const MAX_SIZE: usize> Sync for StaticVariable<SLOTS, MAX_SIZE> {}

impl<const SLOTS: usize, const MAX_SIZE: usize> StaticVariable<SLOTS, MAX_SIZE> {
    /// An empty variable. Creator, boot and time namespace are not known.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self::with(Self::GEOMETRY)
    }

    const GEOMETRY: VariableGeometry = {
        assert!(
            SLOTS >= MIN_SLOTS as usize && SLOTS <= MAX_SLOTS as usize,
            "2 to 62 slots"
        );
        assert!(
            MAX_SIZE >= 1 && MAX_SIZE <= MAX_VALUE_SIZE as usize,
            "1 byte to 1 GiB"
        );
        match VariableGeometry::new(SLOTS as u32, MAX_SIZE as u32) {
            Some(geometry) => {
                assert!(geometry.file_size() == size_of::<Self>() as u64);
                geometry
            }
            None => panic!("not addressable on this machine"),
        }
    };

    const fn with(geometry: VariableGeometry) -> Self {
        let creator = Creator {
            pid: 0,
            uid: 0,
            created_ns: 0,
            boot_id: [0; 16],
            time_namespace: [0; 2],
        };
        StaticVariable {
            front: UnsafeCell::new(Front {
                header: geometry.header(&creator),
                participants: ParticipantTable::new(),
                control: VariableControl::new(),
            }),
            slots: [const {
                StaticSlot {
                    head: SlotHead::new(),
                    payload: UnsafeCell::new([0; MAX_SIZE]),
                }
            }; SLOTS],
        }
    }

    /// The variable in it.
    #[must_use]
    pub const fn variable(&self) -> Variable<MappedVariable<'_>> {
        Variable::new(self.memory(Self::GEOMETRY))
    }

    const fn memory(&self, geometry: VariableGeometry) -> MappedVariable<'_> {
        // SAFETY: aligned to 64 by its type and of the geometry's size (checked
        // in `GEOMETRY`); borrowed for as long as the result; every part that
        // is written is atomic or inside an `UnsafeCell`.
        unsafe { MappedVariable::new(NonNull::from_ref(self).cast(), geometry) }
    }
}

/// The same for a variable with one fixed writer, for RAM that two processors share without
/// more than loads and stores, and for processors that have no more.
///
/// ```
/// use robot_ipc_core::codec::Encoding;
/// use robot_ipc_core::environment::SingleProcess;
/// use robot_ipc_core::variable::{ExclusiveDetails, PlainStaticVariable};
///
/// #[unsafe(link_section = ".shared")]
/// static WHEELS: PlainStaticVariable<4, 8> = PlainStaticVariable::new();
///
/// let wheels = WHEELS.variable();
/// let details = ExclusiveDetails { encoding: Encoding::RAW, has_time: false };
/// let written = wheels.write(&SingleProcess, b"12 -12", details).unwrap();
/// assert_eq!(wheels.sample(), Ok(written));
/// ```
#[repr(transparent)]
pub struct PlainStaticVariable<const SLOTS: usize, const MAX_SIZE: usize>(
    StaticVariable<SLOTS, MAX_SIZE>,
);

impl<const SLOTS: usize, const MAX_SIZE: usize> PlainStaticVariable<SLOTS, MAX_SIZE> {
    const GEOMETRY: VariableGeometry = StaticVariable::<SLOTS, MAX_SIZE>::GEOMETRY.plain();

    /// An empty variable. Creator, boot and time namespace are not known.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        PlainStaticVariable(StaticVariable::with(Self::GEOMETRY))
    }

    /// The variable in it.
    #[must_use]
    pub const fn variable(&self) -> PlainVariable<MappedVariable<'_>> {
        PlainVariable::new(self.0.memory(Self::GEOMETRY))
    }
}

impl PlainVariable<MappedVariable<'_>> {
    /// The variable with one fixed writer at `start`, where its header says how large it
    /// is: for RAM at a known address, in which another processor may have put one.
    ///
    /// # Errors
    /// It is none, or does not fit into `size` bytes.
    ///
    /// # Safety
    /// - `start` is aligned to 64 bytes, and `size` bytes from there stay mapped for as
    ///   long as the result is used, to read and, by the writer, to write;
    /// - all who touch them meanwhile do so through this crate, or from outside this
    ///   program. What the bytes *are* does not matter.
    pub unsafe fn open(start: NonNull<u8>, size: usize) -> Result<Self, HeaderError> {
        let mut bytes = [0; HEADER_SIZE];
        let bytes = &mut bytes[..size.min(HEADER_SIZE)];
        // SAFETY: as the caller promises; whole cache lines of what is there.
        let words = unsafe { Words::new(start, size / PAYLOAD_ALIGNMENT * PAYLOAD_ALIGNMENT) };
        words.copy_out(0, bytes);
        // Whatever they are: the checksum is looked at next.
        let told = bytes.first_chunk::<HEADER_SIZE>().map_or(0, |bytes| {
            whole(bytemuck::pod_read_unaligned::<Header>(bytes).file_size)
        });
        let header = Header::check(bytes, told, Kind::Variable)?;
        let geometry = VariableGeometry::from_header(&header)?;
        if !geometry.is_plain() {
            return Err(HeaderError::NotPlain);
        }
        if told > size as u64 {
            let found = size as u64;
            return Err(HeaderError::WrongFileSize { told, found });
        }
        // SAFETY: as the caller promises, for the geometry's size.
        Ok(PlainVariable::new(unsafe {
            MappedVariable::new(start, geometry)
        }))
    }
}

/// The first bytes of a new segment; all that follow are zero.
#[must_use]
pub fn initial_bytes(geometry: &VariableGeometry, creator: &Creator) -> InitialBytes {
    let mut bytes = [0; offset_of!(Front, control) + 4];
    bytes[..HEADER_SIZE].copy_from_slice(bytemuck::bytes_of(&geometry.header(creator)));
    bytes[offset_of!(Front, control)..].copy_from_slice(&Latest::EMPTY.word().to_ne_bytes());
    bytes
}

/// See [`initial_bytes`].
pub type InitialBytes = [u8; 2308];
const_assert_eq!(size_of::<InitialBytes>(), offset_of!(Front, control) + 4);
