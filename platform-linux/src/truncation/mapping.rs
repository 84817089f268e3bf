//! The mappings of this process's segments, as a signal handler can find them.
//!
//! Each mapping has an entry in a list of blocks that only ever grows. The state of an
//! entry is one word:
//!
//! ```text
//! taken:1 | watched:1 | lost:1 | visitors:29
//! ```
//!
//! A handler *visits* an entry, by adding itself to the word if that says *watched*. Who
//! unmaps takes *watched* away and waits until there are no visitors: so no handler ever
//! puts something in the place of what is another mapping by now.
//!
//! What it puts there is made elsewhere first, and then moved into its place by one
//! `mremap`: other threads see the old memory or the whole of the new one. Two of them that
//! fault at once do the same thing twice. *Lost* is set before, so whoever sees anything of
//! the new memory knows.

use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering, Ordering::Relaxed, fence};
use robot_ipc_core::recovery::Remains;
use rustix::io::Errno;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap, mmap_anonymous,
    mprotect, mremap_fixed, munmap,
};
use rustix::thread::futex;
use std::os::fd::OwnedFd;
use std::time::Duration;

const TAKEN: u32 = 1 << 31;
const WATCHED: u32 = 1 << 30;
const LOST: u32 = 1 << 29;
const VISITORS: u32 = LOST - 1;

/// A mapped file, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    size: usize,
    entry: &'static Entry,
}

impl Mapping {
    /// Maps the first `size` bytes of `file`. `remains` is what stands there if they are
    /// lost, and lies within them.
    pub(crate) fn new(
        file: &OwnedFd,
        size: usize,
        is_writable: bool,
        remains: Remains,
    ) -> Result<Mapping, Errno> {
        let rights = if is_writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a new mapping at an address the kernel chooses.
        let start = unsafe { mmap(null_mut(), size, rights, MapFlags::SHARED, file, 0)? };
        let place = Place {
            start: start.cast(),
            size,
            is_writable,
            remains,
        };
        Ok(Mapping {
            start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?,
            size,
            entry: Entry::watch(place),
        })
    }

    /// Where it lies.
    #[inline(always)]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Whether its bytes were lost, and others stand there now.
    pub(crate) fn is_lost(&self) -> bool {
        // Acquire: whoever has seen something of the others sees this, too.
        fence(Ordering::Acquire);
        self.entry.state.load(Relaxed) & LOST != 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let state = &self.entry.state;
        state.fetch_and(!WATCHED, Relaxed);
        // Acquire: pairs with the end of a visit.
        while state.load(Ordering::Acquire) & VISITORS != 0 {
            crate::futex::sleep(Duration::from_micros(20));
        }
        // SAFETY: mapped by `new`, or put in that place by a handler; no handler is at it,
        // and all that borrow from it are gone, since they hold this.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size) };
        // Release: pairs with whoever takes the entry next.
        state.store(0, Ordering::Release);
    }
}

/// What a handler has to know of a mapping.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: *mut u8,
    size: usize,
    is_writable: bool,
    remains: Remains,
}

/// A mapping, for handlers.
#[derive(Debug)]
struct Entry {
    state: AtomicU32,
    place: UnsafeCell<Option<Place>>,
}

// SAFETY: `place` is written by who has taken the entry, while it is not watched, and is
// read by visitors, who come only while it is.
unsafe impl Sync for Entry {}

impl Entry {
    /// A free entry, for `place`.
    fn watch(place: Place) -> &'static Entry {
        let entry = Entry::take();
        // SAFETY: it is ours alone: nobody visits what is not watched.
        unsafe { *entry.place.get() = Some(place) };
        // Release: pairs with `visit`.
        entry.state.store(TAKEN | WATCHED, Ordering::Release);
        entry
    }

    /// A free entry, nobody else's from now on.
    fn take() -> &'static Entry {
        // Acquire: pairs with the store below; it may not have been reached by the list.
        let roomy = ROOMY.load(Ordering::Acquire);
        // SAFETY: null, or one of the blocks, which stay.
        let mut block = unsafe { roomy.as_ref() }.unwrap_or(&FIRST);
        let mut has_begun_anew = false;
        loop {
            // Acquire: pairs with the end of the mapping that had it before.
            let is_free = |entry: &&Entry| {
                let state = &entry.state;
                let taken = state.compare_exchange(0, TAKEN, Ordering::Acquire, Relaxed);
                taken.is_ok()
            };
            if let Some(entry) = block.entries.iter().find(is_free) {
                // Release: pairs with the load above.
                ROOMY.store(core::ptr::from_ref(block).cast_mut(), Ordering::Release);
                return entry;
            }
            block = match block.next() {
                Some(next) => next,
                None if has_begun_anew => block.append(),
                None => {
                    has_begun_anew = true;
                    &FIRST
                }
            };
        }
    }

    /// Keeps what it leads to mapped, if it is watched.
    fn visit(&'static self) -> Option<Visit> {
        let one_more = |state| (state & WATCHED != 0).then_some(state + 1);
        // Acquire: pairs with `watch`.
        let before = self
            .state
            .fetch_update(Ordering::Acquire, Relaxed, one_more);
        before.ok().map(|_| Visit { entry: self })
    }
}

