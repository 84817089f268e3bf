//! Why a pickle cannot be shown.

use super::{MAX_GROWTH, MAX_INTEGER_SIZE, MAX_ITEMS, MAX_NESTING};
use core::fmt;

/// Why a pickle cannot be shown, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickleError {
    /// Where in the pickle, in bytes.
    pub offset: usize,
    /// The instruction that stands there, if it is known.
    pub opcode: Option<&'static str>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a pickle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It ends here, and should not.
    Truncated,
    /// No instruction has that number.
    UnknownOpcode {
        /// The number.
        code: u8,
    },
    /// It was made for a later version of Python.
    UnknownProtocol {
        /// The protocol it names.
        protocol: u8,
    },
    /// The instruction needs more on the stack.
    StackUnderflow,
    /// The instruction needs something else on the stack.
    WrongType {
        /// What it needs.
        needed: &'static str,
    },
    /// Nothing was stored under that index.
    MissingMemo {
        /// The index.
        index: u32,
    },
    /// The instruction's argument makes no sense.
    BadArgument {
        /// What is wrong with it.
        problem: String,
    },
    /// It speaks of something that does not lie in the pickle.
    Outside,
    /// There are bytes behind its end.
    TrailingBytes {
        /// How many.
        size: usize,
    },
    /// It is nested too deep.
    TooDeep,
    /// It has too many items.
    TooManyItems,
    /// Its shared parts are too large once written out.
    TooLarge,
    /// An integer in it is too large.
    IntegerTooLarge {
        /// How many bytes it has.
        size: usize,
    },
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pickle cannot be read at byte {}", self.offset)?;
        if let Some(opcode) = self.opcode {
            write!(f, " ({opcode})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Truncated => f.write_str("it is cut off there"),
            Fault::UnknownOpcode { code } => write!(f, "there is no instruction {code:#04x}"),
            Fault::UnknownProtocol { protocol } => {
                write!(f, "it says protocol {protocol}, and 5 is the latest known")
            }
            Fault::StackUnderflow => f.write_str("there is too little on its stack"),
            Fault::WrongType { needed } => write!(f, "{needed} is needed on its stack"),
            Fault::MissingMemo { index } => write!(f, "nothing was stored under index {index}"),
            Fault::BadArgument { problem } => f.write_str(problem),
            Fault::Outside => f.write_str("it needs something that does not lie in the pickle"),
            Fault::TrailingBytes { size } => write!(f, "{size} bytes follow its end"),
            Fault::TooDeep => write!(f, "it is nested deeper than {MAX_NESTING} levels"),
            Fault::TooManyItems => write!(f, "it has more than {MAX_ITEMS} items"),
            Fault::TooLarge => {
                write!(
                    f,
                    "it grows by more than {MAX_GROWTH} bytes once its shared parts are written out"
                )
            }
            Fault::IntegerTooLarge { size } => {
                write!(
                    f,
                    "an integer has {size} bytes, and {MAX_INTEGER_SIZE} is the limit"
                )
            }
        }
    }
}

impl std::error::Error for PickleError {}
