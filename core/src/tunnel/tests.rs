extern crate std;

mod bytes;
mod recovery;
mod serving;

use super::*;
use crate::environment::SingleProcess;
use crate::header::Creator;
use crate::recovery::Recoverable;
use core::cell::RefCell;
use core::ptr::NonNull;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

const GEOMETRY: TunnelGeometry = match TunnelGeometry::new(4, 64, 64) {
    Some(geometry) => geometry,
    None => panic!("within the limits"),
};

/// The memory of a tunnel of that geometry.
#[repr(C, align(64))]
struct Memory([u8; GEOMETRY.file_size() as usize]);

impl Memory {
    fn new() -> Box<Memory> {
        let mut memory = Box::new(Memory([0; GEOMETRY.file_size() as usize]));
        let initial = initial_bytes(&GEOMETRY, &Creator::default());
        memory.0[..initial.len()].copy_from_slice(&initial);
        memory
    }

    #[allow(unsafe_code)]
    fn tunnel(&mut self) -> Tunnel<MappedTunnel<'_>> {
        // SAFETY: aligned, of the geometry's size, and borrowed alone for as long
        // as the tunnel.
        Tunnel::new(unsafe { MappedTunnel::new(NonNull::from(&mut self.0).cast(), GEOMETRY) })
    }
}

fn participant(index: u32) -> Participant {
    Participant::new(index).unwrap()
}

const CALLER: u32 = 3;
const DISPATCHER: u32 = 5;

fn part(bytes: &[u8]) -> Part {
    Part {
        length: bytes.len() as u32,
        encoding: Encoding::RAW,
    }
}

type Mapped<'a> = Tunnel<MappedTunnel<'a>>;

fn call_from(tunnel: &Mapped<'_>, caller: u32, bytes: &[u8], one_way: bool) -> Option<Call> {
    let draft = tunnel.draft(&SingleProcess, participant(caller)).ok()?;
    tunnel.fill_argument(&draft, 0, bytes);
    tunnel
        .submit(
            &SingleProcess,
            participant(caller),
            draft,
            part(bytes),
            one_way,
        )
        .ok()
}

fn call(tunnel: &Mapped<'_>, bytes: &[u8]) -> Call {
    call_from(tunnel, CALLER, bytes, false).unwrap()
}

fn take(tunnel: &Mapped<'_>) -> Option<(Taken, Vec<u8>)> {
    let dispatcher = participant(DISPATCHER);
    let taken = tunnel.take(&SingleProcess, dispatcher, &mut Lookout::default())?;
    let mut argument = std::vec![0; taken.argument().length as usize];
    tunnel.copy_argument(&taken, &mut argument);
    Some((taken, argument))
}

fn answer(tunnel: &Mapped<'_>, taken: Taken, bytes: &[u8]) {
    tunnel.fill_response(&taken, 0, bytes);
    let response = Some((Outcome::RETURNED, part(bytes)));
    tunnel
        .finish(&SingleProcess, participant(DISPATCHER), taken, response)
        .unwrap();
}

fn fetch(tunnel: &Mapped<'_>, call: Call) -> Option<Vec<u8>> {
    let Progress::Done(Outcome::RETURNED, part) = tunnel.progress(call) else {
        return None;
    };
    let mut response = std::vec![0; part.length as usize];
    tunnel.copy_response(call, &mut response);
    assert!(tunnel.forget(&SingleProcess, call));
    Some(response)
}

fn states(tunnel: &Mapped<'_>) -> Vec<State> {
    let words = (0..4).map(|cell| tunnel.memory().head(cell).word.load(Relaxed));
    words
        .filter_map(|word| CellWord::from_word(word).state())
        .collect()
}

fn is_empty(tunnel: &Mapped<'_>) -> bool {
    states(tunnel).iter().all(|state| *state == State::Free)
}

/// Against answers that reach somebody else, or are cut.
#[test]
fn each_caller_gets_its_own_answer() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let calls: Vec<Call> = (0..4u8).map(|number| call(&tunnel, &[number; 9])).collect();
    assert_eq!(
        tunnel.draft(&SingleProcess, participant(CALLER)),
        Err(DraftError::Full),
        "four cells, four calls"
    );
    for number in 0..4u8 {
        let (taken, argument) = take(&tunnel).unwrap();
        assert_eq!(argument, [number; 9], "in the order of the calls");
        assert!(matches!(
            tunnel.progress(calls[number as usize]),
            Progress::Running(_)
        ));
        answer(&tunnel, taken, &[number + 100; 64]);
    }
    assert!(take(&tunnel).is_none());
    for number in (0..4u8).rev() {
        assert_eq!(
            fetch(&tunnel, calls[number as usize]).unwrap(),
            [number + 100; 64]
        );
        assert_eq!(tunnel.progress(calls[number as usize]), Progress::Ended);
    }
    assert!(is_empty(&tunnel));
}

