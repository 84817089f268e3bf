//! How a variable is opened.

use super::{DEFAULT_WRITE_TIMEOUT, HostVariable, TypedVariable};
use crate::error::{Error, Reason, Result};
use crate::opening::{Opening, opening_options};
use crate::segment::{Request, Segment};
use crate::shm::Access;
use robot_ipc_core::codec::Codec;
use robot_ipc_core::header::Kind;
use robot_ipc_core::variable::{
    DEFAULT_SLOTS, DEFAULT_VALUE_SIZE, MAX_SLOTS, MAX_VALUE_SIZE, MIN_SLOTS, VariableGeometry,
};
use std::time::Duration;

/// How a variable is opened: what it is created as if it does not exist, and
/// what it has to be if it does.
///
/// ```
/// use robot_ipc::VariableOptions;
/// let options = VariableOptions::new().max_size(1 << 20).slots(6);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct VariableOptions {
    max_size: Option<u64>,
    slots: Option<u32>,
    opening: Opening,
    read_only: bool,
    write_timeout: Duration,
}

impl Default for VariableOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl VariableOptions {
    /// Values of up to 4096 bytes, 14 slots, for this user alone, where the
    /// environment says.
    pub fn new() -> Self {
        VariableOptions {
            max_size: Some(u64::from(DEFAULT_VALUE_SIZE)),
            slots: None,
            opening: Opening::default(),
            read_only: false,
            write_timeout: DEFAULT_WRITE_TIMEOUT,
        }
    }

    /// How many bytes a value can have: 1 byte to 1 GiB. A variable that exists
    /// with another size is an error.
    pub fn max_size(mut self, max_size: u64) -> Self {
        self.max_size = Some(max_size);
        self
    }

    /// Takes the size that the variable has. It has to exist then.
    pub fn adopt_size(mut self) -> Self {
        self.max_size = None;
        self
    }

    /// How many slots: 2 to 62, 14 unless told otherwise. More slots let more
    /// processes write, borrow and loan at the same time. A variable that exists
    /// with another number is an error; one that was not asked for is adopted.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = Some(slots);
        self
    }

    opening_options!();

    /// Only to read: the memory is mapped read-only, nothing is created, and
    /// neither a write nor a borrow is possible. Nor is anything else where a variable has
    /// one fixed writer that is no process of this system (`PlainVariable` of the core).
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// How long a write looks for a free slot: 1 s unless told otherwise.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Opens the variable `name`, or creates it.
    ///
    /// # Errors
    /// The name or an option cannot be used, the variable exists with another
    /// size or number of slots or belongs to somebody else, there is none and it
    /// must not be created, or there is no room for it.
    pub fn open(&self, name: &str) -> Result<HostVariable> {
        self.open_bytes(name.as_bytes())
    }

    /// As [`open`](VariableOptions::open), for a name that may not be text.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_bytes(&self, name: &[u8]) -> Result<HostVariable> {
        let request = self.request(name)?;
        let segment = Segment::open(&request)?;
        let existing = segment.geometry();
        if let Some(asked) = self.max_size.map(|size| size as u32)
            && asked != existing.max_size()
        {
            let existing = existing.max_size();
            return Err(segment.error(Reason::SizeMismatch { existing, asked }));
        }
        if let Some(asked) = self.slots
            && asked != existing.slot_count()
        {
            let existing = existing.slot_count();
            return Err(segment.error(Reason::SlotsMismatch { existing, asked }));
        }
        Ok(HostVariable {
            segment,
            write_timeout: self.write_timeout,
        })
    }

    /// Opens the variable `name` for values of one type.
    ///
    /// # Errors
    /// As [`open`](VariableOptions::open).
    pub fn open_typed<C: Codec>(&self, name: &str) -> Result<TypedVariable<C>> {
        Ok(TypedVariable::new(self.open(name)?))
    }

    /// Removes the variable `name` if no living process has it open. Returns
    /// whether it did.
    ///
    /// # Errors
    /// There is none, this process may not remove it, or these options are
    /// [`read_only`](VariableOptions::read_only).
    pub fn remove_if_unused(&self, name: &str) -> Result<bool> {
        let removed = Segment::remove_if_unused(&self.request(name.as_bytes())?, |_| ())?;
        Ok(removed.is_some())
    }

    fn request(&self, name: &[u8]) -> Result<Request<VariableGeometry>> {
        let geometry = self.geometry().map_err(Error::without_subject)?;
        let access = if self.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let create = geometry.filter(|_| !self.read_only);
        self.opening.request(Kind::Variable, name, access, create)
    }

    /// What to create; `None` if the size is to be adopted.
    fn geometry(&self) -> Result<Option<VariableGeometry>, Reason> {
        let bad = |option, value, reason| Err(Reason::bad_option(option, value, reason));
        let slots = self.slots.unwrap_or(DEFAULT_SLOTS);
        if !(MIN_SLOTS..=MAX_SLOTS).contains(&slots) {
            return bad("slots", u64::from(slots), "it has to be 2 to 62");
        }
        let Some(max_size) = self.max_size else {
            return Ok(None);
        };
        if max_size == 0 || max_size > u64::from(MAX_VALUE_SIZE) {
            return bad(
                "max_size",
                max_size,
                "it has to be 1 to 1073741824 bytes (1 GiB)",
            );
        }
        match VariableGeometry::new(slots, max_size as u32) {
            Some(geometry) => Ok(Some(geometry)),
            None => bad(
                "max_size",
                max_size,
                "so many slots of that size cannot be addressed on this machine",
            ),
        }
    }
}
