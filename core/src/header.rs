//! The first bytes of a segment, and how they are checked.
//!
//! ```text
//! offset size field            who may be looking at it
//!      0    8 magic            "ROBOTIPC"; anything else is not a segment
//!      8    4 format_version   another one is another layout altogether
//!     12    4 byte_order       0x0A0B0C0D as its creator wrote it
//!     16    4 kind             1 variable, 2 function
//!     20    4 flags            1: plain; a bit that is not known is refused
//!     24    8 file_size        low and high word, the whole segment
//!     32   32 geometry         meaning depends on the kind; unused words 0
//!     64    4 creator_pid      for people; 0 in static memory
//!     68    4 creator_uid      for people; 0 in static memory
//!     72    8 created_ns       since boot, low and high word; 0: no clock
//!     80   16 boot_id          of the kernel that was running; 0: not known
//!     96   16 time_namespace   device and inode, low and high; 0: not known
//!    112  140 reserved         0
//!    252    4 checksum         over the 252 bytes before it
//! ```
//!
//! The header is written once, before the segment has a name, and never again.
//! Whoever opens a segment copies these bytes into private memory, checks the
//! copy, and keeps what it needs: a header that changes later changes nothing.
//! All integers have the creator's byte order, which has to be the reader's.

use core::fmt;
use static_assertions::{const_assert, const_assert_eq};

/// What a segment starts with.
pub const MAGIC: [u8; 8] = *b"ROBOTIPC";
/// Counts changes of any layout. Two versions do not share segments.
pub const FORMAT_VERSION: u32 = 2;
/// Its bytes say in which order the creator's processor stores a word.
pub const BYTE_ORDER: u32 = 0x0A0B_0C0D;
/// Size of the header in bytes.
pub const HEADER_SIZE: usize = 256;
/// A flag of variables: one fixed writer, by loads and stores alone; all others only read.
/// See [`PlainVariable`](crate::variable::PlainVariable).
pub const PLAIN: u32 = 1;

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A host variable.
    Variable = 1,
    /// A host function.
    Function = 2,
}

impl Kind {
    /// The kind that `value` stands for.
    #[must_use]
    pub const fn from_word(value: u32) -> Option<Kind> {
        match value {
            1 => Some(Kind::Variable),
            2 => Some(Kind::Function),
            _ => None,
        }
    }

    /// As it stands in file names and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Variable => "variable",
            Kind::Function => "function",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The header as it lies in memory; see the module for the picture.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// [`BYTE_ORDER`].
    pub byte_order: u32,
    /// A [`Kind`].
    pub kind: u32,
    /// 0 or [`PLAIN`].
    pub flags: u32,
    /// Bytes of the segment, low word first.
    pub file_size: [u32; 2],
    /// What the kind needs to find its parts.
    pub geometry: [u32; 8],
    /// Process id of the creator.
    pub creator_pid: u32,
    /// User id of the creator.
    pub creator_uid: u32,
    /// CLOCK_BOOTTIME at creation in ns, low word first.
    pub created_ns: [u32; 2],
    /// The boot it was created in.
    pub boot_id: [u8; 16],
    /// The time namespace it was created in: device, then inode, low words first.
    pub time_namespace: [u32; 4],
    /// Zero.
    pub reserved: [u32; 35],
    /// Over all bytes before it.
    pub checksum: u32,
}

const_assert_eq!(size_of::<Header>(), HEADER_SIZE);
const_assert_eq!(align_of::<Header>(), 4);
const_assert_eq!(core::mem::offset_of!(Header, format_version), 8);
const_assert_eq!(core::mem::offset_of!(Header, byte_order), 12);
const_assert_eq!(core::mem::offset_of!(Header, kind), 16);
const_assert_eq!(core::mem::offset_of!(Header, flags), 20);
const_assert_eq!(core::mem::offset_of!(Header, file_size), 24);
const_assert_eq!(core::mem::offset_of!(Header, geometry), 32);
const_assert_eq!(core::mem::offset_of!(Header, creator_pid), 64);
const_assert_eq!(core::mem::offset_of!(Header, creator_uid), 68);
const_assert_eq!(core::mem::offset_of!(Header, created_ns), 72);
const_assert_eq!(core::mem::offset_of!(Header, boot_id), 80);
const_assert_eq!(core::mem::offset_of!(Header, time_namespace), 96);
const_assert_eq!(core::mem::offset_of!(Header, reserved), 112);
const_assert_eq!(core::mem::offset_of!(Header, checksum), 252);
// `Pod` has already refused padding.
const_assert!(HEADER_SIZE.is_multiple_of(64));

