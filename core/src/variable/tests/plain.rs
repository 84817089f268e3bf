//! One fixed writer that only loads and stores.

#![allow(unsafe_code)] // memory of its own, and a look at its bytes

use super::*;
use crate::header::{HEADER_SIZE, Header, HeaderError, PLAIN};
use core::ptr::NonNull;

type Plain = PlainStaticVariable<4, 64>;

const RAW: ExclusiveDetails = ExclusiveDetails {
    encoding: Encoding::RAW,
    has_time: true,
};

/// What stands at `memory`, opened as another processor would.
fn open(memory: &Plain, size: usize) -> Result<PlainVariable<MappedVariable<'_>>, HeaderError> {
    // SAFETY: aligned, at least `size` bytes, and borrowed for as long as the result.
    unsafe { PlainVariable::open(NonNull::from_ref(memory).cast(), size) }
}

/// The same with some bytes of the header changed, and the checksum made good again.
fn open_changed(change: impl Fn(&mut Header)) -> Result<u32, HeaderError> {
    let mut memory = Box::new(Plain::new());
    let start = NonNull::from_mut(&mut *memory).cast::<Header>();
    // SAFETY: a segment starts with its header, and nobody else has this one.
    unsafe {
        let mut header = start.read();
        change(&mut header);
        start.write(header.with_flags(header.flags));
    }
    Ok(open(&memory, size_of::<Plain>())?.memory().slot_count())
}

/// Against values, versions or times that are not those of the write, on any of the slots.
#[test]
fn what_is_written_is_read_slot_after_slot() {
    let memory = Plain::new();
    let variable = memory.variable();
    assert_eq!(variable.version(), Ok(0));
    assert_eq!(variable.sample(), Err(ReadError::NeverWritten));
    let system = System::default();
    for number in 1..=9u8 {
        let written = variable.write(&system, &[number; 64], RAW).unwrap();
        assert_eq!(written.version, u64::from(number));
        assert_eq!(written.time_ns, u64::from(number) * 1_000_000);
        let mut value = [0; 64];
        assert_eq!(variable.read(&mut value), Ok(written));
        assert_eq!(value, [number; 64]);
        assert_eq!(variable.version(), Ok(u64::from(number)));
        let latest = Latest::from_word(variable.memory().latest().load(Relaxed));
        assert_eq!(latest.slot(), Some(u32::from(number - 1) % 4));
    }
    let no_time = ExclusiveDetails {
        has_time: false,
        ..RAW
    };
    let written = variable.write(&system, b"short", no_time).unwrap();
    assert_eq!(written.time_ns, 0);
    assert_eq!(variable.read_vec::<64>().unwrap().0, b"short");
    let error = variable.write(&system, &[0; 65], RAW).unwrap_err();
    let (size, max_size) = (65, 64);
    assert_eq!(error, WriteError::TooLarge { size, max_size });
    assert_eq!(variable.sample(), Ok(written), "it stays");
}

/// Against a writer that follows words which contradict each other out of its memory.
#[test]
fn damaged_words_are_an_error() {
    let memory = Plain::new();
    let variable = memory.variable();
    variable.write(&SingleProcess, b"value", RAW).unwrap();
    let good = variable.memory().latest().load(Relaxed);
    for bad in [Latest::new(1, 4), Latest::new(1, 62), Latest::new(2, 0)] {
        variable.memory().latest().store(bad.word(), Relaxed);
        let error = variable.write(&SingleProcess, b"next", RAW).unwrap_err();
        assert_eq!(error, WriteError::Publish(PublishError::Corrupt));
    }
    variable.memory().latest().store(good, Relaxed);
    assert_eq!(
        variable
            .write(&SingleProcess, b"next", RAW)
            .unwrap()
            .version,
        2
    );
}

