//! Handles: small numbers that C takes for pointers.
//!
//! Programs of the earlier library check handles against null and otherwise only pass
//! them back; some pass them through a C `int`. So a handle is a number of 31 bits that
//! is never 0: where its *entry* stands in a table, and which of the entry's *turns* it
//! belongs to. A handle that was let go of carries an earlier turn, and is told apart
//! from its successors; only after some millions of openings could it be mistaken for
//! one.
//!
//! Looking a handle up is one compare-and-swap on its entry's word, and so is leaving it:
//! threads that use different handles do not meet, and no lock exists that a fork could
//! copy while it is held. Who lets go of a handle only marks the entry; the last one to
//! leave drops what was in it. In a child that was forked while another thread was using
//! an entry, that user never leaves: what is in it then lives as long as the child.
//!
//! Entries are never freed. They are made in blocks, and taken in turns, so that one
//! which was let go of rests for as long as possible.

use super::caller::Caller;
use crate::ffi::status::Failure;
use crate::ffi::status::ripc_status::{RIPC_BAD_ARGUMENT, RIPC_NO_SPACE};
use crate::fork;
use crate::function::HostFunctionDispatcher;
use crate::variable::HostVariable;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::Deref;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use static_assertions::assert_impl_all;
use std::sync::OnceLock;

/// What a handle stands for.
#[derive(Debug)]
pub(super) enum Object {
    Variable(HostVariable),
    Caller(Caller),
    Dispatcher(HostFunctionDispatcher),
}

assert_impl_all!(Object: Send, Sync);

/// What the handles of one type stand for.
pub(super) trait Kind {
    /// What to say of a handle that stands for nothing, or for something else.
    const STALE: &'static str;

    fn of(object: &Object) -> Option<&Self>;
}

/// Bits of a handle that say which entry; the other 15 say which turn.
const INDEX_BITS: u32 = 16;
const MAX_HANDLES: usize = (1 << INDEX_BITS) - 1;
/// How many entries are made at once.
const BLOCK: usize = 256;

// An entry's word: turn:15 | live:1 | users:16.
const USERS: u32 = 0xFFFF;
const LIVE: u32 = 1 << 16;
const TURN_SHIFT: u32 = 17;
const TURN_MASK: u32 = 0x7FFF;

#[derive(Debug, Default)]
struct Entry {
    word: AtomicU32,
    /// Written by who takes a free entry, and by the last who leaves one that is not live.
    object: UnsafeCell<Option<Object>>,
}

// SAFETY: `object` is read by users, who come only while it is live. It is written only
// while there is none: under the lock by who takes the entry, and by the last user of an
// entry that is not live, to which nobody comes.
unsafe impl Sync for Entry {}

/// All handles of this process.
#[derive(Debug)]
pub(super) struct Table {
    blocks: [OnceLock<Box<[Entry; BLOCK]>>; (MAX_HANDLES + 1) / BLOCK],
    /// Where the next search for a free entry begins.
    next: AtomicU32,
}

pub(super) static TABLE: Table = Table {
    blocks: [const { OnceLock::new() }; (MAX_HANDLES + 1) / BLOCK],
    next: AtomicU32::new(0),
};

impl Table {
    fn entry(&self, index: usize) -> Option<&Entry> {
        Some(&self.blocks.get(index / BLOCK)?.get()?[index % BLOCK])
    }

    /// A handle for `object`.
    pub(super) fn add(&self, object: Object) -> Result<u32, Failure> {
        // Nobody forks, and nobody else takes an entry, while this is held. A refused
        // object is dropped after it: that takes the lock, too.
        let refused = {
            let _one_at_a_time = fork::slow_path();
            match self.free_entry() {
                Some((index, entry)) => return Ok(entry.fill(index, object)),
                None => object,
            }
        };
        drop(refused);
        Err(Failure::Refused(
            RIPC_NO_SPACE,
            libc::EMFILE,
            "65535 handles are open, which is as many as there can be; unlink those not in use",
        ))
    }

    fn free_entry(&self) -> Option<(usize, &Entry)> {
        // One index has no number of 16 bits, since 0 is none.
        let made = self.blocks.iter().take_while(|block| block.get().is_some());
        let made = (made.count() * BLOCK).min(MAX_HANDLES);
        let start = self.next.load(Relaxed) as usize;
        let is_free = |index: &usize| {
            let entry = self.entry(*index);
            // Acquire: pairs with the store of who emptied it.
            entry.is_some_and(|entry| entry.word.load(Acquire) & (LIVE | USERS) == 0)
        };
        let index = (start..made).chain(0..start.min(made)).find(is_free);
        let index = match index {
            Some(index) => index,
            None if made < MAX_HANDLES => {
                let block = || Box::new([const { Entry::new() }; BLOCK]);
                self.blocks[made / BLOCK].get_or_init(block);
                made
            }
            None => return None,
        };
        self.next.store(index as u32 + 1, Relaxed);
        Some((index, self.entry(index)?))
    }

