//! The instructions of pickle protocols 0 to 5, and how long they are.

use super::error::{Fault, PickleError};

/// One instruction in the bytes of a pickle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction<'a> {
    pub(super) code: u8,
    pub(super) name: &'static str,
    /// Where it stands.
    pub(super) offset: usize,
    /// How many bytes it has.
    pub(super) size: usize,
    /// Its argument, without a length before it and a line end behind it.
    pub(super) argument: &'a [u8],
}

/// What follows the byte of an instruction.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Nothing,
    /// So many bytes.
    Fixed(usize),
    /// A length of so many bytes, then as many bytes as that says.
    Counted(usize),
    Line,
    TwoLines,
}

use Shape::{Counted, Fixed, Line, Nothing, TwoLines};

/// Name and shape of an instruction, in the order of the codes.
#[rustfmt::skip]
fn describe(code: u8) -> Option<(&'static str, Shape)> {
    Some(match code {
        b'(' => ("MARK", Nothing),
        b')' => ("EMPTY_TUPLE", Nothing),
        b'.' => ("STOP", Nothing),
        b'0' => ("POP", Nothing),
        b'1' => ("POP_MARK", Nothing),
        b'2' => ("DUP", Nothing),
        b'B' => ("BINBYTES", Counted(4)),
        b'C' => ("SHORT_BINBYTES", Counted(1)),
        b'F' => ("FLOAT", Line),
        b'G' => ("BINFLOAT", Fixed(8)),
        b'I' => ("INT", Line),
        b'J' => ("BININT", Fixed(4)),
        b'K' => ("BININT1", Fixed(1)),
        b'L' => ("LONG", Line),
        b'M' => ("BININT2", Fixed(2)),
        b'N' => ("NONE", Nothing),
        b'P' => ("PERSID", Line),
        b'Q' => ("BINPERSID", Nothing),
        b'R' => ("REDUCE", Nothing),
        b'S' => ("STRING", Line),
        b'T' => ("BINSTRING", Counted(4)),
        b'U' => ("SHORT_BINSTRING", Counted(1)),
        b'V' => ("UNICODE", Line),
        b'X' => ("BINUNICODE", Counted(4)),
        b']' => ("EMPTY_LIST", Nothing),
        b'a' => ("APPEND", Nothing),
        b'b' => ("BUILD", Nothing),
        b'c' => ("GLOBAL", TwoLines),
        b'd' => ("DICT", Nothing),
        b'e' => ("APPENDS", Nothing),
        b'g' => ("GET", Line),
        b'h' => ("BINGET", Fixed(1)),
        b'i' => ("INST", TwoLines),
        b'j' => ("LONG_BINGET", Fixed(4)),
        b'l' => ("LIST", Nothing),
        b'o' => ("OBJ", Nothing),
        b'p' => ("PUT", Line),
        b'q' => ("BINPUT", Fixed(1)),
        b'r' => ("LONG_BINPUT", Fixed(4)),
        b's' => ("SETITEM", Nothing),
        b't' => ("TUPLE", Nothing),
        b'u' => ("SETITEMS", Nothing),
        b'}' => ("EMPTY_DICT", Nothing),
        0x80 => ("PROTO", Fixed(1)),
        0x81 => ("NEWOBJ", Nothing),
        0x82 => ("EXT1", Fixed(1)),
        0x83 => ("EXT2", Fixed(2)),
        0x84 => ("EXT4", Fixed(4)),
        0x85 => ("TUPLE1", Nothing),
        0x86 => ("TUPLE2", Nothing),
        0x87 => ("TUPLE3", Nothing),
        0x88 => ("NEWTRUE", Nothing),
        0x89 => ("NEWFALSE", Nothing),
        0x8A => ("LONG1", Counted(1)),
        0x8B => ("LONG4", Counted(4)),
        0x8C => ("SHORT_BINUNICODE", Counted(1)),
        0x8D => ("BINUNICODE8", Counted(8)),
        0x8E => ("BINBYTES8", Counted(8)),
        0x8F => ("EMPTY_SET", Nothing),
        0x90 => ("ADDITEMS", Nothing),
        0x91 => ("FROZENSET", Nothing),
        0x92 => ("NEWOBJ_EX", Nothing),
        0x93 => ("STACK_GLOBAL", Nothing),
        0x94 => ("MEMOIZE", Nothing),
        0x95 => ("FRAME", Fixed(8)),
        0x96 => ("BYTEARRAY8", Counted(8)),
        0x97 => ("NEXT_BUFFER", Nothing),
        0x98 => ("READONLY_BUFFER", Nothing),
        _ => return None,
    })
}

impl<'a> Instruction<'a> {
    /// The instruction at `offset`.
    pub(super) fn at(bytes: &'a [u8], offset: usize) -> Result<Instruction<'a>, PickleError> {
        let Some((&code, rest)) = bytes.get(offset..).and_then(<[u8]>::split_first) else {
            return Err(PickleError {
                offset,
                opcode: None,
                fault: Fault::Truncated,
            });
        };
        let Some((name, shape)) = describe(code) else {
            return Err(PickleError {
                offset,
                opcode: None,
                fault: Fault::UnknownOpcode { code },
            });
        };
        let truncated = PickleError {
            offset,
            opcode: Some(name),
            fault: Fault::Truncated,
        };
        let (argument, used) = argument(rest, shape).ok_or(truncated)?;
        Ok(Instruction {
            code,
            name,
            offset,
            size: 1 + used,
            argument,
        })
    }

    pub(super) fn error(&self, fault: Fault) -> PickleError {
        PickleError {
            offset: self.offset,
            opcode: Some(self.name),
            fault,
        }
    }

    pub(super) fn bad_argument(&self, problem: &str) -> PickleError {
        self.error(Fault::BadArgument {
            problem: problem.to_owned(),
        })
    }
}

/// The argument at the start of `rest`, and how many bytes that takes with all
/// that belongs to it; `None` if it is cut off.
fn argument(rest: &[u8], shape: Shape) -> Option<(&[u8], usize)> {
    match shape {
        Nothing => Some((&[], 0)),
        Fixed(size) => Some((rest.get(..size)?, size)),
        Counted(width) => {
            let mut length = [0; 8];
            length[..width].copy_from_slice(rest.get(..width)?);
            let length = usize::try_from(u64::from_le_bytes(length)).ok()?;
            let argument = rest[width..].get(..length)?;
            Some((argument, width + length))
        }
        Line => {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            Some((&rest[..end], end + 1))
        }
        TwoLines => {
            let first = rest.iter().position(|byte| *byte == b'\n')?;
            let second = rest[first + 1..].iter().position(|byte| *byte == b'\n')?;
            let end = first + 1 + second;
            Some((&rest[..end], end + 1))
        }
    }
}
