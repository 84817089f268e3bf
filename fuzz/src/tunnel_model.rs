//! Participants of one tunnel, and what its cells may do at each step.
//!
//! Every change of a cell is checked when it happens (see `transitions`): who may make
//! it, in which operation, to whose call. On top of that:
//!
//! - who takes a call gets the oldest one that was ready when it looked, with the bytes
//!   that its caller put in, and nobody has had it before;
//! - a call that wants a response and whose caller is dead never starts;
//! - each caller sees exactly what became of its call, and the response is its own; a
//!   call that has ended stays ended, whatever its cell is used for later;
//! - a call that nobody wants a response for is served even if its caller dies;
//! - "full" is true: no cell is free, or could be had from the dead;
//! - when all have died and were recovered, every cell is free.

mod case;
mod operations;
mod transitions;

use crate::life::{
    self, Interruption, Lives, Operation, PARTICIPANTS, Who, World, act, participant,
};
use crate::tally::reached;
use case::Action;
use core::cell::{Cell as Shared, RefCell};
use core::ptr::NonNull;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::environment::Step;
use robot_ipc_core::header::Creator;
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::sync::{AtomicU32, Ordering::Relaxed};
use robot_ipc_core::tunnel::{
    BellWord, Call, CellWord, Draft, Lookout, MappedTunnel, Outcome, Part, State, Taken, Tunnel,
    TunnelGeometry, TunnelMemory, initial_bytes,
};
use std::rc::Rc;
use transitions::{Bell, Cell, Doing, bells, look};

pub use case::{Case, GOALS};

/// The largest arguments and the largest response.
const MAX_SIZE: usize = 24;

type Mapped<'a> = Tunnel<MappedTunnel<'a>>;

/// A call, as a position in the list of all.
type CallId = usize;

/// Room for the largest tunnel of these tests.
#[repr(C, align(64))]
struct Block([u8; 4096]);

/// Runs a case; panics if the tunnel breaks a promise.
pub fn run(case: &Case) {
    let geometry = TunnelGeometry::new(case.cells(), MAX_SIZE as u32, MAX_SIZE as u32);
    let geometry = geometry.expect("within the limits");
    let mut block = Box::new(Block([0; 4096]));
    let initial = initial_bytes(&geometry, &Creator::default());
    block.0[..initial.len()].copy_from_slice(&initial);
    assert!(geometry.file_size() <= block.0.len() as u64);
    let start = NonNull::from(&mut block.0).cast();
    // SAFETY: aligned to 64 by its type, at least as large as the geometry asks, and
    // used by nobody else before it is dropped at the end of this function.
    #[allow(unsafe_code)]
    let memory = unsafe { MappedTunnel::new(start, geometry) };
    let tunnel = Tunnel::new(memory);
    if case.starts_before_wraps {
        tunnel.memory().tickets().store(u32::MAX - 3, Relaxed);
        for cell in 0..geometry.cell_count() {
            let last = (CellWord::GENERATIONS - 2) << 13;
            tunnel.memory().head(cell).word.store(last, Relaxed);
        }
    }
    let world = TunnelWorld::new(tunnel, case);
    for who in 0..3 {
        world.be_born(who, None);
    }
    while world.next.get() < case.operations.len() {
        world.another_acts();
    }
    world.end();
}

/// A call as its caller made it, and what became of it.
#[derive(Debug)]
struct Made {
    caller: Who,
    /// Tells its caller apart from later ones of the same index.
    caller_life: u32,
    is_one_way: bool,
    argument: Vec<u8>,
    encoding: Encoding,
    /// When it took its ticket.
    order: Option<u32>,
    has_started: bool,
    response: Option<(Outcome, Part, Vec<u8>)>,
}

/// What a process keeps in its own memory.
#[derive(Debug, Default)]
struct Process {
    doing: RefCell<Doing>,
    drafts: RefCell<Vec<(Draft, CallId)>>,
    calls: RefCell<Vec<(Call, CallId)>>,
    /// Calls that have ended for it.
    past: RefCell<Vec<Call>>,
    taken: RefCell<Vec<(Taken, CallId)>>,
    lookout: RefCell<Lookout>,
    /// What a look for the oldest call has to have found.
    oldest: Shared<Option<CallId>>,
    /// How often the bell had rung when a call of its became ready.
    rung_before: Shared<u32>,
    heard: Shared<Option<[BellWord; 2]>>,
    /// Words whose sleepers it has to wake, since it has just handed their calls over.
    owes: RefCell<Vec<*const AtomicU32>>,
}

