//! The protocol under the model checker: the shipped code, run in every order
//! and with every stale value that the memory model allows.
//!
//! ```text
//! RUSTFLAGS="--cfg robot_ipc_loom" cargo test --release -p robot-ipc-core --lib tunnel
//! ```
//!
//! What stands here instead of the real thing is as in the variable's models: a
//! few objects of loom, an index held by a lock word, death by unwinding, and for
//! each word that somebody sleeps on a mutex and a condition variable of its own,
//! so that nobody is woken by what was meant for others. Arguments and response
//! have one word each, and beside it a cell that is touched by whoever puts
//! something in or takes it out: loom reports two that are not ordered by the
//! protocol.
//!
//! A model begins in the state in which its race begins: what comes before has
//! been done by one thread. What starts is written down at the very swap that
//! starts it, outside of loom, which changes threads before a step, never after.
//!
//! `needed` weakens one [`TunnelSite`] at a time and expects a failure.

extern crate std;

mod calls;
mod deaths;
mod needed;
mod sleepers;

use super::*;
use crate::environment::Step;
use crate::loom_models::{check, check_within};
use crate::recovery::Recoverable;
use core::cell::{Cell, RefCell};
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::vec::Vec;

/// The first ticket: the second one wraps.
const START: u32 = u32::MAX;
/// Bytes of the arguments, and of a response.
const SIZE: u32 = 4;
/// What is answered, less what was asked.
const ANSWER: u32 = 10;
/// In the record of what has started: what was taken by somebody who died of it.
const BY_THE_DEAD: u32 = 0;
/// In the same: a participant was recovered.
const RECOVERED: u32 = u32::MAX;

// ------------------------------------------------------------- the surroundings

#[derive(Default)]
struct Payload {
    word: AtomicU32,
    /// Touched by whoever needs the payload for himself.
    exclusive: UnsafeCell<()>,
}

impl Payload {
    fn fill(&self, bytes: &[u8]) {
        self.exclusive.with_mut(|_| ());
        self.word
            .store(u32::from_ne_bytes(bytes.try_into().unwrap()), Relaxed);
    }

    fn copy(&self, bytes: &mut [u8]) {
        self.exclusive.with(|_| ());
        bytes.copy_from_slice(&self.word.load(Relaxed).to_ne_bytes());
    }
}

struct Shared {
    /// Stored to before each access, and never read: see [`Segment::any_thread`].
    turn: AtomicU32,
    bell: AtomicU32,
    room: AtomicU32,
    tickets: AtomicU32,
    end: AtomicU32,
    heads: Vec<CellHead>,
    answers: Vec<AnswerHead>,
    arguments: Vec<Payload>,
    responses: Vec<Payload>,
    /// By index: 1 while somebody holds it. Indices past the end are held for ever.
    held: Vec<AtomicU32>,
    /// By index: 1 until it dies. Not the same: who recovers it holds its index, too.
    alive: Vec<AtomicU32>,
    /// 1 when the name is gone: who lives cannot be told then.
    nameless: AtomicU32,
    /// For the bell, the room word, and each cell.
    futexes: Vec<(Mutex<()>, Condvar)>,
    /// What has started, in that order. Not of loom.
    started: std::sync::Mutex<Vec<u32>>,
}

// SAFETY: nobody uses the pointers that the cells give out; the cells are there
// for loom to watch who asks for one.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

/// A tunnel of the model.
#[derive(Clone)]
struct Segment(Arc<Shared>);

