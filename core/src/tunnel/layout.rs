//! Where the words of a tunnel lie in a segment.
//!
//! ```text
//! offset  size
//!      0   256  Header            who made it, how large it is
//!    256  2048  ParticipantTable  names for people
//!   2304    64  bell              one cache line each, since different parties
//!   2368    64  room              touch them
//!   2432    64  tickets
//!   2496    64  served, dropped   counted for people
//!   2560    64  end               looked at for each call, written once
//!   2624        cells             cell_count times cell_stride bytes:
//!                +0   32          CellHead
//!                +32              arguments, up to a whole cache line
//!                …    16          AnswerHead, at the beginning of a cache line
//!                …                response, up to a whole cache line
//! ```

#![allow(unsafe_code)]

use super::{
    AnswerHead, BellWord, CellHead, DEFAULT_CELLS, MAX_CELLS, MAX_PART_SIZE, MIN_CELLS,
    TunnelMemory,
};
use crate::header::{Creator, HEADER_SIZE, Header, HeaderError, Kind};
use crate::participant::ParticipantTable;
use crate::recovery::Remains;
use crate::sync::AtomicU32;
use crate::words::{PAYLOAD_ALIGNMENT, Words};
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::NonNull;
use static_assertions::const_assert_eq;

const_assert_eq!(size_of::<CellHead>(), 32);
const_assert_eq!(align_of::<CellHead>(), 4);
const_assert_eq!(offset_of!(CellHead, word), 0);
const_assert_eq!(offset_of!(CellHead, ticket), 4);
const_assert_eq!(offset_of!(CellHead, caller), 8);
const_assert_eq!(offset_of!(CellHead, argument_length), 12);
const_assert_eq!(offset_of!(CellHead, argument_encoding), 16);
const_assert_eq!(offset_of!(CellHead, time_ns), 20);
const_assert_eq!(offset_of!(CellHead, reserved), 28);

const_assert_eq!(size_of::<AnswerHead>(), 16);
const_assert_eq!(align_of::<AnswerHead>(), 4);
const_assert_eq!(offset_of!(AnswerHead, ticket), 0);
const_assert_eq!(offset_of!(AnswerHead, outcome), 4);
const_assert_eq!(offset_of!(AnswerHead, length), 8);
const_assert_eq!(offset_of!(AnswerHead, encoding), 12);

// Words are reached through `Words` from where their head begins: whole ones of any
// processor lie behind it.
const_assert_eq!(size_of::<CellHead>() % size_of::<u64>(), 0);
const_assert_eq!(size_of::<AnswerHead>() % size_of::<u64>(), 0);

/// A word alone in its cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Line {
    /// The word.
    pub word: AtomicU32,
    /// Zero.
    pub reserved: [AtomicU32; 15],
}

const_assert_eq!(size_of::<Line>(), 64);
const_assert_eq!(offset_of!(Line, reserved), 4);

/// The words that all users of a tunnel share.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct TunnelControl {
    /// What dispatchers sleep on.
    pub bell: Line,
    /// What callers without a free cell sleep on.
    pub room: Line,
    /// The next ticket.
    pub tickets: Line,
    /// How many calls were run, for people; wraps.
    pub served: AtomicU32,
    /// How many were too old to be run, for people; wraps.
    pub dropped: AtomicU32,
    /// Zero.
    pub reserved: [AtomicU32; 14],
    /// Whether the tunnel has been removed.
    pub end: Line,
}

const_assert_eq!(size_of::<TunnelControl>(), 320);
const_assert_eq!(align_of::<TunnelControl>(), 64);
const_assert_eq!(offset_of!(TunnelControl, bell), 0);
const_assert_eq!(offset_of!(TunnelControl, room), 64);
const_assert_eq!(offset_of!(TunnelControl, tickets), 128);
const_assert_eq!(offset_of!(TunnelControl, served), 192);
const_assert_eq!(offset_of!(TunnelControl, dropped), 196);
const_assert_eq!(offset_of!(TunnelControl, reserved), 200);
const_assert_eq!(offset_of!(TunnelControl, end), 256);

/// Everything before the cells.
#[repr(C, align(64))]
struct Front {
    header: Header,
    participants: ParticipantTable,
    control: TunnelControl,
}

