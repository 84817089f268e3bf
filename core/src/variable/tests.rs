extern crate std;

mod borrowing;
mod plain;
mod recovery;
mod slots;

use super::word::{CLAIM_MASK, Stamp, version_halves};
use super::*;
use crate::environment::{Environment, SingleProcess};
use crate::header::Creator;
use crate::participant::Participant;
use crate::recovery::Recoverable;
use crate::sync::Ordering::Relaxed;
use core::cell::RefCell;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

type Static = StaticVariable<4, 64>;

fn participant(index: u32) -> Participant {
    Participant::new(index).unwrap()
}

fn write(variable: &Variable<MappedVariable<'_>>, bytes: &[u8]) -> Result<Sample, WriteError> {
    variable.write(
        &SingleProcess,
        participant(0),
        &Suspects::new(),
        bytes,
        Encoding::RAW,
    )
}

fn latest_is(variable: &Variable<MappedVariable<'_>>, bytes: &[u8]) -> u64 {
    let (value, sample) = variable.read_vec::<64>().unwrap();
    assert_eq!(value, bytes);
    assert_eq!(sample.length as usize, bytes.len());
    sample.version
}

/// A system in which a test says who is dead, and which counts wake-ups.
#[derive(Default)]
struct System {
    dead: RefCell<BTreeSet<u32>>,
    woken: RefCell<u32>,
    now_ns: RefCell<u64>,
}

impl Environment for System {
    type Recovery = ();
    fn now_ns(&self) -> u64 {
        *self.now_ns.borrow_mut() += 1_000_000;
        *self.now_ns.borrow()
    }
    fn wake_all(&self, _word: &AtomicU32) {
        *self.woken.borrow_mut() += 1;
    }
    fn try_take(&self, participant: Participant) -> Option<()> {
        self.dead
            .borrow()
            .contains(&participant.index())
            .then_some(())
    }
}

/// Against a value that is cut, padded, or mixed with the one before it.
#[test]
fn values_of_every_size_come_back_whole() {
    let memory = Static::new();
    let variable = memory.variable();
    assert_eq!(
        variable.read_vec::<64>().unwrap_err(),
        ReadError::NeverWritten
    );
    for size in 0..=64 {
        let bytes: Vec<u8> = (0..size).map(|byte| byte as u8 ^ 0x5A).collect();
        let sample = write(&variable, &bytes).unwrap();
        assert_eq!(sample.version, size as u64 + 1);
        assert_eq!(latest_is(&variable, &bytes), sample.version);
    }
    assert_eq!(
        write(&variable, &[0; 65]),
        Err(WriteError::TooLarge {
            size: 65,
            max_size: 64
        })
    );
    let mut small = [0; 4];
    assert_eq!(
        variable.read(&mut small).unwrap().length,
        64,
        "a cut value tells its length"
    );
    assert_eq!(small, [0x5A, 0x5B, 0x58, 0x59]);
}

/// Against a counter that shows garbage when one of its parts wraps.
#[test]
fn versions_go_on_over_every_wrap() {
    for start in [
        (1 << 24) - 3,
        (1 << 31) - 3,
        (1u64 << 32) - 3,
        (1 << 55) - 3,
        (1 << 63) - 3,
    ] {
        let memory = Static::new();
        let variable = memory.variable();
        start_at(&variable, start);
        for step in 1..=8 {
            let expected = (start + step) % VERSION_MODULUS;
            assert_eq!(
                write(&variable, &step.to_ne_bytes()).unwrap().version,
                expected
            );
            assert_eq!(latest_is(&variable, &step.to_ne_bytes()), expected);
            assert_eq!(variable.version().unwrap().0, expected);
        }
    }
}

/// Makes `version` the latest, as if it had been counted up to.
fn start_at(variable: &Variable<MappedVariable<'_>>, version: u64) {
    let (low, high) = version_halves(version);
    let head = variable.memory().head(1);
    head.stamp.store(Stamp::new(low).word(), Relaxed);
    head.high.store(high, Relaxed);
    variable
        .memory()
        .latest()
        .store(Latest::new(version, 1).word(), Relaxed);
}

