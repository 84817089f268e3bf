//! The codecs for arguments of functions, as Python calls them.
//!
//! A call's pickle is a tuple of two: the tuple of arguments by position, and the dict of
//! those by name.

use super::codec::{read_from, write_to};
use super::decode::{Found, NodeReader, ReadError};
use core::fmt::Display;
use core::marker::PhantomData;
use robot_ipc_core::codec::{Codec, DecodeError, EncodeError, Encoding, Sink};
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{self, Impossible, Serialize, Serializer};
use serde_pickle::{Error, SerOptions};
use std::borrow::Cow;
use std::io::Write;

/// The arguments of a function that Python calls, or that is Python's.
///
/// *A struct* is a list of parameters. Python gives them as those of its own functions:
/// by position, in the order of the fields, or by name; `#[serde(default)]` makes one
/// optional. Too many, missing, doubled and unknown ones are the caller's error. Rust
/// gives the fields of a struct by name.
///
/// *A tuple*, or `Vec`, are arguments by position alone, *a map* by name alone, and `()`
/// is none.
///
/// ```
/// use robot_ipc::codec::{Pickle, PythonArguments};
/// use robot_ipc::{FunctionOptions, HostFunctionDispatcher};
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Divide { a: f64, #[serde(default = "one")] b: f64 }
/// fn one() -> f64 { 1.0 }
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = FunctionOptions::new().place(place.clone());
/// let dispatcher = HostFunctionDispatcher::new(1)?;
/// dispatcher.add_typed::<PythonArguments<Divide>, Pickle<f64>, _, String>(
///     &options, "divide", |Divide { a, b }| {
///         if b == 0.0 { Err("ZeroDivisionError: division by zero".to_owned()) } else { Ok(Some(a / b)) }
///     })?;
/// dispatcher.start()?;
/// // In Python: HostFunctionCaller("divide").call(1, b=4), or call(1, 4), or call(1)
///
/// // The other way round, a function of Python's or of anybody's:
/// let patience = Duration::from_secs(5);
/// let by_position = options.open("divide")?.typed::<PythonArguments<(f64, f64)>, Pickle<f64>>();
/// assert_eq!(by_position.call_within(&(1.0, 4.0), patience)?, Some(0.25));
/// let by_name = options.open("divide")?.typed::<PythonArguments<Divide>, Pickle<f64>>();
/// assert_eq!(by_name.call_within(&Divide { a: 1.0, b: 4.0 }, patience)?, Some(0.25));
/// # by_name.caller().remove(Duration::from_secs(1))
/// # }
/// ```
#[derive(Debug)]
pub struct PythonArguments<T>(PhantomData<fn() -> T>);

/// Arguments by position, `P`, and others by name, `K`, for functions that need both.
///
/// `P` is a tuple, a `Vec` or `()`, and `K` a struct, a map or `()`.
///
/// ```
/// use robot_ipc::codec::{MixedArguments, Pickle};
/// use robot_ipc::{FunctionOptions, HostFunctionDispatcher};
/// use std::collections::BTreeMap;
/// use std::time::Duration;
///
/// # fn main() -> robot_ipc::Result<()> {
/// # let place = robot_ipc::testing::scratch_place();
/// # let options = FunctionOptions::new().place(place.clone());
/// // def count(*numbers, **named): return len(numbers) + len(named)
/// type Arguments = MixedArguments<Vec<f64>, BTreeMap<String, f64>>;
/// let dispatcher = HostFunctionDispatcher::new(1)?;
/// dispatcher.add_typed::<Arguments, Pickle<usize>, _, String>(
///     &options, "count", |(numbers, named)| Ok(Some(numbers.len() + named.len())))?;
/// dispatcher.start()?;
///
/// let count = options.open("count")?.typed::<Arguments, Pickle<usize>>();
/// let arguments = (vec![1.0, 2.0], BTreeMap::from([("x".to_owned(), 3.0)]));
/// assert_eq!(count.call_within(&arguments, Duration::from_secs(5))?, Some(3));
/// # count.caller().remove(Duration::from_secs(1))
/// # }
/// ```
#[derive(Debug)]
pub struct MixedArguments<P, K>(PhantomData<fn() -> (P, K)>);

impl<T: Serialize + DeserializeOwned> Codec for PythonArguments<T> {
    type Value = T;
    const ENCODING: Encoding = Encoding::PICKLE;

    fn encode(arguments: &T, sink: &mut impl Sink) -> Result<(), EncodeError> {
        write_to(sink, |writer| {
            writer.write_all(HEAD)?;
            arguments.serialize(GroupWriter::new(writer, Group::Either))?;
            Ok(writer.write_all(END)?)
        })
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        read_from(bytes, |graph| {
            T::deserialize(CallReader::of(NodeReader::of_root(graph))?)
        })
    }
}

impl<P, K> Codec for MixedArguments<P, K>
where
    P: Serialize + DeserializeOwned,
    K: Serialize + DeserializeOwned,
{
    type Value = (P, K);
    const ENCODING: Encoding = Encoding::PICKLE;

    fn encode((by_position, by_name): &(P, K), sink: &mut impl Sink) -> Result<(), EncodeError> {
        write_to(sink, |writer| {
            writer.write_all(HEAD)?;
            by_position.serialize(GroupWriter::new(writer, Group::ByPosition))?;
            by_name.serialize(GroupWriter::new(writer, Group::ByName))?;
            Ok(writer.write_all(END)?)
        })
    }

    fn decode(bytes: &[u8]) -> Result<(P, K), DecodeError> {
        read_from(bytes, |graph| {
            let call = CallReader::of(NodeReader::of_root(graph))?;
            let by_position = P::deserialize(CallReader {
                by_name: Cow::Borrowed(&[]),
                ..call.clone()
            })?;
            let by_name = K::deserialize(CallReader {
                by_position: &[],
                ..call
            })?;
            Ok((by_position, by_name))
        })
    }
}

// ------------------------------------------------------------------------- reading

/// Reads the arguments of a call.
#[derive(Clone)]
struct CallReader<'g, 'de> {
    root: NodeReader<'g, 'de>,
    by_position: &'g [usize],
    /// Names and values in turn.
    by_name: Cow<'g, [usize]>,
}

impl<'g, 'de> CallReader<'g, 'de> {
    fn of(root: NodeReader<'g, 'de>) -> Result<Self, ReadError> {
        let no_call = || {
            let text = "not the arguments of a call: a tuple and a dict";
            ReadError::custom(text).at(root.offset())
        };
        let Found::Items(&[by_position, by_name]) = root.look()? else {
            return Err(no_call());
        };
        let (Found::Items(by_position), Found::Pairs(by_name)) =
            (root.inner(by_position).look()?, root.inner(by_name).look()?)
        else {
            return Err(no_call());
        };
        Ok(CallReader {
            root,
            by_position,
            by_name,
        })
    }

    /// An argument. It lies in the tuple or dict, which lies in a tuple.
    fn argument(&self, id: usize) -> NodeReader<'g, 'de> {
        self.root.inner(id).inner(id)
    }

    /// Each argument that has a name, and its name.
    fn named(&self) -> Result<Vec<(Cow<'de, str>, NodeReader<'g, 'de>)>, ReadError> {
        let pair = |pair: &[usize]| match self.argument(pair[0]).look()? {
            Found::Text(name) => Ok((name, self.argument(pair[1]))),
            _ => Err(ReadError::custom("the name of an argument is no str")),
        };
        self.by_name.chunks_exact(2).map(pair).collect()
    }

    fn positional(&self) -> impl Iterator<Item = NodeReader<'g, 'de>> {
        self.by_position.iter().map(|id| self.argument(*id))
    }

    /// Fails unless `count` arguments were given, all of them by position.
    fn check_count(&self, count: usize) -> Result<(), ReadError> {
        self.check_no_names()?;
        let given = self.by_position.len();
        if given == count {
            return Ok(());
        }
        let text =
            format!("the function takes {count} arguments by position, and {given} were given");
        Err(ReadError::custom(text))
    }

    fn check_no_names(&self) -> Result<(), ReadError> {
        match self.named()?.first() {
            None => Ok(()),
            Some((name, _)) => Err(ReadError::custom(format!(
                "the function takes no argument by the name '{name}'"
            ))),
        }
    }

    fn check_only_names(&self) -> Result<(), ReadError> {
        match self.by_position.len() {
            0 => Ok(()),
            given => Err(ReadError::custom(format!(
                "the function takes arguments by name only, and {given} were given by position"
            ))),
        }
    }
}

impl<'de> Deserializer<'de> for CallReader<'_, 'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.by_name.is_empty() {
            self.deserialize_seq(visitor)
        } else {
            self.deserialize_map(visitor)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.check_no_names()?;
        let mut arguments = SeqDeserializer::new(self.positional());
        let value = visitor.visit_seq(&mut arguments)?;
        arguments.end().map(|()| value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.check_count(length)?;
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.check_count(0)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.check_only_names()?;
        visitor.visit_map(Named::of(self.named()?))
    }

    /// As Python binds arguments to the parameters of a function.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let given = self.by_position.len();
        if given > fields.len() {
            let text = format!(
                "the function takes {} arguments, and {given} were given by position",
                fields.len()
            );
            return Err(ReadError::custom(text));
        }
        let names = fields.iter().map(|field| Cow::Borrowed(*field));
        let mut arguments: Vec<_> = names.zip(self.positional()).collect();
        for (name, argument) in self.named()? {
            if !fields.contains(&name.as_ref()) {
                let text = format!("the function has no parameter '{name}'");
                return Err(ReadError::custom(text));
            }
            if arguments.iter().any(|(other, _)| *other == name) {
                let text = format!("the argument '{name}' was given twice");
                return Err(ReadError::custom(text));
            }
            arguments.push((name, argument));
        }
        visitor.visit_map(Named::of(arguments))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option enum identifier ignored_any
    }
}

