//! The machine that a pickle is a program for, making a graph of its values.
//!
//! Nothing is decoded and nothing is called. A node knows how deep it is and
//! how many bytes it stands for *within itself*, that is down to nodes that are
//! stored in the memo: a decoder that keeps memoised values apart and copies
//! them recurses that deep, and copies that much, even for values that the
//! pickle throws away again. How deep and large all of it is once shared parts
//! are written out is seen by whoever walks the graph.

use super::error::{Fault, PickleError};
use super::opcode::Instruction;
use super::{MAX_GROWTH, MAX_INTEGER_SIZE, MAX_ITEMS, MAX_NESTING};
use std::collections::HashMap;

/// A node, by its position.
pub(super) type Id = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, string or constant: one instruction.
    Scalar,
    /// A string, among the scalars.
    String,
    /// A class or function that is named by an instruction.
    Named,
    /// A class or function that is named by two strings, its children.
    Global,
    List,
    Tuple,
    /// Its children are keys and values in turn.
    Dict,
    Set,
    FrozenSet,
    /// What a call makes. Its children are what is called, the tuple of
    /// arguments, and then whatever is put into the new object.
    Object,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The instruction that made it.
    pub(super) offset: usize,
    pub(super) size: usize,
    pub(super) children: Vec<Id>,
    is_memoised: bool,
    depth: u32,
    weight: u64,
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
}

impl<'a> Graph<'a> {
    /// Walks all of `bytes`.
    pub(super) fn of(bytes: &'a [u8]) -> Result<Graph<'a>, PickleError> {
        let copies = bytes.len() as u64 + MAX_GROWTH;
        let mut machine = Machine {
            copies_left: copies,
            ..Machine::default()
        };
        let mut offset = 0;
        for _ in 0..MAX_ITEMS {
            let instruction = Instruction::at(bytes, offset)?;
            offset += instruction.size;
            if instruction.code != b'.' {
                machine.step(&instruction, bytes.len() - offset)?;
                continue;
            }
            let root = machine.pop(&instruction)?;
            if offset < bytes.len() {
                let fault = Fault::TrailingBytes {
                    size: bytes.len() - offset,
                };
                return Err(PickleError {
                    offset,
                    opcode: None,
                    fault,
                });
            }
            return Ok(Graph {
                bytes,
                nodes: machine.nodes,
                root,
            });
        }
        Err(PickleError {
            offset,
            opcode: None,
            fault: Fault::TooManyItems,
        })
    }

    /// The instruction that made the node `id`.
    pub(super) fn instruction(&self, id: Id) -> Result<Instruction<'a>, PickleError> {
        Instruction::at(self.bytes, self.nodes[id].offset)
    }
}

#[derive(Debug, Default)]
struct Machine {
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// How much lay on the stack at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// How many bytes a decoder may still copy.
    copies_left: u64,
}

type Done = Result<(), PickleError>;

impl Machine {
    fn step(&mut self, at: &Instruction<'_>, left: usize) -> Done {
        match at.code {
            0x80 if at.argument[0] > 5 => {
                return Err(at.error(Fault::UnknownProtocol {
                    protocol: at.argument[0],
                }));
            }
            0x80 => {}
            0x95 if little_endian(at.argument) > left as u64 => {
                return Err(at.error(Fault::Truncated));
            }
            0x95 => {}
            b'(' => {
                self.marks.push(self.stack.len());
                // Every mark is one level at least, but for the innermost.
                if self.marks.len() > MAX_NESTING as usize + 1 {
                    return Err(at.error(Fault::TooDeep));
                }
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
            }
            b'0' => {
                self.pop(at)?;
            }
            b'1' => {
                self.pop_mark(at)?;
            }
            b'2' => {
                let top = self.top(at)?;
                self.copy(top, at)?;
                self.stack.push(top);
            }
            b'p' | b'q' | b'r' | 0x94 => self.memoise(at)?,
            b'g' | b'h' | b'j' => {
                let index = memo_index(at)?;
                let found = self.memo.get(&index).copied();
                self.stack
                    .push(found.ok_or_else(|| at.error(Fault::MissingMemo { index }))?);
            }
            b'N' | 0x88 | 0x89 | b'I' | b'F' | b'G' | b'J' | b'K' | b'M' | b'B' | b'C' | 0x8E
            | 0x96 => {
                self.make(Kind::Scalar, Vec::new(), at)?;
            }
            b'L' | 0x8A | 0x8B => {
                let size = at.argument.len();
                if size > MAX_INTEGER_SIZE {
                    return Err(at.error(Fault::IntegerTooLarge { size }));
                }
                self.make(Kind::Scalar, Vec::new(), at)?;
            }
            b'S' | b'T' | b'U' | b'V' | b'X' | 0x8C | 0x8D => {
                self.make(Kind::String, Vec::new(), at)?
            }
            b']' => self.make(Kind::List, Vec::new(), at)?,
            b'}' => self.make(Kind::Dict, Vec::new(), at)?,
            b')' => self.make(Kind::Tuple, Vec::new(), at)?,
            0x8F => self.make(Kind::Set, Vec::new(), at)?,
            0x85..=0x87 => {
                let items = self.pop_several(usize::from(at.code - 0x84), at)?;
                self.make(Kind::Tuple, items, at)?;
            }
            b't' => self.make_of_marked(Kind::Tuple, at)?,
            b'l' => self.make_of_marked(Kind::List, at)?,
            b'd' => self.make_of_marked(Kind::Dict, at)?,
            0x91 => self.make_of_marked(Kind::FrozenSet, at)?,
            b'a' => self.put_items(Kind::List, 1, at)?,
            b'e' => self.put_marked(Kind::List, at)?,
            b's' => self.put_items(Kind::Dict, 2, at)?,
            b'u' => self.put_marked(Kind::Dict, at)?,
            0x90 => self.put_marked(Kind::Set, at)?,
            b'P' | b'Q' | 0x82..=0x84 | 0x97 | 0x98 => return Err(at.error(Fault::Outside)),
            _ => self.make_object(at)?,
        }
        Ok(())
    }