/// Against an update that overwrites somebody else's value.
#[test]
fn compare_and_write_replaces_only_the_version_it_names() {
    let memory = Static::new();
    let variable = memory.variable();
    let me = participant(0);
    let publish = |replaces, bytes: &[u8]| {
        let claim = variable
            .claim(&SingleProcess, me, &Suspects::new())
            .unwrap();
        variable.fill(&claim, 0, bytes).unwrap();
        let details = Details {
            length: bytes.len() as u32,
            encoding: Encoding::RAW,
            replaces: Some(replaces),
        };
        variable
            .publish(&SingleProcess, me, claim, &details)
            .map_err(|(error, claim)| {
                variable.abandon(&SingleProcess, me, claim);
                error
            })
    };
    assert_eq!(publish(0, b"one").unwrap().version, 1);
    assert_eq!(
        publish(0, b"two"),
        Err(PublishError::Changed { version: 1 })
    );
    assert_eq!(latest_is(&variable, b"one"), 1);
    assert_eq!(publish(1, b"two").unwrap().version, 2);
}

/// Against a slot that is lost to a writer that never came back, and against
/// one that is taken from a writer that is merely slow.
#[test]
fn slots_of_the_dead_are_taken_back_and_those_of_the_living_are_not() {
    let memory = Static::new();
    let variable = memory.variable();
    let system = System::default();
    let suspects = Suspects::new();
    let me = participant(0);
    variable
        .write(&system, me, &suspects, b"value", Encoding::RAW)
        .unwrap();
    let _lost: Vec<Claim> = (1..=3)
        .map(|index| {
            variable
                .claim(&system, participant(index), &suspects)
                .unwrap()
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(
            variable.claim(&system, me, &suspects),
            Err(ClaimError::NoFreeSlot)
        );
    }
    assert_eq!(latest_is(&variable, b"value"), 1);

    system.dead.borrow_mut().insert(2);
    let claim = (0..50)
        .find_map(|_| variable.claim(&system, me, &suspects).ok())
        .unwrap();
    let holders: Vec<_> = (0..4).flat_map(|slot| variable.holders(slot)).collect();
    assert!(holders.contains(&participant(1)) && holders.contains(&participant(3)));
    assert!(!holders.contains(&participant(2)));
    variable.abandon(&system, me, claim);

    system.dead.borrow_mut().extend([1, 3]);
    variable.reap_all(&system, me);
    assert!((0..4).all(|slot| variable.holders(slot).count() == 0));
    assert_eq!(latest_is(&variable, b"value"), 1);
}

/// Against a borrowed value that changes under its reader.
#[test]
fn a_pinned_slot_is_not_written_and_a_dead_pin_is_cleared() {
    let memory = Static::new();
    let variable = memory.variable();
    let system = System::default();
    let suspects = Suspects::new();
    let (writer, reader) = (participant(0), participant(5));
    let mut pins = Pins::new();
    variable
        .write(&system, writer, &suspects, b"pinned", Encoding::RAW)
        .unwrap();
    let pin = variable.pin(&system, reader, &mut pins).unwrap();
    let again = variable.pin(&system, reader, &mut pins).unwrap();
    assert_eq!((pin.slot(), pin.sample()), (again.slot(), again.sample()));
    for round in 0..20u8 {
        variable
            .write(&system, writer, &suspects, &[round], Encoding::RAW)
            .unwrap();
        let mut bytes = [0; 6];
        variable.memory().copy(pin.slot(), 0, &mut bytes);
        assert_eq!(&bytes, b"pinned");
    }
    variable.unpin(&system, reader, &mut pins, again);
    assert_eq!(
        variable.pinned_slots(),
        1,
        "one of two borrows is still open"
    );
    variable.unpin(&system, reader, &mut pins, pin);
    assert_eq!(variable.pinned_slots(), 0);

    let _lost = variable.pin(&system, reader, &mut pins).unwrap();
    system.dead.borrow_mut().insert(5);
    for _ in 0..20 {
        variable
            .write(&system, writer, &suspects, b"on", Encoding::RAW)
            .unwrap();
    }
    assert_eq!(variable.pinned_slots(), 0);
}

/// Against borrowers that leave writers no slot.
#[test]
fn borrows_and_loans_leave_two_slots() {
    let memory = Static::new();
    let variable = memory.variable();
    let me = participant(0);
    let mut pins = Pins::new();
    let mut held = Vec::new();
    for round in 0..2u8 {
        write(&variable, &[round]).unwrap();
        held.push(variable.pin(&SingleProcess, me, &mut pins).unwrap());
    }
    write(&variable, b"more").unwrap();
    assert_eq!(
        variable.pin(&SingleProcess, me, &mut pins).unwrap_err(),
        BorrowError::TooManyPinned
    );
    assert_eq!(
        variable.claim_to_loan(&SingleProcess, me, &Suspects::new()),
        Err(ClaimError::NoFreeSlot)
    );
    write(&variable, b"still writable").unwrap();
    variable.unpin(&SingleProcess, me, &mut pins, held.pop().unwrap());
    let loan = variable
        .claim_to_loan(&SingleProcess, me, &Suspects::new())
        .unwrap();
    write(&variable, b"beside a loan").unwrap();
    variable.abandon(&SingleProcess, me, loan);

    assert_eq!(
        variable
            .pin(&SingleProcess, participant(24), &mut Pins::new())
            .unwrap_err(),
        BorrowError::NotAmongTheFirst { index: 24 }
    );
    let two = StaticVariable::<2, 8>::new();
    write(&two.variable(), b"x").unwrap();
    assert_eq!(
        two.variable()
            .pin(&SingleProcess, me, &mut Pins::new())
            .unwrap_err(),
        BorrowError::TooFewSlots
    );
    assert_eq!(
        two.variable()
            .claim_to_loan(&SingleProcess, me, &Suspects::new()),
        Err(ClaimError::NoFreeSlot)
    );
}

/// Against borrowers that count only other borrowers, and loans only loans.
#[test]
fn borrows_and_loans_leave_two_slots_together() {
    let memory = Static::new();
    let variable = memory.variable();
    let me = participant(0);
    let mut pins = Pins::new();
    write(&variable, b"0").unwrap();
    let loan = variable
        .claim_to_loan(&SingleProcess, me, &Suspects::new())
        .unwrap();
    let pin = variable.pin(&SingleProcess, me, &mut pins).unwrap();
    for round in 0..20u8 {
        write(&variable, &[round]).unwrap();
    }
    assert_eq!(
        variable.pin(&SingleProcess, me, &mut pins).unwrap_err(),
        BorrowError::Crowded
    );
    assert_eq!(
        variable.claim_to_loan(&SingleProcess, me, &Suspects::new()),
        Err(ClaimError::NoFreeSlot)
    );
    write(&variable, b"on").unwrap();
    variable.abandon(&SingleProcess, me, loan);
    let second = variable.pin(&SingleProcess, me, &mut pins).unwrap();
    variable.unpin(&SingleProcess, me, &mut pins, second);
    variable.unpin(&SingleProcess, me, &mut pins, pin);
    assert!((0..4).all(|slot| variable.holders(slot).count() == 0));
}

/// Against a write that reports success on a variable that is gone.
#[test]
fn nothing_succeeds_after_retirement() {
    let memory = Static::new();
    let variable = memory.variable();
    let system = System::default();
    let me = participant(0);
    write(&variable, b"last").unwrap();
    let claim = variable.claim(&system, me, &Suspects::new()).unwrap();
    variable.retire(&system);
    assert_eq!(*system.woken.borrow(), 1);
    let details = Details {
        length: 0,
        encoding: Encoding::RAW,
        replaces: None,
    };
    let (error, claim) = variable.publish(&system, me, claim, &details).unwrap_err();
    assert_eq!(error, PublishError::Retired);
    variable.abandon(&system, me, claim);
    assert_eq!(
        write(&variable, b"no"),
        Err(WriteError::Claim(ClaimError::Retired))
    );
    assert_eq!(variable.read_vec::<8>().unwrap_err(), ReadError::Retired);
    assert_eq!(
        variable.pin(&system, me, &mut Pins::new()).unwrap_err(),
        BorrowError::Read(ReadError::Retired)
    );
}

/// Against a sleeper that nobody wakes, and against waking for nobody.
#[test]
fn the_waiting_bit_is_cleared_by_the_write_that_wakes() {
    let memory = Static::new();
    let variable = memory.variable();
    let system = System::default();
    let (me, suspects) = (participant(0), Suspects::new());
    variable
        .write(&system, me, &suspects, b"1", Encoding::RAW)
        .unwrap();
    assert_eq!(*system.woken.borrow(), 0);
    let (_, seen) = variable.version().unwrap();
    assert_eq!(variable.arm(seen), Some(variable.latest().word()));
    assert!(variable.latest().waiting());
    variable
        .write(&system, me, &suspects, b"2", Encoding::RAW)
        .unwrap();
    assert_eq!(*system.woken.borrow(), 1);
    assert!(!variable.latest().waiting());
    assert_eq!(
        variable.arm(seen),
        None,
        "the value has changed: do not sleep"
    );
}

/// Against words that lead outside, or around in circles: every operation ends
/// with a value or an error whatever the shared words are.
#[test]
fn any_words_give_an_answer() {
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u32
    };
    let memory = Box::new(Static::new());
    let variable = memory.variable();
    let system = System::default();
    let me = participant(0);
    for _ in 0..20_000 {
        variable.memory().latest().store(next(), Relaxed);
        for slot in 0..4 {
            let head = variable.memory().head(slot);
            let owner = if next() % 2 == 0 { 0 } else { next() };
            variable.memory().owner(slot).store(owner, Relaxed);
            for word in [&head.stamp, &head.high, &head.length, &head.encoding] {
                word.store(next(), Relaxed);
            }
            if next() % 2 == 0 {
                let named = variable.latest().word() >> 8;
                head.stamp.store(named << 1, Relaxed);
            }
        }
        let _ = variable.read_vec::<64>();
        let _ = variable.version();
        let mut pins = Pins::new();
        if let Ok(pin) = variable.pin(&system, me, &mut pins) {
            variable.unpin(&system, me, &mut pins, pin);
        }
        let _ = variable.write(&system, me, &Suspects::new(), b"x", Encoding::RAW);
        variable.reap_all(&system, me);
    }
}

