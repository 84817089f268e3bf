//! Host variables and host functions between the processes of one Linux robot.
//!
//! A *host variable* is a named latest value. Any process of the machine may
//! read and write it as if it were its own, from Rust, Python, C and C++; there
//! is no broker and no daemon, only shared memory. A process that is killed, at
//! whichever instruction, harms nobody: the latest value stays whole, and what
//! it held is taken back.
//!
//! A *host function* is a named function of one process that any other may call. Its
//! caller gets the answer, the error, or the news that the process died.
//!
//! Start at [`HostVariable`] and [`VariableOptions`]; [`TypedVariable`] holds
//! values of one type instead of bytes. For functions start at
//! [`HostFunctionDispatcher`] and [`HostFunctionCaller`].
//!
//! # Map
//!
//! | module | what stands there |
//! |---|---|
//! | [`variable`] | the API of host variables |
//! | [`function`] | the API of host functions |
//! | `spinning` | waiting for a short time without sleeping |
//! | [`listing`] | which objects there are |
//! | [`codec`] | values to bytes and back; `pickle` reads and writes those of Python |
//! | [`error`] | what can go wrong |
//! | `ffi` | the C interface |
//! | `segment` | one mapped file: creating, opening, registering, removing |
//! | [`shm`], `sharing`, `opening` | where files lie, what they are called, who may use them |
//! | `lock`, `fork`, `futex`, `clock` | one thing of the kernel each |
//! | `truncation` | a file that is cut short while it is mapped |
//! | `interrupt` | Ctrl-C is put off while a value is copied, in debug builds |
//!
//! The memory layout and the protocol are `robot-ipc-core`'s.
#![cfg_attr(not(doc), warn(missing_debug_implementations))]

#[cfg(not(target_os = "linux"))]
compile_error!("robot-ipc runs on Linux; firmware uses robot-ipc-core");

mod account;
mod brief;
pub mod build_id;
mod clock;
pub mod codec;
pub mod error;
#[cfg(feature = "ffi")]
pub mod ffi;
mod fork;
pub mod function;
mod futex;
pub mod guide;
mod interrupt;
pub mod listing;
mod lock;
mod memory;
mod opening;
#[cfg(feature = "pickle")]
pub mod pickle;
mod segment;
mod sharing;
pub mod shm;
mod spinning;
mod steps;
#[doc(hidden)]
pub mod testing;
mod truncation;
pub mod variable;

pub use error::{Error, Reason, Result};
pub use function::{
    DispatcherOptions, FunctionOptions, HostFunctionCaller, HostFunctionDispatcher, IncomingCall,
    PendingCall, TypedCaller,
};
pub use memory::Memory;
pub use robot_ipc_core::codec::Encoding;
pub use robot_ipc_core::header::Kind;
pub use robot_ipc_core::variable::Sample;
pub use segment::Census;
pub use shm::Place;
pub use truncation::survive_truncation;
pub use variable::{Borrow, ExclusiveWriter, HostVariable, Loan, TypedVariable, VariableOptions};
