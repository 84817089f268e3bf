//! What can happen to a variable, made of the fuzzer's bytes.

use crate::life::{Operation, operations};
use arbitrary::Arbitrary;

/// What this target wants to reach.
pub const GOALS: &[&str] = &[
    "written",
    "replaced",
    "borrowed",
    "lent",
    "armed",
    "led",
    "led by another",
    "no free slot",
    "too many borrowed",
    "died in between",
    "recovered",
    "born again",
    "retired",
];

/// A variable, and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Case {
    pub(super) slots: SlotCount,
    pub(super) start: Start,
    /// The survivor only writes at the end; else it also looks for the dead by itself.
    pub(super) survivor_only_writes: bool,
    #[arbitrary(with = operations)]
    pub(super) operations: Vec<Operation<Action>>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum SlotCount {
    Two,
    Three,
    Four,
    Six,
}

/// Which version is the first.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Start {
    NeverWritten,
    /// Two versions before one of the counters in the words wraps.
    BeforeWrap(Wrap),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Wrap {
    InLatest,
    InStamp,
    InHigh,
    Whole,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Write {
        size: u8,
    },
    /// Writes if the version is the latest, or one that was the latest.
    Replace {
        size: u8,
        seen_last: bool,
    },
    Borrow,
    GiveBack {
        which: u8,
    },
    TakeLoan,
    PublishLoan {
        which: u8,
        size: u8,
    },
    AbandonLoan {
        which: u8,
    },
    /// Becomes the only writer, if it is not, and writes.
    Lead {
        size: u8,
        keeps: bool,
    },
    Look,
    Arm,
    RecoverAll,
    Die,
    BeBorn,
    /// Nothing happens after it, so it is rare.
    Retire,
}

impl From<[u8; 2]> for Action {
    fn from([what, detail]: [u8; 2]) -> Self {
        let (which, size) = (detail, detail % 32);
        match what % 16 {
            0..=2 => Action::Write { size },
            3 => Action::Replace {
                size,
                seen_last: detail >= 128,
            },
            4 | 5 => Action::Borrow,
            6 => Action::GiveBack { which },
            7 | 8 => Action::TakeLoan,
            9 => Action::PublishLoan { which, size },
            10 => Action::AbandonLoan { which },
            11 if detail >= 64 => Action::Lead {
                size,
                keeps: detail >= 128,
            },
            11 => Action::Look,
            12 => Action::Arm,
            13 => Action::RecoverAll,
            14 if detail < 8 => Action::Retire,
            14 => Action::Die,
            _ => Action::BeBorn,
        }
    }
}
