//! What can happen to a tunnel, made of the fuzzer's bytes.

use crate::life::{Operation, operations};
use arbitrary::Arbitrary;

/// What this target wants to reach.
pub const GOALS: &[&str] = &[
    "called",
    "called one-way",
    "taken",
    "answered",
    "fetched",
    "fetched nothing",
    "told of a death",
    "withdrawn",
    "full",
    "woken",
    "died in between",
    "recovered",
    "served for the dead",
    "retired",
];

/// A tunnel, and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Case {
    cells: CellCount,
    /// Tickets and generations wrap soon.
    pub(super) starts_before_wraps: bool,
    #[arbitrary(with = operations)]
    pub(super) operations: Vec<Operation<Action>>,
}

impl Case {
    pub(super) fn cells(&self) -> u32 {
        match self.cells {
            CellCount::One => 1,
            CellCount::Two => 2,
            CellCount::Four => 4,
            CellCount::Six => 6,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum CellCount {
    One,
    Two,
    Four,
    Six,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Draft,
    Submit {
        which: u8,
        size: u8,
        is_one_way: bool,
    },
    /// Both.
    Call {
        size: u8,
        is_one_way: bool,
    },
    Discard {
        which: u8,
    },
    Take,
    Finish {
        which: u8,
        answer: Answer,
    },
    Abandon {
        which: u8,
    },
    Fetch {
        which: u8,
    },
    Withdraw {
        which: u8,
    },
    Unqueue {
        which: u8,
    },
    UsePastCall {
        which: u8,
    },
    Listen,
    ArmBells,
    ArmCall {
        which: u8,
    },
    RecoverAll,
    Die,
    BeBorn,
    /// Nothing happens after it, so it is rare.
    Retire,
}

/// How a call ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Nothing,
    Returned { size: u8 },
    Raised { size: u8 },
    TooLarge { size: u32 },
    Unknown { outcome: u32, size: u8 },
}

impl From<[u8; 2]> for Action {
    fn from([what, detail]: [u8; 2]) -> Self {
        let (which, size) = (detail, detail % 32);
        let is_one_way = detail >= 192;
        // What ends something comes first: a fuzzer has a liking for zeros.
        match what % 24 {
            0..=2 => Action::Fetch { which },
            3..=5 => Action::Finish {
                which,
                answer: match detail >> 5 {
                    0 => Answer::Nothing,
                    1 => Answer::Raised { size },
                    2 => Answer::TooLarge {
                        size: u32::MAX << size,
                    },
                    3 => Answer::Unknown {
                        outcome: 3 + u32::from(size),
                        size,
                    },
                    _ => Answer::Returned { size },
                },
            },
            6..=8 => Action::Take,
            9 | 10 => Action::Submit {
                which,
                size,
                is_one_way,
            },
            11..=13 => Action::Call { size, is_one_way },
            14 => Action::Withdraw { which },
            15 => Action::Unqueue { which },
            16 => Action::UsePastCall { which },
            17 => Action::Listen,
            18 => Action::ArmBells,
            19 => Action::ArmCall { which },
            20 => match detail {
                0..8 => Action::Retire,
                8..64 => Action::RecoverAll,
                64..128 => Action::Abandon { which },
                _ => Action::Discard { which },
            },
            21 => Action::Die,
            22 => Action::BeBorn,
            _ => Action::Draft,
        }
    }
}
