//! Participants that live, stop, die and are born again, all in one thread.
//!
//! Core asks its [`Environment`] who is dead, and tells it of every step it has done.
//! So a fuzzer can play all processes by itself: each operation runs in an
//! environment, [`Acting`], that knows at which step its process is to be
//! interrupted.
//!
//! - *It dies*: the operation is left by unwinding. Core has no destructors, so the
//!   shared memory keeps exactly what a killed process would have left there.
//! - *It stops*: the others act, from within the step, and then it goes on. It may
//!   have been killed meanwhile, and its index be another process's by then; in that
//!   case it leaves without touching anything.
//!
//! That way the steps of operations are interleaved in every order, except that one
//! thread has no weak memory: that is what the loom models are for.

use arbitrary::{Arbitrary, Unstructured};
use core::cell::Cell;
use robot_ipc_core::environment::{Environment, Step};
use robot_ipc_core::participant::Participant;
use robot_ipc_core::sync::AtomicU32;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A participant, as a position in [`PARTICIPANTS`].
pub type Who = usize;

/// The indices that take part: the first, the last that can borrow and the first
/// that cannot, and the last of all.
pub const PARTICIPANTS: [u32; 5] = [0, 1, 23, 24, 254];

/// The participant in core's words.
#[must_use]
pub fn participant(who: Who) -> Participant {
    Participant::new(PARTICIPANTS[who]).expect("an index below the limit")
}

/// Who has that index, if it is one that takes part.
#[must_use]
pub fn who_has(index: u32) -> Option<Who> {
    PARTICIPANTS.iter().position(|known| *known == index)
}

/// What happens in the middle of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Interruption {
    /// After how many of its steps; an operation that has fewer ends undisturbed.
    pub after_steps: u8,
    /// What happens then.
    pub fate: Fate,
}

/// What can happen to a process.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It is killed.
    Dies,
    /// It does nothing while others do so many operations.
    Stops {
        /// How many.
        operations: u8,
    },
}

/// What one participant does, and what happens to it meanwhile.
///
/// It is made of four bytes, each with one meaning. The forms that `arbitrary` derives
/// take more of them, for some choices only, and end a list at every second random byte:
/// then most cases are over before anything has happened, and a change of one byte
/// changes the meaning of all that follow.
#[derive(Clone, Copy, Debug)]
pub struct Operation<A> {
    /// Who does it, or is born or dies.
    pub who: u8,
    /// What happens in the middle of it.
    pub interruption: Option<Interruption>,
    /// What it is.
    pub action: A,
}

impl<'a, A: From<[u8; 2]>> Arbitrary<'a> for Operation<A> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let [who, what, detail, interruption]: [u8; 4] = bytes.arbitrary()?;
        let after_steps = interruption & 0xF;
        let fate = match interruption >> 4 & 7 {
            0..=3 => Fate::Dies,
            more => Fate::Stops {
                operations: more - 3,
            },
        };
        let is_interrupted = interruption & 0x80 != 0;
        Ok(Operation {
            who,
            interruption: is_interrupted.then_some(Interruption { after_steps, fate }),
            action: A::from([what, detail]),
        })
    }
}

/// Operations as long as there are bytes, within reason.
///
/// # Errors
/// None; it is the signature that `arbitrary` asks for.
pub fn operations<'a, A: From<[u8; 2]>>(
    bytes: &mut Unstructured<'a>,
) -> arbitrary::Result<Vec<Operation<A>>> {
    const LIMIT: usize = 256;
    let mut operations = Vec::new();
    while !bytes.is_empty() && operations.len() < LIMIT {
        operations.push(bytes.arbitrary()?);
    }
    Ok(operations)
}

/// What the processes have in common, and a model of it that checks each step.
pub trait World: Sized {
    /// Who lives.
    fn lives(&self) -> &Lives;
    /// `who` has done `step`.
    fn stepped(&self, who: Who, step: Step);
    /// `who` has woken those who sleep on `word`.
    fn woken(&self, who: Who, word: &AtomicU32);
    /// Somebody has taken back what `dead` left, to the end.
    fn recovered(&self, dead: Who);
    /// `who` was killed.
    fn died(&self, who: Who);
    /// One of the others does the next operation.
    fn another_acts(&self);
}