    /// The instructions that name classes, call them and fill their objects.
    fn make_object(&mut self, at: &Instruction<'_>) -> Done {
        match at.code {
            b'c' => self.make(Kind::Named, Vec::new(), at),
            0x93 => {
                let names = self.pop_several(2, at)?;
                if names
                    .iter()
                    .any(|name| self.nodes[*name].kind != Kind::String)
                {
                    return Err(at.error(Fault::WrongType { needed: "a string" }));
                }
                self.make(Kind::Global, names, at)
            }
            b'R' | 0x81 => {
                let parts = self.pop_several(2, at)?;
                self.make_call(parts, at)
            }
            0x92 => {
                let mut parts = self.pop_several(3, at)?;
                let named = &self.nodes[parts[2]];
                if named.kind == Kind::Dict && named.children.is_empty() {
                    parts.pop();
                }
                self.make_call(parts, at)
            }
            b'o' => {
                let mut parts = self.pop_mark(at)?;
                if parts.is_empty() {
                    return Err(at.error(Fault::StackUnderflow));
                }
                let arguments = parts.split_off(1);
                self.make(Kind::Tuple, arguments, at)?;
                parts.push(self.pop(at)?);
                self.make_call(parts, at)
            }
            b'i' => {
                let arguments = self.pop_mark(at)?;
                self.make(Kind::Named, Vec::new(), at)?;
                let class = self.pop(at)?;
                self.make(Kind::Tuple, arguments, at)?;
                let arguments = self.pop(at)?;
                self.make_call(vec![class, arguments], at)
            }
            b'b' => {
                let state = self.pop(at)?;
                let object = self.top(at)?;
                if self.nodes[object].kind != Kind::Object {
                    return Err(at.error(Fault::WrongType {
                        needed: "an object",
                    }));
                }
                self.attach(object, state, at)
            }
            code => Err(at.error(Fault::UnknownOpcode { code })),
        }
    }

