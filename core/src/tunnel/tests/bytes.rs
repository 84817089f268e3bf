//! Where things lie in memory, and what is told of a call.

use super::*;

/// A system whose clock shows more than 32 bits.
struct LateSystem;

/// After 5 × 2^32 ns, which is 21 s.
const LATE_NS: u64 = 5 << 32 | 3;

impl Environment for LateSystem {
    type Recovery = ();
    fn now_ns(&self) -> u64 {
        LATE_NS
    }
    fn wake_all(&self, _word: &AtomicU32) {}
    fn try_take(&self, _participant: Participant) -> Option<()> {
        None
    }
}

/// Against two versions of the library that mean different bytes by one call.
#[test]
fn golden_bytes_of_a_call() {
    let mut memory = Memory::new();
    assert_eq!(GEOMETRY.cell_count(), 4);
    assert_eq!(GEOMETRY.max_argument_size(), 64);
    assert_eq!(GEOMETRY.max_response_size(), 64);
    let other = TunnelGeometry::new(9, 100, 200).unwrap();
    assert_eq!((other.cell_count(), other.cell_stride()), (9, 192 + 256));
    assert_eq!(
        (other.max_argument_size(), other.max_response_size()),
        (100, 200)
    );
    assert_eq!(GEOMETRY.file_size(), 2624 + 4 * 256);
    if cfg!(target_endian = "little") {
        let initial = initial_bytes(&GEOMETRY, &Creator::default());
        assert_eq!(
            initial[..32],
            *b"ROBOTIPC\x02\0\0\0\x0d\x0c\x0b\x0a\x02\0\0\0\0\0\0\0\x40\x0e\0\0\0\0\0\0",
            "of a function, 3648 bytes"
        );
        assert_eq!(
            initial[32..52],
            [
                4, 0, 0, 0, 64, 0, 0, 0, 64, 0, 0, 0, 0, 1, 0, 0, 64, 10, 0, 0
            ]
        );
        assert_eq!(initial[52..252], [0; 200]);
    }

    let tunnel = memory.tunnel();
    let _first = call(&tunnel, b"first");
    let me = participant(CALLER);
    let draft = tunnel.draft(&LateSystem, me).unwrap();
    tunnel.fill_argument(&draft, 0, b"arguments");
    let made = tunnel.submit(&LateSystem, me, draft, part(b"arguments"), false);
    let _second = made.unwrap();
    let _ = take(&tunnel).unwrap();
    let (taken, _) = take(&tunnel).unwrap();
    assert_eq!((taken.ticket(), taken.time_ns()), (1, LATE_NS));
    answer(&tunnel, taken, b"response");
    let cell = &memory.0[2624 + 256..][..256];
    let word = |index: usize| u32::from_ne_bytes(*cell[4 * index..].first_chunk().unwrap());
    // Done, of the caller, first use.
    assert_eq!(word(0), 4 | (CALLER + 1) << 5 | 1 << 13);
    let (ticket, caller) = (word(1), word(2));
    assert_eq!((ticket, caller), (1, CALLER + 1));
    assert_eq!([word(3), word(4)], [9, 1], "size and encoding");
    assert_eq!([word(5), word(6)], [3, 5], "when it was made");
    assert_eq!(cell[32..41], *b"arguments");
    let answer = [32, 33, 34, 35].map(word);
    assert_eq!(answer, [1, 0, 8, 1], "ticket, outcome, size and encoding");
    assert_eq!(cell[144..152], *b"response");
}

/// Against a cell number that leads out of the memory.
#[test]
fn there_is_no_cell_past_the_last() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let memory = tunnel.memory();
    for number in [4, 5, u32::MAX] {
        assert!(
            core::ptr::eq(memory.head(number), memory.head(0)),
            "{number}"
        );
    }
    assert!(!core::ptr::eq(memory.head(3), memory.head(0)));
}

/// Against a length in memory that is believed, and one that is not passed on.
#[test]
fn a_length_is_cut_unless_it_means_something_else() {
    assert_eq!(Outcome::RETURNED.length(64, 64), 64);
    assert_eq!(Outcome::RETURNED.length(63, 64), 63);
    assert_eq!(Outcome::RETURNED.length(65, 64), 64);
    assert_eq!(Outcome::RAISED.length(u32::MAX, 64), 64);
    for told in [Outcome::TOO_LARGE, Outcome::TOO_OLD] {
        assert_eq!(told.length(1000, 64), 1000);
    }
}

/// Against a dispatcher that ends what another one runs.
#[test]
fn only_who_runs_a_call_ends_it() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let made = call(&tunnel, b"run");
    let (taken, _) = take(&tunnel).unwrap();
    let other = participant(DISPATCHER + 1);
    let ended = tunnel.finish(&SingleProcess, other, taken, None);
    assert_eq!(ended, Err(FinishError));
    assert!(matches!(tunnel.progress(made), Progress::Running(_)));
}

/// Against a draft that is never given back, and a call that cannot be taken back,
/// or is when it is too late.
#[test]
fn drafts_and_queued_calls_can_be_taken_back() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let draft = tunnel.draft(&SingleProcess, participant(CALLER)).unwrap();
    assert!(!is_empty(&tunnel));
    tunnel.discard(&SingleProcess, draft);
    assert!(is_empty(&tunnel));

    let queued = call(&tunnel, b"queued");
    assert!(tunnel.unqueue(&SingleProcess, queued));
    assert!(is_empty(&tunnel) && take(&tunnel).is_none());
    assert!(!tunnel.unqueue(&SingleProcess, queued), "it is gone");
    let running = call(&tunnel, b"running");
    let (taken, _) = take(&tunnel).unwrap();
    assert!(!tunnel.unqueue(&SingleProcess, running), "too late");
    answer(&tunnel, taken, b"all the same");
    assert!(!tunnel.unqueue(&SingleProcess, running), "it has ended");
    assert_eq!(fetch(&tunnel, running).unwrap(), b"all the same");
}
