//! Which call a dispatcher takes, and what becomes of one that it does not end.

use super::*;

/// Against an order by the cells' numbers instead of by the calls.
#[test]
fn the_oldest_call_is_taken_first() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let _first = call(&tunnel, b"first");
    let _second = call(&tunnel, b"second");
    let (taken, argument) = take(&tunnel).unwrap();
    assert_eq!(argument, b"first");
    assert!(!taken.is_one_way());
    let ended = tunnel.finish(&SingleProcess, participant(DISPATCHER), taken, None);
    ended.unwrap();
    // In the first cell again, before the one of the second.
    let _third = call_from(&tunnel, CALLER, b"third", true).unwrap();
    let _fourth = call(&tunnel, b"fourth");
    let mut order = Vec::new();
    while let Some((taken, argument)) = take(&tunnel) {
        assert_eq!(taken.is_one_way(), argument == b"third");
        order.push(argument);
    }
    assert_eq!(order, [&b"second"[..], b"third", b"fourth"]);
}

/// Against a robot that moves on the command of somebody who has died.
#[test]
fn a_call_of_the_dead_ends_without_starting() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let system = System::default();
    let of_the_dead = call_from(&tunnel, CALLER + 1, b"move", false).unwrap();
    let _one_way = call_from(&tunnel, CALLER + 1, b"one way", true).unwrap();
    let living = call(&tunnel, b"stop");
    system.dead.borrow_mut().insert(CALLER + 1);
    let me = participant(DISPATCHER);
    let taken = tunnel.take(&system, me).unwrap();
    assert!(taken.is_one_way(), "that was meant to outlive its caller");
    assert_eq!(tunnel.progress(of_the_dead), Progress::Ended);
    let taken = tunnel.take(&system, me).unwrap();
    assert!(matches!(tunnel.progress(living), Progress::Running(_)));
    assert_eq!(taken.ticket(), 2);
    assert!(tunnel.take(&system, me).is_none());
}

/// Against a caller that waits for a function which never came back.
#[test]
fn an_abandoned_call_is_told() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let me = participant(DISPATCHER);
    let made = call(&tunnel, b"told");
    let (taken, _) = take(&tunnel).unwrap();
    tunnel.abandon(&SingleProcess, me, taken);
    assert_eq!(tunnel.progress(made), Progress::Died);
    assert!(tunnel.forget(&SingleProcess, made));

    let withdrawn = call(&tunnel, b"nobody to tell");
    let (taken, _) = take(&tunnel).unwrap();
    tunnel.withdraw(&SingleProcess, withdrawn);
    tunnel.abandon(&SingleProcess, me, taken);
    assert!(is_empty(&tunnel));

    // Of another one it is none of its business.
    let other = call(&tunnel, b"of another");
    let (taken, _) = take(&tunnel).unwrap();
    tunnel.abandon(&SingleProcess, participant(DISPATCHER + 1), taken);
    assert!(matches!(tunnel.progress(other), Progress::Running(_)));
}