/// Against a layout that drifts from the one that other builds and other
/// versions have: the bytes of a small segment, as they are.
#[test]
fn golden_bytes() {
    let memory = StaticVariable::<2, 8>::new();
    let variable = memory.variable();
    write(&variable, &[0xA1, 0xA2, 0xA3]).unwrap();
    let geometry = VariableGeometry::new(2, 8).unwrap();
    assert_eq!(geometry.file_size(), size_of_val(&memory) as u64);

    let words = variable.memory();
    let low_bytes_first = cfg!(target_endian = "little");
    if low_bytes_first {
        assert_eq!(
            words.latest().load(Relaxed).to_ne_bytes(),
            [0, 1, 0, 0],
            "version 1, slot 0"
        );
        let initial = initial_bytes(&geometry, &Creator::default());
        assert_eq!(
            initial[..24],
            *b"ROBOTIPC\x02\0\0\0\x0d\x0c\x0b\x0a\x01\0\0\0\0\0\0\0"
        );
        assert_eq!(
            initial[24..32],
            [0x40, 0x0B, 0, 0, 0, 0, 0, 0],
            "2880 bytes"
        );
        assert_eq!(
            initial[32..48],
            [2, 0, 0, 0, 8, 0, 0, 0, 128, 0, 0, 0, 0x40, 0x0A, 0, 0]
        );
        assert_eq!(initial[48..252], [0; 204]);
        assert_eq!(initial[252..256], [0x7B, 0xDB, 0xA1, 0x69], "checksum");
        assert_eq!(initial[256..2304], [0; 2048]);
        assert_eq!(initial[2304..], [63, 0, 0, 0]);
    }
    let head = words.head(0);
    assert_eq!(head.stamp.load(Relaxed), 2);
    assert_eq!(head.length.load(Relaxed), 3);
    assert_eq!(head.encoding.load(Relaxed), 1);
    assert_eq!(words.owner(0).load(Relaxed) & CLAIM_MASK, 0);
    let mut bytes = [0; 8];
    words.copy(0, 0, &mut bytes);
    assert_eq!(bytes, [0xA1, 0xA2, 0xA3, 0, 0, 0, 0, 0]);
}

