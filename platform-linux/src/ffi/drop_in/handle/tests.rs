//! Handles that are let go of, foreign, at their last turn, and used by several threads.

use super::*;
use std::sync::Barrier;

fn table() -> Table {
    Table {
        blocks: [const { OnceLock::new() }; (MAX_HANDLES + 1) / BLOCK],
        next: AtomicU32::new(0),
    }
}

fn dispatcher() -> Object {
    Object::Dispatcher(HostFunctionDispatcher::new(1).unwrap())
}

fn add(table: &Table) -> usize {
    table.add(dispatcher()).unwrap() as usize
}

fn is_open(table: &Table, handle: usize) -> bool {
    table.get::<HostFunctionDispatcher>(handle).is_ok()
}

/// Against a handle that was let go of and leads to its successor, and against one that
/// does not survive being cut to a C `int`.
#[test]
fn a_handle_is_a_positive_int_and_dies_with_its_turn() {
    let table = table();
    let mut dead = Vec::new();
    // Each entry of the first block several times.
    for _ in 0..5 * BLOCK {
        let handle = add(&table);
        assert!(i32::try_from(handle).is_ok_and(|number| number > 0));
        assert!(is_open(&table, handle));
        assert!(table.remove::<HostFunctionDispatcher>(handle).is_ok());
        assert!(table.remove::<HostFunctionDispatcher>(handle).is_err());
        dead.push(handle);
    }
    assert!(table.blocks[1].get().is_none(), "entries are used again");
    let alive = add(&table);
    assert!(dead.iter().all(|handle| !is_open(&table, *handle)));
    assert!(is_open(&table, alive));
    dead.sort_unstable();
    dead.dedup();
    assert_eq!(dead.len(), 5 * BLOCK, "no number was given twice");
}

/// Against numbers that are no handles and are used as an index.
#[test]
fn numbers_that_are_no_handles_are_refused() {
    let table = table();
    let handle = add(&table);
    let foreign = [
        0,
        handle + 1,
        handle + (1 << INDEX_BITS),
        MAX_HANDLES,
        handle | 1 << 31,
        u32::MAX as usize,
        usize::MAX,
        usize::MAX - MAX_HANDLES + handle,
    ];
    for number in foreign {
        assert!(!is_open(&table, number), "{number:#x}");
        assert!(table.remove::<HostFunctionDispatcher>(number).is_err());
    }
    // What it stands for is something else.
    assert!(table.get::<HostVariable>(handle).is_err());
    assert!(table.remove::<HostVariable>(handle).is_err());
    assert!(is_open(&table, handle));
}

/// Against the last turn of an entry, whose successor has a number of more than 31 bits.
#[test]
fn turns_begin_anew() {
    let table = table();
    add(&table);
    let entry = table.entry(1).unwrap();
    entry.word.store(TURN_MASK << TURN_SHIFT, Relaxed);
    let last = add(&table);
    assert_eq!(last, (TURN_MASK << INDEX_BITS) as usize + 2);
    assert!(table.remove::<HostFunctionDispatcher>(last).is_ok());
    assert_eq!(entry.word.load(Relaxed), 0);
}

/// Against objects that are dropped while a thread uses them, or never, and against two
/// threads that both let go of the same handle.
#[test]
fn the_last_user_drops_it() {
    const THREADS: usize = 4;
    let table = table();
    for _ in 0..200 {
        let handle = add(&table);
        let kept = table.get::<HostFunctionDispatcher>(handle).unwrap();
        let barrier = Barrier::new(THREADS);
        let removed = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let used = table.get::<HostFunctionDispatcher>(handle);
                        let mine = table.remove::<HostFunctionDispatcher>(handle);
                        used.iter().chain(&mine).for_each(|it| drop(it.resume()));
                        usize::from(mine.is_ok())
                    })
                })
                .collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.sum::<usize>()
        });
        assert_eq!(removed, 1);
        assert!(!is_open(&table, handle));
        let entry = table.entry((handle & MAX_HANDLES) - 1).unwrap();
        assert!(kept.user.object().is_some(), "somebody uses it");
        drop(kept);
        assert_eq!(entry.word.load(Relaxed) & (LIVE | USERS), 0);
        // SAFETY: free, and only this thread is left.
        assert!(unsafe { (*entry.object.get()).is_none() });
    }
}