/// The state of one index.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    is_alive: bool,
    /// In the middle of an operation.
    is_busy: bool,
    /// Tells the processes apart that have had this index.
    number: u32,
    /// Whose kernel lock is on this index, if it is not the living one's own.
    recovered_by: Option<(Who, u32)>,
}

/// Who lives.
#[derive(Debug, Default)]
pub struct Lives {
    lives: [Cell<Life>; PARTICIPANTS.len()],
    now_ns: Cell<u64>,
}

impl Lives {
    /// Whether `who` lives. One that is about to register does not yet.
    #[must_use]
    pub fn is_alive(&self, who: Who) -> bool {
        self.lives[who].get().is_alive
    }

    /// Whether `who` is in the middle of an operation.
    #[must_use]
    pub fn is_busy(&self, who: Who) -> bool {
        self.lives[who].get().is_busy
    }

    /// One of those who live, are not busy, and have what it takes.
    pub fn one_that_can_act(&self, choice: u8, has_it: impl Fn(Who) -> bool) -> Option<Who> {
        let can_act = |who: &Who| self.is_alive(*who) && !self.is_busy(*who) && has_it(*who);
        let count = (0..PARTICIPANTS.len()).filter(can_act).count();
        let choice = usize::from(choice).checked_rem(count)?;
        (0..PARTICIPANTS.len()).filter(can_act).nth(choice)
    }

    /// Whether somebody recovers `who` (or is stopped in the middle of that).
    #[must_use]
    pub fn is_being_recovered(&self, who: Who) -> bool {
        self.lives[who].get().recovered_by.is_some()
    }

    /// Nobody can take back what `who` holds.
    #[must_use]
    pub fn is_out_of_reach(&self, who: Who) -> bool {
        self.is_alive(who) || self.is_being_recovered(who)
    }

    /// Whether `recoverer` is about to take back what `dead` left.
    #[must_use]
    pub fn is_recovering(&self, recoverer: Who, dead: Who) -> bool {
        let number = self.lives[recoverer].get().number;
        self.lives[dead].get().recovered_by == Some((recoverer, number))
    }

    /// Tells the processes apart that have had the index `who`.
    #[must_use]
    pub fn number(&self, who: Who) -> u32 {
        self.lives[who].get().number
    }

    fn change(&self, who: Who, change: impl FnOnce(&mut Life)) {
        let mut life = self.lives[who].get();
        change(&mut life);
        self.lives[who].set(life);
    }
}

/// Kills `who`, also in the middle of an operation. Its kernel locks go with it.
pub fn kill<W: World>(world: &W, who: Who) {
    let lives = world.lives();
    let life = lives.lives[who].get();
    if !life.is_alive && !life.is_busy {
        return;
    }
    lives.change(who, |life| {
        life.is_alive = false;
        life.is_busy = false;
        life.number += 1;
    });
    for other in 0..PARTICIPANTS.len() {
        lives.change(other, |other| {
            if other.recovered_by == Some((who, life.number)) {
                other.recovered_by = None;
            }
        });
    }
    world.died(who);
}

/// What unwinds an operation whose process was killed.
struct Killed;

/// Runs an operation of `who`. `None` if it is dead or busy, or was killed before the
/// operation ended.
pub fn act<'w, W: World, R>(
    world: &'w W,
    who: Who,
    interruption: Option<Interruption>,
    operation: impl FnOnce(&Acting<'w, W>) -> R,
) -> Option<R> {
    let lives = world.lives();
    let life = lives.lives[who].get();
    if !life.is_alive || life.is_busy {
        return None;
    }
    lives.change(who, |life| life.is_busy = true);
    let acting = Acting::new(world, who, interruption);
    let result = unless_killed(|| operation(&acting))?;
    lives.change(who, |life| life.is_busy = false);
    Some(result)
}

