//! How a function is opened, by those who call it and by those who serve it.

use super::{HostFunctionCaller, TunnelSegment};
use crate::error::{Error, FunctionSizes, Reason, Result};
use crate::opening::{Opening, opening_options};
use crate::segment::{Request, Segment};
use crate::shm::Access;
use crate::spinning::DEFAULT_SPIN;
use robot_ipc_core::header::Kind;
use robot_ipc_core::tunnel::{
    DEFAULT_CELLS, MAX_CELLS, MAX_PART_SIZE, MIN_CELLS, State, TunnelGeometry,
};
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for a free cell, unless told otherwise.
pub const DEFAULT_SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// A function of other sizes that nobody uses is replaced. Somebody who only looks at
/// it just then makes it look used, so this is tried so often.
const REPLACE_ATTEMPTS: u32 = 5;
/// How long to wait between two tries.
const REPLACE_PAUSE: Duration = Duration::from_millis(10);

/// How a function is opened: what its cells are made for if there is none of that
/// name, and what they have to be if there is.
///
/// ```
/// use robot_ipc::FunctionOptions;
/// let options = FunctionOptions::new().max_argument_size(64).max_response_size(0);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct FunctionOptions {
    max_argument_size: u64,
    max_response_size: u64,
    adopt_sizes: bool,
    cells: Option<u32>,
    opening: Opening,
    pub(super) send_timeout: Duration,
    pub(super) max_age: Option<Duration>,
    pub(super) spin: Duration,
}

impl Default for FunctionOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl FunctionOptions {
    /// Arguments and responses of up to 4096 bytes, 16 cells, for this user alone,
    /// where the environment says.
    pub fn new() -> Self {
        let sizes = TunnelGeometry::default();
        FunctionOptions {
            max_argument_size: u64::from(sizes.max_argument_size()),
            max_response_size: u64::from(sizes.max_response_size()),
            adopt_sizes: false,
            cells: None,
            opening: Opening::default(),
            send_timeout: DEFAULT_SEND_TIMEOUT,
            max_age: None,
            spin: DEFAULT_SPIN,
        }
    }

    /// How many bytes the arguments of a call can have: 1 byte to 1 GiB. Both sides
    /// have to name the same.
    pub fn max_argument_size(mut self, size: u64) -> Self {
        self.max_argument_size = size;
        self
    }

    /// How many bytes a response can have: up to 1 GiB. 0 makes calls *one-way*: nobody
    /// waits for them, and they are delivered even if their caller has gone.
    pub fn max_response_size(mut self, size: u64) -> Self {
        self.max_response_size = size;
        self
    }

    /// Takes the sizes that the function has. It has to exist then.
    pub fn adopt_sizes(mut self) -> Self {
        self.adopt_sizes = true;
        self
    }

    /// How many calls can be under way at a time, queued, running, or answered and not
    /// fetched: 1 to 64, 16 unless told otherwise. One that was not asked for is
    /// adopted.
    pub fn cells(mut self, cells: u32) -> Self {
        self.cells = Some(cells);
        self
    }

    opening_options!();

