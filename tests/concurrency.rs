//! Many writers and readers at once, in several processes.

use robot_ipc::Reason;
use robot_ipc::codec::{Codec, DecodeError, EncodeError, Encoding, Postcard, Raw, Sink};
use support::process::Partner;
use support::{Scratch, open, pattern, scale};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn start(scratch: &Scratch, arguments: &[&str], count: usize) -> Vec<Partner> {
    let mut partners: Vec<Partner> = (0..count)
        .map(|_| Partner::start(scratch, CHILD, arguments))
        .collect();
    for partner in &mut partners {
        partner.expect("ready");
    }
    partners
}

/// Against an update that gives up, or hangs, because others are faster: here by
/// a write in the middle of each of its tries.
#[test]
fn an_update_that_loses_goes_on_until_its_time_is_up() {
    let scratch = Scratch::new();
    let options = scratch.options().max_size(8);
    let (loser, winner) = (
        options.open("counter").expect("it can be made"),
        options.open("counter").expect("it exists"),
    );
    let mut tries = 0;
    let written = loser.update(|_| {
        tries += 1;
        if tries < 3000 {
            winner.write(b"first").expect("a slot");
        }
        b"at last".to_vec()
    });
    assert_eq!(written.expect("nobody is faster any more").version, 3000);

    let short = std::time::Duration::from_millis(20);
    let impatient = options
        .write_timeout(short)
        .open("counter")
        .expect("it exists");
    let refused = impatient.update(|_| {
        winner.write(b"always").expect("a slot");
        b"never".to_vec()
    });
    let refused = refused.expect_err("somebody is always faster");
    assert!(
        matches!(refused.reason(), Reason::Contended { .. }),
        "{refused}"
    );
}

/// Against torn values and lost writes.
#[test]
fn sixteen_writers_and_eight_readers_lose_and_tear_nothing() {
    let seconds = scale("ROBOT_IPC_TEST_SECONDS", 5).to_string();
    let scratch = Scratch::new();
    let variable = open(&scratch, "busy");
    variable.write(&pattern(4096, 0)).expect("a first value");
    let mut readers = start(&scratch, &["read-threads", "busy", "4"], 2);
    let mut writers = start(&scratch, &["write-threads", "busy", "4", &seconds], 4);
    for writer in &mut writers {
        writer.say("go");
    }
    let written: Vec<u64> = writers
        .iter_mut()
        .map(|writer| writer.number("written"))
        .collect();
    for writer in &mut writers {
        writer.finish();
    }
    for reader in &mut readers {
        reader.end_input();
        let read = reader.number("read");
        println!("read {read} times");
        assert!(read > 0);
        reader.finish();
    }
    println!("written {written:?} times");
    assert!(
        written.iter().all(|count| *count > 0),
        "somebody starved: {written:?}"
    );
    assert_eq!(
        variable.version().ok(),
        Some(written.iter().sum::<u64>() + 1)
    );
    assert_eq!(robot_ipc::testing::taken_slots(&variable), 0);
}

/// Against an update that overwrites what somebody else has just written.
#[test]
fn no_update_is_lost() {
    let scratch = Scratch::new();
    let times = 2000 * scale("ROBOT_IPC_TEST_SECONDS", 5);
    let counter = open(&scratch, "counter");
    let mut processes = start(&scratch, &["count-up", "counter", &times.to_string()], 4);
    for process in &mut processes {
        process.say("go");
    }
    for process in &mut processes {
        process.finish();
    }
    let (bytes, sample) = counter.sample().expect("a number");
    assert_eq!(
        u64::from_ne_bytes(bytes.try_into().expect("8 bytes")),
        4 * times
    );
    assert_eq!(sample.version, 4 * times);
}

