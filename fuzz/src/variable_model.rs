//! Participants of one variable, and what the variable may look like after each step.
//!
//! The model is what a user is promised: the last published value, whose version is one
//! more than that of the one before; who has borrowed or been lent which slot; whether
//! it has been removed. It learns of a publication at the very step of the swap, so it
//! also knows what became of a write whose process died. After every operation, also of
//! those that are done while somebody is stopped in the middle of one:
//!
//! - a read gives exactly the last published value;
//! - the owner words tell exactly what the living hold, at most one slot more for
//!   somebody who is in the middle of an operation or died in one, and nothing of those
//!   who were recovered;
//! - borrowed values lie there unchanged, and nobody writes their slots.
//!
//! Errors have to be justified: "no free slot" only if living ones hold all of them.

mod case;
mod checks;
mod leading;

use crate::life::{
    self, Acting, Interruption, Lives, Operation, PARTICIPANTS, Who, World, act, participant,
};
use crate::tally::reached;
use case::{Action, SlotCount, Start, Wrap};
use checks::NobodyLives;
use core::cell::{Cell, RefCell};
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::environment::{Environment, Step};
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::sync::{AtomicU32, Ordering::Relaxed};
use robot_ipc_core::variable::{
    BorrowError, Claim, ClaimError, Details, Latest, Lease, MappedVariable, Memory, Pin, Pins,
    PublishError, ReadError, Sample, StaticVariable, Suspects, VERSION_MODULUS, Variable,
    WriteError,
};
use std::rc::Rc;

pub use case::{Case, GOALS};

/// The largest value.
const MAX_SIZE: usize = 24;
/// Somebody who passes over a dead holder suspects it, then asks, then has the slot.
const ATTEMPTS: u32 = 3;

/// Runs a case; panics if the variable breaks a promise.
pub fn run(case: &Case) {
    match case.slots {
        SlotCount::Two => run_in(&StaticVariable::<2, MAX_SIZE>::new().variable(), case),
        SlotCount::Three => run_in(&StaticVariable::<3, MAX_SIZE>::new().variable(), case),
        SlotCount::Four => run_in(&StaticVariable::<4, MAX_SIZE>::new().variable(), case),
        SlotCount::Six => run_in(&StaticVariable::<6, MAX_SIZE>::new().variable(), case),
    }
}

fn run_in(variable: &Variable<MappedVariable<'_>>, case: &Case) {
    let world = VariableWorld::new(variable, case);
    for who in 0..3 {
        world.be_born(who, None, true);
    }
    while world.next.get() < case.operations.len() {
        world.another_acts();
    }
    world.end(case.survivor_only_writes);
}

/// What was written, and is the latest or was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    sample: Sample,
    bytes: Vec<u8>,
}

/// What a process keeps in its own memory.
#[derive(Debug, Default)]
struct Process {
    suspects: Suspects,
    pins: RefCell<Pins>,
    borrows: RefCell<Vec<(Pin, Value)>>,
    loans: RefCell<Vec<u32>>,
    lease: RefCell<Option<Lease>>,
    /// The value that it is about to publish, and which version it replaces.
    writing: RefCell<Option<(Value, Option<u64>)>>,
    /// The version under which that was published.
    published: Cell<Option<u64>>,
    /// The latest value when it was borrowed.
    borrowing: RefCell<Option<Value>>,
    /// What it saw last: a version, the word, and how often the word had changed.
    seen: Cell<Option<(u64, Latest, u32)>>,
    /// It has published what somebody waited for, and not woken them yet.
    owes_waking: Cell<bool>,
}

struct VariableWorld<'a> {
    variable: &'a Variable<MappedVariable<'a>>,
    lives: Lives,
    operations: &'a [Operation<Action>],
    next: Cell<usize>,
    /// The processes that have the indices; one that was killed in the middle of an
    /// operation still has its own when another one has its index.
    processes: RefCell<[Rc<Process>; PARTICIPANTS.len()]>,
    /// Everything that these have held is given back.
    is_clean: [Cell<bool>; PARTICIPANTS.len()],
    latest: RefCell<Option<Value>>,
    is_retired: Cell<bool>,
    is_awaited: Cell<bool>,
    /// How often the word `latest` has changed.
    changes: Cell<u32>,
    values_made: Cell<u32>,
}