/// Arguments with their names.
struct Named<'g, 'de> {
    rest: std::vec::IntoIter<(Cow<'de, str>, NodeReader<'g, 'de>)>,
    next: Option<(Cow<'de, str>, NodeReader<'g, 'de>)>,
}

impl<'g, 'de> Named<'g, 'de> {
    fn of(arguments: Vec<(Cow<'de, str>, NodeReader<'g, 'de>)>) -> Self {
        Named {
            rest: arguments.into_iter(),
            next: None,
        }
    }
}

impl<'de> de::MapAccess<'de> for Named<'_, 'de> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        self.next = self.rest.next();
        let Some((name, _)) = &self.next else {
            return Ok(None);
        };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some((name, argument)) = self.next.take() else {
            return Err(ReadError::custom("a value was asked for before its name"));
        };
        seed.deserialize(argument)
            .map_err(|error| error.within(&format!("argument '{name}': ")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

// ------------------------------------------------------------------------- writing

// Instructions of pickle.
const HEAD: &[u8] = b"\x80\x03";
const MARK: &[u8] = b"(";
const EMPTY_TUPLE: &[u8] = b")";
const TUPLE: &[u8] = b"t";
const EMPTY_DICT: &[u8] = b"}";
const SET_ITEMS: &[u8] = b"u";
/// A tuple of two, and the end.
const END: &[u8] = b"\x86.";

/// Which arguments a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    ByPosition,
    ByName,
    /// One of them; there are none of the other.
    Either,
}

/// Writes a tuple as arguments by position, and a struct as arguments by name.
struct GroupWriter<'a, W> {
    writer: &'a mut W,
    group: Group,
}

/// The arguments of a group, one by one, and what stands behind them.
struct Arguments<'a, W> {
    writer: &'a mut W,
    end: &'static [&'static [u8]],
}

impl<'a, W: Write> GroupWriter<'a, W> {
    fn new(writer: &'a mut W, group: Group) -> Self {
        GroupWriter { writer, group }
    }