/// As long as this is there, the mapping of an entry is, too.
pub(super) struct Visit {
    entry: &'static Entry,
}

impl Visit {
    fn place(&self) -> Option<Place> {
        // SAFETY: nobody changes it while it is visited.
        unsafe { *self.entry.place.get() }
    }

    /// Puts what remains in the place of the mapping; `false` if there is no memory.
    fn replace(&self, place: &Place) -> bool {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address the kernel chooses.
        let new = unsafe { mmap_anonymous(null_mut(), place.size, rights, flags) };
        let Ok(new) = new else {
            return false;
        };
        // SAFETY: of that mapping, which nobody else knows yet, and in which the words of
        // `remains` lie, aligned. It goes where the old one lies, which stays ours as long
        // as it is visited and is only ever reached by atomics, so that its bytes may
        // change at any time.
        unsafe {
            // Few of its pages are ever touched.
            let _ = madvise(new, place.size, Advice::LinuxNoHugepage);
            for (offset, word) in place.remains.words() {
                let address = new.cast::<u8>().add(offset).cast::<u32>();
                AtomicU32::from_ptr(address).store(word, Relaxed);
            }
            let is_ready =
                place.is_writable || mprotect(new, place.size, MprotectFlags::READ).is_ok();
            // Before anybody can see the new memory.
            self.entry.state.fetch_or(LOST, Ordering::SeqCst);
            let flags = MremapFlags::MAYMOVE;
            let start = place.start.cast();
            if is_ready && mremap_fixed(new, place.size, place.size, flags, start).is_ok() {
                return true;
            }
            let _ = munmap(new, place.size);
            false
        }
    }

    /// Whether the file ends before the mapping does: asked of the system, which does not
    /// fault.
    fn is_cut(place: &Place) -> bool {
        let last = (place.size - size_of::<u32>()) & !(align_of::<u32>() - 1);
        // SAFETY: inside the mapping, which stays as long as it is visited, and aligned.
        // Nothing is read; whoever sleeps on that word, nobody, looks again.
        let word = unsafe { AtomicU32::from_ptr(place.start.add(last).cast()) };
        futex::wake(word, futex::Flags::empty(), 1) == Err(Errno::FAULT)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Not below zero: a child that was forked in between begins with no visitors.
        let one_less = |state| (state & VISITORS != 0).then(|| state - 1);
        // Release: pairs with who waits for the end of visits.
        let state = &self.entry.state;
        let _ = state.fetch_update(Ordering::Release, Relaxed, one_less);
    }
}

/// Replaces the mapping in which `address` lies; `false` if that is none of ours. For a
/// signal handler.
pub(super) fn replace(address: usize) -> bool {
    visits().any(|visit| {
        let place = visit.place().filter(|place| {
            let start = place.start.addr();
            (start..start + place.size).contains(&address)
        });
        place.is_some_and(|place| visit.replace(&place))
    })
}

/// Replaces all mappings whose files were cut; `false` if there are none. For a signal
/// handler.
pub(super) fn replace_all_cut() -> bool {
    let replaced = visits().filter(|visit| {
        let cut = visit.place().filter(Visit::is_cut);
        cut.is_some_and(|place| visit.replace(&place))
    });
    replaced.count() > 0
}

/// In a forked child: those who were visiting are not there.
pub(crate) fn forget_visits() {
    for entry in entries() {
        entry.state.fetch_and(!VISITORS, Relaxed);
    }
}

pub(super) fn visits() -> impl Iterator<Item = Visit> {
    entries().filter_map(Entry::visit)
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let blocks = core::iter::successors(Some(&FIRST), |block| block.next());
    blocks.flat_map(|block| &block.entries)
}

/// How many mappings there is room for.
#[cfg(test)]
pub(super) fn entry_count() -> usize {
    entries().count()
}

const BLOCK_ENTRIES: usize = 64;

/// Some entries, and where there are more. Blocks stay for ever.
struct Block {
    entries: [Entry; BLOCK_ENTRIES],
    next: AtomicPtr<Block>,
}

static FIRST: Block = Block::new();
/// Where an entry was free lately; null for the first one.
static ROOMY: AtomicPtr<Block> = AtomicPtr::new(null_mut());

impl Block {
    const fn new() -> Block {
        Block {
            entries: [const {
                Entry {
                    state: AtomicU32::new(0),
                    place: UnsafeCell::new(None),
                }
            }; BLOCK_ENTRIES],
            next: AtomicPtr::new(null_mut()),
        }
    }

    fn next(&self) -> Option<&'static Block> {
        // Acquire: pairs with `append`.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: null, or a block, which stays.
        unsafe { next.as_ref() }
    }

    /// A new block at the end of the list, of which this was the last one.
    fn append(&'static self) -> &'static Block {
        let new: *mut Block = Box::into_raw(Box::new(Block::new()));
        let mut last = self;
        loop {
            // Release: pairs with `next`.
            let next = &last.next;
            match next.compare_exchange(null_mut(), new, Ordering::Release, Ordering::Acquire) {
                // SAFETY: made above, and never freed.
                Ok(_) => return unsafe { &*new },
                // SAFETY: a block of the list, which stays.
                Err(other) => last = unsafe { &*other },
            }
        }
    }
}