/// Against firmware and Linux that mean different bytes by the same variable:
/// static memory and a segment made at run time, after the same writes.
#[test]
#[allow(unsafe_code)]
fn static_and_mapped_memory_have_the_same_bytes() {
    use core::ptr::NonNull;

    let in_static = Box::new(Static::new());
    let geometry = VariableGeometry::new(4, 64).unwrap();
    let mut in_segment = Box::new(Static::new());
    let size = size_of::<Static>();
    assert_eq!(size as u64, geometry.file_size());
    let start = NonNull::from_mut(&mut *in_segment).cast::<u8>();
    let initial = initial_bytes(&geometry, &Creator::default());
    // SAFETY: `size` bytes that are ours alone; what they were does not matter.
    let mapped = unsafe {
        start.write_bytes(0, size);
        start.copy_from_nonoverlapping(NonNull::from_ref(&initial).cast(), initial.len());
        Variable::new(MappedVariable::new(start, geometry))
    };
    // SAFETY: all bytes are initialized, nobody writes them meanwhile, and the
    // types have no padding (checked where they are defined).
    let bytes = |start: *const u8| unsafe { core::slice::from_raw_parts(start, size) }.to_vec();
    let both = || (bytes((&raw const *in_static).cast()), bytes(start.as_ptr()));
    let (left, right) = both();
    assert!(left == right, "as they are made");
    for value in [
        &b"first"[..],
        b"second",
        b"third",
        &[7; 64],
        b"around again",
    ] {
        write(&in_static.variable(), value).unwrap();
        write(&mapped, value).unwrap();
        let (left, right) = both();
        assert!(left == right, "after {value:?}");
    }
}

