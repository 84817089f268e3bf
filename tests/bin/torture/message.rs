//! What goes through variables and functions here: bytes that say what they are.
//!
//! ```text
//! value:    writer | sequence | incarnation | size | filling … | checksum
//! question: caller | sequence | function | wish | withdrawn | filling … | checksum
//! answer:   caller | sequence | function | digest of the question | filling … | checksum
//! ```
//!
//! All are words of 8 bytes, lowest byte first; the checksum is of everything before it.
//! They travel as Python pickles them, so that every process here reads every other one's:
//! a value and an answer as `bytes`, a question as the arguments `((bytes,), {})`.
//! `tests/torture/worker.py` knows the same.

use support::Random;

/// A prime, so that a checksum is a remainder: in Python
/// `int.from_bytes(bytes, "little") % MODULUS`.
const MODULUS: u64 = (1 << 61) - 1;
/// So many bytes at most are added by pickling.
pub(crate) const PICKLE_MARGIN: usize = 64;
/// The smallest message, and then some.
pub(crate) const MIN_SIZE: usize = 64;

/// A fault that is planted to see whether the oracle finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A writer changes one byte of a value.
    Torn,
    /// A writer writes an old value of its own again.
    Stale,
    /// A dispatcher answers a question with the answer to the one before.
    Stray,
    /// A reader never comes back.
    Hang,
}

impl Plant {
    pub(crate) const VARIABLE: &str = "TORTURE_PLANT";

    pub(crate) fn of_name(name: &str) -> Option<Plant> {
        Some(match name {
            "torn" => Plant::Torn,
            "stale" => Plant::Stale,
            "stray" => Plant::Stray,
            "hang" => Plant::Hang,
            _ => return None,
        })
    }

    /// Whether this one is planted here, in this very moment: rarely.
    pub(crate) fn is_due(self, random: &mut Random) -> bool {
        use std::sync::OnceLock;
        static PLANTED: OnceLock<Option<Plant>> = OnceLock::new();
        let planted = PLANTED.get_or_init(|| {
            let name = std::env::var(Plant::VARIABLE).ok()?;
            Plant::of_name(&name)
        });
        *planted == Some(self) && random.below(50) == 0
    }
}

/// The remainder of the number whose bytes these are, the lowest first.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    // 2^64 is 8 in this arithmetic.
    bytes.chunks(8).rev().fold(0, |high, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let sum = (u128::from(high) << 3) + u128::from(u64::from_le_bytes(word));
        let folded = (sum as u64 & MODULUS) + (sum >> 61) as u64;
        folded % MODULUS
    })
}

/// A message of `size` bytes that begins with the words `head`.
pub(crate) fn seal(head: &[u64], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    for word in head {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    let mut filling = Random::new(head[0].rotate_left(32) ^ head[1]);
    while bytes.len() < size - 8 {
        bytes.extend_from_slice(&filling.next().to_le_bytes());
    }
    bytes.truncate(size - 8);
    bytes.extend_from_slice(&checksum(&bytes).to_le_bytes());
    bytes
}

/// The first words of a message; `None` if it is not of one piece.
pub(crate) fn unseal<const WORDS: usize>(bytes: &[u8]) -> Option<[u64; WORDS]> {
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    if checksum(body) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut head = [0; WORDS];
    for (word, chunk) in head.iter_mut().zip(body.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().ok()?);
    }
    (body.len() >= 8 * WORDS).then_some(head)
}

/// What a value says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    /// Which process wrote it; the numbers are never used again.
    pub(crate) writer: u64,
    /// The how manieth it is of that writer's, counted over all variables.
    pub(crate) sequence: u64,
    /// Which of the variables that have had this name it was written to.
    pub(crate) incarnation: u64,
}

impl Value {
    pub(crate) fn pickled(self, size: usize) -> Vec<u8> {
        let head = [self.writer, self.sequence, self.incarnation, size as u64];
        pickled_bytes(&seal(&head, size))
    }

    /// `Err` says in words what is wrong with it.
    pub(crate) fn read(pickle: &[u8]) -> Result<Value, String> {
        let bytes = unpickled(pickle).ok_or("it is torn: no pickle of bytes")?;
        let [writer, sequence, incarnation, size] =
            unseal(bytes).ok_or("it is torn: its checksum is wrong")?;
        if size != bytes.len() as u64 {
            return Err(format!("it has {} bytes, and says {size}", bytes.len()));
        }
        Ok(Value {
            writer,
            sequence,
            incarnation,
        })
    }
}