    /// Callers: how long a call waits for a free cell, 1 s unless told otherwise.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.send_timeout = timeout;
        self
    }

    /// Dispatchers: calls that are older when their turn comes are not run. Their
    /// callers are told.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Callers: how long a wait for a response spins before it sleeps, at most; 200 µs
    /// unless told otherwise, and never more than 10 ms.
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = spin;
        self
    }

    /// Opens the function `name` to call it. Nobody has to serve it yet.
    ///
    /// # Errors
    /// The name or an option cannot be used, the function exists with other sizes and
    /// somebody has it open, it belongs to somebody else, or there is no room for it.
    pub fn open(&self, name: &str) -> Result<HostFunctionCaller> {
        self.open_bytes(name.as_bytes())
    }

    /// As [`open`](FunctionOptions::open), for a name that may not be text.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_bytes(&self, name: &[u8]) -> Result<HostFunctionCaller> {
        let (segment, lost_calls) = self.open_segment(name)?;
        Ok(HostFunctionCaller::new(segment, lost_calls, self))
    }

    /// The function's segment, and how many one-way calls were queued in those of
    /// other sizes that it replaces.
    pub(super) fn open_segment(&self, name: &[u8]) -> Result<(Arc<TunnelSegment>, u32)> {
        let geometry = self.geometry().map_err(Error::without_subject)?;
        let request = self
            .opening
            .request(Kind::Function, name, Access::ReadWrite, geometry)?;
        let mut lost_calls = 0;
        let mut attempt = 0;
        loop {
            let segment = Segment::open(&request)?;
            let Some(reason) = self.mismatch(segment.geometry()) else {
                return Ok((segment, lost_calls));
            };
            let error = segment.error(reason);
            drop(segment);
            if geometry.is_none() {
                // Who takes what exists replaces nothing.
                return Err(error);
            }
            match Segment::remove_if_unused(&request, one_way_calls) {
                Ok(Some(lost)) => lost_calls += lost,
                Ok(None) if attempt < REPLACE_ATTEMPTS => {
                    attempt += 1;
                    crate::futex::sleep(REPLACE_PAUSE);
                }
                // Somebody else has replaced it.
                Err(gone) if matches!(gone.reason(), Reason::NotFound) => {}
                _ => return Err(error),
            }
        }
    }

    /// What is wrong with a function of that geometry.
    fn mismatch(&self, found: TunnelGeometry) -> Option<Reason> {
        let existing = sizes(&found);
        let asked = FunctionSizes {
            max_argument_size: self.max_argument_size as u32,
            max_response_size: self.max_response_size as u32,
        };
        if !self.adopt_sizes && existing != asked {
            return Some(Reason::FunctionMismatch { existing, asked });
        }
        let existing = found.cell_count();
        let asked = self.cells.filter(|asked| *asked != existing)?;
        Some(Reason::CellsMismatch { existing, asked })
    }

    pub(super) fn request(&self, name: &[u8], access: Access) -> Result<Request<TunnelGeometry>> {
        self.opening.request(Kind::Function, name, access, None)
    }

    /// What to create; `None` if the sizes are to be adopted.
    fn geometry(&self) -> Result<Option<TunnelGeometry>, Reason> {
        let bad = |option, value, reason| Err(Reason::bad_option(option, value, reason));
        let cells = self.cells.unwrap_or(DEFAULT_CELLS);
        if !(MIN_CELLS..=MAX_CELLS).contains(&cells) {
            return bad("cells", u64::from(cells), "it has to be 1 to 64");
        }
        if self.adopt_sizes {
            return Ok(None);
        }
        let limit = u64::from(MAX_PART_SIZE);
        if self.max_argument_size == 0 || self.max_argument_size > limit {
            return bad(
                "max_argument_size",
                self.max_argument_size,
                "it has to be 1 to 1073741824 bytes (1 GiB)",
            );
        }
        if self.max_response_size > limit {
            return bad(
                "max_response_size",
                self.max_response_size,
                "it has to be 0 to 1073741824 bytes (1 GiB)",
            );
        }
        let (argument, response) = (self.max_argument_size as u32, self.max_response_size as u32);
        match TunnelGeometry::new(cells, argument, response) {
            Some(geometry) => Ok(Some(geometry)),
            None => bad(
                "max_argument_size",
                self.max_argument_size,
                "so many cells of these sizes cannot be addressed on this machine",
            ),
        }
    }
}

/// What a function of that geometry takes and returns.
pub(super) fn sizes(geometry: &TunnelGeometry) -> FunctionSizes {
    FunctionSizes {
        max_argument_size: geometry.max_argument_size(),
        max_response_size: geometry.max_response_size(),
    }
}

/// How many calls are queued that are delivered whatever becomes of their callers.
fn one_way_calls(segment: &TunnelSegment) -> u32 {
    let tunnel = segment.object();
    let queued = tunnel
        .cells()
        .filter(|cell| cell.state == State::Ready && cell.is_orphan);
    queued.count() as u32
}
