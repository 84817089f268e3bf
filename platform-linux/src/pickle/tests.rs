//! Pickles of every protocol, hostile ones, and ones damaged at random.

use super::*;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Does `work` on a thread with as little stack as threads commonly have.
pub(super) fn with_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn shown(bytes: &[u8]) -> String {
    match text(bytes) {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

fn fault(bytes: &[u8]) -> Fault {
    text(bytes).expect_err("a pickle that is refused").fault
}

/// What a decoder that recurses makes of a pickle that was found good.
fn decode_recursively(bytes: &[u8]) {
    let options = serde_pickle::DeOptions::new()
        .keep_restore_state()
        .replace_unresolved_globals()
        .replace_recursive_structures();
    if let Ok(value) = serde_pickle::value_from_slice(bytes, options) {
        std::hint::black_box(value.to_string().len());
    }
}

/// `depth` lists in one another.
pub(super) fn nested_lists(depth: u32) -> Vec<u8> {
    let depth = depth as usize;
    [
        b"\x80\x04".to_vec(),
        vec![b']'; depth],
        vec![b'a'; depth - 1],
        b".".to_vec(),
    ]
    .concat()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Memoised {
    List,
    Dict,
    Tuple,
    Object,
}

/// `depth` containers in one another, each stored in the memo.
fn nested(kind: Memoised, depth: u32) -> Vec<u8> {
    let depth = depth as usize;
    let (start, before, after): (&[u8], &[u8], &[u8]) = match kind {
        Memoised::List => (b"", b"]\x94", b"a"),
        Memoised::Dict => (b"", b"}\x94K\x01", b"s"),
        Memoised::Tuple => (b")\x94", b"", b"\x85\x94"),
        // An object, its state, and a tuple in that.
        Memoised::Object => (b"", b"cm\nC\n)\x81\x94}\x94K\x01", b"\x85\x94sb"),
    };
    let inside: &[u8] = if kind == Memoised::Object { b"N" } else { b"" };
    let (before_count, after_count) = match kind {
        Memoised::List | Memoised::Dict => (depth, depth - 1),
        Memoised::Tuple => (0, depth - 1),
        Memoised::Object => (depth, depth),
    };
    // The innermost dict has no value.
    let mut middle = before.repeat(before_count);
    if kind == Memoised::Dict {
        middle.truncate(middle.len() - 2);
    }
    [
        b"\x80\x04",
        start,
        &middle,
        inside,
        &after.repeat(after_count),
        b".",
    ]
    .concat()
}

/// Pickles that the mutations start from: every instruction is in one of them.
pub(super) const SAMPLES: &[(&[u8], &str)] = &[
    (b"\x80\x04}(\x8c\x01x\x94K\x01\x8c\x01yG?\xf8\0\0\0\0\0\0u.", "{'x': 1, 'y': 1.5}"),
    (b"\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94(K\x01M\x02\x01J\xff\xff\xff\xff\x8a\x09\0\0\0\0\0\0\0\0\x01N\x88\x89e.",
        "[1, 258, -1, 18446744073709551616, None, True, False]"),
    (b"(lp0\nI1\naI01\naL5L\naF1e300\naS'py2'\np1\nag1\naV\\u20ac\na.", "[1, True, 5, 1e+300, b'py2', b'py2', '€']"),
    (b"(dp0\nVa\np1\n(I1\nI2\ntp2\ns.", "{'a': (1, 2)}"),
    (b"\x80\x02)K\x01\x85K\x01K\x02\x86K\x01K\x02K\x03\x87(NNNNt\x87q\0\x85r\x01\0\0\0h\0j\x01\0\0\0\x86.",
        "(((1, 2), (1, 2, 3), (None, None, None, None)), (((1, 2), (1, 2, 3), (None, None, None, None)),))"),
    (b"h\x07.", "error: the pickle cannot be read at byte 0 (BINGET): nothing was stored under index 7"),
    (b"\x80\x02(K\x01\x85q\0h\0r\x01\0\x01\0j\x01\0\x01\0t.", "((1,), (1,), (1,))"),
    (b"\x80\x05(\x8f\x94(K\x01K\x02\x90(K\x03\x91\x8f(\x91t.", "({1, 2}, frozenset({3}), set(), frozenset())"),
    (b"\x80\x05(\x96\x02\0\0\0\0\0\0\0a'B\x01\0\0\0\0C\x02\"\n\x8e\x01\0\0\0\0\0\0\0zT\x01\0\0\0bU\x01c\x8d\x02\0\0\0\0\0\0\0deX\x01\0\0\0fl.",
        "[bytearray(b\"a'\"), b'\\x00', b'\"\\n', b'z', b'b', b'c', 'de', 'f']"),
    (b"\x80\x04\x8c\x08datetime\x94\x8c\x04date\x94\x93\x94C\x04\x07\xe8\x01\x02\x94\x85\x94R\x94.",
        "datetime.date(b'\\x07\\xe8\\x01\\x02')"),
    (b"cposes\nPose\n)\x81}(\x8c\x01xK\x01ub.", "poses.Pose() with {'x': 1}"),
    (b"ccollections\nOrderedDict\n)R(\x8c\x01aK\x01u\x8c\x01bK\x02s.",
        "collections.OrderedDict() with {'a': 1} with {'b': 2}"),
    (b"ccollections\ndeque\n)R(K\x01K\x02eK\x03a.", "collections.deque() with [1, 2] with [3]"),
    (b"((iold\nStyle\n(cold\nOther\nK\x01ot.", "(old.Style(), old.Other(1))"),
    (b"cm\nC\nK\x01\x85}\x92cm\nC\nK\x01\x85}\x8c\x01kK\x02s\x92\x86.", "(m.C(1), m.C(1) with {'k': 2})"),
    (b"N2\x86(K\x010K\x021.", "(None, None)"),
    (b"N(\x86.", "error: the pickle cannot be read at byte 2 (TUPLE2): there is too little on its stack"),
    (b"N2\x86(K\x01(01.", "(None, None)"),
    (b"cbuiltins\ncomplex\nG?\xf0\0\0\0\0\0\0G\xc0\0\0\0\0\0\0\0\x86R.", "complex(1.0, -2.0)"),
    (b"\x80\x04]\x94h\0a.", "[[...]]"),
    (b"\x80\x04}\x94\x8c\x04selfh\0s.", "{'self': {...}}"),
    (b"\x80\x04]\x94K\x01ah\0h\0\x86.", "([1], [1])"),
    (b"\x8b\x01\0\0\0\xff.", "-1"),
];

#[test]
fn samples_are_shown_as_python_would() {
    for (bytes, expected) in SAMPLES {
        assert_eq!(shown(bytes), *expected, "{}", bytes.escape_ascii());
    }
}

/// Against strings that drive a terminal, and text that does not read back.
#[test]
fn strings_and_floats_look_as_in_python() {
    let string = |text: &str| {
        let bytes = [
            b"X".as_slice(),
            &(text.len() as u32).to_le_bytes(),
            text.as_bytes(),
            b".",
        ];
        shown(&bytes.concat())
    };
    assert_eq!(string("it's"), "\"it's\"");
    assert_eq!(string("'\""), "'\\'\"'");
    assert_eq!(
        string("\x1b[2J\u{202e}\u{9b}ä\\\n"),
        "'\\x1b[2J\\u202e\\x9bä\\\\\\n'"
    );
    let float = |number: f64| shown(&[b"G".as_slice(), &number.to_be_bytes(), b"."].concat());
    for (number, expected) in [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e16, "1e+16"),
        (1.25e-5, "1.25e-05"),
        (1e-300, "1e-300"),
        (123456789012345.0, "123456789012345.0"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(float(number), expected);
    }
}

/// Against a length that is believed, and bytes that are passed over.
#[test]
fn what_is_cut_off_or_unknown_is_named() {
    assert_eq!(fault(b""), Fault::Truncated);
    assert_eq!(fault(b"\xff."), Fault::UnknownOpcode { code: 0xFF });
    assert_eq!(fault(b"\x80\x06N."), Fault::UnknownProtocol { protocol: 6 });
    assert_eq!(fault(b"N.N."), Fault::TrailingBytes { size: 2 });
    assert_eq!(
        fault(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff."),
        Fault::Truncated
    );
    assert_eq!(fault(b"X\xff\xff\xff\xffabc."), Fault::Truncated);
    assert_eq!(
        fault(b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN."),
        Fault::Truncated
    );
    assert_eq!(fault(b"Pid\n."), Fault::Outside);
    assert_eq!(fault(b"NK\x01a."), Fault::WrongType { needed: "a list" });
    assert_eq!(
        fault(b"}(K\x01u."),
        Fault::WrongType {
            needed: "a value for every key"
        }
    );
    assert_eq!(
        text(b"\x80\x04U\x05abc.").unwrap_err().to_string(),
        "the pickle cannot be read at byte 2 (SHORT_BINSTRING): it is cut off there"
    );
    assert_eq!(
        text(b"\x8c\x01\xff.").unwrap_err().to_string(),
        "the pickle cannot be read at byte 0 (SHORT_BINUNICODE): string is not UTF-8 encoded"
    );
    for (bytes, expected) in SAMPLES
        .iter()
        .filter(|(_, expected)| !expected.starts_with("error"))
    {
        for length in 0..bytes.len() {
            assert!(
                text(&bytes[..length]).is_err(),
                "{expected}, cut to {length}"
            );
        }
    }
}

/// Against a stack that overflows: 13 KB of nesting are enough for a decoder
/// that recurses, and it need not even be part of the value.
#[test]
fn nesting_is_bounded() {
    with_small_stack(|| {
        let limit = nested_lists(MAX_NESTING);
        assert_eq!(shown(&limit).len(), 2 * MAX_NESTING as usize);
        assert_eq!(check(&limit), Ok(()));
        decode_recursively(&limit);
        assert_eq!(fault(&nested_lists(MAX_NESTING + 1)), Fault::TooDeep);

        // Stored in the memo at every level, as Python does: each level takes
        // more stack then.
        for kind in [
            Memoised::List,
            Memoised::Dict,
            Memoised::Tuple,
            Memoised::Object,
        ] {
            let deepest = (1..)
                .take_while(|depth| check(&nested(kind, *depth)).is_ok())
                .count() as u32;
            let levels = if kind == Memoised::Object { 3 } else { 1 };
            assert_eq!(deepest, MAX_NESTING / levels, "{kind:?}");
            decode_recursively(&nested(kind, deepest));
        }

        let deep = MAX_NESTING as usize;
        let repeated = |start: &[u8], middle: &[u8], count: usize, end: &[u8]| {
            [start, &middle.repeat(count), end].concat()
        };
        // One of each way to nest, at the limit and far past it.
        let ways: [(&[u8], &[u8], &[u8]); 8] = [
            (b")", b"\x85", b"."),
            (b")", b"\x85", b"0N."),
            (b")", b"q\0\x85", b"."),
            (b"(", b"(", b"."),
            (b"]q\0", b"]q\x01h\0h\x01a0h\x01q\0", b"."),
            (b"}", b"NN\x87", b"."),
            (b"N", b"cm\nC\nN\x87cm\nC\n)R", b"."),
            (b"cm\nC\n", b")Rq\0\x85cm\nC\nh\0\x85R", b"."),
        ];
        for (start, middle, end) in ways {
            for count in [deep / 2 - 1, deep - 1, deep, deep + 1, 20_000] {
                let bytes = repeated(start, middle, count, end);
                if check(&bytes).is_ok() {
                    decode_recursively(&bytes);
                }
                let _ = shown(&bytes);
            }
        }
        assert_eq!(
            fault(&repeated(b")", b"\x85", 20_000, b"0N.")),
            Fault::TooDeep
        );
        assert_eq!(fault(&repeated(b"", b"(", 20_000, b"N.")), Fault::TooDeep);

        // A chain that is linked only after each link was put into the one before.
        let mut chain = Vec::new();
        for link in 0..5000u32 {
            chain.extend([b"]r".as_slice(), &link.to_le_bytes()].concat());
        }
        for link in 0..4999u32 {
            chain.extend(
                [
                    b"j".as_slice(),
                    &link.to_le_bytes(),
                    b"j",
                    &(link + 1).to_le_bytes(),
                    b"a0",
                ]
                .concat(),
            );
        }
        chain.extend(b"j\0\0\0\0.");
        assert_eq!(fault(&chain), Fault::TooDeep);
        assert!(check(&chain).is_err());
    });
}

/// Against a few bytes that mean more than any memory holds: each list contains
/// the one before it twice.
#[test]
fn growth_is_bounded() {
    let doubling = |levels: u8| {
        let mut bytes = b"(K\x01lq\0".to_vec();
        for level in 1..=levels {
            bytes.extend([b'(', b'h', level - 1, b'h', level - 1, b'l', b'q', level]);
        }
        bytes.extend(b".");
        bytes
    };
    assert_eq!(check(&doubling(10)), Ok(()));
    assert_eq!(fault(&doubling(60)), Fault::TooManyItems);
    let mut long = [b"(B\0\0\x10\0".as_slice(), &[b'x'; 1 << 20], b"q\0"].concat();
    long.extend(b"h\0".repeat(1000));
    long.extend(b"l.");
    assert_eq!(fault(&long), Fault::TooLarge);
    let many = [b"(".as_slice(), &vec![b'N'; MAX_ITEMS as usize], b"l."].concat();
    assert_eq!(fault(&many), Fault::TooManyItems);
    let digits = [b"L".as_slice(), &vec![b'9'; 100_000], b"L\n."].concat();
    assert!(matches!(
        fault(&digits),
        Fault::IntegerTooLarge { size: 100_001 }
    ));
    // Copies that a decoder makes while it reads.
    let mut copies = [b"(".as_slice(), &b"K\x01".repeat(100_000), b"lq\0"].concat();
    copies.extend(b"h\0q\x01h\0q\x02".repeat(10_000));
    copies.extend(b".");
    assert_eq!(fault(&copies), Fault::TooLarge);
}

/// What Python makes of a few values with each of its protocols, one pickle to a
/// line of hexadecimal digits, with its own text. `None` if there is no Python.
fn pickled_by_python() -> Option<Vec<(Vec<u8>, String)>> {
    const PROGRAM: &str = "
import pickle, collections, datetime, array, fractions
class Pose:
    def __init__(self): self.x, self.y = 1.0, [2]
plain = [None, True, 0, -1, 255, 65536, 2**31, -2**63, 2**200, 0.1, 1e22, float('inf'), 'a\\'b', 'ä€𝄞\\n',
    b'', b'\\x00\\xff', [], (), {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [1, [2, [3]]],
    {'a': 1, 'b': {'c': (1.5, None)}, 3: 'x'}, ['same', 'same'], list(range(3000)), {i: str(i) for i in range(1500)}]
others = [set(), {1}, frozenset({2}), bytearray(b'x'), Pose(), datetime.datetime(2024, 1, 2), 1 + 2j,
    collections.OrderedDict(a=1), collections.deque([1, 2]), range(3), fractions.Fraction(1, 3),
    array.array('d', [1, 2]), collections.defaultdict(list, a=[1]), int, len]
for protocol in range(6):
    for value in plain: print(pickle.dumps(value, protocol).hex(), repr(value))
    for value in others: print(pickle.dumps(value, protocol).hex(), '?')
";
    let output = python(PROGRAM, &[])?;
    let pickles = output.lines().map(|line| {
        let (digits, text) = line.split_once(' ').unwrap();
        (from_hex(digits), text.to_owned())
    });
    Some(pickles.collect())
}

pub(super) fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

pub(super) fn not_tested() {
    let _ = writeln!(
        std::io::stderr(),
        "\n*** NOT TESTED: Python's own pickles: no python3\n"
    );
}

/// What a program in Python prints. `None`, said loudly, if there is no Python.
pub(super) fn python(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("python3")
        .args(["-c", program])
        .args(arguments)
        .env("PYTHONIOENCODING", "utf-8")
        .stderr(Stdio::inherit())
        .output();
    let output = output.inspect_err(|_| not_tested()).ok()?;
    assert!(output.status.success(), "{program}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn python_agrees() {
    for (bytes, expected) in &pickled_by_python().unwrap_or_default() {
        let found = shown(bytes);
        assert!(
            !found.starts_with("error"),
            "{found}: {}",
            bytes.escape_ascii()
        );
        // Old protocols have no bytes: they call something that makes them.
        if expected != "?" && !found.contains("_codecs.encode") && !found.contains("bytes()") {
            assert_eq!(&found, expected);
        }
        assert_eq!(check(bytes), Ok(()));
        decode_recursively(bytes);
    }
}

/// Against bytes that make it panic, overflow the stack, hang, or take all memory.
#[test]
fn damaged_pickles_do_no_harm() {
    let mut pickles: Vec<Vec<u8>> = SAMPLES.iter().map(|(bytes, _)| bytes.to_vec()).collect();
    pickles.push(nested_lists(MAX_NESTING));
    pickles.extend(
        pickled_by_python()
            .unwrap_or_default()
            .into_iter()
            .map(|(bytes, _)| bytes),
    );
    pickles.retain(|bytes| bytes.len() < 2000);
    let mut good = 0;
    damaged(&pickles, |bytes| {
        let _ = text(bytes);
        if check(bytes).is_ok() {
            good += 1;
            decode_recursively(bytes);
        }
    });
    assert!(good > 100, "only {good} were still pickles");
}

/// Gives damaged copies of `pickles` to `try_it`, which has little stack.
pub(super) fn damaged(pickles: &[Vec<u8>], mut try_it: impl FnMut(&[u8]) + Send) {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    };
    with_small_stack(move || {
        for _ in 0..20_000 {
            let mut bytes = pickles[below(pickles.len())].clone();
            for _ in 0..=below(4) {
                let at = below(bytes.len());
                match below(5) {
                    0 => bytes[at] = below(256) as u8,
                    1 => bytes[at] ^= 1 << below(8),
                    2 => bytes.insert(at, below(256) as u8),
                    3 if bytes.len() > 1 => {
                        bytes.remove(at);
                    }
                    // A piece of another one.
                    _ => {
                        let other = &pickles[below(pickles.len())];
                        let from = below(other.len());
                        let until = from + below(other.len() - from + 1);
                        bytes.splice(at..at, other[from..until].iter().copied());
                    }
                }
            }
            try_it(&bytes);
        }
    });
}
