//! Removing a segment: retiring it, then taking its name away.

use super::{Layout, Request, Segment, inspect};
use crate::error::{Error, Reason, Result};
use crate::lock::{Byte, Held};
use crate::shm::{self, Access, FileIdentity};
use crate::steps::reached;
use crate::{fork, futex};
use robot_ipc_core::recovery::Recoverable;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl<L: Layout> Segment<L> {
    /// Removes the object: retires it, so that every handle on it fails from
    /// now on, and takes its name away.
    pub(crate) fn retire(&self, timeout: Duration) -> Result<()> {
        self.check_writable("remove it")?;
        let start = Instant::now();
        loop {
            let done = {
                let _slow_path = fork::slow_path();
                self.try_retire().map_err(|reason| self.error(reason))?
            };
            if done {
                return Ok(());
            }
            if start.elapsed() >= timeout {
                return Err(self.error(Reason::BeingRemoved));
            }
            if futex::sleep(Duration::from_millis(1)) == futex::Wakened::BySignal {
                return Err(self.error(Reason::Interrupted));
            }
        }
    }

    /// `false` if somebody else is removing it just now.
    fn try_retire(&self) -> Result<bool, Reason> {
        let file = self.reopen()?;
        if !shm::may_remove(self.subject.path(), &file) {
            return Err(Reason::PermissionDenied {
                operation: "remove the segment; its owner or root can",
            });
        }
        self.remove_name(&file)
    }

    /// Retires the (writable) segment and takes its name away, while holding the lock that
    /// lets only one process do so; `false` if somebody else has that. `file` is
    /// the segment's own, and this process may remove it.
    pub(super) fn remove_name(&self, file: &OwnedFd) -> Result<bool, Reason> {
        let Some(_alone) = Held::take(file, Byte::Admin) else {
            return Ok(false);
        };
        reached("retire: locked");
        let path = self.subject.path();
        let now = shm::identity_at(path).map_err(Reason::system("look at the segment"))?;
        self.object().retire(&self.system());
        reached("retire: retired");
        if now == Some(self.identity) {
            match rustix::fs::unlink(path) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Reason::system("take the segment's name away")(errno)),
            }
        }
        reached("retire: removed");
        Ok(true)
    }

    /// Removes the object if nothing alive has it open, after a last `look` at it;
    /// `None` if something has.
    pub(crate) fn remove_if_unused<T>(
        request: &Request<L>,
        look: impl FnOnce(&Segment<L>) -> T,
    ) -> Result<Option<T>> {
        let subject = Arc::new(request.subject.clone());
        let remove = || {
            if request.access == Access::ReadOnly {
                // It would be mapped so, too.
                let operation = "remove it";
                return Err(Reason::ReadOnly { operation });
            }
            let _slow_path = fork::slow_path();
            let file = match shm::open_file(subject.path(), Access::ReadWrite) {
                Ok(file) => file,
                Err(errno) => {
                    return Err(shm::refusal(subject.path(), errno, "open the segment"));
                }
            };
            let (stat, header) = inspect(&file, &request.sharing, request.access)?;
            let geometry = L::from_header(&header)?;
            // Held until the name is gone: who opens it meanwhile tries again.
            let Some(_nobody) = Held::take(&file, Byte::Presence) else {
                return Ok(None);
            };
            if !shm::may_remove(subject.path(), &file) {
                return Err(Reason::PermissionDenied {
                    operation: "remove the segment; its owner or root can",
                });
            }
            let identity = FileIdentity::of(&stat);
            let segment = Segment::map(request, &subject, &file, identity, header, geometry)?;
            let seen = look(&segment);
            Ok(segment.remove_name(&file)?.then_some(seen))
        };
        remove().map_err(|reason| Error::new(&subject, reason))
    }
}
