//! Host functions: functions of one process that any other of this machine may call.
//!
//! A [`HostFunctionDispatcher`] offers functions by name and runs them one at a time,
//! in one thread; a [`HostFunctionCaller`] calls one. Arguments and response of a call
//! lie in a cell of shared memory that belongs to that call alone, so an answer reaches
//! whoever asked, and nobody else. The protocol is `robot-ipc-core`'s
//! [`tunnel`](robot_ipc_core::tunnel).
//!
//! # Map
//!
//! | file | what stands there |
//! |---|---|
//! | `options` | how a function is opened, by both sides |
//! | `caller` | the API of callers |
//! | `sending`, `receiving` | putting a call into a cell; waiting for its end |
//! | `outstanding` | which calls of a handle have not been told to have ended |
//! | `dispatcher` | the API of dispatchers |
//! | `at_work` | the thread that takes calls and runs functions |
//! | `rounds` | what that thread remembers of its functions |
//! | `incoming` | one call that is being served |
//! | `doorbells` | sleeping until any of many functions is called |
//! | `serving` | who serves a function, and who must not wait for it |
//! | `status` | a look from outside |
//! | `typed` | values instead of bytes |

mod at_work;
mod caller;
mod dispatcher;
mod doorbells;
mod incoming;
mod options;
mod outstanding;
mod receiving;
mod rounds;
mod sending;
mod serving;
mod status;
mod typed;

pub use at_work::FunctionId;
pub use caller::{HostFunctionCaller, PendingCall, Progress, Response, ResponsePart};
pub use dispatcher::{
    DEFAULT_MAX_FUNCTIONS, DispatcherOptions, HostFunctionDispatcher, MAX_FUNCTIONS,
};
pub use incoming::{IncomingCall, IntoReply, Reply};
pub use options::{DEFAULT_SEND_TIMEOUT, FunctionOptions};
#[cfg(feature = "ffi")]
pub(crate) use outstanding::Which;
#[cfg(feature = "ffi")]
pub(crate) use receiving::{Buffer, Received, raised};
pub use robot_ipc_core::tunnel::{DEFAULT_CELLS, Withdrawal};
pub use status::{FunctionStatus, remove_function, remove_function_if_unused};
pub use typed::{TypedCaller, TypedPendingCall};

use robot_ipc_core::tunnel::{MappedTunnel, Tunnel, TunnelGeometry};

/// The segment of a function.
type TunnelSegment = crate::segment::Segment<TunnelGeometry>;
/// The tunnel in it.
type Mapped<'a> = Tunnel<MappedTunnel<'a>>;