/// Who created a segment, where and when. Zeros mean "not known, not checked".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Creator {
    /// Its process id.
    pub pid: u32,
    /// Its user id.
    pub uid: u32,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub created_ns: u64,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Device and inode of its time namespace.
    pub time_namespace: [u64; 2],
}

/// Why bytes are not the header of a segment that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// There are fewer bytes than a header has.
    TooShort {
        /// How many there are.
        size: u64,
    },
    /// They do not start with [`MAGIC`].
    NotASegment,
    /// They were written in another byte order.
    ForeignByteOrder,
    /// Their layout is another version's.
    OtherFormat {
        /// Theirs; ours is [`FORMAT_VERSION`].
        theirs: u32,
    },
    /// The checksum is not that of the bytes before it.
    BadChecksum {
        /// The one they should have.
        expected: u32,
        /// The one they have.
        found: u32,
    },
    /// They ask for something this version does not know.
    UnknownFlags {
        /// All their flags.
        flags: u32,
    },
    /// It is a segment of another kind (the number if it is none at all).
    OtherKind {
        /// The kind's number.
        found: u32,
    },
    /// The sizes they tell contradict each other or a limit.
    BadGeometry,
    /// The file does not have the size they tell.
    WrongFileSize {
        /// The size told.
        told: u64,
        /// The file's.
        found: u64,
    },
    /// It has one fixed writer ([`PLAIN`]), and was opened to be written by others.
    Plain,
    /// It was opened as one that has one fixed writer, and has not.
    NotPlain,
    /// A process of this word size cannot have so much memory.
    TooLarge {
        /// Bytes of the segment.
        size: u64,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::TooShort { size } => {
                write!(
                    f,
                    "it has {size} bytes, fewer than the {HEADER_SIZE} of a header"
                )
            }
            HeaderError::NotASegment => f.write_str("it does not start as a segment does"),
            HeaderError::ForeignByteOrder => {
                f.write_str("it was made on a machine of the other byte order")
            }
            HeaderError::OtherFormat { theirs } => {
                write!(
                    f,
                    "it has format version {theirs}, this library has {FORMAT_VERSION}"
                )
            }
            HeaderError::BadChecksum { expected, found } => write!(
                f,
                "its header is damaged: the checksum is {found:#010x} and should be {expected:#010x}"
            ),
            HeaderError::UnknownFlags { flags } => {
                write!(
                    f,
                    "it has flags {flags:#x}, which this library does not know"
                )
            }
            HeaderError::Plain => {
                f.write_str("it has one fixed writer and is read by all others: open it read-only")
            }
            HeaderError::NotPlain => {
                f.write_str("it is not made for one fixed writer that only loads and stores")
            }
            HeaderError::OtherKind { found } => match Kind::from_word(*found) {
                Some(kind) => write!(f, "it is a {kind}"),
                None => write!(f, "it is of kind {found}, which this library does not know"),
            },
            HeaderError::BadGeometry => {
                f.write_str("the sizes in its header contradict each other")
            }
            HeaderError::WrongFileSize { told, found } => {
                write!(f, "it should have {told} bytes and has {found}")
            }
            HeaderError::TooLarge { size } => {
                let bits = usize::BITS;
                write!(
                    f,
                    "it has {size} bytes, more than a process of {bits} bits can have in memory"
                )
            }
        }
    }
}

impl core::error::Error for HeaderError {}

/// A 64-bit number as its low and high word, which need no 8-byte alignment.
#[must_use]
pub const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

/// The number of [`halves`].
#[must_use]
pub const fn whole(halves: [u32; 2]) -> u64 {
    halves[0] as u64 | (halves[1] as u64) << 32
}

impl Header {
    /// A header for a new segment, its checksum in place.
    #[must_use]
    pub const fn new(kind: Kind, file_size: u64, geometry: [u32; 8], creator: &Creator) -> Header {
        let mut header = Header {
            magic: MAGIC,
            format_version: FORMAT_VERSION,
            byte_order: BYTE_ORDER,
            kind: kind as u32,
            flags: 0,
            file_size: halves(file_size),
            geometry,
            creator_pid: creator.pid,
            creator_uid: creator.uid,
            created_ns: halves(creator.created_ns),
            boot_id: creator.boot_id,
            time_namespace: {
                let [device, inode] = creator.time_namespace;
                let (device, inode) = (halves(device), halves(inode));
                [device[0], device[1], inode[0], inode[1]]
            },
            reserved: [0; 35],
            checksum: 0,
        };
        header.checksum = header.expected_checksum();
        header
    }

