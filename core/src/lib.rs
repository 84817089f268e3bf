//! Memory layouts and protocols of robot-ipc, without an operating system.
//!
//! Processes on one robot share a *segment*: a piece of memory all of them can
//! see. This crate says what the bytes of a segment mean and how to read and
//! write them so that nobody ever sees half a value, whoever is killed, stopped
//! or lied to at whichever instruction. It has no allocator, no clock and no
//! system calls; what it needs from outside is the small [`Environment`] trait.
//! The same code runs in Linux processes, in firmware that shares RAM with
//! them, and under the loom model checker.
//!
//! # Map
//!
//! | module | what stands there |
//! |---|---|
//! | [`sync`] | the atomics everything is made of, and the named places where their order matters |
//! | [`words`] | copying bytes that somebody else may be changing |
//! | [`header`] | the first bytes of a segment, and how they are checked |
//! | [`participant`] | who is who in a segment |
//! | [`recovery`] | taking back what the dead have left |
//! | [`environment`] | what the protocols ask of the system around them |
//! | [`variable`] | the host variable: a latest value with many readers and writers |
//! | [`tunnel`] | the host function: calls to another process |
//! | [`codec`] | values to bytes and back |
//! | [`name`] | what a variable may be called |
//!
//! # Example: a variable in static memory
//!
//! ```
//! use robot_ipc_core::environment::SingleProcess;
//! use robot_ipc_core::participant::Participant;
//! use robot_ipc_core::variable::{StaticVariable, Suspects};
//! use robot_ipc_core::codec::Encoding;
//!
//! static POSE: StaticVariable<4, 64> = StaticVariable::new();
//!
//! let variable = POSE.variable();
//! let me = Participant::new(0).unwrap();
//! variable
//!     .write(&SingleProcess, me, &Suspects::new(), b"1.5 2.5", Encoding::RAW)
//!     .unwrap();
//!
//! let (value, sample) = variable.read_vec::<64>().unwrap();
//! assert_eq!(value, b"1.5 2.5");
//! assert_eq!(sample.version, 1);
//! ```
//!
//! # Processors that cannot swap
//!
//! A Cortex-M0 or a RISC-V core without atomics loads and stores words, but has no
//! compare-and-swap. There the crate has [`PlainVariable`](variable::PlainVariable), with
//! one fixed writer, and none of what needs more: other writers, borrowing, waiting by
//! anything but a look now and then, functions.
#![no_std]
// What only the absent parts use there.
#![cfg_attr(not(target_has_atomic = "32"), allow(dead_code))]

#[cfg(not(robot_ipc_loom))]
#[doc(hidden)]
pub mod build_id;
#[cfg(not(robot_ipc_loom))]
pub mod codec;
#[cfg(robot_ipc_loom)]
#[path = "codec/encoding.rs"]
pub mod codec;
pub mod environment;
#[cfg(not(robot_ipc_loom))]
pub mod header;
#[cfg(all(test, robot_ipc_loom))]
mod loom_models;
pub mod name;
pub mod participant;
pub mod recovery;
pub mod sync;
#[cfg(target_has_atomic = "32")]
pub mod tunnel;
pub mod variable;
#[cfg(not(robot_ipc_loom))]
pub mod words;

pub use environment::Environment;

/// The version of the crate, which is that of the whole project.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
