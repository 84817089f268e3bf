//! The tunnel of a host function: calls from many processes to those that serve it.
//!
//! # What it guarantees
//!
//! - A response reaches the caller that asked, and nobody else: arguments and
//!   response of a call lie in one *cell*, which is the caller's until it lets go.
//! - Every call that wants a response ends: with it, with nothing, or with the
//!   news that its dispatcher died. A call is run at most once.
//! - A call that was withdrawn, or whose caller died, never starts later (unless
//!   nobody wanted a response from the start): who takes a call asks whether its
//!   caller lives, unless it was made just now.
//! - If one call had returned before another one began, it starts first.
//! - A participant that dies at any step costs at most its cells, until they are
//!   recovered.
//!
//! # How
//!
//! ```text
//!          draft            submit           take              finish
//!   FREE ────────▶ WRITING ────────▶ READY ────────▶ RUNNING ────────▶ DONE ──▶ FREE
//!    ▲                 │               │                │  │                (fetched)
//!    └── caller died ──┘               │                │  └ dispatcher died ▶ DIED ──▶ FREE
//!    └── withdrawn, or caller died ────┘                │                     (told)
//!    └── nothing to return, or nobody wants it ─────────┘
//! ```
//!
//! The word of a cell is state:3 | orphan:1 | waiting:1 | who:8 | generation:19.
//! Every arrow is one compare-and-swap on it, so at any instant it is written down
//! who is responsible: the dispatcher while the call is running, the caller in all
//! other states. The generation counts the uses of a cell: a caller whose cell has
//! another one (or another ticket), or is free, knows that its call ended without a
//! response.
//!
//! *Orphan* on a running call: nobody wants the response, whoever finishes frees the
//! cell. On a ready call: nobody wanted one from the start, so it is kept if its
//! caller dies.
//!
//! # Order
//!
//! A caller takes a *ticket* after its arguments are in, right before READY. A
//! dispatcher looks for the smallest ticket among the ready cells until two looks
//! agree: during one look alone it can pass a cell that is about to be ready and
//! then find a younger call further on.
//!
//! Most calls need no look at all cells. A dispatcher knows a ticket before which all
//! calls have started or ended: it counts on with each such call that it takes, and begins
//! anew when it finds no cell in which a call is ready, or being made, after it had read
//! how many tickets were given out. A call with that very ticket is the next one, whatever
//! the other cells hold; where it lies can be guessed.
//!
//! # Bells
//!
//! Dispatchers sleep on the *bell*, callers without a free cell on the *room* word.
//! Whoever makes a call ready, or a cell free, rings: one addition, and if somebody
//! waits, a wake-up of all. Who listens looks at the bell, then at the cells, and
//! sleeps on the very word it looked at.
//!
//! # Who may write each word
//!
//! | word | who |
//! |---|---|
//! | cell | who is responsible; the caller its two flags; the recoverer of a dead one; who retires it clears the waiting flag |
//! | arguments, caller, ticket, time | the caller, while WRITING |
//! | response, its head | the dispatcher, while RUNNING |
//! | end | who retires it, once |
//! | bell, room, tickets | anybody, by addition, and the flags by swap |
//!
//! # If a party dies
//!
//! | who, in which state | what recovery makes of it |
//! |---|---|
//! | caller, WRITING, DONE, DIED | FREE |
//! | caller, READY | FREE, also by a dispatcher that is about to take it; stays if nobody wanted a response |
//! | caller, RUNNING | orphan: whoever finishes frees it |
//! | dispatcher, RUNNING | DIED, or FREE if orphan or if the caller is dead too |
//! | between a transition and its ring | sleepers look again at the end of their slice |
//!
//! # Counters
//!
//! Tickets are compared by their wrapping difference: right as long as no call is
//! older than 2^31 others. A caller knows its call by generation and ticket: one that
//! ended without a response, and at which its caller does not look until exactly k·2^32
//! calls have been made and the last of them lies in the very same cell, in a use that
//! is a multiple of 2^19 later, would be taken for that one.

mod call;
#[cfg(not(robot_ipc_loom))]
mod layout;
#[cfg(all(test, robot_ipc_loom))]
mod loom_models;
mod recover;
mod serve;
#[cfg(all(test, not(robot_ipc_loom)))]
mod tests;
mod word;

pub use call::{Call, Draft, DraftError, Progress, SubmitError, Withdrawal};
#[cfg(not(robot_ipc_loom))]
pub use layout::{CELLS_OFFSET, MappedTunnel, TunnelControl, TunnelGeometry, initial_bytes};
pub use serve::{FinishError, Lookout, Taken};
pub use word::{BellWord, CellWord, State};

use crate::codec::Encoding;
use crate::environment::Environment;
use crate::participant::Participant;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, ReservedWord, TunnelSite};

/// The fewest cells a tunnel can have.
pub const MIN_CELLS: u32 = 1;
/// The most cells a tunnel can have.
pub const MAX_CELLS: u32 = 64;
/// How many cells a tunnel has unless it is asked for others.
pub const DEFAULT_CELLS: u32 = 16;
/// The largest arguments, and the largest response, in bytes (1 GiB).
pub const MAX_PART_SIZE: u32 = 1 << 30;