/// What a caller wants a function to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Answer,
    Raise,
    Nothing,
    TooLarge,
    /// Answer, but take some milliseconds.
    Slowly,
}

impl Wish {
    pub(crate) const ALL: [Wish; 5] = [
        Wish::Answer,
        Wish::Raise,
        Wish::Nothing,
        Wish::TooLarge,
        Wish::Slowly,
    ];
}

/// What a question says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Which process asks; the numbers are never used again.
    pub(crate) caller: u64,
    /// The how manieth question it is of that caller's, counted over all functions.
    pub(crate) sequence: u64,
    /// The number of the function that is asked.
    pub(crate) function: u64,
    pub(crate) wish: Wish,
    /// An earlier question of this caller's that was taken back before it began; 0: none.
    pub(crate) withdrawn: u64,
}

impl Question {
    pub(crate) fn sealed(self, size: usize) -> Vec<u8> {
        let head = [
            self.caller,
            self.sequence,
            self.function,
            self.wish as u64,
            self.withdrawn,
        ];
        seal(&head, size)
    }

    /// The question in pickled arguments, and its digest; `Err` says in words what is
    /// wrong with it.
    pub(crate) fn read(pickle: &[u8]) -> Result<(Question, u64), String> {
        let bytes = unpickled(pickle).ok_or("it is torn: no pickle of arguments")?;
        let [caller, sequence, function, wish, withdrawn] =
            unseal(bytes).ok_or("it is torn: its checksum is wrong")?;
        let wish = *Wish::ALL.get(wish as usize).ok_or("it wishes nonsense")?;
        let question = Question {
            caller,
            sequence,
            function,
            wish,
            withdrawn,
        };
        Ok((question, digest(bytes)))
    }

    /// The answer to this question, whose bytes have that digest.
    pub(crate) fn answer(self, digest: u64, size: usize) -> Vec<u8> {
        let head = [self.caller, self.sequence, self.function, digest];
        pickled_bytes(&seal(&head, size))
    }

    /// What the function says if it shall raise.
    pub(crate) fn complaint(self) -> String {
        let (caller, sequence, function) = (self.caller, self.sequence, self.function);
        format!("wished for by {caller}, question {sequence}, function {function}")
    }
}

/// What both sides make of a question: its checksum, and something that an echo of the
/// checksum alone does not have.
pub(crate) fn digest(question: &[u8]) -> u64 {
    checksum(question) ^ (question.len() as u64) << 40
}

/// `bytes` as Python pickles them.
pub(crate) fn pickled_bytes(bytes: &[u8]) -> Vec<u8> {
    pickled(bytes, b"")
}

/// `((bytes,), {})` as Python pickles it: the arguments of a call.
pub(crate) fn pickled_arguments(bytes: &[u8]) -> Vec<u8> {
    pickled(bytes, b"\x85}\x86")
}

fn pickled(bytes: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_le_bytes();
    [b"\x80\x03B", &length[..], bytes, rest, b"."].concat()
}

/// The only bytes in a pickle that holds no more than they and the arguments around them.
pub(crate) fn unpickled(mut pickle: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    loop {
        let (code, rest) = pickle.split_first()?;
        let number = |size: usize| {
            let digits = rest.get(..size)?.iter().rev();
            Some(digits.fold(0, |high: usize, digit| high << 8 | usize::from(*digit)))
        };
        let (skipped, length) = match code {
            // PROTO, FRAME, MEMOIZE, EMPTY_DICT, TUPLE1, TUPLE2.
            b'\x80' => (1, None),
            b'\x95' => (8, None),
            b'\x94' | b'}' | b'\x85' | b'\x86' => (0, None),
            // BINBYTES with 1, 4 and 8 digits.
            b'C' => (1, Some(number(1)?)),
            b'B' => (4, Some(number(4)?)),
            b'\x8e' => (8, Some(number(8)?)),
            b'.' if rest.is_empty() => return found,
            _ => return None,
        };
        let (bytes, rest) = rest.get(skipped..)?.split_at_checked(length.unwrap_or(0))?;
        if length.is_some() && found.replace(bytes).is_some() {
            return None;
        }
        pickle = rest;
    }
}
