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
    let lookout = &mut Lookout::default();
    let taken = tunnel.take(&system, me, lookout).unwrap();
    assert!(taken.is_one_way(), "that was meant to outlive its caller");
    assert_eq!(tunnel.progress(of_the_dead), Progress::Ended);
    let taken = tunnel.take(&system, me, lookout).unwrap();
    assert!(matches!(tunnel.progress(living), Progress::Running(_)));
    assert_eq!(taken.ticket(), 2);
    assert!(tunnel.take(&system, me, lookout).is_none());
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

/// Against a dispatcher that looks for the next call in the wrong place, or takes one
/// there that is not next: calls lie in any cell, some are taken back, and others are
/// taken by somebody else.
#[test]
fn the_oldest_call_is_taken_wherever_it_lies() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let (me, other) = (participant(DISPATCHER), participant(DISPATCHER + 1));
    let (mine, others) = (&mut Lookout::default(), &mut Lookout::default());
    let mut random = 7u32;
    let mut next = move |count: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % count
    };
    let system = SingleProcess;
    let mut queued: Vec<(u32, Call)> = Vec::new();
    let (mut taken_by_me, mut ticket) = (0, 0);
    for _ in 0..20_000 {
        match next(8) {
            0..4 => {
                let first = next(4);
                if let Ok(draft) = tunnel.draft_from(&system, participant(CALLER), first) {
                    let made = tunnel.submit(&system, participant(CALLER), draft, part(b""), true);
                    queued.push((ticket, made.unwrap()));
                    ticket += 1;
                }
            }
            4 if !queued.is_empty() => {
                let (_, call) = queued.remove(next(queued.len() as u32) as usize);
                tunnel.withdraw(&system, call);
            }
            by @ 5.. => {
                let (who, lookout) = if by == 5 {
                    (other, &mut *others)
                } else {
                    (me, &mut *mine)
                };
                let taken = tunnel.take(&system, who, lookout);
                assert_eq!(taken.is_none(), queued.is_empty());
                assert_eq!(lookout.is_quiet(), queued.is_empty());
                if let Some(taken) = taken {
                    let (ticket, call) = queued.remove(0);
                    assert_eq!(taken.ticket(), ticket);
                    assert!(matches!(tunnel.progress(call), Progress::Running(_)));
                    tunnel.finish(&system, who, taken, None).unwrap();
                    taken_by_me += u32::from(by != 5);
                }
            }
            _ => {}
        }
    }
    assert!(taken_by_me > 1000 && ticket > 3000);
}

/// Against a dispatcher that takes for next what is not: a call that has its ticket, and
/// is not ready yet, when the tickets are counted.
#[test]
fn who_is_being_made_is_not_counted_as_past() {
    let mut memory = Memory::new();
    let tunnel = memory.tunnel();
    let me = participant(DISPATCHER);
    let lookout = &mut Lookout::default();
    let slow = tunnel.draft(&SingleProcess, participant(CALLER)).unwrap();
    tunnel.memory().tickets().fetch_add(1, Relaxed);
    assert!(tunnel.take(&SingleProcess, me, lookout).is_none());
    assert!(lookout.is_quiet());
    assert_eq!(lookout.next(), None);
    tunnel.discard(&SingleProcess, slow);
    assert!(tunnel.take(&SingleProcess, me, lookout).is_none());
    assert_eq!(lookout.next(), Some(1));
}
