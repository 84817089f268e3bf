//! Writing a graph as Python prints values.
//!
//! The graph is walked with a stack of its own: nothing here recurses.

use super::error::{Fault, PickleError};
use super::graph::{Graph, Id, Kind, Node};
use super::{MAX_GROWTH, MAX_ITEMS, MAX_NESTING};
use core::fmt::Write as _;
use serde_pickle::{DeOptions, Value};

/// The text of a graph's root.
pub(super) fn write(graph: &Graph<'_>) -> Result<String, PickleError> {
    let mut text = String::new();
    walk(graph, &mut |event| put(graph, &mut text, event))?;
    Ok(text)
}

/// Only whether the root is within the limits.
pub(super) fn measure(graph: &Graph<'_>) -> Result<(), PickleError> {
    walk(graph, &mut |_| Ok(()))
}

/// What a walk comes by.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A node that has no inside, or whose inside is text.
    Leaf(Id),
    /// A node that is being written already, further out.
    Again(Id),
    Enter(Id),
    /// Before child `usize` of a node.
    Before(Id, usize),
    /// After the last child; whether the node is the tuple of a call's arguments.
    Leave(Id, bool),
}

/// A node that the walk is inside of, and its next child.
struct Frame {
    id: Id,
    next: usize,
}

fn walk(
    graph: &Graph<'_>,
    see: &mut dyn FnMut(Event) -> Result<(), PickleError>,
) -> Result<(), PickleError> {
    let mut path: Vec<Frame> = Vec::new();
    let mut is_on_path = vec![false; graph.nodes.len()];
    let mut items = 0;
    let mut size = 0;
    let mut next = Some(graph.root);
    loop {
        if let Some(id) = next {
            let node = &graph.nodes[id];
            items += 1;
            size += node.size as u64;
            let fail = |fault| {
                Err(PickleError {
                    offset: node.offset,
                    opcode: None,
                    fault,
                })
            };
            if items > MAX_ITEMS {
                return fail(Fault::TooManyItems);
            }
            if size > graph.bytes.len() as u64 + MAX_GROWTH {
                return fail(Fault::TooLarge);
            }
            if is_on_path[id] {
                see(Event::Again(id))?;
            } else if matches!(
                node.kind,
                Kind::Scalar | Kind::String | Kind::Named | Kind::Global
            ) {
                see(Event::Leaf(id))?;
            } else {
                if path.len() as u32 >= MAX_NESTING {
                    return fail(Fault::TooDeep);
                }
                see(Event::Enter(id))?;
                is_on_path[id] = true;
                path.push(Frame { id, next: 0 });
            }
        }
        let Some(frame) = path.last_mut() else {
            return Ok(());
        };
        next = graph.nodes[frame.id].children.get(frame.next).copied();
        if next.is_some() {
            see(Event::Before(frame.id, frame.next))?;
            frame.next += 1;
        } else {
            let id = frame.id;
            is_on_path[id] = false;
            path.pop();
            let is_call =
                |outer: &Frame| graph.nodes[outer.id].kind == Kind::Object && outer.next == 2;
            see(Event::Leave(id, path.last().is_some_and(is_call)))?;
        }
    }
}

fn put(graph: &Graph<'_>, text: &mut String, event: Event) -> Result<(), PickleError> {
    match event {
        Event::Leaf(id) => put_leaf(graph, text, id)?,
        Event::Again(id) => {
            let (open, close) = brackets(&graph.nodes[id]);
            for part in [open, "...", close] {
                text.push_str(part);
            }
        }
        Event::Enter(id) => text.push_str(brackets(&graph.nodes[id]).0),
        Event::Before(_, 0) => {}
        Event::Before(id, index) => text.push_str(match graph.nodes[id].kind {
            Kind::Dict if index % 2 == 1 => ": ",
            Kind::Object if index == 1 => "",
            Kind::Object => " with ",
            _ => ", ",
        }),
        Event::Leave(id, is_call) => {
            let node = &graph.nodes[id];
            if node.kind == Kind::Tuple && node.children.len() == 1 && !is_call {
                text.push(',');
            }
            text.push_str(brackets(node).1);
        }
    }
    Ok(())
}

fn brackets(node: &Node) -> (&'static str, &'static str) {
    match node.kind {
        Kind::List => ("[", "]"),
        Kind::Tuple => ("(", ")"),
        Kind::Set if node.children.is_empty() => ("set(", ")"),
        Kind::Dict | Kind::Set => ("{", "}"),
        Kind::FrozenSet if node.children.is_empty() => ("frozenset(", ")"),
        Kind::FrozenSet => ("frozenset({", "})"),
        _ => ("", ""),
    }
}