struct TunnelWorld<'a> {
    tunnel: Mapped<'a>,
    lives: Lives,
    operations: &'a [Operation<Action>],
    next: Shared<usize>,
    processes: RefCell<[Rc<Process>; PARTICIPANTS.len()]>,
    calls: RefCell<Vec<Made>>,
    cells: RefCell<Vec<Cell>>,
    bells: Shared<[Bell; 2]>,
    /// The words whose sleepers were woken since the last look.
    woken: RefCell<Vec<*const AtomicU32>>,
    tickets_taken: Shared<u32>,
    is_retired: Shared<bool>,
}

impl World for TunnelWorld<'_> {
    fn lives(&self) -> &Lives {
        &self.lives
    }

    fn stepped(&self, who: Who, step: Step) {
        self.observe(who);
        let process = self.process(who);
        let is_before_waking = step == Step::HandedOver;
        assert!(
            is_before_waking || process.owes.borrow().is_empty(),
            "nobody was woken"
        );
        match step {
            Step::Ticketed => {
                let Doing::Submitting(id) = *process.doing.borrow() else {
                    panic!("a ticket is taken for no call");
                };
                let order = self.tickets_taken.get();
                self.tickets_taken.set(order + 1);
                self.calls.borrow_mut()[id].order = Some(order);
            }
            Step::Submitted => process.rung_before.set(self.rung()),
            Step::Rung => assert_ne!(self.rung(), process.rung_before.get(), "it has not rung"),
            Step::CallSeen => process.oldest.set(self.oldest_ready()),
            _ => {}
        }
    }

    fn woken(&self, who: Who, word: &AtomicU32) {
        let process = self.process(who);
        process
            .owes
            .borrow_mut()
            .retain(|owed| !core::ptr::eq(*owed, word));
        self.woken.borrow_mut().push(word);
    }

    fn recovered(&self, dead: Who) {
        // What its recoverer has done is looked at after its next step. Nothing that
        // still is in a cell may be the dead one's to end.
        for (cell, view) in look(&self.tunnel).iter().enumerate() {
            let call = self.cells.borrow()[cell].call;
            let is_one_way = call.is_some_and(|id| self.calls.borrow()[id].is_one_way);
            let is_kept = view.state == State::Ready && is_one_way;
            assert!(
                view.responsible != Some(dead) || is_kept,
                "recovery has left {view:?}"
            );
        }
        self.processes.borrow_mut()[dead] = Rc::default();
        reached("recovered");
    }

    fn died(&self, who: Who) {
        let process = self.process(who);
        *process.doing.borrow_mut() = Doing::Nothing;
        process.owes.borrow_mut().clear();
    }

    fn another_acts(&self) {
        let Some(operation) = self.operations.get(self.next.get()) else {
            return;
        };
        self.next.set(self.next.get() + 1);
        self.operate(operation);
        self.check();
    }
}

impl<'a> TunnelWorld<'a> {
    fn new(tunnel: Mapped<'a>, case: &'a Case) -> Self {
        TunnelWorld {
            lives: Lives::default(),
            operations: &case.operations,
            next: Shared::new(0),
            processes: RefCell::default(),
            calls: RefCell::default(),
            cells: RefCell::new(look(&tunnel)),
            bells: Shared::new(bells(&tunnel)),
            woken: RefCell::default(),
            tickets_taken: Shared::new(0),
            is_retired: Shared::new(false),
            tunnel,
        }
    }

    fn process(&self, who: Who) -> Rc<Process> {
        Rc::clone(&self.processes.borrow()[who])
    }

    /// The ready call that took its ticket first.
    fn oldest_ready(&self) -> Option<CallId> {
        let cells = self.cells.borrow();
        let ready = cells.iter().filter(|cell| cell.state == State::Ready);
        ready
            .filter_map(|cell| cell.call)
            .min_by_key(|id| self.calls.borrow()[*id].order)
    }

    /// The cell that a call lies in.
    fn cell_of(&self, id: CallId) -> Option<Cell> {
        let cells = self.cells.borrow();
        cells.iter().find(|cell| cell.call == Some(id)).copied()
    }

    /// Bytes that no other call has.
    fn bytes(number: usize, size: u8) -> Vec<u8> {
        let mixed = (number as u32).wrapping_mul(0x9E37_79B9).to_le_bytes();
        let bytes = mixed.into_iter().cycle().zip(0u8..size);
        bytes.map(|(byte, index)| byte ^ index).collect()
    }