    fn by_position(self) -> Result<Arguments<'a, W>, Error> {
        let end: &[&[u8]] = match self.group {
            Group::ByPosition => &[TUPLE],
            Group::Either => &[TUPLE, EMPTY_DICT],
            Group::ByName => return Err(refused("those by name are a struct or a map")),
        };
        self.writer.write_all(MARK)?;
        Ok(Arguments {
            writer: self.writer,
            end,
        })
    }

    fn by_name(self) -> Result<Arguments<'a, W>, Error> {
        match self.group {
            Group::ByName => {}
            Group::Either => self.writer.write_all(EMPTY_TUPLE)?,
            Group::ByPosition => return Err(refused("those by position are a tuple")),
        }
        self.writer.write_all(EMPTY_DICT)?;
        self.writer.write_all(MARK)?;
        Ok(Arguments {
            writer: self.writer,
            end: &[SET_ITEMS],
        })
    }

    fn none(self) -> Result<(), Error> {
        let nothing: &[&[u8]] = match self.group {
            Group::ByPosition => &[EMPTY_TUPLE],
            Group::ByName => &[EMPTY_DICT],
            Group::Either => &[EMPTY_TUPLE, EMPTY_DICT],
        };
        Ok(nothing
            .iter()
            .try_for_each(|part| self.writer.write_all(part))?)
    }

    fn single<T>(&self, found: &dyn Display) -> Result<T, Error> {
        Err(refused(&format!("not a {found}")))
    }
}