    /// The same header with these flags.
    #[must_use]
    pub const fn with_flags(mut self, flags: u32) -> Header {
        self.flags = flags;
        self.checksum = self.expected_checksum();
        self
    }

    /// Checks private copies of the first bytes of a file that has `file_size`
    /// bytes. Geometry beyond the total size is the kind's to check.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of [`HeaderError`]'s variants.
    pub fn check(bytes: &[u8], file_size: u64, kind: Kind) -> Result<Header, HeaderError> {
        let header = Header::check_any(bytes, file_size)?;
        if header.kind != kind as u32 {
            return Err(HeaderError::OtherKind { found: header.kind });
        }
        Ok(header)
    }

    /// As [`check`](Header::check), for whoever lists segments of any kind.
    ///
    /// # Errors
    /// As `check`.
    pub fn check_any(bytes: &[u8], file_size: u64) -> Result<Header, HeaderError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(HeaderError::TooShort {
                size: bytes.len() as u64,
            });
        };
        let header: Header = bytemuck::pod_read_unaligned(bytes);
        if header.magic != MAGIC {
            return Err(HeaderError::NotASegment);
        }
        if header.byte_order == BYTE_ORDER.swap_bytes() {
            return Err(HeaderError::ForeignByteOrder);
        }
        if header.format_version != FORMAT_VERSION {
            return Err(HeaderError::OtherFormat {
                theirs: header.format_version,
            });
        }
        let expected = header.expected_checksum();
        if header.checksum != expected {
            return Err(HeaderError::BadChecksum {
                expected,
                found: header.checksum,
            });
        }
        let known_flags = match Kind::from_word(header.kind) {
            Some(Kind::Variable) => PLAIN,
            _ => 0,
        };
        if header.flags & !known_flags != 0 {
            return Err(HeaderError::UnknownFlags {
                flags: header.flags,
            });
        }
        if Kind::from_word(header.kind).is_none() {
            return Err(HeaderError::OtherKind { found: header.kind });
        }
        if header.byte_order != BYTE_ORDER || header.reserved != [0; 35] {
            return Err(HeaderError::BadGeometry);
        }
        let told = whole(header.file_size);
        if told != file_size {
            return Err(HeaderError::WrongFileSize {
                told,
                found: file_size,
            });
        }
        if told > isize::MAX as u64 {
            return Err(HeaderError::TooLarge { size: told });
        }
        Ok(header)
    }

    /// Who created the segment.
    #[must_use]
    pub const fn creator(&self) -> Creator {
        let [device_low, device_high, inode_low, inode_high] = self.time_namespace;
        Creator {
            pid: self.creator_pid,
            uid: self.creator_uid,
            created_ns: whole(self.created_ns),
            boot_id: self.boot_id,
            time_namespace: [
                whole([device_low, device_high]),
                whole([inode_low, inode_high]),
            ],
        }
    }

    /// FNV-1a over whole words. Each step can be undone, so a change confined
    /// to one word is always noticed. It stands against damage, not malice.
    #[must_use]
    pub const fn expected_checksum(&self) -> u32 {
        const fn step(sum: u32, word: u32) -> u32 {
            (sum ^ word).wrapping_mul(0x0100_0193)
        }
        const fn words(mut sum: u32, words: &[u32]) -> u32 {
            let mut index = 0;
            while index < words.len() {
                sum = step(sum, words[index]);
                index += 1;
            }
            sum
        }
        const fn bytes(mut sum: u32, bytes: &[u8]) -> u32 {
            let mut index = 0;
            while index + 4 <= bytes.len() {
                sum = step(
                    sum,
                    u32::from_ne_bytes([
                        bytes[index],
                        bytes[index + 1],
                        bytes[index + 2],
                        bytes[index + 3],
                    ]),
                );
                index += 4;
            }
            sum
        }
        let mut sum = bytes(0x811C_9DC5, &self.magic);
        sum = words(
            sum,
            &[self.format_version, self.byte_order, self.kind, self.flags],
        );
        sum = words(sum, &self.file_size);
        sum = words(sum, &self.geometry);
        sum = words(sum, &[self.creator_pid, self.creator_uid]);
        sum = words(sum, &self.created_ns);
        sum = bytes(sum, &self.boot_id);
        sum = words(sum, &self.time_namespace);
        words(sum, &self.reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let creator = Creator {
            pid: 1,
            uid: 2,
            created_ns: 3 << 40,
            boot_id: [4; 16],
            time_namespace: [5, 6 << 33],
        };
        Header::new(Kind::Variable, 4096, [7, 0, 0, 0, 0, 0, 0, 8], &creator)
    }

    /// Against a bit of the header that nobody checks.
    #[test]
    fn every_single_bit_flip_is_an_error() {
        let good = header();
        assert_eq!(
            Header::check(bytemuck::bytes_of(&good), 4096, Kind::Variable),
            Ok(good)
        );
        assert_eq!(good.creator().time_namespace, [5, 6 << 33]);
        for bit in 0..HEADER_SIZE * 8 {
            let mut bytes: [u8; HEADER_SIZE] = bytemuck::cast(good);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Header::check(&bytes, 4096, Kind::Variable).is_err(),
                "bit {bit}"
            );
        }
    }

    /// Against messages that blame the wrong thing.
    #[test]
    fn each_fault_has_its_own_error() {
        let check = |header: &Header, size| {
            Header::check(bytemuck::bytes_of(header), size, Kind::Variable).unwrap_err()
        };
        let good = header();
        assert_eq!(
            check(
                &Header {
                    magic: *b"ROBOTIPX",
                    ..good
                },
                4096
            ),
            HeaderError::NotASegment
        );
        assert_eq!(
            check(
                &Header {
                    format_version: 1,
                    ..good
                },
                4096
            ),
            HeaderError::OtherFormat { theirs: 1 }
        );
        let swapped = Header {
            format_version: FORMAT_VERSION.swap_bytes(),
            byte_order: BYTE_ORDER.swap_bytes(),
            ..good
        };
        assert_eq!(check(&swapped, 4096), HeaderError::ForeignByteOrder);
        assert_eq!(
            check(&good, 4095),
            HeaderError::WrongFileSize {
                told: 4096,
                found: 4095
            }
        );
        assert_eq!(
            Header::check(bytemuck::bytes_of(&good), 4096, Kind::Function),
            Err(HeaderError::OtherKind { found: 1 })
        );
        assert_eq!(
            Header::check(&[0; 255], 255, Kind::Variable),
            Err(HeaderError::TooShort { size: 255 })
        );
        for flags in [2, 4 | PLAIN] {
            let header = good.with_flags(flags);
            assert_eq!(check(&header, 4096), HeaderError::UnknownFlags { flags });
        }
        let plain = good.with_flags(PLAIN);
        assert_eq!(
            Header::check(bytemuck::bytes_of(&plain), 4096, Kind::Variable),
            Ok(plain)
        );
        let function = Header {
            kind: Kind::Function as u32,
            ..good
        };
        assert_eq!(
            check(&function.with_flags(PLAIN), 4096),
            HeaderError::UnknownFlags { flags: PLAIN },
            "of a variable only"
        );
        // One of the two is enough, with a checksum that is right.
        let mut order = Header {
            byte_order: BYTE_ORDER ^ 1,
            ..good
        };
        order.checksum = order.expected_checksum();
        assert_eq!(check(&order, 4096), HeaderError::BadGeometry);
        let mut reserved = good;
        reserved.reserved[34] = 1;
        reserved.checksum = reserved.expected_checksum();
        assert_eq!(check(&reserved, 4096), HeaderError::BadGeometry);
    }

    /// Against a fault that is told as another one, or not at all.
    #[test]
    fn each_error_says_what_is_wrong() {
        extern crate std;
        use std::string::ToString;
        let errors = [
            (HeaderError::TooShort { size: 255 }, "it has 255 bytes"),
            (HeaderError::NotASegment, "does not start"),
            (HeaderError::ForeignByteOrder, "byte order"),
            (HeaderError::OtherFormat { theirs: 2 }, "format version 2"),
            (
                HeaderError::BadChecksum {
                    expected: 1,
                    found: 2,
                },
                "the checksum is 0x00000002 and should be 0x00000001",
            ),
            (HeaderError::UnknownFlags { flags: 4 }, "flags 0x4"),
            (HeaderError::Plain, "open it read-only"),
            (HeaderError::NotPlain, "not made for one fixed writer"),
            (HeaderError::OtherKind { found: 1 }, "it is a variable"),
            (HeaderError::OtherKind { found: 2 }, "it is a function"),
            (HeaderError::OtherKind { found: 3 }, "of kind 3"),
            (HeaderError::BadGeometry, "contradict"),
            (
                HeaderError::WrongFileSize { told: 1, found: 2 },
                "it should have 1 bytes and has 2",
            ),
            (HeaderError::TooLarge { size: 3 }, "it has 3 bytes, more"),
        ];
        for (error, said) in errors {
            let text = error.to_string();
            assert!(text.contains(said), "{text}");
        }
        for kind in [Kind::Variable, Kind::Function] {
            assert_eq!(Kind::from_word(kind as u32), Some(kind));
        }
        assert_eq!(Kind::from_word(0), None);
    }
}