    // ------------------------------------------------------------- the stack

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self, at: &Instruction<'_>) -> Result<Id, PickleError> {
        let top = self.top(at)?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self, at: &Instruction<'_>) -> Result<Id, PickleError> {
        match self.stack.last() {
            Some(top) if self.stack.len() > self.floor() => Ok(*top),
            _ => Err(at.error(Fault::StackUnderflow)),
        }
    }

    fn pop_several(&mut self, count: usize, at: &Instruction<'_>) -> Result<Vec<Id>, PickleError> {
        match self.stack.len().checked_sub(count) {
            Some(rest) if rest >= self.floor() => Ok(self.stack.split_off(rest)),
            _ => Err(at.error(Fault::StackUnderflow)),
        }
    }

    fn pop_mark(&mut self, at: &Instruction<'_>) -> Result<Vec<Id>, PickleError> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| at.error(Fault::StackUnderflow))?;
        Ok(self.stack.split_off(mark))
    }

    fn memoise(&mut self, at: &Instruction<'_>) -> Done {
        let index = if at.code == 0x94 {
            self.memo.len() as u32
        } else {
            memo_index(at)?
        };
        let top = self.top(at)?;
        if self.nodes[top].is_memoised {
            self.copy(top, at)?;
        }
        self.nodes[top].is_memoised = true;
        self.memo.insert(index, top);
        Ok(())
    }

    /// Counts what a decoder copies that keeps the memo apart.
    fn copy(&mut self, id: Id, at: &Instruction<'_>) -> Done {
        let left = self.copies_left.checked_sub(self.nodes[id].weight);
        self.copies_left = left.ok_or_else(|| at.error(Fault::TooLarge))?;
        Ok(())
    }

    // ------------------------------------------------------------- the nodes

    fn make(&mut self, kind: Kind, children: Vec<Id>, at: &Instruction<'_>) -> Done {
        let id = self.nodes.len();
        self.nodes.push(Node {
            kind,
            offset: at.offset,
            size: at.size,
            children: Vec::new(),
            is_memoised: false,
            depth: u32::from(!matches!(kind, Kind::Scalar | Kind::String | Kind::Named)),
            weight: at.size as u64,
        });
        self.nodes[id].children.reserve_exact(children.len());
        for child in children {
            self.attach(id, child, at)?;
        }
        self.stack.push(id);
        Ok(())
    }

    fn attach(&mut self, parent: Id, child: Id, at: &Instruction<'_>) -> Done {
        let Node {
            is_memoised,
            depth,
            weight,
            ..
        } = self.nodes[child];
        let (depth, weight) = if is_memoised { (0, 1) } else { (depth, weight) };
        self.deepen(parent, depth, weight, at)?;
        self.nodes[parent].children.push(child);
        Ok(())
    }

    fn deepen(&mut self, parent: Id, depth: u32, weight: u64, at: &Instruction<'_>) -> Done {
        let parent = &mut self.nodes[parent];
        parent.depth = parent.depth.max(depth + 1);
        parent.weight = parent.weight.saturating_add(weight);
        if parent.depth > MAX_NESTING {
            Err(at.error(Fault::TooDeep))
        } else {
            Ok(())
        }
    }

    fn make_of_marked(&mut self, kind: Kind, at: &Instruction<'_>) -> Done {
        let items = self.pop_mark(at)?;
        check_pairs(kind, &items, at)?;
        self.make(kind, items, at)
    }

    /// An object made by calling `parts[0]` with the tuple `parts[1]`.
    fn make_call(&mut self, parts: Vec<Id>, at: &Instruction<'_>) -> Done {
        let arguments = parts[1];
        if self.nodes[arguments].kind != Kind::Tuple {
            return Err(at.error(Fault::WrongType {
                needed: "a tuple of arguments",
            }));
        }
        if !matches!(
            self.nodes[parts[0]].kind,
            Kind::Named | Kind::Global | Kind::Object
        ) {
            return Err(at.error(Fault::WrongType {
                needed: "a class or function",
            }));
        }
        self.make(Kind::Object, parts, at)?;
        // A decoder takes the arguments, and theirs, out of the memo.
        let object = self.top(at)?;
        for index in 0..=self.nodes[arguments].children.len() {
            let copied = index
                .checked_sub(1)
                .map_or(arguments, |index| self.nodes[arguments].children[index]);
            self.copy(copied, at)?;
            let Node { depth, weight, .. } = self.nodes[copied];
            self.deepen(object, depth + u32::from(index > 0), weight, at)?;
        }
        Ok(())
    }

    fn put_marked(&mut self, kind: Kind, at: &Instruction<'_>) -> Done {
        let items = self.pop_mark(at)?;
        self.put(kind, items, at)
    }

    fn put_items(&mut self, kind: Kind, count: usize, at: &Instruction<'_>) -> Done {
        let items = self.pop_several(count, at)?;
        self.put(kind, items, at)
    }

    /// Puts items into the container on top of the stack, or what an object
    /// there is to get into one of that kind, its last child.
    fn put(&mut self, kind: Kind, items: Vec<Id>, at: &Instruction<'_>) -> Done {
        check_pairs(kind, &items, at)?;
        let top = self.top(at)?;
        match self.nodes[top].kind {
            found if found == kind => {
                for item in items {
                    self.attach(top, item, at)?;
                }
                Ok(())
            }
            Kind::Object => {
                self.make(kind, items, at)?;
                let part = self.pop(at)?;
                self.attach(top, part, at)
            }
            _ => Err(at.error(Fault::WrongType {
                needed: match kind {
                    Kind::List => "a list",
                    Kind::Dict => "a dict",
                    _ => "a set",
                },
            })),
        }
    }
}

fn check_pairs(kind: Kind, items: &[Id], at: &Instruction<'_>) -> Done {
    if kind == Kind::Dict && !items.len().is_multiple_of(2) {
        return Err(at.error(Fault::WrongType {
            needed: "a value for every key",
        }));
    }
    Ok(())
}

fn little_endian(argument: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..argument.len()].copy_from_slice(argument);
    u64::from_le_bytes(bytes)
}

fn memo_index(at: &Instruction<'_>) -> Result<u32, PickleError> {
    if matches!(at.code, b'p' | b'g') {
        let text = core::str::from_utf8(at.argument).unwrap_or_default();
        return text
            .parse()
            .map_err(|_| at.bad_argument("its index is no number"));
    }
    Ok(little_endian(at.argument) as u32)
}
