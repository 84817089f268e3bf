//! What recovery takes back, and what it leaves alone.

use super::*;

/// Against cells that stay taken when their caller dies, and against robbing one
/// that lives.
#[test]
fn what_a_dead_caller_had_comes_back() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    let _running = call(&tunnel, b"running");
    let (taken, _) = take(&tunnel).unwrap();
    let _writing = tunnel.draft(&SingleProcess, participant(CALLER)).unwrap();
    let ready = call(&tunnel, b"ready");
    let one_way = call_from(&tunnel, CALLER, b"one way", true).unwrap();
    tunnel.reap_all(&system, participant(0));
    assert_eq!(
        states(&tunnel),
        [State::Running, State::Writing, State::Ready, State::Ready]
    );

    system.dead.borrow_mut().insert(CALLER);
    tunnel.reap_all(&system, participant(0));
    assert_eq!(
        states(&tunnel),
        [State::Running, State::Free, State::Free, State::Ready]
    );
    assert_eq!(tunnel.progress(ready), Progress::Ended);
    answer(&tunnel, taken, b"for nobody");
    assert!(matches!(tunnel.progress(one_way), Progress::Queued(_)));
    let (taken, argument) = take(&tunnel).unwrap();
    assert_eq!(
        argument, b"one way",
        "delivered although its caller has gone"
    );
    assert!(taken.is_one_way());
    tunnel
        .finish(&SingleProcess, participant(DISPATCHER), taken, None)
        .unwrap();
    assert!(is_empty(&tunnel));

    let _done = call(&tunnel, b"done");
    let (taken, _) = take(&tunnel).unwrap();
    answer(&tunnel, taken, b"unfetched");
    tunnel.reap_all(&system, participant(0));
    assert!(is_empty(&tunnel));
}

/// Against a caller that waits for ever when its dispatcher dies.
#[test]
fn a_caller_learns_that_its_dispatcher_died() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    let waiting = call(&tunnel, b"waiting");
    let (taken, _) = take(&tunnel).unwrap();
    let withdrawn = call(&tunnel, b"withdrawn");
    let (second, _) = take(&tunnel).unwrap();
    tunnel.withdraw(&SingleProcess, withdrawn);
    let Progress::Running(seen) = tunnel.progress(waiting) else {
        panic!("it runs")
    };
    assert_eq!(
        Tunnel::<MappedTunnel<'_>>::runner(seen),
        Some(participant(DISPATCHER))
    );
    assert_eq!(
        tunnel.arm_for_response(waiting, seen),
        Some(tunnel.word_of(waiting).load(Relaxed))
    );

    system.dead.borrow_mut().insert(DISPATCHER);
    assert!(tunnel.reap(&system, participant(DISPATCHER)));
    assert_eq!(tunnel.progress(waiting), Progress::Died);
    assert!(!system.woken.borrow().is_empty(), "its caller is woken");
    let late = tunnel.finish(&SingleProcess, participant(DISPATCHER), taken, None);
    assert_eq!(late, Err(FinishError), "the dead do not answer");
    let _ = tunnel.finish(&SingleProcess, participant(DISPATCHER), second, None);
    assert!(tunnel.forget(&SingleProcess, waiting));
    assert!(is_empty(&tunnel));
}

/// Against a recovery that ends what others do, in whatever state they are.
#[test]
fn what_the_living_have_is_left_alone() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    let dead = participant(CALLER + 1);
    // The dead had every cell before, so its name still stands in them.
    for _ in 0..4 {
        call_from(&tunnel, dead.index(), b"before", true).unwrap();
    }
    while let Some((taken, _)) = take(&tunnel) {
        let ended = tunnel.finish(&SingleProcess, participant(DISPATCHER), taken, None);
        ended.unwrap();
    }
    let done = call(&tunnel, b"done");
    let (taken, _) = take(&tunnel).unwrap();
    answer(&tunnel, taken, b"for its caller");
    let running = call(&tunnel, b"running");
    let (taken, _) = take(&tunnel).unwrap();
    let _writing = tunnel.draft(&SingleProcess, participant(CALLER)).unwrap();
    let one_way = call_from(&tunnel, CALLER, b"one way", true).unwrap();
    let before: Vec<u32> = words(&tunnel);
    assert_eq!(tunnel.recover(&system, dead, &()), 0);
    assert_eq!(words(&tunnel), before);
    assert!(system.woken.borrow().is_empty());

    assert_eq!(fetch(&tunnel, done).unwrap(), b"for its caller");
    answer(&tunnel, taken, b"too");
    assert_eq!(fetch(&tunnel, running).unwrap(), b"too");
    assert!(matches!(tunnel.progress(one_way), Progress::Queued(_)));
}

fn words(tunnel: &Mapped<'_>) -> Vec<u32> {
    let heads = (0..4).map(|cell| tunnel.memory().head(cell));
    let cells = heads.map(|head| head.word.load(Relaxed));
    cells
        .chain([
            tunnel.memory().bell().load(Relaxed),
            tunnel.memory().room().load(Relaxed),
        ])
        .collect()
}

/// Against a dispatcher that nobody tells of a call whose caller died before it could;
/// and against a count that says nothing.
#[test]
fn recovery_rings_for_the_dead_and_counts_its_cells() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    let caller = participant(CALLER);
    let _one_way = call_from(&tunnel, CALLER, b"one way", true).unwrap();
    let heard = tunnel.listen_for_calls();
    assert_eq!(tunnel.recover(&system, caller, &()), 0, "it stays");
    assert!(!tunnel.listen_for_calls().is_as_often_rung_as(heard));
    let _drafts = [0; 3].map(|_| tunnel.draft(&SingleProcess, caller).unwrap());
    assert_eq!(tunnel.recover(&system, caller, &()), 3);
    assert_eq!(tunnel.recover(&system, caller, &()), 0, "nothing is left");
}

/// Against telling people of the wrong caller, and against asking for the wrong one.
#[test]
fn each_cell_is_told_with_whom_it_belongs_to() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let _running = call(&tunnel, b"running");
    let (_taken, _) = take(&tunnel).unwrap();
    let _one_way = call_from(&tunnel, CALLER + 1, b"queued", true).unwrap();
    let cells: Vec<CellView> = tunnel.cells().collect();
    let (caller, dispatcher) = (participant(CALLER), participant(DISPATCHER));
    let running = CellView {
        state: State::Running,
        responsible: Some(dispatcher),
        caller: Some(caller),
        is_orphan: false,
    };
    let next = Some(participant(CALLER + 1));
    let queued = CellView {
        state: State::Ready,
        responsible: next,
        caller: next,
        is_orphan: true,
    };
    assert_eq!(cells[..2], [running, queued]);
    assert!(cells[2..].iter().all(|cell| cell.responsible.is_none()));
    let parties: BTreeSet<u32> = tunnel.parties().map(Participant::index).collect();
    assert_eq!(parties, BTreeSet::from([CALLER, CALLER + 1, DISPATCHER]));
}