impl Segment {
    /// With `cells` free cells, all used before; the participants below `mortals`
    /// live, and can die.
    fn new(cells: usize, mortals: usize) -> Segment {
        let word = AtomicU32::new;
        let head = |_| CellHead {
            word: word(CellWord::new(State::Free, 0, CellWord::GENERATIONS - 1).word()),
            ticket: word(START - 1),
            caller: word(0),
            argument_length: word(0),
            argument_encoding: word(0),
            time_ns: [word(0), word(0)],
            reserved: 0,
        };
        let answer = |_| AnswerHead {
            ticket: word(START - 1),
            outcome: word(0),
            length: word(0),
            encoding: word(0),
        };
        Segment(Arc::new(Shared {
            turn: word(0),
            bell: word(0),
            room: word(0),
            tickets: word(START),
            end: word(0),
            heads: (0..cells).map(head).collect(),
            answers: (0..cells).map(answer).collect(),
            arguments: (0..cells).map(|_| Payload::default()).collect(),
            responses: (0..cells).map(|_| Payload::default()).collect(),
            held: (0..mortals).map(|_| word(1)).collect(),
            alive: (0..mortals).map(|_| word(1)).collect(),
            nameless: word(0),
            futexes: (0..cells + 2).map(|_| Default::default()).collect(),
            started: std::sync::Mutex::default(),
        }))
    }

    /// Lets the checker go on with any thread here: the variable's models say why.
    fn any_thread(&self) {
        self.0.turn.store(0, Relaxed);
    }

    fn futex(&self, word: &AtomicU32) -> &(Mutex<()>, Condvar) {
        let heads = self.0.heads.iter().map(|head| &head.word);
        let mut words = [&self.0.bell, &self.0.room].into_iter().chain(heads);
        let number = words.position(|other| core::ptr::eq(word, other));
        &self.0.futexes[number.unwrap()]
    }

    /// As the kernel does: looks at the word again where no waker can come
    /// between, and sleeps if it has not changed.
    fn sleep(&self, word: &AtomicU32, value: u32) {
        let (lock, changed) = self.futex(word);
        let asleep = lock.lock().unwrap();
        if word.load(Relaxed) == value {
            drop(changed.wait(asleep).unwrap());
        }
    }

    /// What is in the record now.
    fn started(&self) -> Vec<u32> {
        self.0.started.lock().unwrap().clone()
    }

    /// Writes `what` down; where.
    fn record(&self, what: u32) -> usize {
        let mut started = self.0.started.lock().unwrap();
        started.push(what);
        started.len() - 1
    }

    fn is_empty(&self) -> bool {
        let mut words = self.0.heads.iter().map(|head| head.word.load(Relaxed));
        words.all(|word| CellWord::from_word(word).state() == Some(State::Free))
    }
}

impl TunnelMemory for Segment {
    fn cell_count(&self) -> u32 {
        self.0.heads.len() as u32
    }
    fn max_argument_size(&self) -> u32 {
        SIZE
    }
    fn max_response_size(&self) -> u32 {
        SIZE
    }
    fn bell(&self) -> &AtomicU32 {
        self.any_thread();
        &self.0.bell
    }
    fn room(&self) -> &AtomicU32 {
        self.any_thread();
        &self.0.room
    }
    fn tickets(&self) -> &AtomicU32 {
        &self.0.tickets
    }
    fn end(&self) -> &AtomicU32 {
        self.any_thread();
        &self.0.end
    }
    fn head(&self, cell: u32) -> &CellHead {
        self.any_thread();
        &self.0.heads[cell as usize]
    }
    fn answer(&self, cell: u32) -> &AnswerHead {
        &self.0.answers[cell as usize]
    }
    fn fill_argument(&self, cell: u32, _offset: usize, bytes: &[u8]) {
        self.0.arguments[cell as usize].fill(bytes);
    }
    fn copy_argument(&self, cell: u32, bytes: &mut [u8]) {
        self.0.arguments[cell as usize].copy(bytes);
    }
    fn fill_response(&self, cell: u32, _offset: usize, bytes: &[u8]) {
        self.0.responses[cell as usize].fill(bytes);
    }
    fn copy_response(&self, cell: u32, bytes: &mut [u8]) {
        self.0.responses[cell as usize].copy(bytes);
    }
}

/// An index that is held until this is dropped.
struct Index(Segment, usize);

impl Drop for Index {
    fn drop(&mut self) {
        self.0.0.held[self.1].store(0, Release);
    }
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Answer(u32),
    Died,
    Nothing,
}