/// How often a transition is tried again when the other side has changed a flag.
const FLAG_ATTEMPTS: u32 = 8;

/// What a cell says of its call: the first half of a cache line, so that small arguments,
/// which follow it, come with it.
///
/// ```text
///  0      4       8        12        16         20     28    32
///  +------+-------+--------+---------+----------+------+-----+
///  | word | ticket| caller | argument| argument | time | res.|
///  |      |       |        | length  | encoding | _ns  |     |
///  +------+-------+--------+---------+----------+------+-----+
/// ```
#[cfg_attr(not(robot_ipc_loom), repr(C))]
#[derive(Debug)]
pub struct CellHead {
    /// Where the call is, a [`CellWord`].
    pub word: AtomicU32,
    /// Its place in the order.
    pub ticket: AtomicU32,
    /// The caller's claim, index + 1.
    pub caller: AtomicU32,
    /// Bytes of the arguments.
    pub argument_length: AtomicU32,
    /// How they were made, an [`Encoding`].
    pub argument_encoding: AtomicU32,
    /// When the call was made: CLOCK_BOOTTIME in ns, low word, high word.
    pub time_ns: [AtomicU32; 2],
    /// Zero.
    pub reserved: ReservedWord,
}

impl CellHead {
    /// When the call was made, in ns since boot; 0 if its caller has no clock.
    fn time_ns(&self) -> u64 {
        let [low, high] = self.time_ns.each_ref().map(|half| half.load(Relaxed));
        u64::from(low) | u64::from(high) << 32
    }
}

/// What a cell says of the response, which follows: in a cache line that a caller which
/// waits can look at without taking the head from its dispatcher.
///
/// ```text
///  0      4         8        12         16
///  +------+---------+--------+----------+
///  |ticket| outcome | length | encoding |
///  +------+---------+--------+----------+
/// ```
#[cfg_attr(not(robot_ipc_loom), repr(C))]
#[derive(Debug)]
pub struct AnswerHead {
    /// The ticket of the call that is about to end: a hint when to look at the cell's
    /// word, and nothing more.
    pub ticket: AtomicU32,
    /// What the response is, an [`Outcome`].
    pub outcome: AtomicU32,
    /// Its bytes.
    pub length: AtomicU32,
    /// How they were made, an [`Encoding`].
    pub encoding: AtomicU32,
}

/// What a response is. Numbers are part of the format; those that are not named
/// here are errors that somebody newer reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Outcome(pub u32);

impl Outcome {
    /// What the function returned.
    pub const RETURNED: Outcome = Outcome(0);
    /// What the function raised; the bytes describe it.
    pub const RAISED: Outcome = Outcome(1);
    /// What the function returned is too large: its length is the size that it has,
    /// and there are no bytes.
    pub const TOO_LARGE: Outcome = Outcome(2);
    /// The call was too old to be started: the length is how old it could be, in
    /// milliseconds, and there are no bytes.
    pub const TOO_OLD: Outcome = Outcome(3);

    /// The length that stands for a response of this kind, if `length` was told and
    /// `max_size` bytes are the most.
    const fn length(self, length: u32, max_size: u32) -> u32 {
        match self {
            Outcome::TOO_LARGE | Outcome::TOO_OLD => length,
            _ if length > max_size => max_size,
            _ => length,
        }
    }
}

/// How the protocol reaches the words of a tunnel. Cell numbers are below
/// [`cell_count`](TunnelMemory::cell_count); implementations stay inside their
/// memory for any number.
pub trait TunnelMemory {
    /// How many cells there are: 1 to 64.
    fn cell_count(&self) -> u32;
    /// How many bytes the arguments can have.
    fn max_argument_size(&self) -> u32;
    /// How many bytes a response can have; 0 if no call wants one.
    fn max_response_size(&self) -> u32;
    /// The word that dispatchers sleep on.
    fn bell(&self) -> &AtomicU32;
    /// The word that callers without a free cell sleep on.
    fn room(&self) -> &AtomicU32;
    /// The next ticket.
    fn tickets(&self) -> &AtomicU32;
    /// A bell that nobody rings: only its end is told.
    fn end(&self) -> &AtomicU32;
    /// The words of a cell.
    fn head(&self, cell: u32) -> &CellHead;
    /// The words of its response.
    fn answer(&self, cell: u32) -> &AnswerHead;
    /// The words of a cell are about to be looked at, and changed. Means nothing: some
    /// processors then fetch them once instead of twice.
    fn expect_change(&self, cell: u32) {
        let _ = cell;
    }
    /// Copies `bytes` into a cell's arguments at `offset`, by relaxed words.
    fn fill_argument(&self, cell: u32, offset: usize, bytes: &[u8]);
    /// Copies a cell's arguments out, by relaxed words.
    fn copy_argument(&self, cell: u32, bytes: &mut [u8]);
    /// Copies `bytes` into a cell's response at `offset`, by relaxed words.
    fn fill_response(&self, cell: u32, offset: usize, bytes: &[u8]);
    /// Copies a cell's response out, by relaxed words.
    fn copy_response(&self, cell: u32, bytes: &mut [u8]);
}

