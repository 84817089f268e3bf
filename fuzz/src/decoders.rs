//! Everything that reads bytes which somebody else made.
//!
//! Each input is given to every decoder: none may panic or go on for ever. Where there
//! is an encoder, too, what was decoded is encoded and decoded again, and has to be the
//! same.

use crate::tally::{reached, reached_if};
use core::fmt::Debug;
use robot_ipc::pickle::{MixedArguments, Pickle, PythonArguments};
use robot_ipc::{Kind, Place, pickle};
use robot_ipc_core::codec::{Codec, EncodeError, Full, Postcard, Raw, Sink};
use robot_ipc_core::header::{BYTE_ORDER, FORMAT_VERSION, HEADER_SIZE, Header, HeaderError, MAGIC};
use robot_ipc_core::name::{MAX_NAME_SIZE, MAX_NAMESPACE_SIZE, Name, NameError, Namespace};
use robot_ipc_core::tunnel::TunnelGeometry;
use robot_ipc_core::variable::VariableGeometry;
use serde::{Deserialize, Serialize};
use serde_pickle::{DeOptions, SerOptions};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[path = "../../platform-linux/src/bin/robot-ipc/literal.rs"]
#[allow(dead_code)]
mod literal;

/// What this target wants to reach.
pub const GOALS: &[&str] = &[
    "header",
    "variable's sizes",
    "function's sizes",
    "name",
    "file name",
    "postcard",
    "pickle shown",
    "pickle decoded",
    "pickle read",
    "arguments read",
    "literal",
];

/// Gives `bytes` to everybody.
pub fn run(bytes: &[u8]) {
    header(bytes);
    names(bytes);
    raw::<u8>(bytes);
    raw::<[u32; 4]>(bytes);
    raw::<Pose>(bytes);
    postcard::<Everything>(bytes);
    postcard::<(u8, Option<heapless::String<8>>)>(bytes);
    pickles(bytes);
    typed_pickles(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        literals(text);
    }
}

// --------------------------------------------------------------------- header

fn header(bytes: &[u8]) {
    let size = bytes.len() as u64;
    let checked = Header::check_any(bytes, size);
    assert_eq!(bytes.len() < HEADER_SIZE, is_too_short(checked));
    let Some(first) = bytes.first_chunk::<HEADER_SIZE>() else {
        return;
    };
    // As it is, and with what random bytes never have.
    let mut repaired: Header = bytemuck::pod_read_unaligned(first);
    repaired.magic = MAGIC;
    repaired.format_version = FORMAT_VERSION;
    repaired.byte_order = BYTE_ORDER;
    repaired.checksum = repaired.expected_checksum();
    let [low, high] = repaired.file_size;
    let told = u64::from(low) | u64::from(high) << 32;
    let repaired = Header::check_any(bytemuck::bytes_of(&repaired), told);
    for header in [checked, repaired].into_iter().flatten() {
        reached("header");
        let again = Header::check_any(bytemuck::bytes_of(&header), told);
        assert_eq!(again, Ok(header));
        let creator = header.creator();
        // A geometry says all of a header but who made it.
        if header.kind == Kind::Variable as u32
            && let Some(sizes) =
                reached_if("variable's sizes", VariableGeometry::from_header(&header))
        {
            assert_eq!(sizes.header(&creator), header);
            assert_eq!(sizes.file_size(), told);
        }
        if header.kind == Kind::Function as u32
            && let Some(sizes) =
                reached_if("function's sizes", TunnelGeometry::from_header(&header))
        {
            assert_eq!(sizes.header(&creator), header);
            assert_eq!(sizes.file_size(), told);
        }
    }
}

fn is_too_short(checked: Result<Header, HeaderError>) -> bool {
    matches!(checked, Err(HeaderError::TooShort { .. }))
}

// ---------------------------------------------------------------------- names

fn names(bytes: &[u8]) {
    let name = Name::from_bytes(bytes).map(|name| name.as_str().to_owned());
    check_name(bytes, name, MAX_NAME_SIZE);
    let namespace = Namespace::from_bytes(bytes).map(|name| name.as_str().to_owned());
    check_name(bytes, namespace, MAX_NAMESPACE_SIZE);

    // The namespace may be the first part of the bytes, and the name the rest.
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    for (namespace, name) in [(&b"default"[..], bytes), (first, rest), (b"a.b", bytes)] {
        let Ok(place) = Place::new("/dev/shm".as_ref(), namespace) else {
            continue;
        };
        for kind in [Kind::Variable, Kind::Function] {
            let Ok(subject) = place.subject(kind, name) else {
                continue;
            };
            let file = subject.path().file_name().expect("a file's name");
            assert!(file.len() <= 255);
            assert_eq!(subject.path().parent(), Some(place.directory()));
            assert_eq!(place.subject_of_file(file), Some(subject.clone()));
        }
        // The other way round: the bytes are some file's name.
        if let Some(subject) = place.subject_of_file(OsStr::from_bytes(bytes)) {
            reached("file name");
            let file = subject.path().file_name();
            assert_eq!(file, Some(OsStr::from_bytes(bytes)));
        }
    }
}

/// The rules for names, as they are promised.
fn check_name(bytes: &[u8], checked: Result<String, NameError>, limit: usize) {
    let is_good = !bytes.is_empty()
        && bytes.len() <= limit
        && core::str::from_utf8(bytes).is_ok()
        && !bytes.starts_with(b".")
        && !bytes.iter().any(|byte| matches!(byte, b'/' | 0));
    assert_eq!(checked.is_ok(), is_good, "{checked:?}");
    if let Some(name) = reached_if("name", checked) {
        assert_eq!(name.as_bytes(), bytes);
    }
}

