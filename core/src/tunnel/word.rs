//! What the bits of a tunnel's words mean.

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Nobody's.
    Free = 0,
    /// A caller is putting its arguments in.
    Writing = 1,
    /// The arguments are in; any dispatcher may take it.
    Ready = 2,
    /// A dispatcher is running the function.
    Running = 3,
    /// The response is in, for the caller to fetch.
    Done = 4,
    /// Its dispatcher died while it ran; for the caller to be told.
    Died = 5,
}

impl State {
    const fn from_bits(bits: u32) -> Option<State> {
        match bits {
            0 => Some(State::Free),
            1 => Some(State::Writing),
            2 => Some(State::Ready),
            3 => Some(State::Running),
            4 => Some(State::Done),
            5 => Some(State::Died),
            _ => None,
        }
    }
}

/// The word of a cell: state:3 | orphan:1 | waiting:1 | who:8 | generation:19.
///
/// `who` is the claim (index + 1) of the dispatcher while the call is running,
/// and of the caller in every other state but free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellWord(u32);

impl CellWord {
    const STATE_MASK: u32 = 0b111;
    const ORPHAN: u32 = 1 << 3;
    const WAITING: u32 = 1 << 4;
    pub(super) const ALL_BUT_WAITING: u32 = !Self::WAITING;
    const WHO_SHIFT: u32 = 5;
    const WHO_MASK: u32 = 0xFF;
    const GENERATION_SHIFT: u32 = 13;
    /// Generations are counted modulo this.
    pub const GENERATIONS: u32 = 1 << 19;

    pub(super) const fn from_word(word: u32) -> CellWord {
        CellWord(word)
    }

    /// A cell in `state` that `who` is responsible for.
    pub(super) const fn new(state: State, who: u32, generation: u32) -> CellWord {
        CellWord(
            state as u32
                | (who & Self::WHO_MASK) << Self::WHO_SHIFT
                | (generation % Self::GENERATIONS) << Self::GENERATION_SHIFT,
        )
    }

    /// As it stands in memory.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Where the call is; `None` if the memory is damaged.
    #[must_use]
    pub const fn state(self) -> Option<State> {
        State::from_bits(self.0 & Self::STATE_MASK)
    }

    /// Whether nobody wants the response (ready: deliver it even if the caller
    /// dies).
    #[must_use]
    pub const fn is_orphan(self) -> bool {
        self.0 & Self::ORPHAN != 0
    }

    /// Whether the caller sleeps until it changes.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    /// The claim of who is responsible; 0 for nobody.
    pub(super) const fn who(self) -> u32 {
        self.0 >> Self::WHO_SHIFT & Self::WHO_MASK
    }

    /// Which use of the cell this is.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 >> Self::GENERATION_SHIFT
    }

    /// The same call in another state, with another one responsible; orphan and
    /// waiting stay.
    pub(super) const fn moved(self, state: State, who: u32) -> CellWord {
        let flags = self.0 & (Self::ORPHAN | Self::WAITING);
        CellWord(CellWord::new(state, who, self.generation()).0 | flags)
    }

    /// The same cell, free.
    pub(super) const fn freed(self) -> CellWord {
        CellWord::new(State::Free, 0, self.generation())
    }

    pub(super) const fn with_orphan(self) -> CellWord {
        CellWord(self.0 | Self::ORPHAN)
    }

    pub(super) const fn with_waiting(self) -> CellWord {
        CellWord(self.0 | Self::WAITING)
    }

    pub(super) const fn without_waiting(self) -> CellWord {
        CellWord(self.0 & !Self::WAITING)
    }
}

/// A bell: rung:30 | retired:1 | waiting:1. Who listens looks at it, then at what
/// it announces, and sleeps on the very word it looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BellWord(u32);

impl BellWord {
    const WAITING: u32 = 1;
    pub(super) const RETIRED: u32 = 1 << 1;
    const ONE: u32 = 1 << 2;

    pub(super) const fn from_word(word: u32) -> BellWord {
        BellWord(word)
    }

    /// As it stands in memory.
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// Whether somebody sleeps until it rings.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    /// Whether the tunnel has been removed.
    #[must_use]
    pub const fn is_retired(self) -> bool {
        self.0 & Self::RETIRED != 0
    }

    /// Whether it has not rung since it was `other`, whoever waits.
    #[must_use]
    pub const fn is_as_often_rung_as(self, other: BellWord) -> bool {
        (self.0 ^ other.0) & !Self::WAITING == 0
    }

    /// Rung once more, and nobody waiting.
    #[must_use]
    pub const fn rung(self) -> BellWord {
        BellWord(self.0.wrapping_add(Self::ONE) & !Self::WAITING)
    }

    pub(super) const fn with_waiting(self) -> BellWord {
        BellWord(self.0 | Self::WAITING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against bits that run into each other.
    #[test]
    fn words_take_apart_what_they_put_together() {
        for state in [
            State::Free,
            State::Writing,
            State::Ready,
            State::Running,
            State::Done,
            State::Died,
        ] {
            for who in [0, 1, 255] {
                for generation in [0, 1, CellWord::GENERATIONS - 1] {
                    let word = CellWord::new(state, who, generation)
                        .with_orphan()
                        .with_waiting();
                    assert_eq!(word.state(), Some(state));
                    assert_eq!((word.who(), word.generation()), (who, generation));
                    assert!(word.is_orphan() && word.is_waiting());
                    assert_eq!(word.with_orphan().with_waiting(), word, "set stays set");
                    assert!(!word.without_waiting().is_waiting());
                    let moved = word.moved(State::Done, 7);
                    assert_eq!((moved.who(), moved.generation()), (7, generation));
                    assert!(moved.is_orphan() && moved.is_waiting());
                    assert_eq!(word.freed(), CellWord::new(State::Free, 0, generation));
                }
            }
        }
        assert_eq!(CellWord::from_word(6).state(), None);
        let next = CellWord::new(State::Free, 0, CellWord::GENERATIONS);
        assert_eq!(next.generation(), 0, "generations wrap");
    }

    /// Against a ring that goes unnoticed, and a waiting mark that looks like one.
    #[test]
    fn only_a_ring_or_the_end_is_heard() {
        let bell = BellWord::from_word(8 << 2);
        assert!(bell.is_as_often_rung_as(bell));
        assert!(bell.is_as_often_rung_as(bell.with_waiting()));
        assert!(bell.with_waiting().is_as_often_rung_as(bell));
        assert!(!bell.is_as_often_rung_as(bell.rung()));
        assert!(!bell.with_waiting().is_as_often_rung_as(bell.rung()));
        let retired = BellWord::from_word(bell.word() | BellWord::RETIRED);
        assert!(!bell.is_as_often_rung_as(retired));
    }

    /// Against a bell whose count runs into its flags.
    #[test]
    fn a_bell_wraps_and_keeps_its_retirement() {
        let bell = BellWord::from_word(u32::MAX);
        let rung = bell.rung();
        assert!(rung.is_retired() && !rung.is_waiting());
        assert_eq!(rung.word(), BellWord::RETIRED);
        assert!(rung.with_waiting().is_waiting());
        assert!(rung.with_waiting().with_waiting().is_waiting());
    }
}
