//! For tests and examples of this project; nothing here is for programs.

use crate::error::Result;
use crate::function::HostFunctionCaller;
use crate::shm::Place;
pub use crate::steps::{Hook, install};
use crate::variable::HostVariable;
use robot_ipc_core::Environment;
use robot_ipc_core::codec::Encoding;
pub use robot_ipc_core::environment::Step;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::sync::AtomicU32;
use robot_ipc_core::tunnel::{CellView, State};
use robot_ipc_core::variable::Sample;
use std::path::Path;
use std::sync::atomic::{self, Ordering::Relaxed};

/// A namespace that nobody else uses, in memory.
///
/// # Panics
/// Never: its name follows the rules.
#[must_use]
pub fn scratch_place() -> Place {
    static COUNT: atomic::AtomicU32 = atomic::AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Relaxed);
    let namespace = format!("scratch-{}-{number}", std::process::id());
    Place::new(
        Path::new(crate::shm::DEFAULT_DIRECTORY),
        namespace.as_bytes(),
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

/// The ordinary system, with a function called at every step.
struct Stepping<'a, E> {
    system: E,
    at_step: &'a dyn Fn(Step),
}

impl<E: Environment> Environment for Stepping<'_, E> {
    type Recovery = E::Recovery;
    const STOPS_MIDWAY: bool = true;
    fn now_ns(&self) -> u64 {
        self.system.now_ns()
    }
    fn write_time_ns(&self) -> u64 {
        self.system.write_time_ns()
    }
    fn wake_all(&self, word: &AtomicU32) {
        self.system.wake_all(word);
    }
    fn try_take(&self, participant: Participant) -> Option<E::Recovery> {
        self.system.try_take(participant)
    }
    fn step(&self, step: Step) {
        (self.at_step)(step);
    }
}

/// A write that calls `at_step` after each of its steps.
///
/// # Errors
/// As [`HostVariable::write_encoded`].
pub fn write_stepping(
    variable: &HostVariable,
    bytes: &[u8],
    encoding: Encoding,
    at_step: &dyn Fn(Step),
) -> Result<Sample> {
    let system = Stepping {
        system: variable.segment().system(),
        at_step,
    };
    variable.put(&system, bytes, encoding, None, variable.write_timeout())
}

/// How many slots carry a claim or a pin.
#[must_use]
pub fn taken_slots(variable: &HostVariable) -> u32 {
    let core = variable.segment().object();
    (0..variable.slots())
        .filter(|slot| core.holders(*slot).next().is_some())
        .count() as u32
}

/// How many cells are not free: drafted, queued, running or unfetched.
#[must_use]
pub fn taken_cells(caller: &HostFunctionCaller) -> u32 {
    let taken = |cell: &CellView| cell.state != State::Free;
    caller.core().cells().filter(taken).count() as u32
}