    /// Runs an operation of `who` that is about to do `doing`, and looks at what it has
    /// changed.
    fn act<R>(
        &self,
        who: Who,
        interruption: Option<Interruption>,
        doing: Doing,
        operation: impl FnOnce(&life::Acting<'_, Self>) -> R,
    ) -> Option<R> {
        let process = self.process(who);
        *process.doing.borrow_mut() = doing;
        let result = act(self, who, interruption, operation)?;
        self.observe(who);
        assert!(process.owes.borrow().is_empty(), "nobody was woken");
        *process.doing.borrow_mut() = Doing::Nothing;
        Some(result)
    }

    fn operate(&self, operation: &Operation<Action>) {
        let interruption = operation.interruption;
        let anybody = operation.who as usize % PARTICIPANTS.len();
        let has_it = |who| {
            let process = self.process(who);
            match operation.action {
                Action::Submit { .. } | Action::Discard { .. } => {
                    !process.drafts.borrow().is_empty()
                }
                Action::Finish { .. } | Action::Abandon { .. } => {
                    !process.taken.borrow().is_empty()
                }
                Action::Fetch { .. }
                | Action::Withdraw { .. }
                | Action::Unqueue { .. }
                | Action::ArmCall { .. } => !process.calls.borrow().is_empty(),
                Action::UsePastCall { .. } => !process.past.borrow().is_empty(),
                _ => true,
            }
        };
        let Some(who) = self.lives.one_that_can_act(operation.who, has_it) else {
            if !(0..PARTICIPANTS.len()).any(|who| self.lives.is_alive(who)) {
                self.be_born(anybody, interruption);
            }
            return;
        };
        match operation.action {
            Action::Die => life::kill(self, anybody),
            Action::BeBorn => self.be_born(anybody, interruption),
            Action::Draft => {
                if let Some(drafted) = self.draft(who, interruption) {
                    self.process(who).drafts.borrow_mut().push(drafted);
                }
            }
            Action::Submit {
                which,
                size,
                is_one_way,
            } => {
                if let Some((draft, id)) = take_one(&self.process(who).drafts, which) {
                    self.submit(who, interruption, draft, id, size, is_one_way);
                }
            }
            Action::Call { size, is_one_way } => {
                if let Some((draft, id)) = self.draft(who, None) {
                    self.submit(who, interruption, draft, id, size, is_one_way);
                }
            }
            Action::Discard { which } => {
                if let Some((draft, id)) = take_one(&self.process(who).drafts, which) {
                    self.act(who, interruption, Doing::Discarding(id), |system| {
                        self.tunnel.discard(system, draft);
                    });
                }
            }
            Action::Take => self.take(who, interruption),
            Action::Finish { which, answer } => self.finish(who, interruption, which, answer),
            Action::Abandon { which } => {
                if let Some((taken, id)) = take_one(&self.process(who).taken, which) {
                    self.act(who, interruption, Doing::Abandoning(id), |system| {
                        self.tunnel.abandon(system, participant(who), taken);
                    });
                }
            }
            Action::Fetch { which } => self.fetch(who, which),
            Action::Withdraw { which } => self.withdraw(who, which),
            Action::Unqueue { which } => self.unqueue(who, which),
            Action::UsePastCall { which } => self.use_past_call(who, which),
            Action::Listen => {
                let heard = [
                    self.tunnel.listen_for_calls(),
                    self.tunnel.listen_for_room(),
                ];
                self.process(who).heard.set(Some(heard));
            }
            Action::ArmBells => self.arm_bells(who),
            Action::ArmCall { which } => self.arm_call(who, which),
            Action::RecoverAll => {
                self.act(who, interruption, Doing::Nothing, |system| {
                    self.tunnel.reap_all(system, participant(who));
                });
            }
            Action::Retire => {
                self.is_retired.set(true);
                self.act(who, None, Doing::Retiring, |system| {
                    self.tunnel.retire(system);
                });
                reached("retired");
            }
        }
        if interruption.is_some() && !self.lives.is_alive(who) {
            reached("died in between");
        }
    }
}

/// Takes one of `things` out.
fn take_one<T>(things: &RefCell<Vec<T>>, which: u8) -> Option<T> {
    let mut things = things.borrow_mut();
    let count = things.len();
    (count > 0).then(|| things.remove(which as usize % count))
}