// --------------------------------------------------------------------- codecs

/// What a C program might share.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
struct Pose {
    x: u64,
    y: i32,
    flags: u32,
}

/// One of everything that serde knows and that fits without an allocator.
#[derive(Debug, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    small: i8,
    large: i64,
    huge: u128,
    real: f32,
    letter: char,
    maybe: Option<u16>,
    text: heapless::String<8>,
    list: heapless::Vec<(u8, i32), 4>,
    choice: Choice,
}

#[derive(Debug, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(u32),
    Two { left: u8, right: f64 },
}

/// Takes so many bytes at most.
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

fn encoded<C: Codec>(value: &C::Value, limit: usize) -> Result<Vec<u8>, EncodeError> {
    let mut sink = Limited(Vec::new(), limit);
    C::encode(value, &mut sink).map(|()| sink.0)
}

fn raw<T: Debug + PartialEq + bytemuck::AnyBitPattern + bytemuck::NoUninit>(bytes: &[u8]) {
    let decoded = Raw::<T>::decode(bytes);
    assert_eq!(decoded.is_ok(), bytes.len() == size_of::<T>());
    if let Ok(value) = decoded {
        assert_eq!(encoded::<Raw<T>>(&value, usize::MAX), Ok(bytes.to_vec()));
    }
}

fn postcard<T: Debug + Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = Postcard::<T>::decode(bytes) else {
        return;
    };
    reached("postcard");
    // Not the same bytes: numbers can be written longer than they need.
    let first = encoded::<Postcard<T>>(&value, usize::MAX).expect("it can be encoded");
    assert!(first.len() <= bytes.len());
    let again = Postcard::<T>::decode(&first).expect("it was just encoded");
    let second = encoded::<Postcard<T>>(&again, first.len());
    assert_eq!(second.as_ref(), Ok(&first), "{value:?}, {again:?}");
    if let Some(less) = first.len().checked_sub(1) {
        assert_eq!(encoded::<Postcard<T>>(&value, less), Err(EncodeError::Full));
        assert!(Postcard::<T>::decode(&first[..less]).is_err());
    }
}

// -------------------------------------------------------------------- pickles

fn pickles(bytes: &[u8]) {
    let checked = pickle::check(bytes);
    let shown = pickle::text(bytes);
    match (&checked, &shown) {
        (Err(error), Ok(_)) => panic!("shown, although {error}"),
        (_, Err(error)) => {
            assert!(error.offset <= bytes.len());
            assert!(!error.to_string().is_empty());
        }
        (Ok(()), Ok(text)) => {
            reached("pickle shown");
            assert!(text.chars().all(|character| !character.is_control()));
        }
    }
    if checked.is_err() {
        return;
    }
    // It is within the limits: a decoder that recurses can have it.
    let decoded = serde_pickle::value_from_slice(bytes, DeOptions::new());
    if let Some(value) = reached_if("pickle decoded", decoded) {
        let first = serde_pickle::value_to_vec(&value, SerOptions::new());
        let first = first.expect("into memory");
        let again = serde_pickle::value_from_slice(&first, DeOptions::new());
        let again = again.expect("it was just encoded");
        let second = serde_pickle::value_to_vec(&again, SerOptions::new());
        assert_eq!(second.expect("into memory"), first);
    }
}

/// A value of any shape, as deep as it may be.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Nothing(()),
    Flag(bool),
    Integer(i64),
    Large(u64),
    Real(f64),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
}

/// The parameters of a function.
#[derive(Debug, Serialize, Deserialize)]
struct Parameters {
    first: Any,
    #[serde(default)]
    second: Option<f32>,
}

fn typed_pickles(bytes: &[u8]) {
    // Untagged enums copy what is in them at each level: not of a million items.
    if pickle::text(bytes).is_ok_and(|text| text.len() > 1 << 16) {
        return;
    }
    typed_pickle::<Pickle<Any>>("pickle read", bytes);
    typed_pickle::<Pickle<(u8, Option<heapless::String<8>>)>>("pickle read", bytes);
    typed_pickle::<PythonArguments<Parameters>>("arguments read", bytes);
    typed_pickle::<MixedArguments<Vec<Any>, BTreeMap<String, Any>>>("arguments read", bytes);
    let _ = Pickle::<Everything>::decode(bytes);
}

fn typed_pickle<C: Codec<Value: Debug>>(goal: &'static str, bytes: &[u8]) {
    let Some(value) = reached_if(goal, C::decode(bytes)) else {
        return;
    };
    let first = encoded::<C>(&value, usize::MAX).expect("it can be encoded");
    let again = C::decode(&first).expect("it was just encoded");
    // As text, since no NaN is equal to another one.
    assert_eq!(format!("{value:?}"), format!("{again:?}"));
}

// ------------------------------------------------------------------- literals

/// What is typed at the command, as a pickle; that is shown as what can be typed again.
fn literals(text: &str) {
    let pickle = match literal::to_pickle(text) {
        Ok(pickle) => pickle,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    reached("literal");
    let shown = pickle::text(&pickle).expect("a pickle of our own");
    let again = literal::to_pickle(&shown).expect("what is shown can be typed");
    assert_eq!(pickle::text(&again), Ok(shown));
}
