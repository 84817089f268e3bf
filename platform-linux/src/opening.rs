//! Where an object is, and who may use it: what all ways to open one have in common.

use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::segment::{Layout, Request};
use crate::sharing::{Sharing, group_id};
use crate::shm::{Access, Place};
use robot_ipc_core::header::Kind;

/// The setters of these options, for builders that have them as `opening`.
macro_rules! opening_options {
    () => {
        /// Permission bits: read and write, such as `0o660`. Without this the
        /// environment variable `ROBOT_IPC_MODE` counts, and then `0o600`.
        pub fn mode(mut self, mode: u32) -> Self {
            self.opening.mode = Some(mode);
            self
        }

        /// The group to share with, by number. Without this the environment
        /// variable `ROBOT_IPC_GROUP` counts, and then the process's own group.
        pub fn group(mut self, group: u32) -> Self {
            self.opening.group = Some(group);
            self
        }

        /// The group to share with, by name or number.
        pub fn group_name(mut self, group: &str) -> Self {
            self.opening.group_name = Some(group.to_owned());
            self
        }

        /// Whether all pages are there before they are used. Without this the environment
        /// variable `ROBOT_IPC_MEMORY` counts (`prefaulted`, `locked`), and then they come
        /// on demand.
        pub fn memory(mut self, memory: $crate::Memory) -> Self {
            self.opening.memory = Some(memory);
            self
        }

        /// Where to look, instead of where the environment says.
        pub fn place(mut self, place: $crate::Place) -> Self {
            self.opening.place = Some(place);
            self
        }
    };
}
pub(crate) use opening_options;

/// The options of every kind of object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    pub(crate) mode: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) group_name: Option<String>,
    pub(crate) place: Option<Place>,
    pub(crate) memory: Option<Memory>,
}

impl Opening {
    /// The request to open the object `name`, or to `create` it.
    pub(crate) fn request<L: Layout>(
        &self,
        kind: Kind,
        name: &[u8],
        access: Access,
        create: Option<L>,
    ) -> Result<Request<L>> {
        let place = match &self.place {
            Some(place) => place.clone(),
            None => Place::from_environment()?,
        };
        let subject = place.subject(kind, name)?;
        let group = match &self.group_name {
            Some(name) => Some(group_id(name).map_err(Error::without_subject)?),
            None => self.group,
        };
        let memory = Memory::or_environment(self.memory).map_err(Error::without_subject)?;
        let sharing = Sharing::new(self.mode, group).map_err(Error::without_subject)?;
        Ok(Request {
            place,
            subject,
            access,
            sharing,
            memory,
            create,
        })
    }
}