/// Against a caller that takes the next call's answer for its own when its call
/// ended without one.
#[test]
fn a_call_without_an_answer_ends_and_its_cell_is_used_again() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let first = call(&tunnel, b"no answer");
    let (taken, _) = take(&tunnel).unwrap();
    tunnel
        .finish(&SingleProcess, participant(DISPATCHER), taken, None)
        .unwrap();
    assert_eq!(tunnel.progress(first), Progress::Ended);
    let second = call(&tunnel, b"answer");
    let (taken, _) = take(&tunnel).unwrap();
    answer(&tunnel, taken, b"yes");
    assert_eq!(tunnel.progress(first), Progress::Ended);
    assert!(
        !tunnel.forget(&SingleProcess, first),
        "not its cell any more"
    );
    assert_eq!(fetch(&tunnel, second).unwrap(), b"yes");
}

/// Against tickets that sort wrongly when their counter wraps, and generations
/// that run into the other bits.
#[test]
fn order_and_ownership_hold_over_every_wrap() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    tunnel.memory().tickets().store(u32::MAX - 1, Relaxed);
    let last = CellWord::new(State::Free, 0, CellWord::GENERATIONS - 1).word();
    for cell in 0..4 {
        tunnel.memory().head(cell).word.store(last, Relaxed);
    }
    let calls: Vec<Call> = (0..4u8).map(|number| call(&tunnel, &[number])).collect();
    for number in 0..4u8 {
        let (taken, argument) = take(&tunnel).unwrap();
        assert_eq!(argument, [number]);
        answer(&tunnel, taken, &argument);
    }
    for number in 0..4u8 {
        assert_eq!(fetch(&tunnel, calls[number as usize]).unwrap(), [number]);
    }
}

/// Against a call that starts although its caller has given up.
#[test]
fn a_withdrawn_call_never_starts_and_a_running_one_is_discarded() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let queued = call(&tunnel, b"queued");
    assert_eq!(
        tunnel.withdraw(&SingleProcess, queued),
        Withdrawal::NeverStarted
    );
    assert!(take(&tunnel).is_none());
    assert_eq!(tunnel.withdraw(&SingleProcess, queued), Withdrawal::Ended);

    let running = call(&tunnel, b"running");
    let (taken, _) = take(&tunnel).unwrap();
    assert!(tunnel.is_wanted(&taken));
    assert_eq!(
        tunnel.withdraw(&SingleProcess, running),
        Withdrawal::Running
    );
    assert!(!tunnel.is_wanted(&taken));
    answer(&tunnel, taken, b"nobody reads this");
    assert!(is_empty(&tunnel));

    let done = call(&tunnel, b"done");
    let (taken, _) = take(&tunnel).unwrap();
    answer(&tunnel, taken, b"too late");
    assert_eq!(tunnel.withdraw(&SingleProcess, done), Withdrawal::Ended);
    assert!(is_empty(&tunnel));
}

/// A system in which a test says who is dead, and which counts wake-ups.
#[derive(Default)]
struct System {
    dead: RefCell<BTreeSet<u32>>,
    woken: RefCell<Vec<u32>>,
}

impl Environment for System {
    type Recovery = ();
    fn now_ns(&self) -> u64 {
        1
    }
    fn wake_all(&self, word: &AtomicU32) {
        self.woken.borrow_mut().push(word.load(Relaxed));
    }
    fn try_take(&self, participant: Participant) -> Option<()> {
        (!self.lives(participant, 0)).then_some(())
    }
    fn lives(&self, caller: Participant, _time_ns: u64) -> bool {
        !self.dead.borrow().contains(&caller.index())
    }
}

/// Against a dispatcher that sleeps through a call, and against a wake-up that
/// nobody asked for.
#[test]
fn a_call_rings_and_a_free_cell_makes_room() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    let me = participant(CALLER);
    let seen = tunnel.listen_for_calls();
    assert!(tunnel.arm_for_calls(seen).is_some());
    let draft = tunnel.draft(&system, me).unwrap();
    let made = tunnel.submit(&system, me, draft, part(b""), false).unwrap();
    assert_eq!(system.woken.borrow().len(), 1);
    assert_eq!(
        tunnel.arm_for_calls(seen),
        None,
        "it has rung: do not sleep"
    );
    assert!(!tunnel.listen_for_calls().is_waiting());

    let room = tunnel.listen_for_room();
    assert!(tunnel.arm_for_room(room).is_some());
    tunnel.withdraw(&system, made);
    assert_eq!(system.woken.borrow().len(), 2);
    assert_eq!(tunnel.arm_for_room(room), None);
    let draft = tunnel.draft(&system, me).unwrap();
    tunnel.discard(&system, draft);
    assert_eq!(system.woken.borrow().len(), 2, "nobody waits any more");
}

