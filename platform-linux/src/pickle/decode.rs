//! Pickles to serde types.
//!
//! serde walks the graph of a pickle, node by node. Depth and number of items are known
//! to be within the limits before; only what contains itself is noticed here, by being
//! deeper than anything else can be. Nothing is called: the few calls that plain values
//! are written as, a `bytearray` for one, are understood by their names.

use super::MAX_NESTING;
use super::error::PickleError;
use super::graph::{Graph, Id, Kind, Node};
use super::text;
use core::fmt::{self, Write as _};
use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::borrow::Cow;

/// Why a pickle is no value of a type.
#[derive(Debug)]
pub(super) struct ReadError {
    text: String,
    /// Where in the pickle, once that is known.
    offset: Option<usize>,
}

impl ReadError {
    /// It speaks of what `offset` bytes precede, unless it is more precise already.
    pub(super) fn at(mut self, offset: usize) -> ReadError {
        self.offset.get_or_insert(offset);
        self
    }

    /// It speaks of a part of something.
    pub(super) fn within(mut self, part: &str) -> ReadError {
        self.text.insert_str(0, part);
        self
    }
}

impl From<PickleError> for ReadError {
    fn from(error: PickleError) -> Self {
        ReadError {
            text: error.fault.to_string(),
            offset: Some(error.offset),
        }
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        ReadError {
            text: text.to_string(),
            offset: None,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.offset {
            write!(f, "at byte {offset}: ")?;
        }
        // There may be names in it that somebody else has chosen.
        self.text.chars().try_for_each(|letter| {
            if letter.is_control() {
                write!(f, "{}", letter.escape_debug())
            } else {
                f.write_char(letter)
            }
        })
    }
}

impl std::error::Error for ReadError {}

fn error(text: impl Into<String>) -> ReadError {
    ReadError {
        text: text.into(),
        offset: None,
    }
}

/// What a node is, of the things that serde knows.
pub(super) enum Found<'g, 'de> {
    None,
    Bool(bool),
    Integer(i128),
    /// One that needs the last bit.
    Unsigned(u128),
    Float(f64),
    Text(Cow<'de, str>),
    Bytes(Cow<'de, [u8]>),
    Items(&'g [Id]),
    /// Keys and values in turn.
    Pairs(Cow<'g, [Id]>),
}

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct NodeReader<'g, 'de> {
    graph: &'g Graph<'de>,
    id: Id,
    depth: u32,
}

impl<'g, 'de> NodeReader<'g, 'de> {
    pub(super) fn of_root(graph: &'g Graph<'de>) -> Self {
        NodeReader {
            graph,
            id: graph.root,
            depth: 0,
        }
    }

    /// A node inside of this one.
    pub(super) fn inner(&self, id: Id) -> Self {
        NodeReader {
            id,
            depth: self.depth + 1,
            ..*self
        }
    }

    fn node(&self) -> &'g Node {
        &self.graph.nodes[self.id]
    }

    /// Where it stands.
    pub(super) fn offset(&self) -> usize {
        self.node().offset
    }

    /// What it is.
    pub(super) fn look(&self) -> Result<Found<'g, 'de>, ReadError> {
        if self.depth > MAX_NESTING {
            return Err(error("it contains itself").at(self.offset()));
        }
        let node = self.node();
        let found = match node.kind {
            Kind::Scalar | Kind::String => self.scalar(),
            Kind::List | Kind::Tuple | Kind::Set | Kind::FrozenSet => {
                Ok(Found::Items(&node.children))
            }
            Kind::Dict => Ok(Found::Pairs(Cow::Borrowed(&node.children))),
            Kind::Named | Kind::Global => Err(error(format!(
                "the class or function {}, which is no plain value",
                self.name_of(self.id)?.unwrap_or_default()
            ))),
            Kind::Object => self.object(),
        };
        found.map_err(|error| error.at(node.offset))
    }

    fn scalar(&self) -> Result<Found<'g, 'de>, ReadError> {
        let instruction = self.graph.instruction(self.id)?;
        let argument = instruction.argument;
        Ok(match instruction.code {
            b'N' => Found::None,
            0x88 => Found::Bool(true),
            0x89 => Found::Bool(false),
            b'K' | b'M' => integer(argument, false)?,
            b'J' | 0x8A | 0x8B => integer(argument, true)?,
            b'I' | b'L' | b'F' => number_of_text(instruction.code, argument)?,
            b'G' => {
                let bytes = argument.try_into().map_err(|_| error("half a number"))?;
                Found::Float(f64::from_be_bytes(bytes))
            }
            b'X' | 0x8C | 0x8D => match core::str::from_utf8(argument) {
                Ok(text) => Found::Text(Cow::Borrowed(text)),
                Err(_) => return Err(error("a str that is no UTF-8: half a surrogate pair")),
            },
            b'B' | b'C' | 0x8E | 0x96 => Found::Bytes(Cow::Borrowed(argument)),
            // Escaped ones, and those of Python 2.
            _ => match text::decode(self.graph, self.id)? {
                serde_pickle::Value::String(text) => Found::Text(Cow::Owned(text)),
                serde_pickle::Value::Bytes(bytes) => Found::Bytes(Cow::Owned(bytes)),
                _ => return Err(error("neither text nor a number")),
            },
        })
    }

    /// The name of a class or function; `None` if the node is neither.
    fn name_of(&self, id: Id) -> Result<Option<String>, ReadError> {
        if !matches!(self.graph.nodes[id].kind, Kind::Named | Kind::Global) {
            return Ok(None);
        }
        let mut name = String::new();
        text::put_leaf(self.graph, &mut name, id)?;
        Ok(Some(name))
    }

    /// What a call makes, if that is a plain value.
    fn object(&self) -> Result<Found<'g, 'de>, ReadError> {
        let nodes = &self.graph.nodes;
        let &[class, arguments, ref parts @ ..] = self.node().children.as_slice() else {
            return Err(error("an object of no class"));
        };
        let arguments = nodes[arguments].children.as_slice();
        let name = match self.name_of(class)?.as_deref() {
            // How the first protocols make an object of any class.
            Some("copy_reg._reconstructor" | "copyreg._reconstructor") => match arguments.first() {
                Some(class) => self.name_of(*class)?,
                None => None,
            },
            name => name.map(str::to_owned),
        };
        let name = name.unwrap_or_else(|| "no class that has a name".to_owned());
        let is_dict = |part: &Id| nodes[*part].kind == Kind::Dict;
        match (name.as_str(), arguments, parts) {
            ("set" | "frozenset", [], []) => Ok(Found::Items(&[])),
            ("set" | "frozenset", [items], []) => match self.inner(*items).look()? {
                Found::Items(items) => Ok(Found::Items(items)),
                _ => Err(error("a set of no list")),
            },
            ("bytes" | "bytearray", [], []) => Ok(Found::Bytes(Cow::Borrowed(&[]))),
            // As protocols without bytes write them: the text of the same numbers.
            ("bytes" | "bytearray" | "_codecs.encode", [content], [])
            | ("bytearray" | "_codecs.encode", [content, _], []) => {
                match self.inner(*content).look()? {
                    Found::Bytes(bytes) => Ok(Found::Bytes(bytes)),
                    Found::Text(text) => latin_1(&text),
                    _ => Err(error("bytes of neither bytes nor text")),
                }
            }
            ("collections.OrderedDict", [], parts) if parts.iter().all(is_dict) => {
                let pairs = parts.iter().flat_map(|part| &nodes[*part].children);
                Ok(Found::Pairs(pairs.copied().collect()))
            }
            _ => Err(error(format!(
                "an object of {name}, which is no plain value"
            ))),
        }
    }
}

fn latin_1<'g, 'de>(text: &str) -> Result<Found<'g, 'de>, ReadError> {
    let bytes: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
    match bytes {
        Ok(bytes) => Ok(Found::Bytes(Cow::Owned(bytes))),
        Err(_) => Err(error("bytes that are larger than 255")),
    }
}

/// An integer in little-endian bytes, in two's complement if it `has_sign`.
fn integer<'g, 'de>(bytes: &[u8], has_sign: bool) -> Result<Found<'g, 'de>, ReadError> {
    let is_negative = has_sign && bytes.last().is_some_and(|last| *last >= 0x80);
    let filler = if is_negative { 0xFF } else { 0 };
    let (low, high) = bytes.split_at(bytes.len().min(16));
    if high.iter().any(|byte| *byte != filler) {
        let size = bytes.len();
        return Err(error(format!(
            "an integer of {size} bytes, and 16 is the most that can be read"
        )));
    }
    let mut whole = [filler; 16];
    whole[..low.len()].copy_from_slice(low);
    let number = i128::from_le_bytes(whole);
    match (is_negative, number < 0) {
        (true, false) => Err(error("an integer below those of 128 bits")),
        (false, true) => Ok(Found::Unsigned(u128::from_le_bytes(whole))),
        _ => Ok(Found::Integer(number)),
    }
}

/// A number as protocol 0 writes it.
fn number_of_text<'g, 'de>(code: u8, argument: &[u8]) -> Result<Found<'g, 'de>, ReadError> {
    let text = core::str::from_utf8(argument).unwrap_or_default().trim();
    let found = match code {
        b'I' if text == "00" => Some(Found::Bool(false)),
        b'I' if text == "01" => Some(Found::Bool(true)),
        b'F' => text.parse().ok().map(Found::Float),
        _ => {
            let digits = text.strip_suffix('L').unwrap_or(text);
            let small = digits.parse().ok().map(Found::Integer);
            small.or_else(|| digits.parse().ok().map(Found::Unsigned))
        }
    };
    found.ok_or_else(|| error(format!("a number that cannot be read: {text}")))
}

impl<'de> Deserializer<'de> for NodeReader<'_, 'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let done = match self.look()? {
            Found::None => visitor.visit_unit(),
            Found::Bool(value) => visitor.visit_bool(value),
            Found::Integer(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => visitor.visit_i64(number),
                (_, Ok(number)) => visitor.visit_u64(number),
                _ => visitor.visit_i128(number),
            },
            Found::Unsigned(number) => visitor.visit_u128(number),
            Found::Float(number) => visitor.visit_f64(number),
            Found::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Found::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Found::Bytes(Cow::Borrowed(bytes)) => visitor.visit_borrowed_bytes(bytes),
            Found::Bytes(Cow::Owned(bytes)) => visitor.visit_byte_buf(bytes),
            Found::Items(items) => visit_items(self, items, visitor),
            Found::Pairs(pairs) => visit_pairs(self, &pairs, visitor),
        };
        done.map_err(|error| error.at(self.offset()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.look() {
            Ok(Found::None) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Found::Bytes(bytes) = self.look()? else {
            return self.deserialize_any(visitor);
        };
        // Python's bytes are a sequence of numbers, too.
        let mut numbers = SeqDeserializer::<_, ReadError>::new(bytes.iter().copied());
        let value = visitor
            .visit_seq(&mut numbers)
            .and_then(|value| numbers.end().map(|()| value));
        value.map_err(|error| error.at(self.offset()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let variant = match self.look()? {
            Found::Text(_) => Variant {
                name: self,
                content: None,
            },
            Found::Pairs(pairs) if pairs.len() == 2 => Variant {
                name: self.inner(pairs[0]),
                content: Some(self.inner(pairs[1])),
            },
            _ => {
                let text = "neither a str nor a dict with one key, as an enum needs";
                return Err(error(text).at(self.offset()));
            }
        };
        let done = visitor.visit_enum(variant);
        done.map_err(|error| error.at(self.offset()))
    }

    /// What nobody asks for may be of any class.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct map struct identifier
    }
}

/// All of `items`; fewer than there are is an error.
fn visit_items<'de, V: Visitor<'de>>(
    outer: NodeReader<'_, 'de>,
    items: &[Id],
    visitor: V,
) -> Result<V::Value, ReadError> {
    let mut readers = SeqDeserializer::new(items.iter().map(|id| outer.inner(*id)));
    let value = visitor.visit_seq(&mut readers)?;
    readers.end().map(|()| value)
}

fn visit_pairs<'de, V: Visitor<'de>>(
    outer: NodeReader<'_, 'de>,
    pairs: &[Id],
    visitor: V,
) -> Result<V::Value, ReadError> {
    let pairs = pairs
        .chunks_exact(2)
        .map(|pair| (outer.inner(pair[0]), outer.inner(pair[1])));
    let mut readers = de::value::MapDeserializer::new(pairs);
    let value = visitor.visit_map(&mut readers)?;
    readers.end().map(|()| value)
}

impl<'de> IntoDeserializer<'de, ReadError> for NodeReader<'_, 'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// One of an enum's variants.
struct Variant<'g, 'de> {
    name: NodeReader<'g, 'de>,
    content: Option<NodeReader<'g, 'de>>,
}

impl<'g, 'de> Variant<'g, 'de> {
    fn content(self) -> Result<NodeReader<'g, 'de>, ReadError> {
        self.content
            .ok_or_else(|| error("a variant without what belongs into it"))
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        Ok((seed.deserialize(self.name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content.map(|content| content.look()).transpose()? {
            None | Some(Found::None) => Ok(()),
            Some(_) => Err(error("a variant with something in it, which it has not")),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_any(visitor)
    }
}