/// Where the cells start, in bytes.
pub const CELLS_OFFSET: usize = 2624;
const_assert_eq!(size_of::<Front>(), CELLS_OFFSET);
const_assert_eq!(offset_of!(Front, header), 0);
const_assert_eq!(offset_of!(Front, participants), HEADER_SIZE);
const_assert_eq!(offset_of!(Front, control), 2304);

/// How many cells for arguments and responses of which sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelGeometry {
    cell_count: u32,
    max_argument_size: u32,
    max_response_size: u32,
}

/// Bytes of a head and of what follows it.
const fn rounded(head: usize, size: u32) -> u32 {
    (head as u32 + size).next_multiple_of(PAYLOAD_ALIGNMENT as u32)
}

impl TunnelGeometry {
    /// `cell_count` cells, if all numbers are within the limits and the whole is
    /// addressable here. A response size of 0 makes a function that never
    /// answers.
    ///
    /// ```
    /// use robot_ipc_core::tunnel::TunnelGeometry;
    /// assert_eq!(TunnelGeometry::new(16, 8, 0).unwrap().file_size(), 2624 + 16 * 128);
    /// assert!(TunnelGeometry::new(0, 8, 8).is_none());
    /// assert!(TunnelGeometry::new(16, 0, 8).is_none());
    /// ```
    #[must_use]
    pub const fn new(
        cell_count: u32,
        max_argument_size: u32,
        max_response_size: u32,
    ) -> Option<Self> {
        if cell_count < MIN_CELLS
            || cell_count > MAX_CELLS
            || max_argument_size == 0
            || max_argument_size > MAX_PART_SIZE
            || max_response_size > MAX_PART_SIZE
        {
            return None;
        }
        let geometry = TunnelGeometry {
            cell_count,
            max_argument_size,
            max_response_size,
        };
        if geometry.file_size() > isize::MAX as u64 {
            None
        } else {
            Some(geometry)
        }
    }

    /// How many cells.
    #[must_use]
    pub const fn cell_count(&self) -> u32 {
        self.cell_count
    }

    /// How many bytes the arguments can have.
    #[must_use]
    pub const fn max_argument_size(&self) -> u32 {
        self.max_argument_size
    }

    /// How many bytes a response can have.
    #[must_use]
    pub const fn max_response_size(&self) -> u32 {
        self.max_response_size
    }

    /// From one cell to the next, in bytes; below 2^32 by the limits.
    #[must_use]
    pub const fn cell_stride(&self) -> u32 {
        self.answer_offset() + rounded(size_of::<AnswerHead>(), self.max_response_size)
    }

    /// Where in a cell the response's head lies, in bytes.
    const fn answer_offset(&self) -> u32 {
        rounded(size_of::<CellHead>(), self.max_argument_size)
    }

    /// Bytes of the whole segment.
    #[must_use]
    pub const fn file_size(&self) -> u64 {
        CELLS_OFFSET as u64 + self.cell_count as u64 * self.cell_stride() as u64
    }

    /// What stands in for the memory of such a segment if that was lost. Cells are free.
    #[must_use]
    pub const fn remains(&self) -> Remains {
        let control = offset_of!(Front, control);
        let end = control + offset_of!(TunnelControl, end);
        Remains {
            retired: (control, BellWord::RETIRED),
            marks: (end, 0, 1, BellWord::RETIRED),
        }
    }

    /// The header of a segment of this geometry.
    #[must_use]
    pub const fn header(&self, creator: &Creator) -> Header {
        let geometry = [
            self.cell_count,
            self.max_argument_size,
            self.max_response_size,
            self.cell_stride(),
            CELLS_OFFSET as u32,
            0,
            0,
            0,
        ];
        Header::new(Kind::Function, self.file_size(), geometry, creator)
    }

    /// The geometry that a checked header tells.
    ///
    /// # Errors
    /// [`HeaderError::BadGeometry`] if it is not one of ours.
    pub fn from_header(header: &Header) -> Result<Self, HeaderError> {
        let [cells, argument, response, ..] = header.geometry;
        let geometry =
            TunnelGeometry::new(cells, argument, response).ok_or(HeaderError::BadGeometry)?;
        let expected = geometry.header(&header.creator());
        if expected.geometry == header.geometry && expected.file_size == header.file_size {
            Ok(geometry)
        } else {
            Err(HeaderError::BadGeometry)
        }
    }
}