impl World for VariableWorld<'_> {
    fn lives(&self) -> &Lives {
        &self.lives
    }

    fn stepped(&self, who: Who, step: Step) {
        let process = self.process(who);
        match step {
            Step::Published => self.published(&process),
            Step::Woken => assert!(!process.owes_waking.get(), "nobody was woken"),
            Step::Borrowed => *process.borrowing.borrow_mut() = self.latest.borrow().clone(),
            _ => {}
        }
    }

    fn woken(&self, who: Who, word: &AtomicU32) {
        assert!(core::ptr::eq(word, self.variable.memory().latest()));
        self.process(who).owes_waking.set(false);
    }

    fn recovered(&self, dead: Who) {
        let held = self.marks_of(dead);
        assert!(held.is_empty(), "recovery has left {held:?} of {dead}");
        assert_ne!(self.variable.leaseholder(), Some(participant(dead)));
        self.is_clean[dead].set(true);
        self.processes.borrow_mut()[dead] = Rc::default();
        reached("recovered");
    }

    fn died(&self, who: Who) {
        self.is_clean[who].set(false);
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

impl<'a> VariableWorld<'a> {
    fn new(variable: &'a Variable<MappedVariable<'a>>, case: &'a Case) -> Self {
        let world = VariableWorld {
            variable,
            lives: Lives::default(),
            operations: &case.operations,
            next: Cell::new(0),
            processes: RefCell::default(),
            is_clean: core::array::from_fn(|_| Cell::new(true)),
            latest: RefCell::new(None),
            is_retired: Cell::new(false),
            is_awaited: Cell::new(false),
            changes: Cell::new(0),
            values_made: Cell::new(0),
        };
        if let Start::BeforeWrap(wrap) = case.start {
            world.start_before(match wrap {
                Wrap::InLatest => 1 << 24,
                Wrap::InStamp => 1 << 31,
                Wrap::InHigh => 1 << 32,
                Wrap::Whole => VERSION_MODULUS,
            });
        }
        world
    }

    /// Makes the version two before `wrap` the latest, with no bytes, in slot 1.
    fn start_before(&self, wrap: u64) {
        let version = wrap - 2;
        let memory = self.variable.memory();
        let head = memory.head(1);
        head.stamp.store((version as u32) << 1, Relaxed);
        head.high.store((version >> 31) as u32, Relaxed);
        memory.latest().store((version as u32) << 8 | 1, Relaxed);
        let sample = Sample {
            version,
            ..Sample::default()
        };
        let bytes = Vec::new();
        *self.latest.borrow_mut() = Some(Value { sample, bytes });
    }

    fn process(&self, who: Who) -> Rc<Process> {
        Rc::clone(&self.processes.borrow()[who])
    }

    fn slots(&self) -> u32 {
        self.variable.memory().slot_count()
    }

    fn owner(&self, slot: u32) -> u32 {
        self.variable.memory().owner(slot).load(Relaxed)
    }

    fn version(&self) -> u64 {
        let latest = self.latest.borrow();
        latest.as_ref().map_or(0, |value| value.sample.version)
    }

    fn changed(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// A value that no other one is like.
    fn new_value(&self, size: u8) -> Value {
        let number = self.values_made.get();
        self.values_made.set(number + 1);
        let byte = |index: u32| (number.wrapping_mul(0x9E37_79B9) >> (index % 4 * 8)) as u8;
        let bytes = (0..u32::from(size)).map(|index| byte(index) ^ index as u8);
        let sample = Sample {
            encoding: Encoding(number),
            length: size.into(),
            ..Sample::default()
        };
        let bytes = bytes.collect();
        Value { sample, bytes }
    }

    /// The swap of `latest` has just succeeded.
    fn published(&self, process: &Process) {
        assert!(!self.is_retired.get(), "published although it was removed");
        let writing = process.writing.borrow_mut().take();
        let (mut value, replaces) = writing.expect("published once only");
        let before = self.version();
        assert!(replaces.is_none_or(|version| version == before));
        value.sample.version = (before + 1) % VERSION_MODULUS;
        value.sample.time_ns = self.variable.sample().expect("it is the latest").time_ns;
        process.published.set(Some(value.sample.version));
        process.owes_waking.set(self.is_awaited.replace(false));
        *self.latest.borrow_mut() = Some(value);
        self.changed();
    }

    fn operate(&self, operation: &Operation<Action>) {
        let interruption = operation.interruption;
        let anybody = operation.who as usize % PARTICIPANTS.len();
        let has_it = |who| {
            let process = self.process(who);
            match operation.action {
                Action::GiveBack { .. } => !process.borrows.borrow().is_empty(),
                Action::PublishLoan { .. } | Action::AbandonLoan { .. } => {
                    !process.loans.borrow().is_empty()
                }
                Action::Arm => process.seen.get().is_some(),
                _ => true,
            }
        };
        let Some(who) = self.lives.one_that_can_act(operation.who, has_it) else {
            if !(0..PARTICIPANTS.len()).any(|who| self.lives.is_alive(who)) {
                self.be_born(anybody, interruption, true);
            }
            return;
        };
        match operation.action {
            Action::Die => life::kill(self, anybody),
            Action::BeBorn => self.be_born(anybody, interruption, true),
            Action::Write { size } => self.write(who, interruption, size),
            Action::Replace { size, seen_last } => self.replace(who, interruption, size, seen_last),
            Action::Borrow => self.borrow(who, interruption),
            Action::GiveBack { which } => self.give_back(who, interruption, which),
            Action::TakeLoan => self.take_loan(who, interruption),
            Action::PublishLoan { which, size } => {
                self.publish_loan(who, interruption, which, size);
            }
            Action::AbandonLoan { which } => self.abandon_loan(who, interruption, which),
            Action::Lead { size, keeps } => self.lead(who, interruption, size, keeps),
            Action::Look => self.look(who),
            Action::Arm => self.arm(who),
            Action::RecoverAll => {
                let me = participant(who);
                act(self, who, interruption, |system| {
                    self.variable.reap_all(system, me);
                });
            }
            Action::Retire => {
                self.is_retired.set(true);
                self.changed();
                act(self, who, None, |system| self.variable.retire(system));
                reached("retired");
            }
        }
        if interruption.is_some() && !self.lives.is_alive(who) {
            reached("died in between");
        }
    }

    // ----------------------------------------------------------------- writing

    fn write(&self, who: Who, interruption: Option<Interruption>, size: u8) {
        let process = self.process(who);
        let value = self.new_value(size % (MAX_SIZE as u8 + 2));
        let (me, encoding) = (participant(who), value.sample.encoding);
        *process.writing.borrow_mut() = Some((value.clone(), None));
        let done = act(self, who, interruption, |system| {
            let once = || {
                self.variable
                    .write(system, me, &process.suspects, &value.bytes, encoding)
            };
            let is_full = |done: &_| matches!(done, Err(WriteError::Claim(ClaimError::NoFreeSlot)));
            (patiently(once, is_full), system.was_interrupted())
        });
        match done {
            None => {}
            Some((Ok(sample), _)) => self.has_written(&process, &value, sample, "written"),
            Some((Err(WriteError::TooLarge { size, max_size }), _)) => {
                assert!(size > MAX_SIZE && max_size as usize == MAX_SIZE);
            }
            Some((Err(WriteError::Claim(error)), interrupted)) => {
                self.justify_no_claim(error, interrupted);
            }
            Some((Err(WriteError::Publish(error)), _)) => {
                assert_eq!(error, PublishError::Retired);
                assert!(self.is_retired.get());
            }
        }
    }

    fn has_written(&self, process: &Process, value: &Value, sample: Sample, what: &'static str) {
        let expected = Sample {
            version: process.published.take().expect("it was published"),
            time_ns: sample.time_ns,
            ..value.sample
        };
        assert_eq!(sample, expected);
        reached(what);
    }

    fn justify_no_claim(&self, error: ClaimError, was_interrupted: bool) {
        match error {
            ClaimError::Retired => assert!(self.is_retired.get()),
            ClaimError::NoFreeSlot if was_interrupted => {}
            ClaimError::NoFreeSlot => {
                let free = self.slots_that_can_be_had().next();
                assert_eq!(free, None, "no slot was found, but there is one");
                reached("no free slot");
            }
            ClaimError::Leased(holder) => self.justify_lease(holder, was_interrupted),
            ClaimError::Corrupt => panic!("nothing is damaged"),
        }
    }

    /// Slots that are not the latest, and that no living one holds.
    fn slots_that_can_be_had(&self) -> impl Iterator<Item = u32> {
        let latest = self.variable.latest().slot();
        let is_held = |slot| {
            let mut holders = self.variable.holders(slot);
            holders.any(|holder| {
                let who = life::who_has(holder.index()).expect("one that takes part");
                self.lives.is_out_of_reach(who)
            })
        };
        (0..self.slots()).filter(move |slot| Some(*slot) != latest && !is_held(*slot))
    }

    fn replace(&self, who: Who, interruption: Option<Interruption>, size: u8, seen_last: bool) {
        let process = self.process(who);
        let seen = process.seen.get().filter(|_| seen_last);
        let replaces = seen.map_or(self.version(), |(version, ..)| version);
        let value = self.new_value(size % (MAX_SIZE as u8 + 1));
        let me = participant(who);
        let details = Details {
            length: value.sample.length,
            encoding: value.sample.encoding,
            replaces: Some(replaces),
        };
        *process.writing.borrow_mut() = Some((value.clone(), details.replaces));
        let done = act(self, who, interruption, |system| {
            let once = || self.variable.claim(system, me, &process.suspects);
            let result = match patiently(once, |error| error == &Err(ClaimError::NoFreeSlot)) {
                Ok(claim) => {
                    self.fill(system, &claim, &value);
                    let published = self.variable.publish(system, me, claim, &details);
                    published.map_err(|(error, claim)| {
                        self.variable.abandon(system, me, claim);
                        WriteError::Publish(error)
                    })
                }
                Err(error) => Err(WriteError::Claim(error)),
            };
            (result, system.was_interrupted())
        });
        match done {
            None => {}
            Some((Ok(sample), _)) => self.has_written(&process, &value, sample, "replaced"),
            Some((Err(WriteError::Claim(error)), interrupted)) => {
                self.justify_no_claim(error, interrupted);
            }
            Some((Err(WriteError::Publish(PublishError::Changed { version })), interrupted)) => {
                assert_ne!(version, replaces);
                assert!(interrupted || version == self.version());
            }
            Some((Err(error), _)) => {
                assert_eq!(error, WriteError::Publish(PublishError::Retired));
                assert!(self.is_retired.get());
            }
        }
    }

    /// Puts a value into a claimed slot, in two pieces.
    fn fill(&self, system: &Acting<'_, Self>, claim: &Claim, value: &Value) {
        let (first, second) = value.bytes.split_at(value.bytes.len() / 3);
        for (offset, piece) in [(0, first), (first.len(), second)] {
            let filled = self.variable.fill(claim, offset, piece);
            filled.expect("it fits");
            system.step(Step::Filled);
        }
    }

    // ------------------------------------------------------------------- loans

    fn take_loan(&self, who: Who, interruption: Option<Interruption>) {
        let process = self.process(who);
        let me = participant(who);
        let done = act(self, who, interruption, |system| {
            let once = || self.variable.claim_to_loan(system, me, &process.suspects);
            let claim = patiently(once, |claim| claim == &Err(ClaimError::NoFreeSlot));
            (claim, system.was_interrupted())
        });
        match done {
            None => {}
            Some((Ok(claim), was_interrupted)) => {
                let are_left = self.taken_slots() <= self.slots() - 2;
                assert!(are_left || was_interrupted, "writers have too few");
                process.loans.borrow_mut().push(claim.slot());
                reached("lent");
            }
            Some((Err(ClaimError::NoFreeSlot), false)) => {
                let is_room = self.taken_slots() + 1 <= self.slots() - 2;
                assert!(!is_room || self.slots_that_can_be_had().next().is_none());
            }
            Some((Err(error), interrupted)) => self.justify_no_claim(error, interrupted),
        }
    }

    fn publish_loan(&self, who: Who, interruption: Option<Interruption>, which: u8, size: u8) {
        let process = self.process(who);
        let Some(slot) = take_one(&process.loans, which) else {
            return;
        };
        let value = self.new_value(size % (MAX_SIZE as u8 + 1));
        let me = participant(who);
        let details = Details {
            length: value.sample.length,
            encoding: value.sample.encoding,
            replaces: None,
        };
        *process.writing.borrow_mut() = Some((value.clone(), None));
        let done = act(self, who, interruption, |system| {
            let claim = Claim::from_slot(slot);
            self.fill(system, &claim, &value);
            let published = self.variable.publish(system, me, claim, &details);
            published.map_err(|(error, claim)| {
                self.variable.abandon(system, me, claim);
                error
            })
        });
        match done {
            None => {}
            Some(Ok(sample)) => self.has_written(&process, &value, sample, "written"),
            Some(Err(error)) => {
                assert_eq!(error, PublishError::Retired);
                assert!(self.is_retired.get());
            }
        }
    }

    fn abandon_loan(&self, who: Who, interruption: Option<Interruption>, which: u8) {
        if let Some(slot) = take_one(&self.process(who).loans, which) {
            act(self, who, interruption, |system| {
                let claim = Claim::from_slot(slot);
                self.variable.abandon(system, participant(who), claim);
            });
        }
    }

    // ----------------------------------------------------------------- borrows

    fn borrow(&self, who: Who, interruption: Option<Interruption>) {
        let process = self.process(who);
        let me = participant(who);
        let done = act(self, who, interruption, |system| {
            let once = || {
                self.variable
                    .pin(system, me, &mut process.pins.borrow_mut())
            };
            let is_full =
                |pin: &_| matches!(pin, Err(BorrowError::Crowded | BorrowError::TooManyPinned));
            (patiently(once, is_full), system.was_interrupted())
        });
        match done {
            None => {}
            Some((Ok(pin), was_interrupted)) => {
                let value = process.borrowing.take().expect("it was borrowed");
                assert_eq!(pin.sample(), value.sample);
                let is_same_slot = |(other, _): &(Pin, _)| other.slot() == pin.slot();
                let is_new = !process.borrows.borrow().iter().any(is_same_slot);
                let are_left = self.taken_slots() <= self.slots() - 2;
                assert!(
                    are_left || !is_new || was_interrupted,
                    "writers have too few"
                );
                process.borrows.borrow_mut().push((pin, value));
                reached("borrowed");
            }
            Some((Err(error), interrupted)) => self.justify_no_pin(who, error, interrupted),
        }
    }

    fn justify_no_pin(&self, who: Who, error: BorrowError, was_interrupted: bool) {
        let latest = self.variable.latest().slot();
        match error {
            BorrowError::NotAmongTheFirst { index } => {
                assert_eq!(index, PARTICIPANTS[who]);
                assert!(index >= 24);
            }
            BorrowError::TooFewSlots => assert_eq!(self.slots(), 2),
            BorrowError::Read(ReadError::Retired) => assert!(self.is_retired.get()),
            BorrowError::Read(ReadError::NeverWritten) if was_interrupted => {}
            BorrowError::Read(ReadError::NeverWritten) => assert_eq!(latest, None),
            BorrowError::Read(ReadError::Contended) if was_interrupted => {}
            BorrowError::Read(ReadError::Contended) => {
                let claim = latest.map_or(0, |slot| self.owner(slot)) >> 24;
                let holder = claim.checked_sub(1).and_then(life::who_has);
                let holder = holder.expect("somebody has a claim on the latest slot");
                assert!(self.lives.is_out_of_reach(holder));
            }
            BorrowError::Crowded | BorrowError::TooManyPinned => {
                let owner = latest.map_or(0, |slot| self.owner(slot));
                let taken = self.taken_slots() + u32::from(owner == 0);
                assert!(was_interrupted || taken > self.slots() - 2);
                reached("too many borrowed");
            }
            BorrowError::Read(ReadError::Corrupt) => panic!("nothing is damaged"),
        }
    }

    fn taken_slots(&self) -> u32 {
        (0..self.slots())
            .filter(|slot| self.owner(*slot) != 0)
            .count() as u32
    }

    fn give_back(&self, who: Who, interruption: Option<Interruption>, which: u8) {
        let process = self.process(who);
        let Some((pin, _)) = take_one(&process.borrows, which) else {
            return;
        };
        act(self, who, interruption, |system| {
            let mut pins = process.pins.borrow_mut();
            self.variable
                .unpin(system, participant(who), &mut pins, pin);
        });
    }

    // ----------------------------------------------------------------- waiting

    fn look(&self, who: Who) {
        match self.variable.version() {
            Ok((version, word)) => {
                assert_eq!(version, self.version());
                let seen = Some((version, word, self.changes.get()));
                self.process(who).seen.set(seen);
            }
            Err(error) => {
                assert_eq!(error, ReadError::Retired);
                assert!(self.is_retired.get());
            }
        }
    }

    fn arm(&self, who: Who) {
        let Some((_, seen, changes)) = self.process(who).seen.get() else {
            return;
        };
        let armed = self.variable.arm(seen);
        let is_current = changes == self.changes.get();
        assert_eq!(armed.is_some(), seen.waiting() || is_current);
        if is_current && !seen.waiting() {
            assert!(self.variable.latest().waiting());
            self.is_awaited.set(true);
            self.changed();
            reached("armed");
        }
    }

    // ------------------------------------------------------------ birth, death

    fn be_born(&self, who: Who, interruption: Option<Interruption>, looks_around: bool) {
        let me = participant(who);
        if self.lives.is_alive(who) || self.lives.is_busy(who) {
            return;
        }
        life::join(
            self,
            who,
            interruption,
            |system, lock| {
                self.variable.recover(system, me, lock);
            },
            |system| {
                if looks_around {
                    self.variable.reap_all(system, me);
                }
            },
        );
        if self.lives.is_alive(who) && self.next.get() > 0 {
            reached("born again");
        }
    }

    /// All are killed, and one is born: it can use every slot.
    fn end(&self, survivor_only_writes: bool) {
        for who in 0..PARTICIPANTS.len() {
            life::kill(self, who);
        }
        let survivor = 4;
        self.be_born(survivor, None, !survivor_only_writes);
        self.check();
        if !self.is_retired.get() {
            // Once in four writes another slot is looked at.
            for _ in 0..4 * (ATTEMPTS + 1) * self.slots() {
                let before = self.version();
                self.write(survivor, None, 5);
                assert_ne!(self.version(), before, "the survivor cannot write");
                self.check();
            }
            let suspects = Suspects::new();
            let claim = |_| {
                let claim = self
                    .variable
                    .claim(&NobodyLives, participant(survivor), &suspects);
                claim.expect("a slot is lost")
            };
            let claims: Vec<Claim> = (1..self.slots()).map(claim).collect();
            for claim in claims {
                self.variable
                    .abandon(&NobodyLives, participant(survivor), claim);
            }
        } else if survivor_only_writes {
            // Whoever writes in vain recovers nobody.
            self.variable.reap_all(&NobodyLives, participant(survivor));
        }
        assert_eq!(self.taken_slots(), 0, "a mark is left");
        assert_eq!(self.variable.leaseholder(), None, "a lease is left");
    }
}

/// Takes one of `things` out.
fn take_one<T>(things: &RefCell<Vec<T>>, which: u8) -> Option<T> {
    let mut things = things.borrow_mut();
    let count = things.len();
    (count > 0).then(|| things.remove(which as usize % count))
}

/// Tries again while it `is_full`, as often as it takes to take slots from the dead.
fn patiently<T>(mut once: impl FnMut() -> T, is_full: impl Fn(&T) -> bool) -> T {
    let mut result = once();
    for _ in 1..ATTEMPTS {
        if !is_full(&result) {
            break;
        }
        result = once();
    }
    result
}
