//! Which slots writers choose.

use super::*;
use crate::environment::SingleProcess;
use std::vec::Vec;

/// The slots of so many writes of one process.
fn slots_of_writes(
    variable: &Variable<MappedVariable<'_>>,
    me: Participant,
    suspects: &Suspects,
    count: usize,
) -> Vec<u32> {
    let write = |_| {
        let written = variable.write(&SingleProcess, me, suspects, b"value", Encoding::RAW);
        written.unwrap();
        variable.latest().slot().unwrap()
    };
    (0..count).map(write).collect()
}

/// Against a reader that is lapped by the next write or the one after it, and against
/// bytes that fall out of the cache from one use of a slot to the next.
#[test]
fn a_process_goes_round_four_slots() {
    static MEMORY: StaticVariable<14, 64> = StaticVariable::new();
    let slots = slots_of_writes(&MEMORY.variable(), participant(0), &Suspects::new(), 40);
    for four in slots.windows(4) {
        let mut four = four.to_vec();
        four.sort_unstable();
        assert_eq!(four, [0, 1, 2, 3]);
    }
}

/// Against two processes that hand the bytes of their slots to and fro.
#[test]
fn each_process_has_slots_of_its_own() {
    static MEMORY: StaticVariable<14, 64> = StaticVariable::new();
    let variable = MEMORY.variable();
    let parties = [0, 1, 2, 3].map(|index| (participant(index), Suspects::new()));
    let mut seen = [const { Vec::new() }; 4];
    for _ in 0..20 {
        for (seen, (me, suspects)) in seen.iter_mut().zip(&parties) {
            seen.extend(slots_of_writes(&variable, *me, suspects, 1));
        }
    }
    let groups = [0..4, 4..8, 8..12, 0..4];
    for (slots, group) in seen.iter().zip(&groups).take(3) {
        assert!(slots.iter().all(|slot| group.contains(slot)), "{seen:?}");
    }
}

/// Against a slot that is never used, or a process that finds none, where there are few.
#[test]
fn any_number_of_slots_will_do() {
    macro_rules! check {
        ($($slots:literal)*) => {$({
            static MEMORY: StaticVariable<$slots, 64> = StaticVariable::new();
            let variable = MEMORY.variable();
            for index in [0, 1, 5, 254] {
                slots_of_writes(&variable, participant(index), &Suspects::new(), 10);
            }
            // All but the latest can be had at once.
            let suspects = Suspects::new();
            let claim = || variable.claim(&SingleProcess, participant(9), &suspects);
            for _ in 1..$slots {
                let _kept = claim().unwrap();
            }
            assert_eq!(claim(), Err(ClaimError::NoFreeSlot));
        })*};
    }
    check!(2 3 4 5 7 8 13 62);
}