pub(super) fn put_leaf(graph: &Graph<'_>, text: &mut String, id: Id) -> Result<(), PickleError> {
    let node = &graph.nodes[id];
    match node.kind {
        Kind::Named => {
            let argument = String::from_utf8_lossy(graph.instruction(id)?.argument);
            let mut lines = argument.lines();
            put_name(
                text,
                lines.next().unwrap_or_default(),
                lines.next().unwrap_or_default(),
            );
        }
        Kind::Global => {
            let module = string(&decode(graph, node.children[0])?);
            put_name(text, &module, &string(&decode(graph, node.children[1])?));
        }
        _ => put_scalar(text, &decode(graph, id)?, is_bytearray(graph, node)),
    }
    Ok(())
}

fn is_bytearray(graph: &Graph<'_>, node: &Node) -> bool {
    graph.bytes[node.offset] == 0x96
}

/// A single instruction's value, as `serde-pickle` decodes it.
pub(super) fn decode(graph: &Graph<'_>, id: Id) -> Result<Value, PickleError> {
    let instruction = graph.instruction(id)?;
    let mut pickle = Vec::with_capacity(instruction.size + 1);
    pickle.extend_from_slice(&graph.bytes[instruction.offset..][..instruction.size]);
    pickle.push(b'.');
    serde_pickle::value_from_slice(&pickle, DeOptions::new()).map_err(|error| {
        instruction.bad_argument(&match error {
            serde_pickle::Error::Eval(code, _) | serde_pickle::Error::Syntax(code) => {
                code.to_string()
            }
            serde_pickle::Error::Io(error) => error.to_string(),
        })
    })
}

fn string(value: &Value) -> String {
    match value {
        Value::String(string) => string.clone(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn put_name(text: &mut String, module: &str, name: &str) {
    let escape = |part: &str| part.escape_debug().to_string();
    if !matches!(module, "builtins" | "__builtin__") {
        text.push_str(&escape(module));
        text.push('.');
    }
    text.push_str(&escape(name));
}

fn put_scalar(text: &mut String, value: &Value, is_bytearray: bool) {
    match value {
        Value::None => text.push_str("None"),
        Value::Bool(true) => text.push_str("True"),
        Value::Bool(false) => text.push_str("False"),
        Value::F64(number) => put_float(text, *number),
        Value::String(string) => put_string(text, string),
        Value::Bytes(bytes) if is_bytearray => {
            text.push_str("bytearray(");
            put_bytes(text, bytes);
            text.push(')');
        }
        Value::Bytes(bytes) => put_bytes(text, bytes),
        // Integers; nothing else comes from a single instruction.
        number => {
            let _ = write!(text, "{number}");
        }
    }
}

/// A float as Python's `repr` writes it: the shortest text that reads back as it.
fn put_float(text: &mut String, number: f64) {
    if number.is_nan() {
        return text.push_str("nan");
    }
    let size = number.abs();
    let _ = if number.is_infinite() || size == 0.0 || (1e-4..1e16).contains(&size) {
        write!(text, "{number:?}")
    } else {
        let plain = format!("{number:e}");
        let (digits, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(text, "{digits}e{sign}{exponent:0>2}")
    };
}

/// Python prefers single quotes, unless the text has such and no double ones.
fn quote_for(has_single: bool, has_double: bool) -> char {
    if has_single && !has_double { '"' } else { '\'' }
}

fn put_string(text: &mut String, string: &str) {
    let quote = quote_for(string.contains('\''), string.contains('"'));
    text.push(quote);
    for character in string.chars() {
        match character {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            quoted if quoted == quote => text.extend(['\\', quoted]),
            // Whatever a terminal might obey or not show, escaped as `repr` does.
            hidden if is_hidden(hidden) => {
                let code = hidden as u32;
                let _ = match code {
                    0..=0xFF => write!(text, "\\x{code:02x}"),
                    0x100..=0xFFFF => write!(text, "\\u{code:04x}"),
                    _ => write!(text, "\\U{code:08x}"),
                };
            }
            plain => text.push(plain),
        }
    }
    text.push(quote);
}

fn is_hidden(character: char) -> bool {
    // `escape_debug` knows which characters have no shape of their own; it also
    // escapes quotes, which are handled before, and combining marks at a start.
    !matches!(character, '\'' | '"') && character.escape_debug().len() > 1
}

fn put_bytes(text: &mut String, bytes: &[u8]) {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    text.push('b');
    text.push(quote);
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' if char::from(*byte) == quote => text.extend(['\\', quote]),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    text.push(quote);
}