    /// The entry of `handle`, and its turn.
    fn find(&self, handle: usize) -> Option<(&Entry, u32)> {
        let handle = u32::try_from(handle).ok()?;
        let index = (handle as usize & MAX_HANDLES).checked_sub(1)?;
        Some((self.entry(index)?, handle >> INDEX_BITS))
    }

    /// What `handle` stands for; it stays until that is dropped, whoever lets go of it.
    pub(super) fn get<K: Kind>(&self, handle: usize) -> Result<InUse<'_, K>, Failure> {
        let found = self.find(handle);
        let user = found.and_then(|(entry, turn)| entry.enter(turn, LIVE));
        user.and_then(User::of_kind).ok_or_else(stale::<K>)
    }

    /// Takes the handle away: nobody finds it from now on. What it stood for is dropped
    /// by the last who uses it.
    pub(super) fn remove<K: Kind>(&self, handle: usize) -> Result<InUse<'_, K>, Failure> {
        // Not that of another kind.
        let _looked_at = self.get::<K>(handle)?;
        let found = self.find(handle);
        let user = found.and_then(|(entry, turn)| entry.enter(turn, 0));
        user.and_then(User::of_kind).ok_or_else(stale::<K>)
    }
}

fn stale<K: Kind>() -> Failure {
    Failure::Refused(RIPC_BAD_ARGUMENT, libc::EBADF, K::STALE)
}

impl Entry {
    const fn new() -> Entry {
        Entry {
            word: AtomicU32::new(0),
            object: UnsafeCell::new(None),
        }
    }

    /// Puts `object` into this free entry; its handle. Only under the lock of `add`.
    fn fill(&self, index: usize, object: Object) -> u32 {
        let turn = self.word.load(Relaxed) >> TURN_SHIFT;
        // SAFETY: free, so without users, and nobody else takes it: see `Sync`.
        unsafe { *self.object.get() = Some(object) };
        // Release: pairs with `enter`.
        self.word.store((turn << TURN_SHIFT) | LIVE, Release);
        (turn << INDEX_BITS) | (index as u32 + 1)
    }

    /// Becomes a user of a live entry, and leaves it live or not.
    fn enter(&self, turn: u32, live: u32) -> Option<User<'_>> {
        let mut word = self.word.load(Relaxed);
        loop {
            let is_found = word >> TURN_SHIFT == turn && word & LIVE != 0;
            if !is_found || word & USERS == USERS {
                return None;
            }
            let next = (word + 1) & !LIVE | live;
            // Acquire: pairs with `fill`; who enters sees the object.
            match self
                .word
                .compare_exchange_weak(word, next, Acquire, Relaxed)
            {
                Ok(_) => return Some(User(self)),
                Err(found) => word = found,
            }
        }
    }

    /// One user less; the last one of what is not live any more empties the entry.
    fn leave(&self) {
        let mut word = self.word.load(Acquire);
        loop {
            if word & LIVE == 0 && word & USERS == 1 {
                // Acquire, above and below: pairs with the others' leaving; what they did
                // with the object is over.
                // SAFETY: the last user, and nobody comes any more: see `Sync`.
                let object = unsafe { (*self.object.get()).take() };
                drop(object);
                let turn = (word >> TURN_SHIFT).wrapping_add(1) & TURN_MASK;
                // Release: pairs with the search for a free entry.
                self.word.store(turn << TURN_SHIFT, Release);
                return;
            }
            // Release: pairs with the last one's look.
            match self
                .word
                .compare_exchange_weak(word, word - 1, Release, Acquire)
            {
                Ok(_) => return,
                Err(found) => word = found,
            }
        }
    }
}

/// Somebody who uses an entry, for as long as this lives.
#[derive(Debug)]
struct User<'a>(&'a Entry);

impl<'a> User<'a> {
    fn object(&self) -> Option<&Object> {
        // SAFETY: a user: it is not written meanwhile, see `Sync`.
        unsafe { (*self.0.object.get()).as_ref() }
    }

    fn of_kind<K: Kind>(self) -> Option<InUse<'a, K>> {
        self.object().and_then(K::of)?;
        Some(InUse {
            user: self,
            kind: PhantomData,
        })
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// What a handle stands for, for as long as this lives.
#[derive(Debug)]
pub(super) struct InUse<'a, K> {
    user: User<'a>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Deref for InUse<'_, K> {
    type Target = K;

    fn deref(&self) -> &K {
        let found = self.user.object().and_then(K::of);
        found.expect("its kind was looked at when this was made")
    }
}

#[cfg(test)]
mod tests;