impl Default for TunnelGeometry {
    fn default() -> Self {
        TunnelGeometry {
            cell_count: DEFAULT_CELLS,
            max_argument_size: 4096,
            max_response_size: 4096,
        }
    }
}

/// The header of a new segment; all bytes that follow are zero.
#[must_use]
pub fn initial_bytes(geometry: &TunnelGeometry, creator: &Creator) -> [u8; HEADER_SIZE] {
    bytemuck::cast(geometry.header(creator))
}

/// The memory of a tunnel that lies in a segment.
#[derive(Clone, Copy, Debug)]
pub struct MappedTunnel<'a> {
    start: NonNull<u8>,
    geometry: TunnelGeometry,
    memory: PhantomData<&'a AtomicU32>,
}

// SAFETY: all access is atomic.
unsafe impl Send for MappedTunnel<'_> {}
// SAFETY: as above.
unsafe impl Sync for MappedTunnel<'_> {}

impl<'a> MappedTunnel<'a> {
    /// The tunnel in the segment at `start`.
    ///
    /// # Safety
    /// - `start` is aligned to 64 bytes, and `geometry.file_size()` bytes from
    ///   there stay mapped for `'a`, to read and write;
    /// - all who touch them during `'a` do so through this crate, or from
    ///   outside this program. What the bytes *are* does not matter.
    #[must_use]
    pub const unsafe fn new(start: NonNull<u8>, geometry: TunnelGeometry) -> Self {
        MappedTunnel {
            start,
            geometry,
            memory: PhantomData,
        }
    }

    /// How many cells of which sizes.
    #[must_use]
    pub const fn geometry(&self) -> TunnelGeometry {
        self.geometry
    }

    /// Who the participants say they are.
    #[must_use]
    pub fn participants(&self) -> &'a ParticipantTable {
        // SAFETY: inside the `CELLS_OFFSET` bytes that `new` was promised,
        // aligned since `start` is, and made of atomics.
        unsafe {
            self.start
                .byte_add(offset_of!(Front, participants))
                .cast()
                .as_ref()
        }
    }

    /// The words that all users share.
    #[must_use]
    pub fn control(&self) -> &'a TunnelControl {
        // SAFETY: inside the `CELLS_OFFSET` bytes that `new` was promised,
        // aligned to 64 since `start` is, and made of atomics.
        unsafe {
            self.start
                .byte_add(offset_of!(Front, control))
                .cast()
                .as_ref()
        }
    }

    /// Where `cell` starts. A number past the last cell gives the first one, so
    /// that none can lead outside.
    fn cell(&self, cell: u32) -> NonNull<u8> {
        let cell = if cell < self.geometry.cell_count {
            cell as usize
        } else {
            0
        };
        // SAFETY: `file_size` fits an isize (checked by `TunnelGeometry::new`)
        // and the cell ends inside it.
        unsafe {
            self.start
                .byte_add(CELLS_OFFSET + cell * self.geometry.cell_stride() as usize)
        }
    }

    /// Where the response's head of `cell` lies.
    fn answer_start(&self, cell: u32) -> NonNull<u8> {
        // SAFETY: a cell is so many bytes and then the response with its head; all
        // inside what `new` was promised.
        unsafe {
            self.cell(cell)
                .byte_add(self.geometry.answer_offset() as usize)
        }
    }

    /// A cell's head and arguments.
    fn argument(&self, cell: u32) -> Words<'a> {
        let size = self.geometry.answer_offset() as usize;
        // SAFETY: a cell starts with a head and the arguments, rounded up to a multiple
        // of 64; all inside what `new` was promised. Whoever uses this stays behind the
        // head, where nobody here reaches anything but through `Words`.
        unsafe { Words::new(self.cell(cell), size) }
    }

    /// A cell's response and its head.
    fn response(&self, cell: u32) -> Words<'a> {
        let size = rounded(size_of::<AnswerHead>(), self.geometry.max_response_size) as usize;
        // SAFETY: as for `argument`.
        unsafe { Words::new(self.answer_start(cell), size) }
    }
}