/// Against bytes of one type that are read as another.
#[test]
fn a_value_of_another_type_is_an_error() {
    let scratch = Scratch::new();
    let options = scratch.options().max_size(64);
    let raw = options.open_typed::<Raw<[u32; 4]>>("typed").expect("new");
    let other_raw = options
        .open_typed::<Raw<[u32; 5]>>("typed")
        .expect("the same");
    let postcard = options
        .open_typed::<Postcard<(u8, bool)>>("typed")
        .expect("the same");
    let other_postcard = options
        .open_typed::<Postcard<(u8, char)>>("typed")
        .expect("the same");
    let reason = |error: robot_ipc::Error| error.reason().clone();

    assert_eq!(raw.read().map_err(reason), Err(Reason::NeverWritten));
    raw.write(&[1, 2, 3, 4]).expect("a slot");
    assert_eq!(raw.read().expect("a value"), [1, 2, 3, 4]);
    assert_eq!(
        other_raw.read().map_err(reason),
        Err(Reason::Decode(DecodeError::WrongSize {
            found: 16,
            expected: 20
        }))
    );
    let wrong = |found, expected| Reason::Decode(DecodeError::WrongEncoding { found, expected });
    assert_eq!(
        postcard.read().map_err(reason),
        Err(wrong(Encoding::RAW, Encoding::POSTCARD))
    );
    // What cannot be read cannot be updated; the old value stays.
    assert!(postcard.update(|_| (0, false)).is_err());
    assert_eq!(raw.read().expect("a value"), [1, 2, 3, 4]);

    postcard.write(&(7, true)).expect("a slot");
    assert_eq!(postcard.read().expect("a value"), (7, true));
    assert_eq!(
        raw.read().map_err(reason),
        Err(wrong(Encoding::POSTCARD, Encoding::RAW))
    );
    assert!(matches!(
        other_postcard.read().map_err(reason),
        Err(Reason::Decode(DecodeError::Malformed))
    ));
    raw.variable()
        .write_encoded(b"pickled", Encoding::PICKLE)
        .expect("a slot");
    assert_eq!(
        postcard.read().map_err(reason),
        Err(wrong(Encoding::PICKLE, Encoding::POSTCARD))
    );
    assert_eq!(
        raw.read().map_err(reason),
        Err(wrong(Encoding::PICKLE, Encoding::RAW))
    );

    let long = options
        .open_typed::<Postcard<String>>("typed")
        .expect("the same");
    let before = long.variable().version().expect("a version");
    let refused = long
        .write(&"x".repeat(64))
        .expect_err("63 bytes and their number fit");
    assert!(
        matches!(refused.reason(), Reason::TooLarge { max_size: 64, .. }),
        "{refused}"
    );
    assert_eq!(long.variable().version().ok(), Some(before));
    long.write(&"x".repeat(63)).expect("just");
    assert_eq!(long.read().expect("a value").len(), 63);
    assert_eq!(robot_ipc::testing::taken_slots(long.variable()), 0);
}

/// A codec whose values cannot be encoded: that is a fault of theirs.
#[derive(Debug)]
struct Faulty;

impl Codec for Faulty {
    type Value = ();
    const ENCODING: Encoding = Encoding::RAW;

    fn encode(_value: &(), sink: &mut impl Sink) -> Result<(), EncodeError> {
        sink.extend(b"half of it")?;
        panic!("as some implementation of Serialize might")
    }

    fn decode(_bytes: &[u8]) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Against a slot that stays taken after a value's own code has panicked.
#[test]
fn a_panic_while_a_value_is_encoded_costs_no_slot() {
    let scratch = Scratch::new();
    let faulty = scratch
        .options()
        .max_size(64)
        .open_typed::<Faulty>("faulty")
        .expect("new");
    faulty.variable().write(b"value").expect("a slot");
    let write = std::panic::AssertUnwindSafe(|| faulty.write(&()).map(drop));
    assert!(std::panic::catch_unwind(write).is_err());
    assert_eq!(robot_ipc::testing::taken_slots(faulty.variable()), 0);
    assert_eq!(faulty.variable().sample().expect("the old one").0, b"value");
}
