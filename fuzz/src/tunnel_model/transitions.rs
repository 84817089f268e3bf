//! Which transitions of a cell are right, and whose.
//!
//! After each step of anybody the cells are looked at, and compared with what they were
//! before. Everything happens in one thread, so whoever has just acted has made each
//! change there is, and it must be one that this process may make in what it is doing.

use super::{CallId, Mapped, TunnelWorld};
use crate::life::{Who, who_has};
use crate::tally::reached;
use robot_ipc_core::sync::Ordering::Relaxed;
use robot_ipc_core::tunnel::{CellWord, State, TunnelMemory};

/// A cell as it was seen last, and the call in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub(super) state: State,
    /// Whose turn it is.
    pub(super) responsible: Option<Who>,
    pub(super) is_orphan: bool,
    is_waiting: bool,
    generation: u32,
    pub(super) call: Option<CallId>,
}

/// A bell as it was seen last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bell {
    is_waiting: bool,
    rung: u32,
}

/// What a process is doing with which call.
#[derive(Clone, Debug, Default)]
pub(super) enum Doing {
    #[default]
    Nothing,
    Drafting(CallId),
    Submitting(CallId),
    Discarding(CallId),
    Taking,
    /// And whether with a response.
    Finishing(CallId, bool),
    Abandoning(CallId),
    /// Fetching, withdrawing or unqueuing: letting go of a call of its own.
    LettingGo(CallId),
    Arming(CallId),
    Retiring,
}

/// All cells as they are now.
pub(super) fn look(tunnel: &Mapped<'_>) -> Vec<Cell> {
    let cells = tunnel.cells().enumerate().map(|(cell, view)| {
        let word = tunnel.memory().head(cell as u32).word.load(Relaxed);
        Cell {
            state: view.state,
            responsible: view
                .responsible
                .map(|party| who_has(party.index()).expect("only those who take part are named")),
            is_orphan: view.is_orphan,
            is_waiting: word & 1 << 4 != 0,
            generation: word >> 13,
            call: None,
        }
    });
    let cells: Vec<Cell> = cells.collect();
    let count = tunnel.memory().cell_count() as usize;
    assert_eq!(cells.len(), count, "a cell is in a state that there is not");
    cells
}

/// Both bells, that for calls and that for room.
pub(super) fn bells(tunnel: &Mapped<'_>) -> [Bell; 2] {
    [tunnel.memory().bell(), tunnel.memory().room()].map(|bell| {
        let word = bell.load(Relaxed);
        Bell {
            is_waiting: word & 1 != 0,
            rung: word >> 2,
        }
    })
}