/// Says that `size` bytes from `start` on are about to be written. Another processor has
/// them: all are fetched at once then, and not as few at a time as stores can wait for;
/// and what is read and then written is fetched once, not twice.
#[inline(always)]
fn fetch_to_write(start: NonNull<u8>, size: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size).step_by(PAYLOAD_ALIGNMENT) {
        // SAFETY: a hint, which changes neither memory nor registers nor flags, and whose
        // address does not matter; where it is not known it does nothing.
        unsafe {
            core::arch::asm!(
                "prefetchw [{}]",
                in(reg) start.as_ptr().wrapping_add(offset),
                options(nostack, preserves_flags, readonly),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, size);
}

/// The same of bytes that are about to be read.
#[inline(always)]
fn fetch_to_read(start: NonNull<u8>, size: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size).step_by(PAYLOAD_ALIGNMENT) {
        // SAFETY: as in `fetch_to_write`.
        unsafe {
            core::arch::asm!(
                "prefetcht0 [{}]",
                in(reg) start.as_ptr().wrapping_add(offset),
                options(nostack, preserves_flags, readonly),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, size);
}

/// How many bytes are fetched ahead of a copy at most: as much as fits in the nearest cache
/// without driving out what else is in it.
const MAX_FETCH: usize = 16 * 1024;

impl TunnelMemory for MappedTunnel<'_> {
    fn cell_count(&self) -> u32 {
        self.geometry.cell_count
    }
    fn max_argument_size(&self) -> u32 {
        self.geometry.max_argument_size
    }
    fn max_response_size(&self) -> u32 {
        self.geometry.max_response_size
    }
    fn bell(&self) -> &AtomicU32 {
        &self.control().bell.word
    }
    fn room(&self) -> &AtomicU32 {
        &self.control().room.word
    }
    fn tickets(&self) -> &AtomicU32 {
        &self.control().tickets.word
    }
    fn end(&self) -> &AtomicU32 {
        &self.control().end.word
    }
    fn head(&self, cell: u32) -> &CellHead {
        // SAFETY: a cell starts with its head, aligned to 64 as the stride is a
        // multiple of it; inside what `new` was promised; made of atomics.
        unsafe { self.cell(cell).cast().as_ref() }
    }
    fn answer(&self, cell: u32) -> &AnswerHead {
        // SAFETY: aligned to 64 as the arguments and their head are a multiple of it;
        // inside what `new` was promised; made of atomics.
        unsafe { self.answer_start(cell).cast().as_ref() }
    }
    #[inline(always)]
    fn expect_change(&self, cell: u32) {
        fetch_to_write(self.cell(cell), 1);
    }
    fn fill_argument(&self, cell: u32, offset: usize, bytes: &[u8]) {
        if offset == 0 && bytes.len() > PAYLOAD_ALIGNMENT {
            fetch_to_write(self.cell(cell), bytes.len().min(MAX_FETCH));
        }
        let offset = offset.saturating_add(size_of::<CellHead>());
        self.argument(cell).copy_in(offset, bytes);
    }
    fn copy_argument(&self, cell: u32, bytes: &mut [u8]) {
        if bytes.len() > PAYLOAD_ALIGNMENT {
            fetch_to_read(self.cell(cell), bytes.len().min(MAX_FETCH));
        }
        self.argument(cell).copy_out(size_of::<CellHead>(), bytes);
    }
    fn fill_response(&self, cell: u32, offset: usize, bytes: &[u8]) {
        if offset == 0 && bytes.len() > PAYLOAD_ALIGNMENT {
            fetch_to_write(self.answer_start(cell), bytes.len().min(MAX_FETCH));
        }
        let offset = offset.saturating_add(size_of::<AnswerHead>());
        self.response(cell).copy_in(offset, bytes);
    }
    fn copy_response(&self, cell: u32, bytes: &mut [u8]) {
        if bytes.len() > PAYLOAD_ALIGNMENT {
            fetch_to_read(self.answer_start(cell), bytes.len().min(MAX_FETCH));
        }
        self.response(cell).copy_out(size_of::<AnswerHead>(), bytes);
    }
}