/// Against memory of another kind, size or origin that is taken for a plain variable.
#[test]
fn only_what_is_plain_and_there_is_opened() {
    let memory = Plain::new();
    let writer = memory.variable();
    writer.write(&SingleProcess, b"from here", RAW).unwrap();
    let size = size_of::<Plain>();
    let other = open(&memory, size).unwrap();
    assert_eq!(other.read_vec::<64>().unwrap().0, b"from here");
    assert_eq!(other.memory().geometry(), writer.memory().geometry());

    let found = (size - 1) as u64;
    let told = size as u64;
    assert_eq!(
        open(&memory, size - 1).unwrap_err(),
        HeaderError::WrongFileSize { told, found }
    );
    for size in [0, 63, 64, HEADER_SIZE - 1] {
        let error = HeaderError::TooShort { size: size as u64 };
        assert_eq!(open(&memory, size).unwrap_err(), error);
    }
    assert_eq!(open_changed(|_| ()), Ok(4));
    let not_plain = open_changed(|header| header.flags = 0);
    assert_eq!(not_plain, Err(HeaderError::NotPlain));
    let unknown = open_changed(|header| header.flags = 2 | PLAIN);
    assert_eq!(unknown, Err(HeaderError::UnknownFlags { flags: 3 }));
    let other_size = open_changed(|header| header.geometry[1] += 1);
    assert_eq!(other_size, Err(HeaderError::BadGeometry));
    let larger = open_changed(|header| {
        let geometry = VariableGeometry::new(5, 64).unwrap();
        *header = geometry.plain().header(&Creator::default());
    });
    let told = VariableGeometry::new(5, 64).unwrap().file_size();
    let found = size as u64;
    assert_eq!(larger, Err(HeaderError::WrongFileSize { told, found }));
}

/// Against bytes that differ, beside the flag, from those of every other variable.
#[test]
fn the_bytes_are_those_of_every_variable_but_for_the_flag() {
    let plain = Plain::new();
    let ordinary = Static::new();
    let (me, suspects) = (participant(0), Suspects::new());
    for value in [&b"first"[..], &[7; 64], b"third"] {
        plain.variable().write(&SingleProcess, value, RAW).unwrap();
        let ordinary = ordinary.variable();
        let written = ordinary.write(&SingleProcess, me, &suspects, value, Encoding::RAW);
        written.unwrap();
    }
    let size = size_of::<Plain>();
    assert_eq!(size, size_of::<Static>());
    // SAFETY: all bytes are initialized, nobody writes them meanwhile, and the types have
    // no padding (checked where they are defined).
    let bytes = |start: *const u8| unsafe { core::slice::from_raw_parts(start, size) };
    let (plain, ordinary) = (
        bytes((&raw const plain).cast()),
        bytes((&raw const ordinary).cast()),
    );
    assert!(
        plain[HEADER_SIZE..] == ordinary[HEADER_SIZE..],
        "beside the header"
    );
    let geometry = VariableGeometry::new(4, 64).unwrap().plain();
    let header = Header::check(plain, size as u64, crate::header::Kind::Variable).unwrap();
    assert_eq!(header.flags, PLAIN);
    assert_eq!(VariableGeometry::from_header(&header), Ok(geometry));
    let initial = initial_bytes(&geometry, &Creator::default());
    assert_eq!(plain[..HEADER_SIZE], initial[..HEADER_SIZE]);
    let same = header.with_flags(0);
    assert_eq!(bytemuck::bytes_of(&same), &ordinary[..HEADER_SIZE]);
}

/// Against a mixed value, and versions that go back, on real processors.
#[test]
fn readers_see_whole_values_in_order() {
    const WRITES: u64 = 20_000;
    let memory = PlainStaticVariable::<3, 256>::new();
    let variable = memory.variable();
    variable.write(&SingleProcess, &[1; 256], RAW).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while last < WRITES {
                    let mut value = [0; 256];
                    let Ok(sample) = variable.read(&mut value) else {
                        continue;
                    };
                    assert!(last <= sample.version, "it goes back");
                    last = sample.version;
                    assert_eq!(value, [last as u8; 256], "version {last}");
                }
            });
        }
        for number in 2..=WRITES {
            variable
                .write(&SingleProcess, &[number as u8; 256], RAW)
                .unwrap();
        }
    });
}