/// Against calls that are accepted by a function that is gone.
#[test]
fn nothing_begins_after_retirement() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let me = participant(CALLER);
    let draft = tunnel.draft(&SingleProcess, me).unwrap();
    let queued = call(&tunnel, b"queued");
    tunnel.retire(&SingleProcess);
    let (error, draft) = tunnel
        .submit(&SingleProcess, me, draft, part(b""), false)
        .unwrap_err();
    assert_eq!(error, SubmitError::Retired);
    tunnel.discard(&SingleProcess, draft);
    assert!(take(&tunnel).is_none());
    assert_eq!(tunnel.draft(&SingleProcess, me), Err(DraftError::Retired));
    assert!(matches!(tunnel.progress(queued), Progress::Queued(_)));
    assert_eq!(
        tunnel.withdraw(&SingleProcess, queued),
        Withdrawal::NeverStarted
    );
}

/// Against words that lead outside, or around in circles: every operation ends.
#[test]
fn any_words_give_an_answer() {
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u32
    };
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    system.dead.borrow_mut().extend([1, 7]);
    let made = call(&tunnel, b"x");
    for _ in 0..20_000 {
        for cell in 0..4 {
            let head = tunnel.memory().head(cell);
            let who = [0, CALLER + 1, DISPATCHER + 1, 2, 8][next() as usize % 5];
            let state = next() % 8;
            head.word
                .store(next() << 13 | who << 5 | (next() % 4) << 3 | state, Relaxed);
            head.caller
                .store([next(), 2, CALLER + 1][next() as usize % 3], Relaxed);
            for word in [
                &head.ticket,
                &head.argument_length,
                &tunnel.memory().answer(cell).outcome,
                &tunnel.memory().answer(cell).length,
            ] {
                word.store(next(), Relaxed);
            }
        }
        tunnel
            .memory()
            .bell()
            .store(next() & !BellWord::RETIRED, Relaxed);
        if let Some((taken, _)) = take(&tunnel) {
            tunnel.fill_response(&taken, 60, &[1; 9]);
            let response = Some((
                Outcome(next()),
                Part {
                    length: next(),
                    encoding: Encoding(9),
                },
            ));
            let _ = tunnel.finish(&system, participant(DISPATCHER), taken, response);
        }
        if let Progress::Done(_, part) = tunnel.progress(made) {
            assert!(part.length <= 64);
        }
        let _ = tunnel.withdraw(&system, made);
        if let Ok(draft) = tunnel.draft(&system, participant(CALLER)) {
            tunnel.fill_argument(&draft, usize::MAX, &[1]);
            let huge = Part {
                length: u32::MAX,
                encoding: Encoding::RAW,
            };
            let _ = tunnel.submit(&system, participant(CALLER), draft, huge, next() % 2 == 0);
        }
        tunnel.reap_all(&system, participant(0));
        let _ = tunnel.cells().count();
    }
}

/// Against geometry that overflows, and against headers that lie about it.
#[test]
fn geometry_at_and_past_each_limit() {
    for cells in [0, 65, u32::MAX] {
        assert!(TunnelGeometry::new(cells, 8, 8).is_none(), "{cells} cells");
    }
    assert!(TunnelGeometry::new(1, 1, 0).is_some() && TunnelGeometry::new(64, 8, 8).is_some());
    assert!(TunnelGeometry::new(1, MAX_PART_SIZE + 1, 0).is_none());
    assert!(TunnelGeometry::new(1, 1, MAX_PART_SIZE + 1).is_none());
    let fits = cfg!(target_pointer_width = "64");
    assert_eq!(
        TunnelGeometry::new(64, MAX_PART_SIZE, MAX_PART_SIZE).is_some(),
        fits
    );
    for word in 0..8 {
        let mut header = GEOMETRY.header(&Creator::default());
        assert_eq!(TunnelGeometry::from_header(&header), Ok(GEOMETRY));
        header.geometry[word] ^= 64;
        assert!(
            TunnelGeometry::from_header(&header).is_err(),
            "geometry word {word}"
        );
    }
}