fn refused(why: &str) -> Error {
    ser::Error::custom(format!("arguments are a tuple or a struct; {why}"))
}

impl<W: Write> Arguments<'_, W> {
    fn write<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), Error> {
        let mut serializer = serde_pickle::Serializer::new(&mut *self.writer, SerOptions::new());
        argument.serialize(&mut serializer)
    }

    fn finish(self) -> Result<(), Error> {
        Ok(self
            .end
            .iter()
            .try_for_each(|part| self.writer.write_all(part))?)
    }
}

/// What is no group of arguments.
macro_rules! single {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, _: $type) -> Result<(), Error> {
            self.single(&stringify!($type))
        }
    )*};
}

impl<'a, W: Write> Serializer for GroupWriter<'a, W> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Arguments<'a, W>;
    type SerializeTuple = Arguments<'a, W>;
    type SerializeTupleStruct = Arguments<'a, W>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = Arguments<'a, W>;
    type SerializeStruct = Arguments<'a, W>;
    type SerializeStructVariant = Impossible<(), Error>;

    single! {
        serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.single(&"Option")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Error> {
        self.single(&"Option")
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.none()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Arguments<'a, W>, Error> {
        self.by_position()
    }

    fn serialize_tuple(self, _: usize) -> Result<Arguments<'a, W>, Error> {
        self.by_position()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Arguments<'a, W>, Error> {
        self.by_position()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Arguments<'a, W>, Error> {
        self.by_name()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Arguments<'a, W>, Error> {
        self.by_name()
    }

    fn serialize_unit_variant(self, name: &str, _: u32, _: &str) -> Result<(), Error> {
        self.single(&name)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        self.single(&name)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        self.single(&name)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        self.single(&name)
    }
}

impl<W: Write> ser::SerializeSeq for Arguments<'_, W> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), Error> {
        self.write(argument)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl<W: Write> ser::SerializeTuple for Arguments<'_, W> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), Error> {
        self.write(argument)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl<W: Write> ser::SerializeTupleStruct for Arguments<'_, W> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), Error> {
        self.write(argument)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl<W: Write> ser::SerializeMap for Arguments<'_, W> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Error> {
        self.write(name)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), Error> {
        self.write(argument)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}

impl<W: Write> ser::SerializeStruct for Arguments<'_, W> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        argument: &T,
    ) -> Result<(), Error> {
        self.write(name)?;
        self.write(argument)
    }

    fn end(self) -> Result<(), Error> {
        self.finish()
    }
}