impl TunnelWorld<'_> {
    /// Looks what `actor` has changed, and whether that was right.
    pub(super) fn observe(&self, actor: Who) {
        let woken = self.woken.take();
        let was_woken = |word| woken.iter().any(|woken| core::ptr::eq(*woken, word));
        let memory = self.tunnel.memory();
        let mut freed = 0;
        let mut cells = self.cells.borrow_mut();
        for (index, mut now) in look(&self.tunnel).into_iter().enumerate() {
            let before = cells[index];
            now.call = before.call;
            let is_same = (before.state, before.responsible, before.is_orphan)
                == (now.state, now.responsible, now.is_orphan)
                && (before.generation, before.is_waiting) == (now.generation, now.is_waiting);
            if !is_same {
                self.check_transition(actor, before, &mut now);
                let is_for_the_dead = before.state == State::Running
                    && now.state == State::Running
                    && self
                        .caller(before)
                        .is_some_and(|who| !self.lives.is_alive(who));
                if before.is_waiting && !now.is_waiting && !is_for_the_dead {
                    let word = &memory.head(index as u32).word;
                    let is_handed_over = matches!(now.state, State::Done | State::Died);
                    if is_handed_over && !was_woken(word) {
                        // Woken after the next step, unless that is its last one.
                        self.process(actor).owes.borrow_mut().push(word);
                    } else {
                        assert!(was_woken(word), "the caller sleeps on: {before:?}, {now:?}");
                    }
                }
                freed += u32::from(now.state == State::Free);
                cells[index] = now;
            }
        }
        let seen = bells(&self.tunnel);
        let [calls_before, room_before] = self.bells.replace(seen);
        let [calls, room] = seen;
        assert_eq!(
            room.rung.wrapping_sub(room_before.rung) % (1 << 30),
            freed,
            "each cell that becomes free is announced"
        );
        for (before, now, word) in [
            (calls_before, calls, memory.bell()),
            (room_before, room, memory.room()),
        ] {
            if before.rung != now.rung {
                assert!(!now.is_waiting, "it has rung, and somebody sleeps on");
            }
            if before.is_waiting && !now.is_waiting {
                assert!(was_woken(word), "a bell was cleared, and nobody woken");
                reached("woken");
            }
        }
    }

    /// How often the bell for calls has rung.
    pub(super) fn rung(&self) -> u32 {
        self.bells.get()[0].rung
    }

    fn caller(&self, cell: Cell) -> Option<Who> {
        cell.call.map(|call| self.calls.borrow()[call].caller)
    }

    fn check_transition(&self, actor: Who, before: Cell, now: &mut Cell) {
        use State::{Died, Done, Free, Ready, Running, Writing};
        let doing = self.process(actor).doing.borrow().clone();
        let mut calls = self.calls.borrow_mut();
        let wrong = || -> ! { panic!("{actor}, {doing:?}: {before:?} has become {now:?}") };
        let require = |condition: bool| {
            if !condition {
                wrong();
            }
        };
        if before.state == Free {
            // Another call from here on.
            let Doing::Drafting(call) = doing else {
                wrong()
            };
            require(now.state == Writing && now.responsible == Some(actor));
            require(now.generation == (before.generation + 1) % CellWord::GENERATIONS);
            require(!now.is_orphan && !now.is_waiting);
            now.call = Some(call);
            return;
        }
        let Some(id) = before.call else { wrong() };
        let call = &mut calls[id];
        require(before.generation == now.generation);
        let is_callers = call.caller == actor && self.lives.number(actor) == call.caller_life;
        let is_callers_recovery = self.lives.is_recovering(actor, call.caller);
        let is_dispatchers = before.responsible == Some(actor);
        let is_dispatchers_recovery =
            (before.responsible).is_some_and(|who| self.lives.is_recovering(actor, who));
        let keeps_flags = before.is_orphan == now.is_orphan && before.is_waiting == now.is_waiting;
        match (before.state, now.state) {
            (Writing, Ready) => {
                require(matches!(doing, Doing::Submitting(of) if of == id) && is_callers);
                require(now.responsible == Some(actor) && now.is_orphan == call.is_one_way);
                require(!now.is_waiting && call.order.is_some());
            }
            (Ready, Running) => {
                require(matches!(doing, Doing::Taking) && now.responsible == Some(actor));
                require(keeps_flags);
                assert!(!call.has_started, "a call is started twice");
                call.has_started = true;
                let may_start = call.is_one_way || self.lives.is_alive(call.caller);
                assert!(may_start, "a call starts whose caller is dead");
                let oldest = self.process(actor).oldest.get();
                assert_eq!(oldest, Some(id), "an older call is waiting");
            }
            (Running, Done) => {
                require(matches!(doing, Doing::Finishing(of, true) if of == id));
                require(is_dispatchers && now.responsible == Some(call.caller));
                require(!before.is_orphan && !now.is_orphan && !now.is_waiting);
            }
            (Running, Died) => {
                let is_abandoned = matches!(doing, Doing::Abandoning(of) if of == id);
                require(is_abandoned && is_dispatchers || is_dispatchers_recovery);
                require(!before.is_orphan && !now.is_orphan && !now.is_waiting);
                require(now.responsible == Some(call.caller));
            }
            (Running, Free) => {
                let is_ended = match doing {
                    Doing::Finishing(of, responds) => of == id && (!responds || before.is_orphan),
                    Doing::Abandoning(of) => of == id && before.is_orphan,
                    _ => false,
                };
                let is_nobodys = before.is_orphan || before.responsible == Some(call.caller);
                require(is_ended && is_dispatchers || is_dispatchers_recovery && is_nobodys);
            }
            (Ready, Free) => {
                let is_withdrawn = matches!(doing, Doing::LettingGo(of) if of == id) && is_callers;
                let is_passed_over = matches!(doing, Doing::Taking)
                    && !call.is_one_way
                    && !self.lives.is_alive(call.caller);
                let is_recovered = is_callers_recovery && !call.is_one_way;
                require(is_withdrawn || is_passed_over || is_recovered);
            }
            (Writing, Free) => {
                let is_discarded = matches!(doing, Doing::Discarding(of) if of == id);
                require(is_discarded && is_callers || is_callers_recovery);
            }
            (Done | Died, Free) => {
                let is_let_go = matches!(doing, Doing::LettingGo(of) if of == id);
                require(is_let_go && is_callers || is_callers_recovery);
            }
            (Ready | Running, same) if same == before.state => {
                let is_withdrawn = matches!(doing, Doing::LettingGo(of) if of == id) && is_callers;
                let becomes_orphan = now.is_orphan && !before.is_orphan && !now.is_waiting;
                let is_armed = matches!(doing, Doing::Arming(of) if of == id) && now.is_waiting;
                let is_retired = matches!(doing, Doing::Retiring) && !now.is_waiting;
                let is_same_flag = now.is_orphan == before.is_orphan;
                require(now.responsible == before.responsible);
                require(
                    becomes_orphan && same == Running && (is_withdrawn || is_callers_recovery)
                        || (is_armed || is_retired) && is_same_flag,
                );
            }
            _ => wrong(),
        }
        if now.state == Free {
            require(now.responsible.is_none() && !now.is_orphan && !now.is_waiting);
            now.call = None;
        }
    }
}