/// Against geometry that overflows, and against headers that lie about it.
#[test]
fn geometry_at_and_past_each_limit() {
    for slots in [0, 1, 63, 64, u32::MAX] {
        assert!(VariableGeometry::new(slots, 8).is_none(), "{slots} slots");
    }
    assert!(VariableGeometry::new(2, 8).is_some() && VariableGeometry::new(62, 8).is_some());
    assert!(VariableGeometry::new(2, 0).is_none());
    assert!(VariableGeometry::new(2, MAX_VALUE_SIZE + 1).is_none());
    let fits = cfg!(target_pointer_width = "64");
    assert_eq!(VariableGeometry::new(62, MAX_VALUE_SIZE).is_some(), fits);

    let good = VariableGeometry::new(5, 100).unwrap();
    assert_eq!(
        VariableGeometry::from_header(&good.header(&Creator::default())),
        Ok(good)
    );
    for word in 0..8 {
        let mut header = good.header(&Creator::default());
        header.geometry[word] ^= 64;
        assert!(
            VariableGeometry::from_header(&header).is_err(),
            "geometry word {word}"
        );
    }
}

/// Against tearing and lost writes between real threads: four writers, two
/// readers, few slots.
#[test]
fn threads_see_whole_values_and_every_write_counts() {
    const WRITES: u64 = if cfg!(miri) { 20 } else { 20_000 };
    let memory = Box::new(Static::new());
    let variable = memory.variable();
    std::thread::scope(|scope| {
        for index in 0..4 {
            scope.spawn(move || {
                for count in 0..WRITES {
                    let value = [count << 8 | u64::from(index); 8];
                    let bytes = bytemuck::bytes_of(&value);
                    while variable
                        .write(
                            &SingleProcess,
                            participant(index),
                            &Suspects::new(),
                            bytes,
                            Encoding::RAW,
                        )
                        .is_err()
                    {
                        std::thread::yield_now();
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(move || {
                let mut version = 0;
                let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
                while version < 4 * WRITES {
                    assert!(std::time::Instant::now() < end, "a writer is gone");
                    let mut value = [0u64; 8];
                    let bytes = bytemuck::bytes_of_mut(&mut value);
                    if let Ok(sample) = variable.read(bytes) {
                        assert!(sample.version >= version, "went back");
                        assert!(
                            value.iter().all(|word| *word == value[0]),
                            "torn: {value:?}"
                        );
                        version = sample.version;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!(variable.version().unwrap().0, 4 * WRITES);
}

/// Against zeros that stand where the memory was and are taken for a value, also by who
/// has looked at the memory before; and against a write that is lost and reports success.
#[test]
#[allow(unsafe_code)]
fn what_remains_of_lost_memory_is_a_removed_variable() {
    const GEOMETRY: VariableGeometry = match VariableGeometry::new(4, 64) {
        Some(geometry) => geometry,
        None => panic!("within the limits"),
    };
    #[repr(C, align(64))]
    struct Memory([u8; GEOMETRY.file_size() as usize]);
    let mut memory = Box::new(Memory([0; GEOMETRY.file_size() as usize]));
    for (offset, word) in GEOMETRY.remains().words() {
        memory.0[offset..offset + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let start = core::ptr::NonNull::from(&mut memory.0).cast();
    // SAFETY: aligned, of the geometry's size, and borrowed alone.
    let variable = Variable::new(unsafe { MappedVariable::new(start, GEOMETRY) });
    assert!(variable.is_retired());
    assert_eq!(variable.sample(), Err(ReadError::Retired));
    assert_eq!(variable.version(), Err(ReadError::Retired));
    assert_eq!(
        write(&variable, b"late"),
        Err(WriteError::Claim(ClaimError::Retired))
    );
    for version in [1, 2, 1 << 24, 1 << 31, 1 << 55] {
        for slot in 0..4 {
            let seen = Latest::new(version, slot);
            assert_eq!(variable.sample_of(slot, seen), None, "{seen:?}");
            assert_eq!(variable.version_named_by(seen), None, "{seen:?}");
        }
    }
    // Who has claimed a slot before cannot publish it.
    let details = Details {
        length: 4,
        encoding: Encoding::RAW,
        replaces: None,
    };
    let claim = Claim::from_slot(1);
    let published = variable.publish(&SingleProcess, participant(0), claim, &details);
    assert!(matches!(published, Err((PublishError::Retired, _))));
}