/// A participant, and the environment it runs in. A call carries one number in
/// every place (argument, encoding, time), and so does a response.
struct Party {
    me: Participant,
    tunnel: Tunnel<Segment>,
    lookout: RefCell<Lookout>,
    now: Cell<u32>,
    /// Where the last call that was taken is written down.
    line: Cell<usize>,
    dies_after: Option<Step>,
    /// Whether it asks for the life of whoever calls.
    asks: bool,
}

impl Party {
    fn new(segment: &Segment, index: u32) -> Party {
        Party {
            me: Participant::new(index).unwrap(),
            tunnel: Tunnel::new(segment.clone()),
            lookout: RefCell::default(),
            now: Cell::new(0),
            line: Cell::new(0),
            dies_after: None,
            asks: false,
        }
    }

    fn segment(&self) -> &Segment {
        self.tunnel.memory()
    }

    fn draft(&self) -> Draft {
        self.tunnel.draft(self, self.me).expect("a cell is lost")
    }

    /// Calls with `number`, if there is a cell and the function has not gone.
    fn call(&self, number: u32, one_way: bool) -> Option<Call> {
        let draft = self.tunnel.draft(self, self.me).ok()?;
        self.submit(draft, number, one_way)
    }

    fn submit(&self, draft: Draft, number: u32, one_way: bool) -> Option<Call> {
        self.now.set(number);
        self.tunnel.fill_argument(&draft, 0, &number.to_ne_bytes());
        let argument = part(number);
        match self.tunnel.submit(self, self.me, draft, argument, one_way) {
            Ok(call) => Some(call),
            Err((error, draft)) => {
                assert_eq!(error, SubmitError::Retired);
                self.tunnel.discard(self, draft);
                None
            }
        }
    }

    /// Takes the oldest call; its number.
    fn take(&self) -> Option<(Taken, u32)> {
        let lookout = &mut *self.lookout.borrow_mut();
        let taken = self.tunnel.take(self, self.me, lookout)?;
        let mut bytes = [0; 4];
        self.tunnel.copy_argument(&taken, &mut bytes);
        let number = u32::from_ne_bytes(bytes);
        assert_eq!(taken.argument(), part(number), "torn");
        assert_eq!(taken.time_ns(), u64::from(number), "torn");
        self.segment().0.started.lock().unwrap()[self.line.get()] = number;
        Some((taken, number))
    }

    fn answer(&self, (taken, number): (Taken, u32)) {
        let response = if taken.is_one_way() {
            None
        } else {
            let answer = number + ANSWER;
            self.tunnel.fill_response(&taken, 0, &answer.to_ne_bytes());
            Some((Outcome(answer), part(answer)))
        };
        self.tunnel
            .finish(self, self.me, taken, response)
            .expect("the cell of a call that runs was taken away");
    }

    /// Serves the oldest call, if there is one.
    fn serve(&self) -> bool {
        let taken = self.take();
        taken.map(|taken| self.answer(taken)).is_some()
    }

    /// What `call` has come to, and lets go of it; `Err` if it goes on.
    fn look(&self, call: Call) -> Result<End, CellWord> {
        let end = match self.tunnel.progress(call) {
            Progress::Queued(seen) | Progress::Running(seen) => return Err(seen),
            Progress::Done(outcome, response) => {
                let mut bytes = [0; 4];
                self.tunnel.copy_response(call, &mut bytes);
                let answer = u32::from_ne_bytes(bytes);
                assert_eq!((outcome, response), (Outcome(answer), part(answer)), "torn");
                End::Answer(answer - ANSWER)
            }
            Progress::Died => End::Died,
            Progress::Ended => return Ok(End::Nothing),
            Progress::Corrupt => panic!("corrupt"),
        };
        assert!(self.tunnel.forget(self, call));
        Ok(end)
    }

    /// Sleeps until `call` has come to its end.
    fn wait(&self, call: Call) -> End {
        loop {
            match self.look(call) {
                Ok(end) => return end,
                Err(seen) => {
                    if let Some(value) = self.tunnel.arm_for_response(call, seen) {
                        self.segment().sleep(self.tunnel.word_of(call), value);
                    }
                }
            }
        }
    }