/// Against crossed answers, lost calls and calls that run twice, between real
/// threads: three callers, two dispatchers, few cells.
#[test]
fn threads_get_their_own_answers() {
    const CALLS: u64 = if cfg!(miri) { 10 } else { 10_000 };
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let in_time = || assert!(std::time::Instant::now() < end, "somebody is gone");
    let ran: u64 = std::thread::scope(|scope| {
        for caller in 0..3u32 {
            let in_time = &in_time;
            scope.spawn(move || {
                for number in 0..CALLS {
                    let argument = (number << 8 | u64::from(caller)).to_ne_bytes();
                    let made = loop {
                        match call_from(&tunnel, caller, &argument, false) {
                            Some(made) => break made,
                            None => std::thread::yield_now(),
                        }
                        in_time();
                    };
                    let response = loop {
                        match fetch(&tunnel, made) {
                            Some(response) => break response,
                            None => std::thread::yield_now(),
                        }
                        in_time();
                    };
                    assert_eq!(response, [argument, argument].concat());
                }
            });
        }
        let dispatchers: Vec<_> = (0..2)
            .map(|index| {
                let in_time = &in_time;
                scope.spawn(move || {
                    let me = participant(10 + index);
                    let mut ran = 0;
                    let mut lookout = Lookout::default();
                    while tunnel.memory().tickets().load(Relaxed) < 3 * CALLS as u32
                        || tunnel.has_calls()
                    {
                        in_time();
                        let Some(taken) = tunnel.take(&SingleProcess, me, &mut lookout) else {
                            std::thread::yield_now();
                            continue;
                        };
                        let mut argument = [0; 8];
                        tunnel.copy_argument(&taken, &mut argument);
                        let response = [argument, argument].concat();
                        tunnel.fill_response(&taken, 0, &response);
                        let response = Some((Outcome::RETURNED, part(&response)));
                        tunnel.finish(&SingleProcess, me, taken, response).unwrap();
                        ran += 1;
                    }
                    ran
                })
            })
            .collect();
        dispatchers
            .into_iter()
            .map(|dispatcher| dispatcher.join().unwrap())
            .sum()
    });
    assert_eq!(ran, 3 * CALLS);
    assert!(is_empty(&tunnel));
}

/// Against a caller that takes another one's answer for its own when it comes back after
/// as many uses of its cell as a generation can count.
#[test]
fn generations_that_wrap_mix_nothing_up() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let first = call(&tunnel, b"first");
    let (taken, _) = take(&tunnel).unwrap();
    let nothing = tunnel.finish(&SingleProcess, participant(DISPATCHER), taken, None);
    nothing.unwrap();
    for _ in 1..CellWord::GENERATIONS {
        let other = call_from(&tunnel, CALLER + 1, b"other", false).unwrap();
        tunnel.withdraw(&SingleProcess, other);
    }
    let last = call_from(&tunnel, CALLER + 1, b"last", false).unwrap();
    let (taken, argument) = take(&tunnel).unwrap();
    assert_eq!(argument, b"last");
    answer(&tunnel, taken, b"answer");
    let word = CellWord::from_word(tunnel.memory().head(0).word.load(Relaxed));
    assert_eq!(word.generation(), first.generation(), "it has wrapped");
    assert_eq!(tunnel.progress(first), Progress::Ended);
    assert!(!tunnel.forget(&SingleProcess, first));
    assert_eq!(tunnel.withdraw(&SingleProcess, first), Withdrawal::Ended);
    assert_eq!(fetch(&tunnel, last).unwrap(), b"answer");
}

/// Against zeros that stand where the memory was and are taken for a call, or for its
/// response, by who has looked at the memory before.
#[test]
fn what_remains_of_lost_memory_is_a_removed_tunnel() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let me = participant(CALLER);
    let system = SingleProcess;
    let call = call_from(&tunnel, CALLER, b"early", false).expect("a free cell");
    let draft = tunnel.draft(&system, me).expect("a free cell");
    call_from(&tunnel, CALLER, b"second", false).expect("a free cell");
    let taken = tunnel
        .take(&system, participant(DISPATCHER), &mut Lookout::default())
        .expect("a call");
    let mut words: Vec<u8> = std::vec![0; GEOMETRY.file_size() as usize];
    for (offset, word) in GEOMETRY.remains().words() {
        words[offset..offset + 4].copy_from_slice(&word.to_ne_bytes());
    }
    memory.0.copy_from_slice(&words);
    let tunnel = memory.tunnel();
    assert!(tunnel.is_retired() && tunnel.listen_for_calls().is_retired());
    assert_eq!(tunnel.draft(&system, me), Err(DraftError::Retired));
    let submitted = tunnel.submit(&system, me, draft, part(b"late"), false);
    assert!(matches!(submitted, Err((SubmitError::Retired, _))));
    let dispatcher = participant(DISPATCHER);
    assert_eq!(
        tunnel.take(&system, dispatcher, &mut Lookout::default()),
        None
    );
    let response = Some((Outcome::RETURNED, part(b"late")));
    let finished = tunnel.finish(&system, participant(DISPATCHER), taken, response);
    assert_eq!(finished, Err(FinishError));
    assert_eq!(tunnel.progress(call), Progress::Ended);
    assert!(
        !tunnel.forget(&system, call),
        "which tells that it is not so"
    );
}