/// A new process gets the index `who`: it takes the index's lock, lets `recover` take
/// back what the last one left, and then `look_around`, and lives from then on.
pub fn join<'w, W: World>(
    world: &'w W,
    who: Who,
    interruption: Option<Interruption>,
    recover: impl FnOnce(&Acting<'w, W>, &Recovering<'w, W>),
    look_around: impl FnOnce(&Acting<'w, W>),
) {
    let lives = world.lives();
    let life = lives.lives[who].get();
    if life.is_alive || life.is_busy || life.recovered_by.is_some() {
        return;
    }
    lives.change(who, |life| {
        life.is_busy = true;
        life.recovered_by = Some((who, life.number));
    });
    let acting = Acting::new(world, who, interruption);
    let registered = unless_killed(|| {
        let lock = Recovering::new(&acting, who);
        recover(&acting, &lock);
        world.recovered(who);
        look_around(&acting);
        // Kept for the rest of its life.
        core::mem::forget(lock);
    });
    if registered.is_some() {
        lives.change(who, |life| {
            life.is_alive = true;
            life.is_busy = false;
            life.recovered_by = None;
        });
    }
}

fn unless_killed<R>(operation: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<Killed>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// The system as an operation of one process sees it.
#[derive(Debug)]
pub struct Acting<'w, W: World> {
    world: &'w W,
    who: Who,
    number: u32,
    interruption: Cell<Option<Interruption>>,
    was_interrupted: Cell<bool>,
}

impl<'w, W: World> Acting<'w, W> {
    fn new(world: &'w W, who: Who, interruption: Option<Interruption>) -> Self {
        Acting {
            world,
            who,
            number: world.lives().number(who),
            interruption: Cell::new(interruption),
            was_interrupted: Cell::new(false),
        }
    }

    /// Whether others have acted since the operation began: what it ran into may have
    /// been gone again.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.was_interrupted.get()
    }

    /// Leaves the operation without unwinding through the panic hook, which would tell
    /// the fuzzer of a crash.
    fn die(&self) -> ! {
        resume_unwind(Box::new(Killed))
    }
}

impl<'w, W: World> Environment for Acting<'w, W> {
    type Recovery = Recovering<'w, W>;

    /// Time passes at every look at the clock, faster than any patience.
    fn now_ns(&self) -> u64 {
        let now = &self.world.lives().now_ns;
        now.set(now.get() + 2_000_000);
        now.get()
    }

    fn wake_all(&self, word: &AtomicU32) {
        self.world.woken(self.who, word);
    }

    fn try_take(&self, participant: Participant) -> Option<Recovering<'w, W>> {
        let lives = self.world.lives();
        let dead = who_has(participant.index())?;
        if lives.is_out_of_reach(dead) {
            return None;
        }
        lives.change(dead, |life| {
            life.recovered_by = Some((self.who, self.number));
        });
        Some(Recovering::new(self, dead))
    }

    fn lives(&self, caller: Participant, _time_ns: u64) -> bool {
        who_has(caller.index()).is_some_and(|who| self.world.lives().is_alive(who))
    }

    fn step(&self, step: Step) {
        self.world.stepped(self.who, step);
        let Some(interruption) = self.interruption.get() else {
            return;
        };
        if interruption.after_steps > 0 {
            let after_steps = interruption.after_steps - 1;
            self.interruption.set(Some(Interruption {
                after_steps,
                ..interruption
            }));
            return;
        }
        self.interruption.set(None);
        match interruption.fate {
            Fate::Dies => {
                kill(self.world, self.who);
                self.die();
            }
            Fate::Stops { operations } => {
                self.was_interrupted.set(true);
                for _ in 0..operations {
                    self.world.another_acts();
                }
                if self.world.lives().number(self.who) != self.number {
                    self.die();
                }
            }
        }
    }
}

/// The kernel lock on a dead participant's index.
#[derive(Debug)]
pub struct Recovering<'w, W: World> {
    world: &'w W,
    dead: Who,
    by: (Who, u32),
}

impl<'w, W: World> Recovering<'w, W> {
    fn new(acting: &Acting<'w, W>, dead: Who) -> Self {
        Recovering {
            world: acting.world,
            dead,
            by: (acting.who, acting.number),
        }
    }
}

impl<W: World> Drop for Recovering<'_, W> {
    fn drop(&mut self) {
        let lives = self.world.lives();
        if std::thread::panicking() || !lives.is_being_recovered(self.dead) {
            // The lock went with the process that held it.
            return;
        }
        assert_eq!(lives.lives[self.dead].get().recovered_by, Some(self.by));
        lives.change(self.dead, |life| life.recovered_by = None);
        self.world.recovered(self.dead);
    }
}