    /// The same, but gives up when the function has gone.
    fn wait_unless_retired(&self, call: Call) -> End {
        loop {
            match self.look(call) {
                Ok(end) => return end,
                Err(seen) => {
                    let armed = self.tunnel.arm_for_response(call, seen);
                    if self.tunnel.is_retired() {
                        self.tunnel.withdraw(self, call);
                        return End::Nothing;
                    }
                    if let Some(value) = armed {
                        self.segment().sleep(self.tunnel.word_of(call), value);
                    }
                }
            }
        }
    }

    /// Sleeps until there is a call, or the function has gone.
    fn wait_for_call(&self) -> Option<(Taken, u32)> {
        loop {
            let seen = self.tunnel.listen_for_calls();
            let taken = self.take();
            if taken.is_some() || seen.is_retired() {
                return taken;
            }
            self.sleep_until_called(seen);
        }
    }

    /// Sleeps unless the bell has rung since it was `seen`.
    fn sleep_until_called(&self, seen: BellWord) {
        if let Some(value) = self.tunnel.arm_for_calls(seen) {
            self.segment().sleep(&self.segment().0.bell, value);
        }
    }

    /// Sleeps until there is a free cell, or the function has gone.
    fn wait_for_room(&self) -> Option<Draft> {
        loop {
            let seen = self.tunnel.listen_for_room();
            match self.tunnel.draft(self, self.me) {
                Ok(draft) => return Some(draft),
                Err(DraftError::Retired) => return None,
                Err(DraftError::Full) => (),
            }
            if let Some(value) = self.tunnel.arm_for_room(seen) {
                self.segment().sleep(&self.segment().0.room, value);
            }
        }
    }

    /// Does `what` and dies at `step` of it, or at its end.
    fn die_at(mut self, step: Step, what: impl FnOnce(&Party)) {
        self.dies_after = Some(step);
        let _ = catch_unwind(AssertUnwindSafe(|| what(&self)));
        // What the kernel does when a process is gone: nobody holds its index.
        self.segment().0.alive[self.me.index() as usize].store(0, Release);
        self.segment().0.held[self.me.index() as usize].store(0, Release);
    }

    /// Recovers `index` if it is dead, and writes that down.
    fn reap(&self, index: u32) {
        if self.tunnel.reap(self, Participant::new(index).unwrap()) {
            self.segment().record(RECOVERED);
        }
    }

    /// Serves what is left, calls with `number` and answers it, alone: a cell or
    /// an answer that was left behind would be in the way.
    fn finds_all_in_order(&self, number: u32) {
        while self.serve() {}
        let call = self.call(number, false).expect("a cell is lost for ever");
        while self.serve() {}
        assert_eq!(self.look(call), Ok(End::Answer(number)));
        assert!(self.segment().is_empty(), "a cell is lost for ever");
    }
}

impl Environment for Party {
    type Recovery = Index;
    fn now_ns(&self) -> u64 {
        self.now.get().into()
    }
    fn wake_all(&self, word: &AtomicU32) {
        let (lock, changed) = self.segment().futex(word);
        drop(lock.lock().unwrap());
        changed.notify_all();
    }
    fn try_take(&self, participant: Participant) -> Option<Index> {
        let number = participant.index() as usize;
        let free = self.segment().0.held.get(number)?;
        let acquire = TunnelSite::Proof.order(Acquire);
        free.compare_exchange(0, 1, acquire, Relaxed).ok()?;
        Some(Index(self.segment().clone(), number))
    }
    fn lives(&self, caller: Participant, _time_ns: u64) -> bool {
        let shared = &self.segment().0;
        let alive = shared.alive.get(caller.index() as usize);
        !self.asks
            || shared.nameless.load(Acquire) == 1
            || alive.is_none_or(|alive| alive.load(Acquire) == 1)
    }
    fn step(&self, step: Step) {
        if step == Step::CallTaken {
            self.line.set(self.segment().record(BY_THE_DEAD));
        }
        if self.dies_after == Some(step) {
            resume_unwind(Box::new("dead"));
        }
    }
}

/// A payload that carries `number`.
fn part(number: u32) -> Part {
    Part {
        length: SIZE,
        encoding: Encoding(number),
    }
}