/// Bytes that were handed over, and how they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// How many bytes; at most the tunnel's maximum.
    pub length: u32,
    /// How they were made.
    pub encoding: Encoding,
}

/// The tunnel of a host function in some memory.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel<M> {
    memory: M,
}

impl<M: TunnelMemory> Tunnel<M> {
    /// The tunnel in `memory`.
    pub const fn new(memory: M) -> Self {
        Tunnel { memory }
    }

    /// Where it lies.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// The word of a cell as it is now.
    fn see(&self, cell: u32) -> CellWord {
        // SYNC see ↔ finish: the response must not be looked for before the
        // word that says that it is there.
        let word = &self.memory.head(cell).word;
        CellWord::from_word(word.load(TunnelSite::See.order(Acquire)))
    }

    /// Frees a cell that is in exactly the state `seen`; `false` if it is not.
    fn free<E: Environment>(&self, environment: &E, cell: u32, seen: CellWord) -> bool {
        let word = &self.memory.head(cell).word;
        // SYNC free ↔ draft: nothing that was done to the cell may happen after
        // somebody else has taken it.
        let release = TunnelSite::Free.order(Release);
        if word
            .compare_exchange(seen.word(), seen.freed().word(), release, Relaxed)
            .is_err()
        {
            return false;
        }
        if seen.is_waiting() {
            environment.wake_all(word);
        }
        self.ring(environment, self.memory.room());
        true
    }

    // ------------------------------------------------------------------ bells

    /// Announces something to those who listen to `bell`.
    fn ring<E: Environment>(&self, environment: &E, bell: &AtomicU32) {
        // An addition in any case, not only if somebody waits: who is about to
        // sleep compares the whole word.
        // SYNC ring ↔ listen: what is announced must be seen by who sees this.
        let one = BellWord::from_word(0).rung().word();
        let one = if TunnelSite::Count.present() { one } else { 0 };
        let before = BellWord::from_word(bell.fetch_add(one, TunnelSite::Ring.order(Release)));
        if before.is_waiting() {
            // Relaxed: who sets it anew while this clears it is woken below.
            bell.fetch_and(!BellWord::from_word(0).with_waiting().word(), Relaxed);
            environment.wake_all(bell);
        }
    }

    /// The bell, to be looked at before the cells.
    pub fn listen_for_calls(&self) -> BellWord {
        // SYNC listen ↔ ring: the cells must not be looked at before.
        let acquire = TunnelSite::ListenForCalls.order(Acquire);
        BellWord::from_word(self.memory.bell().load(acquire))
    }

    /// The room word, to be looked at before looking for a free cell.
    pub fn listen_for_room(&self) -> BellWord {
        // SYNC listen ↔ ring, as above.
        let acquire = TunnelSite::ListenForRoom.order(Acquire);
        BellWord::from_word(self.memory.room().load(acquire))
    }

    /// Sets the waiting bit beside `seen`; the word to sleep on, or `None` if it
    /// has rung since.
    pub fn arm_for_calls(&self, seen: BellWord) -> Option<u32> {
        arm(self.memory.bell(), seen.word(), seen.with_waiting().word())
    }

    /// As [`arm_for_calls`](Tunnel::arm_for_calls), for the room word.
    pub fn arm_for_room(&self, seen: BellWord) -> Option<u32> {
        arm(self.memory.room(), seen.word(), seen.with_waiting().word())
    }

    // ------------------------------------------------------------------ cells

    /// All cells as they are now, one after the other.
    pub fn cells(&self) -> impl Iterator<Item = CellView> {
        (0..self.memory.cell_count()).filter_map(|cell| {
            let head = self.memory.head(cell);
            // SYNC scan ↔ submit: the caller must be the one of this call.
            let acquire = TunnelSite::ScanToTell.order(Acquire);
            let word = CellWord::from_word(head.word.load(acquire));
            let state = word.state()?;
            let responsible = Participant::from_claim(word.who());
            let caller = match state {
                State::Running => Participant::from_claim(head.caller.load(Relaxed)),
                _ => responsible,
            };
            Some(CellView {
                state,
                responsible,
                caller,
                is_orphan: word.is_orphan(),
            })
        })
    }
}

/// One cell, as it was for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellView {
    /// Where its call is.
    pub state: State,
    /// Whose turn it is: the dispatcher's while it runs, else the caller's.
    pub responsible: Option<Participant>,
    /// Who called.
    pub caller: Option<Participant>,
    /// Whether nobody wants a response.
    pub is_orphan: bool,
}

/// Turns `seen` into `armed`; the word to sleep on, or `None` if it has changed.
fn arm(word: &AtomicU32, seen: u32, armed: u32) -> Option<u32> {
    if seen != armed {
        // SYNC arm ↔ retire-cells: who looks next whether the tunnel has been
        // retired must see it, if this comes after.
        let acquire = TunnelSite::Arm.order(Acquire);
        word.compare_exchange(seen, armed, acquire, Relaxed).ok()?;
    }
    Some(armed)
}
