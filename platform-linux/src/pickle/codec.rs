//! The codec for values that Python reads and writes.

use super::decode::{NodeReader, ReadError};
use super::graph::Graph;
use super::text;
use core::fmt;
use core::marker::PhantomData;
use robot_ipc_core::codec::{Codec, DecodeError, EncodeError, Encoding, Explanation, Sink};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_pickle::SerOptions;
use std::io;

/// A serde value as Python pickles it: what one language writes the other reads.
///
/// | Rust | Python |
/// |---|---|
/// | integers of up to 64 bits; up to 128 bits can be read | `int` |
/// | `f32`, `f64` | `float`; an `int` can be read, too |
/// | `bool`; `()` and `None` | `bool`; `None` |
/// | `String`, `char` | `str` |
/// | [`Bytes`] | `bytes`; a `bytearray` can be read, too |
/// | `Vec`, sets | `list`; tuples, sets and `bytes` can be read, too |
/// | tuples, arrays | `tuple`; lists, sets and `bytes` can be read, too |
/// | structs, maps | `dict`; an `OrderedDict` can be read, too |
/// | enums | `"Name"`, or `{"Name": what is in it}` |
///
/// Pickles of the protocols 0 to 5 are read; protocol 3 is written, which every Python 3
/// loads. Nothing is ever run: an object of a class is an error that names the class, and
/// so is what contains itself. What several places share is read for each of them.
///
/// A value is written piece by piece to where its bytes will lie; reading one allocates.
///
/// ```
/// use robot_ipc::VariableOptions;
/// use robot_ipc::codec::Pickle;
/// use std::collections::BTreeMap;
///
/// #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
/// struct Pose { x: f64, label: String, extra: Option<BTreeMap<String, i64>> }
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = VariableOptions::new().place(place);
/// let pose = options.open_typed::<Pickle<Pose>>("pose")?;
/// // In Python: HostVariable("pose").data = {"x": 1, "label": "Küche", "extra": None}
/// # let python = b"\x80\x05\x95%\0\0\0\0\0\0\0}\x94(\x8c\x01x\x94K\x01\x8c\x05label\x94\x8c\x06K\xc3\xbcche\x94\x8c\x05extra\x94Nu.";
/// # pose.variable().write_encoded(python, robot_ipc::Encoding::PICKLE)?;
/// let mut value = pose.read()?;
/// assert_eq!(value, Pose { x: 1.0, label: "Küche".to_owned(), extra: None });
/// value.x = f64::INFINITY;
/// pose.write(&value)?;                    // and Python reads {'x': inf, …}
/// # pose.variable().remove(std::time::Duration::from_secs(1))
/// # }
/// ```
#[derive(Debug)]
pub struct Pickle<T>(PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Codec for Pickle<T> {
    type Value = T;
    const ENCODING: Encoding = Encoding::PICKLE;

    fn encode(value: &T, sink: &mut impl Sink) -> Result<(), EncodeError> {
        write_to(sink, |writer| {
            serde_pickle::to_writer(writer, value, SerOptions::new())
        })
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        read_from(bytes, |graph| T::deserialize(NodeReader::of_root(graph)))
    }
}

/// Gives the graph of a pickle that is whole and within the limits to `read`.
pub(super) fn read_from<'de, T>(
    bytes: &'de [u8],
    read: impl FnOnce(&Graph<'de>) -> Result<T, ReadError>,
) -> Result<T, DecodeError> {
    let within_limits = || {
        let graph = Graph::of(bytes)?;
        text::measure(&graph)?;
        read(&graph)
    };
    within_limits().map_err(|error| DecodeError::Unreadable(Explanation::of(&error)))
}

/// Has a pickle written into `sink`.
pub(super) fn write_to<S: Sink>(
    sink: &mut S,
    write: impl FnOnce(&mut SinkWriter<'_, S>) -> serde_pickle::Result<()>,
) -> Result<(), EncodeError> {
    let mut writer = SinkWriter {
        sink,
        is_full: false,
    };
    let written = write(&mut writer);
    match written {
        Ok(()) => Ok(()),
        Err(_) if writer.is_full => Err(EncodeError::Full),
        Err(serde_pickle::Error::Syntax(why)) => Err(EncodeError::Refused(Explanation::of(&why))),
        Err(error) => Err(EncodeError::Refused(Explanation::of(&error))),
    }
}

/// A sink as the standard library's writers are.
pub(super) struct SinkWriter<'a, S> {
    sink: &'a mut S,
    is_full: bool,
}

impl<S: Sink> io::Write for SinkWriter<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.extend(bytes).map_err(|_| {
            self.is_full = true;
            io::ErrorKind::WriteZero.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes, as Python's `bytes`: a `Vec<u8>` would be written as a list of numbers.
///
/// ```
/// use robot_ipc::codec::{Codec, Pickle};
/// use robot_ipc::pickle::Bytes;
///
/// let python = b"\x80\x05\x95\x07\0\0\0\0\0\0\0C\x03\0ab\x94.";    // pickle.dumps(b"\0ab")
/// assert_eq!(Pickle::<Bytes>::decode(python), Ok(Bytes(b"\0ab".to_vec())));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct BytesVisitor;
        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
            // Formats that have no bytes of their own.
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = items.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}
