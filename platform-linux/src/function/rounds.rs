//! What a dispatcher's thread remembers of its functions from one look to the next.
//!
//! Where its bell shows that a function was called, a look at it finds the call. A look at
//! all bells, and at all cells of a function, takes both from those who are about to call;
//! so after a call the thread expects that nothing is left if the bell has rung as often
//! as calls were taken, listens for the function that was called last, and makes sure only
//! when nothing comes at once.

use super::at_work::Function;
use robot_ipc_core::tunnel::{BellWord, Lookout};
use std::sync::Arc;
use std::time::Duration;

/// How many calls it takes at most without a look at the bells of all its functions: it
/// expects the next one of the function that was called last.
const MAX_IN_A_ROW: u32 = 8;
/// Of so many functions it listens to all bells at once; of more, to that of the last one
/// and to one of the others at a time.
pub(super) const FEW_FUNCTIONS: usize = 4;

/// What the thread at work remembers from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// The control word when the functions were noted.
    pub(super) noted_at: Option<u32>,
    pub(super) functions: Vec<Noted>,
    /// With which function to begin.
    pub(super) turn: usize,
    /// The function whose bell was heard, if it was only one, or that was called last.
    pub(super) heard: Option<usize>,
    /// How many calls were taken since it has looked at all bells.
    pub(super) in_a_row: u32,
    /// How often the dispatcher had been stopped when this thread began to serve, if it goes
    /// on until it is.
    pub(super) stops: Option<u32>,
    /// It has slept since it took the last call.
    pub(super) has_slept: bool,
    /// When it looked at all functions, whether their bells had rung or not.
    pub(super) looked_around: Option<Duration>,
    pub(super) checked_names: Option<Duration>,
}

impl Rounds {
    /// Where the function is that was called last.
    pub(super) fn last_index(&self) -> usize {
        self.turn.saturating_sub(1)
    }

    /// With which function a look begins.
    pub(super) fn first_index(&mut self) -> usize {
        let heard = self.heard.take();
        match heard.filter(|_| self.in_a_row < MAX_IN_A_ROW) {
            Some(index) => index,
            None => {
                self.in_a_row = 0;
                self.turn
            }
        }
    }

    /// Whether the next call is expected to be one of the function that was called last.
    pub(super) fn expects_last(&self) -> bool {
        let has_left = |index: usize| {
            let last = self.functions.get(index);
            last.is_some_and(|last| last.has_left)
        };
        self.in_a_row < MAX_IN_A_ROW && self.heard.is_some_and(|index| !has_left(index))
    }
}

#[derive(Debug)]
pub(super) struct Noted {
    pub(super) function: Arc<Function>,
    /// The bell when a look found no call.
    pub(super) quiet_since: Option<BellWord>,
    /// It has rung since, and as many calls were taken: most likely there is none, but
    /// nobody has looked.
    pub(super) is_presumed: bool,
    pub(super) lookout: Lookout,
    /// The bell when it was looked at last.
    pub(super) heard: BellWord,
    /// It had rung more often then than calls were taken since.
    pub(super) has_left: bool,
    /// What it slept on.
    pub(super) armed: u32,
}

impl Noted {
    pub(super) fn new(function: &Arc<Function>) -> Noted {
        Noted {
            function: Arc::clone(function),
            quiet_since: None,
            is_presumed: false,
            lookout: Lookout::default(),
            heard: function.tunnel().listen_for_calls(),
            has_left: false,
            armed: 0,
        }
    }

    /// Whether the bell has rung since a look found no call, or none was taken.
    pub(super) fn has_rung(&self) -> bool {
        let now = self.function.tunnel().listen_for_calls();
        let is_quiet = |quiet: BellWord| now.is_as_often_rung_as(quiet);
        !self.quiet_since.is_some_and(is_quiet)
    }

    /// Knows nothing of its calls any more.
    pub(super) fn forget(&mut self) {
        self.quiet_since = None;
        self.is_presumed = false;
        self.has_left = false;
    }
}
