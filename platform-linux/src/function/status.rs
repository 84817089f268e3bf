//! A look at functions from outside: nothing here calls or serves.

use super::FunctionOptions;
use super::options::sizes;
use crate::error::{FunctionSizes, Result};
use crate::segment::Segment;
use crate::shm::{Access, Place};
use core::sync::atomic::Ordering::Relaxed;
use robot_ipc_core::tunnel::State;
use std::time::Duration;

/// What can be seen of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionStatus {
    /// How many bytes arguments and responses can have.
    pub sizes: FunctionSizes,
    /// How many cells there are.
    pub cells: u32,
    /// The process ids of those who serve it and live, as they told them.
    pub servers: Vec<u32>,
    /// How many calls wait to be run.
    pub queued: u32,
    /// How many are running.
    pub running: u32,
    /// How many responses wait to be fetched.
    pub unfetched: u32,
    /// How many calls have been run; wraps at 2^32.
    pub served: u32,
    /// How many were too old to be run; wraps at 2^32.
    pub dropped: u32,
}

impl FunctionStatus {
    /// Looks at the function `name` of `place`, and changes nothing.
    ///
    /// # Errors
    /// There is none, or it cannot be used.
    pub fn of(place: &Place, name: &str) -> Result<FunctionStatus> {
        let options = FunctionOptions::new().place(place.clone());
        let segment = Segment::open(&options.request(name.as_bytes(), Access::ReadOnly)?)?;
        let tunnel = segment.object();
        let count = |states: &[State]| {
            let counted = tunnel.cells().filter(|cell| states.contains(&cell.state));
            counted.count() as u32
        };
        let control = tunnel.memory().control();
        let status = FunctionStatus {
            sizes: sizes(&segment.geometry()),
            cells: segment.geometry().cell_count(),
            servers: segment
                .servers()
                .map(|server| segment.pid(server))
                .collect(),
            queued: count(&[State::Ready]),
            running: count(&[State::Running]),
            unfetched: count(&[State::Done, State::Died]),
            served: control.served.load(Relaxed),
            dropped: control.dropped.load(Relaxed),
        };
        segment.check_not_lost()?;
        Ok(status)
    }
}

/// Removes the function `name` of `place`: see
/// [`HostFunctionCaller::remove`](super::HostFunctionCaller::remove).
///
/// # Errors
/// There is none, this process may not remove it, or somebody else does and hangs.
pub fn remove_function(place: &Place, name: &[u8], timeout: Duration) -> Result<()> {
    let options = FunctionOptions::new().place(place.clone());
    Segment::open(&options.request(name, Access::ReadWrite)?)?.retire(timeout)
}

/// Removes the function `name` of `place` if no living process has it open. Returns
/// whether it did.
///
/// # Errors
/// There is none, or this process may not remove it.
pub fn remove_function_if_unused(place: &Place, name: &[u8]) -> Result<bool> {
    let options = FunctionOptions::new().place(place.clone());
    let request = options.request(name, Access::ReadWrite)?;
    Ok(Segment::remove_if_unused(&request, |_| ())?.is_some())
}
