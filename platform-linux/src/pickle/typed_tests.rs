//! The codecs for serde types: with what Python really writes, in every protocol, and
//! with what Python makes of what is written here.

use super::tests::{SAMPLES, damaged, from_hex, not_tested, python};
use super::*;
use robot_ipc_core::codec::{Codec, DecodeError, EncodeError, Full, Sink};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

struct Limited(Vec<u8>, usize);

impl Sink for Limited {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.0.len() + bytes.len() > self.1 {
            return Err(Full);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn encoded<C: Codec>(value: &C::Value) -> Result<Vec<u8>, EncodeError> {
    let mut sink = Limited(Vec::new(), usize::MAX);
    C::encode(value, &mut sink).map(|()| sink.0)
}

/// What is wrong, or "good".
fn refusal<C: Codec>(bytes: &[u8]) -> String {
    match C::decode(bytes) {
        Ok(_) => "good".to_owned(),
        Err(DecodeError::Unreadable(why)) => why.to_string(),
        Err(error) => panic!("{error:?} names nothing"),
    }
}

fn refused_encoding<C: Codec>(value: &C::Value) -> String {
    match encoded::<C>(value) {
        Err(EncodeError::Refused(why)) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Pickles what it is told, a line of hexadecimal digits for each expression.
const PICKLING: &str = "
import collections, datetime, decimal, enum, fractions, math, pickle, sys
class Pose: x = 1
class Color(enum.IntEnum): RED = 1
origin = {'x': 0.5}
loop = [1]; loop.append(loop)
for line in sys.stdin.buffer:
    value = eval(line.decode())
    print(*[pickle.dumps(value, protocol).hex() for protocol in range(6)], flush=True)";

/// A Python that runs as long as these tests: its start takes longer than any of them.
static PYTHON: OnceLock<Option<Mutex<Streams>>> = OnceLock::new();

type Streams = (ChildStdin, BufReader<ChildStdout>);

/// What Python pickles of an expression, in each of its protocols; nothing if there is no
/// Python.
fn pickled(expression: &str) -> Vec<Vec<u8>> {
    let python = PYTHON.get_or_init(|| {
        let child = Command::new("python3")
            .args(["-c", PICKLING])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let streams = child.map(|mut child| {
            let output = child.stdout.take().unwrap();
            Mutex::new((child.stdin.take().unwrap(), BufReader::new(output)))
        });
        streams.inspect_err(|_| not_tested()).ok()
    });
    let Some(python) = python else {
        return Vec::new();
    };
    let mut python = python.lock().unwrap();
    writeln!(python.0, "{expression}").unwrap();
    let mut line = String::new();
    python.1.read_line(&mut line).unwrap();
    let pickles: Vec<Vec<u8>> = line.trim().split(' ').map(from_hex).collect();
    assert_eq!(pickles.len(), 6, "{expression}");
    pickles
}

/// Checks that Python's `expression` is `value`, in all protocols.
fn reads<T: Serialize + DeserializeOwned + Debug>(expression: &str, value: T) {
    for (protocol, pickle) in pickled(expression).iter().enumerate() {
        let read = Pickle::<T>::decode(pickle);
        // As text, since no NaN is equal to another one.
        let (read, value) = (format!("{read:?}"), format!("{:?}", Ok::<_, ()>(&value)));
        assert_eq!(read, value, "{expression}, protocol {protocol}");
    }
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
enum Choice {
    Nothing,
    One(u32),
    Two(u8, f64),
    Named { left: u8 },
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Everything {
    flag: bool,
    numbers: (i8, i16, i32, i64, u8, u16, u32, u64),
    floats: [f64; 3],
    text: String,
    letter: char,
    bytes: Bytes,
    list: Vec<Vec<u8>>,
    map: BTreeMap<String, BTreeMap<i64, Option<bool>>>,
    set: BTreeSet<u32>,
    nothing: (),
    choices: Vec<Choice>,
}

fn everything() -> Everything {
    let inner = BTreeMap::from([(-1, Some(true)), (2, None)]);
    Everything {
        flag: true,
        numbers: (
            i8::MIN,
            i16::MIN,
            i32::MIN,
            i64::MIN,
            u8::MAX,
            u16::MAX,
            u32::MAX,
            u64::MAX,
        ),
        floats: [-0.0, f64::NEG_INFINITY, 5e-324],
        text: "größer 🤖 \0\n".to_owned(),
        letter: 'ß',
        bytes: Bytes((0..=255).collect()),
        list: vec![vec![], vec![1, 2]],
        map: BTreeMap::from([(String::new(), inner)]),
        set: BTreeSet::from([3, 1]),
        nothing: (),
        choices: vec![
            Choice::Nothing,
            Choice::One(1),
            Choice::Two(2, 0.5),
            Choice::Named { left: 3 },
        ],
    }
}

const EVERYTHING: &str = "{'flag': True, 'numbers': (-2**7, -2**15, -2**31, -2**63, \
    2**8 - 1, 2**16 - 1, 2**32 - 1, 2**64 - 1), 'floats': (-0.0, -math.inf, 5e-324), \
    'text': 'größer 🤖 \\0\\n', 'letter': 'ß', 'bytes': bytes(range(256)), \
    'list': [[], [1, 2]], 'map': {'': {-1: True, 2: None}}, 'set': [1, 3], 'nothing': None, \
    'choices': ['Nothing', {'One': 1}, {'Two': [2, 0.5]}, {'Named': {'left': 3}}]}";

/// Against a shape that the two languages spell differently.
#[test]
fn what_python_writes_is_read() {
    reads(EVERYTHING, everything());
    reads("math.nan", f64::NAN);
    reads("3", 3.0f64);
    reads("-0.0", -0.0f64);
    reads("()", Vec::<u8>::new());
    reads("{2, 1}", BTreeSet::from([1, 2]));
    reads("set()", BTreeSet::<u8>::new());
    reads("frozenset([(1, 'a')])", vec![(1, "a".to_owned())]);
    reads("bytearray(b'\\xff\\0')", Bytes(vec![255, 0]));
    reads("b''", Bytes(vec![]));
    reads("b'\\x80\\xff'", [0x80u8, 0xFF]);
    reads(
        "[b'a', bytearray()]",
        vec![Bytes(vec![b'a']), Bytes(vec![])],
    );
    reads("None", None::<u8>);
    reads(
        "collections.OrderedDict(a=1, b=2)",
        BTreeMap::from([('a', 1), ('b', 2)]),
    );
    reads(
        "{i: i for i in range(2500)}",
        (0..2500).map(|i| (i, i)).collect::<BTreeMap<_, _>>(),
    );
    // An instance of a class that nobody asks for.
    reads("{'pose': Pose(), 'flag': True, 'x': 1}", One { x: 1 });
}

#[derive(Debug, Serialize, Deserialize)]
struct One {
    x: u8,
}

/// Against what is shared in Python being read once and then missing.
#[test]
fn what_is_shared_is_read_each_time() {
    let origin = BTreeMap::from([("x".to_owned(), 0.5)]);
    reads(
        "[origin, origin, origin]",
        vec![origin.clone(), origin.clone(), origin],
    );
    let names = vec!["same".to_owned(); 2];
    reads(
        "[['same', 'same']] * 3",
        vec![names.clone(), names.clone(), names],
    );
}

/// Against an integer that is cut, at each limit.
#[test]
fn integers_up_to_their_limits() {
    reads("2**63", 1u64 << 63);
    reads(
        "[2**127 - 1, -2**127, 2**64, -2**64, 0, 255, -129]",
        vec![i128::MAX, i128::MIN, 1 << 64, -1 << 64, 0, 255, -129],
    );
    reads("[2**128 - 1, 0]", vec![u128::MAX, 0]);
    let refused = |expression: &str, limit: &str| {
        for pickle in pickled(expression) {
            for said in [
                refusal::<Pickle<u128>>(&pickle),
                refusal::<Pickle<i128>>(&pickle),
            ] {
                assert!(
                    said.contains(limit) || said.contains("cannot be read"),
                    "{said}"
                );
            }
        }
    };
    refused("2**128", "17 bytes, and 16 is");
    refused("2**2000", "251 bytes, and 16 is");
    refused("-2**127 - 1", "an integer ");
    for pickle in pickled("2**64") {
        let said = refusal::<Pickle<u64>>(&pickle);
        assert!(said.contains("18446744073709551616"), "{said}");
        let said = refusal::<Pickle<f64>>(&pickle);
        assert!(said.contains("18446744073709551616"), "{said}");
    }
    for pickle in pickled("-1") {
        let said = refusal::<Pickle<u64>>(&pickle);
        assert!(said.contains("integer `-1`, expected u64"), "{said}");
    }
}

/// Against an error that does not say which value, of which class, was in the way.
#[test]
fn what_cannot_be_read_is_named() {
    type Plain = BTreeMap<String, Vec<f64>>;
    for (value, named) in [
        ("Pose()", "__main__.Pose"),
        ("datetime.date(2024, 1, 2)", "datetime.date"),
        ("decimal.Decimal(1)", "decimal.Decimal"),
        ("fractions.Fraction(1, 2)", "fractions.Fraction"),
        ("Color.RED", "__main__.Color"),
        ("1j", "complex"),
        ("collections.deque([1.0])", "collections.deque"),
        ("Pose", "__main__.Pose"),
        ("len", "len"),
        ("loop", "contains itself"),
        ("['text']", "string \"text\", expected f64"),
        ("[None]", "expected f64"),
        ("{1: 2}", "map, expected a sequence"),
        ("'\\ud800'", ""),
    ] {
        for pickle in pickled(&format!("{{'key': {value}}}")) {
            let said = refusal::<Pickle<BTreeMap<String, Loop>>>(&pickle);
            if named == "contains itself" {
                assert!(said.contains(named), "{said}");
                continue;
            }
            let said = refusal::<Pickle<Plain>>(&pickle);
            assert!(
                said.contains(named) && said.starts_with("at byte "),
                "{value}: {said}"
            );
        }
    }
    assert!(refusal::<Pickle<u8>>(b"").contains("cut off"));
    assert!(refusal::<Pickle<u8>>(b"\x80\x06K\x01.").contains("protocol 6"));
    assert!(refusal::<Pickle<u8>>(b"K\x01.K").contains("1 bytes follow"));
    assert!(refusal::<Pickle<[u8; 2]>>(b"K\x01K\x02K\x03\x87.").contains("3"));
    assert!(refusal::<Pickle<(u8,)>>(b"C\x02ab.").contains("2"));
    // Whoever chose a key must not reach a terminal with it.
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}
    let said = refusal::<Pickle<Strict>>(b"}X\x03\0\0\0\x1b[2K\x01s.");
    assert!(said.contains("unknown field `\\u{1b}[2`"), "{said}");
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Loop {
    List(Vec<Loop>),
    Number(f64),
}

/// Against pickles that Python does not load, or loads as something else.
#[test]
fn python_loads_what_is_written() {
    let program = format!(
        "import math, pickle, sys
value, nan = pickle.loads(bytes.fromhex(sys.argv[1]))
assert math.isnan(nan) and math.copysign(1, value['floats'][0]) == -1, value
expected = {EVERYTHING}
assert value == expected, value
assert all(type(value[key]) is type(expected[key]) for key in expected), value
print('good')"
    );
    let pickle = encoded::<Pickle<(Everything, f32)>>(&(everything(), f32::NAN)).unwrap();
    let digits: String = pickle.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(output) = python(&program, &[&digits]) {
        assert_eq!(output, "good\n");
    }
    let again = Pickle::<(Everything, f32)>::decode(&pickle).unwrap();
    assert_eq!(again.0, everything());
}

/// Against a value that is cut where its place ends, and one that is refused silently.
#[test]
fn what_does_not_fit_or_cannot_be_written_is_an_error() {
    let size = encoded::<Pickle<Everything>>(&everything()).unwrap().len();
    for limit in [0, 1, 2, 100, size - 1] {
        let mut sink = Limited(Vec::new(), limit);
        let written = Pickle::<Everything>::encode(&everything(), &mut sink);
        assert_eq!(written, Err(EncodeError::Full), "{limit}");
    }
    let why = refused_encoding::<Pickle<i128>>(&1);
    assert!(why.contains("i128 is not supported"), "{why}");
}

// ------------------------------------------------------------------------- arguments

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Move {
    x: f64,
    #[serde(default)]
    y: Option<f64>,
    name: String,
}

/// The pickle as Python's module writes it: nothing if there is no Python.
fn latest(expression: &str) -> Option<Vec<u8>> {
    pickled(expression).pop()
}

/// Against arguments that arrive at other parameters than in Python.
#[test]
fn structs_are_bound_as_parameters_are() {
    let read = PythonArguments::<Move>::decode;
    let good = [
        ("((1.5, 2, 'ä'), {})", Some(2.0)),
        ("((1.5,), {'name': 'ä'})", None),
        ("((), {'name': 'ä', 'x': 1.5, 'y': 2})", Some(2.0)),
        ("([1.5, None], {'name': 'ä'})", None),
    ];
    for (call, y) in good {
        if let Some(pickle) = latest(call) {
            let name = "ä".to_owned();
            assert_eq!(read(&pickle), Ok(Move { x: 1.5, y, name }), "{call}");
        }
    }
    for (call, why) in [
        ("((1.5, 2), {})", "missing field `name`"),
        (
            "((1.5, 2, 'a', 4), {})",
            "takes 3 arguments, and 4 were given",
        ),
        ("((1.5,), {'name': 'a', 'x': 2})", "'x' was given twice"),
        ("((1.5,), {'name': 'a', 'z': 2})", "no parameter 'z'"),
        (
            "(('a',), {'name': 'a'})",
            "argument 'x': invalid type: string",
        ),
        (
            "((Pose(),), {'name': 'a'})",
            "argument 'x': an object of __main__.Pose",
        ),
        ("((1.5,), {2: 'a'})", "no str"),
        ("(1.5, {})", "not the arguments of a call"),
        ("((1.5,), [])", "not the arguments of a call"),
        ("((1.5,),)", "not the arguments of a call"),
        ("[]", "not the arguments of a call"),
        ("'ab'", "not the arguments of a call"),
    ] {
        if let Some(pickle) = latest(call) {
            let said = refusal::<PythonArguments<Move>>(&pickle);
            assert!(said.contains(why), "{call}: {said}");
        }
    }
}

/// Against arguments that are dropped without a word.
#[test]
fn tuples_and_maps_take_what_they_are() {
    type Pair = PythonArguments<(u8, String)>;
    type Named = BTreeMap<String, u8>;
    let named = Named::from([("a".to_owned(), 1)]);
    if let Some(pickle) = latest("((1, 'a'), {})") {
        assert_eq!(Pair::decode(&pickle), Ok((1, "a".to_owned())));
        assert!(refusal::<PythonArguments<()>>(&pickle).contains("takes 0 arguments"));
        assert!(refusal::<PythonArguments<(u8,)>>(&pickle).contains("takes 1 arguments"));
        assert!(refusal::<PythonArguments<Named>>(&pickle).contains("2 were given by position"));
        assert!(refusal::<PythonArguments<f64>>(&pickle).contains("expected f64"));
    }
    if let Some(pickle) = latest("((), {'a': 1})") {
        assert_eq!(PythonArguments::<Named>::decode(&pickle), Ok(named.clone()));
        for said in [
            refusal::<Pair>(&pickle),
            refusal::<PythonArguments<()>>(&pickle),
            refusal::<PythonArguments<Vec<u8>>>(&pickle),
        ] {
            assert!(said.contains("by the name 'a'"), "{said}");
        }
    }
    if let Some(pickle) = latest("((), {})") {
        assert_eq!(PythonArguments::<()>::decode(&pickle), Ok(()));
        assert_eq!(PythonArguments::<Vec<u8>>::decode(&pickle), Ok(vec![]));
        assert_eq!(MixedArguments::<(), ()>::decode(&pickle), Ok(((), ())));
    }
    if let Some(pickle) = latest("((2, 3), {'a': 1})") {
        assert_eq!(
            MixedArguments::<Vec<u8>, Named>::decode(&pickle),
            Ok((vec![2, 3], named.clone()))
        );
        assert!(refusal::<MixedArguments<(u8,), Named>>(&pickle).contains("2 were given"));
        assert!(refusal::<MixedArguments<Vec<u8>, ()>>(&pickle).contains("by the name 'a'"));
    }
}

/// Against a call that Python would refuse.
#[test]
fn calls_are_written_as_python_writes_them() {
    let shown = |pickle: Result<Vec<u8>, EncodeError>| text(&pickle.unwrap()).unwrap();
    let name = "ä".to_owned();
    let moving = || Move {
        x: -0.0,
        y: None,
        name: name.clone(),
    };
    assert_eq!(
        shown(encoded::<PythonArguments<(u8, Bytes)>>(&(
            1,
            Bytes(vec![2])
        ))),
        "((1, b'\\x02'), {})"
    );
    assert_eq!(shown(encoded::<PythonArguments<()>>(&())), "((), {})");
    assert_eq!(
        shown(encoded::<PythonArguments<Vec<u8>>>(&vec![1, 2])),
        "((1, 2), {})"
    );
    assert_eq!(
        shown(encoded::<PythonArguments<Move>>(&moving())),
        "((), {'x': -0.0, 'y': None, 'name': 'ä'})"
    );
    type Named = BTreeMap<String, u8>;
    assert_eq!(
        shown(encoded::<PythonArguments<Named>>(&Named::new())),
        "((), {})"
    );
    let mixed = encoded::<MixedArguments<(u8,), Move>>(&((1,), moving()));
    assert_eq!(shown(mixed), "((1,), {'x': -0.0, 'y': None, 'name': 'ä'})");
    assert_eq!(
        shown(encoded::<MixedArguments<(), ()>>(&((), ()))),
        "((), {})"
    );
    for why in [
        refused_encoding::<PythonArguments<f64>>(&1.0),
        refused_encoding::<PythonArguments<Option<(u8,)>>>(&Some((1,))),
        refused_encoding::<PythonArguments<Choice>>(&Choice::One(1)),
        refused_encoding::<MixedArguments<Move, ()>>(&(moving(), ())),
        refused_encoding::<MixedArguments<(), (u8,)>>(&((), (1,))),
    ] {
        assert!(why.contains("arguments are a tuple or a struct; "), "{why}");
    }
}

/// Against bytes that make a decoder panic, overflow the stack, or go on for ever.
#[test]
fn damaged_pickles_are_errors() {
    let mut pickles: Vec<Vec<u8>> = SAMPLES.iter().map(|(bytes, _)| bytes.to_vec()).collect();
    pickles.push(encoded::<Pickle<Everything>>(&everything()).unwrap());
    pickles.extend(
        ["((1.5,), {'name': 'a'})", EVERYTHING, "loop"]
            .iter()
            .filter_map(|call| latest(call)),
    );
    let mut read = 0;
    damaged(&pickles, |bytes| {
        read += u32::from(Pickle::<Loop>::decode(bytes).is_ok());
        read += u32::from(Pickle::<Everything>::decode(bytes).is_ok());
        let _ = PythonArguments::<Move>::decode(bytes);
        let _ = PythonArguments::<Loop>::decode(bytes);
        let _ = MixedArguments::<Vec<Loop>, BTreeMap<String, Loop>>::decode(bytes);
    });
    assert!(read > 20, "only {read} were still values");
}

/// Against a stack that overflows, with as many levels as there may be.
#[test]
fn the_deepest_value_is_read() {
    let nested = super::tests::nested_lists(MAX_NESTING);
    super::tests::with_small_stack(|| {
        assert!(matches!(Pickle::<Loop>::decode(&nested), Ok(Loop::List(_))));
    });
    let deeper = super::tests::nested_lists(MAX_NESTING + 1);
    assert!(refusal::<Pickle<Loop>>(&deeper).contains("nested deeper"));
}
