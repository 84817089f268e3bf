//! Values and calls between Rust and Python: two processes, each with the types of its
//! own language. The other half is languages.py.

use bytemuck::{CheckedBitPattern, NoUninit, Pod, Zeroable};
use robot_ipc::codec::{Codec, MixedArguments, Pickle, Postcard, PythonArguments, Raw};
use robot_ipc::pickle::Bytes;
use robot_ipc::{Encoding, FunctionOptions, HostFunctionDispatcher, TypedCaller, TypedVariable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Kept, Scratch, library, skipped, workspace};

const PATIENCE: Duration = Duration::from_secs(60);

/// Python, to do `role` here; `None`, said loudly, if there is none.
fn python(scratch: &Scratch, role: &str) -> Option<Command> {
    if Command::new("python3").arg("--version").output().is_err() {
        skipped(role, "there is no python3");
        return None;
    }
    let mut command = Command::new("python3");
    scratch
        .enter(&mut command)
        .arg(workspace().join("tests/languages.py"))
        .arg(role)
        .env("ROBOT_IPC_LIBRARY", library())
        .env("PYTHONPATH", workspace().join("python-ctypes"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

/// Whether there is a Python, which has then done `role` and found all as it should be.
fn has_done(scratch: &Scratch, role: &str) -> bool {
    let Some(mut command) = python(scratch, role) else {
        return false;
    };
    assert!(Kept::start(&mut command).succeeds(), "{role}: see above");
    true
}

fn variable<C: Codec>(scratch: &Scratch, name: &str, max_size: u64) -> TypedVariable<C> {
    let options = scratch.options().max_size(max_size);
    options.open_typed(name).expect("new")
}

#[repr(C)]
#[derive(Clone, Copy, Debug, CheckedBitPattern, NoUninit)]
struct Padded {
    flag: bool,
    padding: [u8; 7],
    x: f64,
    grid: [[i16; 3]; 2],
    y: f32,
}

#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Packed {
    kind: u8,
    x: f64,
    count: u16,
}

fn padded() -> Padded {
    Padded {
        flag: true,
        padding: [0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7],
        x: f64::NAN,
        grid: [[1, -2, 3], [4, 5, -6]],
        y: -0.0,
    }
}

/// Against a layout that the languages see in two ways; and padding is what its writer
/// had there: what came from the other side, or zeros.
#[test]
fn structs_are_the_same_in_both_languages() {
    let scratch = Scratch::new();
    let mine = variable::<Raw<Padded>>(&scratch, "padded", 32);
    let packed = variable::<Raw<Packed>>(&scratch, "packed", 11);
    let fresh = variable::<Raw<Padded>>(&scratch, "fresh", 32);
    mine.write(&padded()).expect("a slot");
    let written = Packed {
        kind: 255,
        x: 1.5,
        count: 65535,
    };
    packed.write(&written).expect("a slot");
    if !has_done(&scratch, "structs") {
        return;
    }
    let back = mine.read().expect("a value");
    assert!(back.flag && back.x == 0.0 && back.x.is_sign_negative() && back.y == f32::INFINITY);
    assert_eq!(back.grid, [[1, -2, 3], [7, 5, -6]]);
    assert_eq!(back.padding, padded().padding, "as it was written here");
    let Packed { kind, x, count } = packed.read().expect("a value");
    assert!((kind, count) == (1, 2) && x.is_nan());
    assert_eq!(fresh.read().expect("a value").padding, [0; 7]);
}

/// Against garbage from a struct of another size, or from bits that are no value.
#[test]
fn structs_that_do_not_match_are_errors() {
    let scratch = Scratch::new();
    let bytes = variable::<Raw<[u8; 24]>>(&scratch, "bytes", 64);
    bytes.write(&[2; 24]).expect("a slot");
    let mine = variable::<Raw<Padded>>(&scratch, "bytes", 64);
    let error = mine.read().expect_err("32 bytes").to_string();
    assert!(
        error.contains("24 bytes") && error.contains("has 32"),
        "{error}"
    );
    mine.variable().write(&[2; 32]).expect("a slot");
    let error = mine.read().expect_err("2 is no bool").to_string();
    assert!(error.contains("not a value of the type"), "{error}");
    bytes.write(&[2; 24]).expect("a slot");
    if has_done(&scratch, "mismatches") {
        let error = bytes.read().expect_err("5 bytes").to_string();
        assert!(error.contains("has 5 bytes"), "{error}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Mixture {
    nan: f64,
    zero: f64,
    large: u64,
    text: String,
    nothing: Option<u8>,
    raw: Bytes,
    nested: BTreeMap<String, BTreeMap<String, Vec<u32>>>,
}

fn mixture() -> Mixture {
    let inner = BTreeMap::from([("b".to_owned(), vec![1, 2])]);
    Mixture {
        nan: f64::NAN,
        zero: -0.0,
        large: u64::MAX,
        text: "Käse 🤖".to_owned(),
        nothing: None,
        raw: Bytes(vec![0, 255]),
        nested: BTreeMap::from([("a".to_owned(), inner)]),
    }
}

/// Against values that are changed between the languages, or lost where Python shares a
/// part of them.
#[test]
fn pickles_go_both_ways() {
    let scratch = Scratch::new();
    let pickle = variable::<Pickle<Mixture>>(&scratch, "pickle", 4096);
    pickle.write(&mixture()).expect("a slot");
    assert_eq!(pickle.read().expect("a value").large, u64::MAX);
    if !has_done(&scratch, "pickles") {
        return;
    }
    let mut back = pickle.read().expect("a value");
    assert!(back.nan.is_nan() && back.zero.is_sign_negative());
    let shared = BTreeMap::from([("b".to_owned(), vec![3])]);
    let nested = ["a", "ä"].map(|key| (key.to_owned(), shared.clone()));
    assert_eq!(back.nested, BTreeMap::from(nested));
    back.nan = 0.0;
    let expected = Mixture {
        nan: 0.0,
        nested: back.nested.clone(),
        ..mixture()
    };
    assert_eq!(back, expected);
}

fn refusal<T: Serialize + DeserializeOwned>(scratch: &Scratch, name: &str) -> String {
    match variable::<Pickle<T>>(scratch, name, 4096).read() {
        Ok(_) => panic!("{name} was read"),
        Err(error) => error.to_string(),
    }
}

/// Against a number that is cut, and an error that does not name what was found.
#[test]
fn what_rust_cannot_hold_is_named() {
    let scratch = Scratch::new();
    if has_done(&scratch, "large") {
        let error = refusal::<i128>(&scratch, "large");
        assert!(error.contains("26 bytes, and 16 is the most"), "{error}");
        let error = refusal::<BTreeMap<String, f64>>(&scratch, "object");
        assert!(
            error.contains("'object'") && error.contains("_ctypes"),
            "{error}"
        );
    }
}

/// Against bytes of one codec that another one makes something of.
#[test]
fn encodings_are_told_apart() {
    let scratch = Scratch::new();
    let raw = variable::<Raw<[u8; 3]>>(&scratch, "value", 64);
    let postcard = variable::<Postcard<(u8, u8, u8)>>(&scratch, "value", 64);
    let pickle = variable::<Pickle<u8>>(&scratch, "value", 64);
    let texts = |bytes: &[u8], encoding| {
        raw.variable()
            .write_encoded(bytes, encoding)
            .expect("a slot");
        let text = |error: robot_ipc::Error| error.to_string();
        [
            raw.read().map(drop).map_err(text),
            postcard.read().map(drop).map_err(text),
            pickle.read().map(drop).map_err(text),
        ]
    };
    let names = ["raw", "postcard", "pickle"];
    for (index, encoding) in [Encoding::RAW, Encoding::POSTCARD, Encoding::PICKLE]
        .iter()
        .enumerate()
    {
        for (reader, read) in texts(b"K\x05.", *encoding).into_iter().enumerate() {
            let expected = format!("encoded as {}, and {} is", names[index], names[reader]);
            match read {
                Ok(()) => assert_eq!(index, reader),
                Err(error) => assert!(index != reader && error.contains(&expected), "{error}"),
            }
        }
    }
    assert_eq!(
        texts(b"K\x05.", Encoding::UNSPECIFIED),
        [Ok(()), Ok(()), Ok(())]
    );
    let [raw, postcard, pickle] = texts(b"K", Encoding::UNSPECIFIED);
    assert!(raw.is_err() && postcard.is_err() && pickle.is_err());
}

#[derive(Debug, Serialize, Deserialize)]
struct Divide {
    a: f64,
    #[serde(default = "one")]
    b: f64,
}

fn one() -> f64 {
    1.0
}

type Echoed = (Bytes, Option<u8>, (Vec<i128>, Vec<String>));
type Key = BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>;

/// Against arguments, results and errors that Python gets in another way than from a
/// function of its own.
#[test]
fn rust_serves_python() {
    let scratch = Scratch::new();
    let options = FunctionOptions::new().place(scratch.place().clone());
    let dispatcher = HostFunctionDispatcher::new(2).expect("within the limits");
    let divide = |Divide { a, b }| match (a, b) {
        (_, 0.0) => Err("ZeroDivisionError: division by zero, größer"),
        (_, 13.0) => panic!("thirteen"),
        (0.0, _) => Ok(None),
        _ => Ok(Some(a / b)),
    };
    dispatcher
        .add_typed::<PythonArguments<Divide>, Pickle<f64>, _, _>(&options, "divide", divide)
        .expect("new");
    dispatcher
        .add_typed::<MixedArguments<Echoed, Key>, Pickle<Vec<Part>>, _, &str>(
            &options,
            "echo",
            |((bytes, nothing, (numbers, texts)), key)| {
                assert_eq!(nothing, None);
                let numbers = numbers.into_iter().map(Number::of).collect();
                Ok(Some(vec![
                    Part::Bytes(bytes),
                    Part::Nothing(nothing),
                    Part::Numbers(numbers),
                    Part::Texts(texts),
                    Part::Key(key),
                ]))
            },
        )
        .expect("new");
    dispatcher.start().expect("a thread");
    has_done(&scratch, "call");
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Bytes(Bytes),
    Nothing(Option<u8>),
    Numbers(Vec<Number>),
    Texts(Vec<String>),
    Key(Key),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Signed(i64),
    Unsigned(u64),
}

impl Number {
    fn of(number: i128) -> Number {
        match i64::try_from(number) {
            Ok(number) => Number::Signed(number),
            Err(_) => Number::Unsigned(number.try_into().expect("below 2**64")),
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Moved {
    goal: (f64, f64),
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Name {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Move {
    x: f64,
    y: f64,
    name: String,
}

/// Against arguments that reach other parameters of a Python function, and exceptions
/// whose text is lost.
#[test]
fn rust_calls_python() {
    let scratch = Scratch::new();
    let Some(mut command) = python(&scratch, "serve") else {
        return;
    };
    let mut server = Kept::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut line = String::new();
    let output = server.0.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");

    fn typed<A: Codec, R: Codec>(scratch: &Scratch, name: &str) -> TypedCaller<A, R> {
        let options = FunctionOptions::new().place(scratch.place().clone());
        options.open(name).expect("it is served").typed()
    }
    let name = || "Käse".to_owned();
    let moved = |y| Moved {
        goal: (-0.0, y),
        name: "Käseß".to_owned(),
    };
    let mixed = typed::<MixedArguments<(f64,), Name>, Pickle<Moved>>(&scratch, "move");
    let answer = mixed.call_within(&((-0.0,), Name { name: name() }), PATIENCE);
    let answer = answer.expect("an answer").expect("a value");
    assert_eq!(answer, moved(2.0));
    assert!(answer.goal.0.is_sign_negative());
    let by_name = typed::<PythonArguments<Move>, Pickle<Moved>>(&scratch, "move");
    let arguments = Move {
        x: -0.0,
        y: f64::INFINITY,
        name: name(),
    };
    let answer = by_name
        .call_within(&arguments, PATIENCE)
        .expect("an answer");
    assert_eq!(answer, Some(moved(f64::INFINITY)));

    let by_position = typed::<PythonArguments<(f64,)>, Pickle<Moved>>(&scratch, "move");
    let error = by_position
        .call_within(&(1.0,), PATIENCE)
        .expect_err("no name");
    let error = error.to_string();
    assert!(
        error.contains("TypeError") && error.contains("'name'"),
        "{error}"
    );
    let fail = typed::<PythonArguments<(String,)>, Pickle<()>>(&scratch, "fail");
    let error = fail
        .call_within(&("ä\n".to_owned(),), PATIENCE)
        .expect_err("it raises");
    assert!(
        error.to_string().contains("ValueError: größer: ä"),
        "{error}"
    );

    let large = typed::<PythonArguments<(u32,)>, Pickle<u128>>(&scratch, "large");
    assert_eq!(
        large.call_within(&(127,), PATIENCE).expect("an answer"),
        Some(1 << 127)
    );
    let error = large.call_within(&(128,), PATIENCE).expect_err("too large");
    assert!(error.to_string().contains("17 bytes, and 16 is"), "{error}");
    let nothing = typed::<PythonArguments<()>, Pickle<u8>>(&scratch, "nothing");
    assert_eq!(nothing.call_within(&(), PATIENCE).expect("an answer"), None);
    let object = typed::<PythonArguments<()>, Pickle<u8>>(&scratch, "object");
    let error = object.call_within(&(), PATIENCE).expect_err("an object");
    assert!(error.to_string().contains("_ctypes"), "{error}");
}
