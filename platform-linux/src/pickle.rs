//! What Python pickled: to be shown, and to be read and written as serde types.
//!
//! [`text()`] shows a pickle as Python would print it, without running anything:
//! instances of classes are shown as what they are made from, and by name. [`Pickle`] is
//! the codec that reads pickles into serde types, and writes such that Python loads;
//! [`PythonArguments`] does so for the arguments of functions.
//!
//! A pickle is a program for a machine with a stack. Its bytes may come from
//! anybody who can write the variable, and a few of them can mean a structure
//! that is nested deeper than any stack, or that is larger than any memory once
//! shared parts are written out. So the program is first walked without
//! recursion, within the limits named here, and becomes a graph; text and serde types
//! are made of that. Whoever wants to
//! hand a whole pickle to a decoder that recurses, as `serde-pickle` does, asks
//! [`check`] first.

mod arguments;
mod codec;
mod decode;
mod error;
mod graph;
mod opcode;
#[cfg(test)]
mod tests;
mod text;
#[cfg(test)]
mod typed_tests;

pub use arguments::{MixedArguments, PythonArguments};
pub use codec::{Bytes, Pickle};
pub use error::{Fault, PickleError};

use graph::Graph;

/// How deep lists, tuples, dicts and objects may be nested in one another. A
/// `serde-pickle` that is compiled without optimisation takes 10 KB of stack for
/// each level, and threads commonly have 2 MiB.
pub const MAX_NESTING: u32 = 100;
/// How many instructions a pickle may have, and how many items it may consist
/// of once shared parts are written out.
pub const MAX_ITEMS: u64 = 1_000_000;
/// By how many bytes a pickle may grow once shared parts are written out.
pub const MAX_GROWTH: u64 = 16 << 20;
/// How many bytes an integer may have.
pub const MAX_INTEGER_SIZE: usize = 1024;

/// Shows a pickle as Python prints values.
///
/// What Python would make by calling something is shown as that call, followed
/// by what is then put into the new object.
///
/// ```
/// use robot_ipc::pickle::text;
///
/// let pose = b"\x80\x04}(\x8c\x01x\x94K\x01\x8c\x01yG?\xf8\0\0\0\0\0\0u.";
/// assert_eq!(text(pose).unwrap(), "{'x': 1, 'y': 1.5}");
/// let instance = b"\x80\x02cposes\nPose\n)\x81}U\x01xK\x02sb.";
/// assert_eq!(text(instance).unwrap(), "poses.Pose() with {b'x': 2}");
/// ```
///
/// # Errors
/// The bytes are not one whole pickle, need something from outside, or pass one
/// of the limits.
pub fn text(bytes: &[u8]) -> Result<String, PickleError> {
    text::write(&Graph::of(bytes)?)
}

/// Checks that a pickle is whole and within the limits, so that a decoder which
/// recurses once per level and copies shared parts can have it.
///
/// # Errors
/// As [`text()`], except that numbers and strings are not looked into.
pub fn check(bytes: &[u8]) -> Result<(), PickleError> {
    text::measure(&Graph::of(bytes)?)
}
