//! One mapped file, shared by all handles that this process has on it.
//!
//! A segment is *born whole*: made without a name, sized, backed by memory,
//! initialised, and only then linked to its name. So whoever opens a name sees a
//! finished segment, and a creator that is killed leaves nothing behind. Of two
//! creators one wins, and the other opens the winner's.
//!
//! Nobody keeps a descriptor of it. The mapping keeps the open file, and with it
//! a shared lock that shows that somebody has the segment open. A process that
//! changes something is also a *participant*: it holds a byte of the file that
//! tells the others that it lives (see the module `lock`).

#![allow(unsafe_code)]

mod layout;
mod participation;
mod removal;

pub(crate) use layout::{Layout, Quota, lived_within};
pub use participation::Census;
pub(crate) use participation::Registration;

use crate::error::{Error, Reason, Result};
use crate::fork::{self, PerProcess, SlowPath};
use crate::lock::{self, Byte};
use crate::memory::Memory;
use crate::sharing::Sharing;
use crate::shm::{self, Access, FileIdentity, NewFile, Place, Subject};
use crate::steps::reached;
use crate::truncation::Mapping;
use crate::{clock, futex};
use robot_ipc_core::header::{HEADER_SIZE, Header, HeaderError, PLAIN};
use robot_ipc_core::recovery::Recoverable;
use rustix::fs::Stat;
use rustix::io::Errno;
use std::any::Any;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long to wait for somebody who is creating or removing the same name.
const PATIENCE: Duration = Duration::from_secs(5);

/// A mapped segment.
#[derive(Debug)]
pub(crate) struct Segment<L: Layout> {
    subject: Arc<Subject>,
    identity: FileIdentity,
    mapping: Mapping,
    access: Access,
    geometry: L,
    /// Whether times in it mean the same to this process as to its creator.
    same_clock: bool,
    registration: PerProcess<Registration<L>>,
}

// SAFETY: the mapping is reached through atomics only, and the rest is Sync.
unsafe impl<L: Layout> Send for Segment<L> {}
// SAFETY: as above.
unsafe impl<L: Layout> Sync for Segment<L> {}

/// What to open, and what to do if it is not there.
#[derive(Clone, Debug)]
pub(crate) struct Request<L> {
    pub(crate) place: Place,
    pub(crate) subject: Subject,
    pub(crate) access: Access,
    pub(crate) sharing: Sharing,
    pub(crate) memory: Memory,
    /// The geometry to create; `None` opens what exists.
    pub(crate) create: Option<L>,
}

/// All segments that are mapped in this process, by file.
static MAPPED: Mutex<Option<Mapped>> = Mutex::new(None);

/// By file, and whether it may be written.
type Mapped = HashMap<(FileIdentity, bool), Weak<dyn Any + Send + Sync>>;

/// What came of looking for an existing segment.
enum Found<L: Layout> {
    Mapped(Arc<Segment<L>>),
    Nothing,
    /// It was removed, or is from before the last boot; look again.
    Gone,
}

impl<L: Layout> Segment<L> {
    /// Opens the segment that `request` names, or creates it.
    pub(crate) fn open(request: &Request<L>) -> Result<Arc<Segment<L>>> {
        let subject = Arc::new(request.subject.clone());
        let opened = Segment::open_as(request, &subject);
        let segment = opened.map_err(|reason| Error::new(&subject, reason))?;
        let (size, is_writable) = (segment.geometry.file_size(), segment.is_writable());
        let start = segment.mapping.start();
        // SAFETY: so many bytes are mapped there until `segment` is dropped.
        let applied = unsafe { request.memory.apply(start, size as usize, is_writable) };
        applied.map_err(|reason| segment.error(reason))?;
        Ok(segment)
    }

    fn open_as(request: &Request<L>, subject: &Arc<Subject>) -> Result<Arc<Segment<L>>, Reason> {
        let start = Instant::now();
        loop {
            {
                let slow_path = fork::slow_path();
                match Segment::open_existing(request, subject, &slow_path)? {
                    Found::Mapped(segment) => return Ok(segment),
                    Found::Gone => {}
                    Found::Nothing => {
                        let Some(geometry) = request.create else {
                            return Err(Reason::NotFound);
                        };
                        if let Some(segment) =
                            Segment::create(request, subject, geometry, &slow_path)?
                        {
                            return Ok(segment);
                        }
                    }
                }
            }
            if start.elapsed() > PATIENCE {
                return Err(Reason::BeingRemoved);
            }
            if futex::sleep(Duration::from_micros(200)) == futex::Wakened::BySignal {
                return Err(Reason::Interrupted);
            }
        }
    }

    fn open_existing(
        request: &Request<L>,
        subject: &Arc<Subject>,
        _slow_path: &SlowPath,
    ) -> Result<Found<L>, Reason> {
        let file = match shm::open_file(subject.path(), request.access) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(errno) => return Err(shm::refusal(subject.path(), errno, "open the segment")),
        };
        let (stat, header) = inspect(&file, &request.sharing, request.access)?;
        let identity = FileIdentity::of(&stat);
        if header.kind != subject.kind() as u32 {
            return Err(HeaderError::OtherKind { found: header.kind }.into());
        }
        let geometry = L::from_header(&header)?;
        if let Some(segment) = mapped::<L>(identity, request.access)
            .filter(|known| !known.is_retired() && known.subject == *subject)
        {
            return Ok(Found::Mapped(segment));
        }
        reached("open: checked");
        if !lock::try_shared(&file, Byte::Presence).map_err(Reason::system("lock the segment"))? {
            // Somebody is making sure that nobody has it open, to remove it.
            return Ok(Found::Gone);
        }
        let segment = Segment::map(request, subject, &file, identity, header, geometry)?;
        reached("open: mapped");
        let stale = clock::is_from_another_boot(&header.creator());
        let retired = segment.is_retired();
        if segment.is_lost() {
            // Cut since it was checked: nobody has asked for its removal.
            return Err(segment.explained(Reason::Retired));
        }
        if !stale && !retired {
            // Whoever removed it before we were there to be seen is done now.
            let now =
                shm::identity_at(subject.path()).map_err(Reason::system("look at the segment"))?;
            return Ok(if now == Some(identity) {
                segment.remember();
                Found::Mapped(segment)
            } else {
                Found::Gone
            });
        }
        // Whoever removed it may be done, and a successor have the name.
        let now =
            shm::identity_at(subject.path()).map_err(Reason::system("look at the segment"))?;
        if now != Some(identity) {
            return Ok(Found::Gone);
        }
        if !segment.is_writable() {
            // Only a name is left of it, and this handle changes nothing.
            return Err(Reason::NotFound);
        }
        if !shm::may_remove(subject.path(), &file) {
            return Err(Reason::RetiredByOwner { uid: stat.st_uid });
        }
        segment.remove_name(&file)?;
        Ok(Found::Gone)
    }

    /// A new segment under the subject's name; `None` if somebody was faster.
    fn create(
        request: &Request<L>,
        subject: &Arc<Subject>,
        geometry: L,
        _slow_path: &SlowPath,
    ) -> Result<Option<Arc<Segment<L>>>, Reason> {
        let size = geometry.file_size();
        let mut new = NewFile::create(request.place.directory(), size, &request.sharing)?;
        let header = geometry.header(&clock::creator());
        let initial = geometry.initial_bytes(&header.creator());
        let bytes = initial.as_ref();
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&new.file, bytes, 0))
            .map_err(Reason::system("write the segment's header"))?;
        if written != bytes.len() {
            return Err(Reason::System {
                operation: "write the segment's header",
                errno: Errno::IO,
            });
        }
        reached("create: initialised");
        let lock = lock::try_shared(&new.file, Byte::Presence);
        lock.map_err(Reason::system("lock the segment"))?;
        let stat = rustix::fs::fstat(&new.file).map_err(Reason::system("look at the segment"))?;
        let identity = FileIdentity::of(&stat);
        let segment = Segment::map(request, subject, &new.file, identity, header, geometry)?;
        reached("create: mapped");
        let linked = new.link(subject.path());
        if !linked.map_err(Reason::system("give the segment its name"))? {
            return Ok(None);
        }
        reached("create: linked");
        segment.remember();
        Ok(Some(segment))
    }

    fn map(
        request: &Request<L>,
        subject: &Arc<Subject>,
        file: &OwnedFd,
        identity: FileIdentity,
        header: Header,
        geometry: L,
    ) -> Result<Arc<Segment<L>>, Reason> {
        let size = geometry.file_size() as usize;
        let is_writable = request.access == Access::ReadWrite;
        let mapping = Mapping::new(file, size, is_writable, geometry.remains())
            .map_err(Reason::system("map the segment"))?;
        Ok(Arc::new(Segment {
            subject: Arc::clone(subject),
            identity,
            mapping,
            access: request.access,
            geometry,
            same_clock: clock::is_same_clock(&header.creator()),
            registration: PerProcess::new(),
        }))
    }

    fn remember(self: &Arc<Segment<L>>) {
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        let mapped = mapped.get_or_insert_default();
        if mapped.len() >= 64 && mapped.len().is_power_of_two() {
            mapped.retain(|_, segment| segment.strong_count() > 0);
        }
        let key = (self.identity, self.access == Access::ReadWrite);
        let segment: Weak<dyn Any + Send + Sync> = Arc::<Segment<L>>::downgrade(self);
        mapped.insert(key, segment);
    }

    // ------------------------------------------------------------- accessors

    pub(crate) fn error(&self, reason: Reason) -> Error {
        Error::new(&self.subject, self.explained(reason))
    }

    /// `reason`, or that the file was truncated, if that is why. Apart, so that what reads
    /// and writes stays small.
    #[cold]
    #[inline(never)]
    fn explained(&self, reason: Reason) -> Reason {
        if !self.is_lost() || !reason.is_of_memory() {
            return reason;
        }
        let needed = self.geometry.file_size();
        let size = shm::size_at(self.subject.path(), self.identity);
        Reason::Truncated {
            // It may have grown again.
            size: size.filter(|size| *size < needed),
            needed,
        }
    }

    /// Whether the file was cut short and this process has survived that: what it has
    /// read since may be zeros.
    pub(crate) fn is_lost(&self) -> bool {
        self.mapping.is_lost()
    }

    /// Fails if it is lost.
    pub(crate) fn check_not_lost(&self) -> Result<()> {
        if self.is_lost() {
            Err(self.error(Reason::Retired))
        } else {
            Ok(())
        }
    }

    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) fn has_same_clock(&self) -> bool {
        self.same_clock
    }

    pub(crate) fn geometry(&self) -> L {
        self.geometry
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite
    }

    /// The object in this segment.
    #[inline(always)]
    pub(crate) fn object(&self) -> L::Object<'_> {
        // SAFETY: mapped, page-aligned, `geometry.file_size()` bytes long as
        // the file was when it was opened, until `self` is dropped; operations
        // that write are only used where `is_writable` (every caller that
        // claims, pins, calls, arms or retires comes through `registration` or
        // checks).
        unsafe { self.geometry.object(self.mapping.start()) }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.object().is_retired()
    }

    /// Whether both are the same file.
    pub(crate) fn is_same_as(&self, other: &Segment<L>) -> bool {
        self.identity == other.identity
    }

    /// Fails on a handle that must not do `operation`.
    pub(crate) fn check_writable(&self, operation: &'static str) -> Result<()> {
        if self.is_writable() {
            Ok(())
        } else {
            Err(self.error(Reason::ReadOnly { operation }))
        }
    }
}

impl<L: Layout> Drop for Segment<L> {
    fn drop(&mut self) {
        if let Some(registration) = self.registration.get() {
            // The segment was registered in, so it is writable.
            let object = self.object();
            L::participants(&object)
                .entry(registration.participant)
                .clear();
        }
    }
}

/// Whether this process has the file mapped already.
fn mapped<L: Layout>(identity: FileIdentity, access: Access) -> Option<Arc<Segment<L>>> {
    let mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    let segment = mapped
        .as_ref()?
        .get(&(identity, access == Access::ReadWrite))?
        .upgrade()?;
    segment.downcast().ok()
}

/// Checks that an open file is a segment, of any kind, that we may use in that way.
pub(crate) fn inspect(
    file: &OwnedFd,
    sharing: &Sharing,
    access: Access,
) -> Result<(Stat, Header), Reason> {
    let stat = rustix::fs::fstat(file).map_err(Reason::system("look at the segment"))?;
    shm::check_is_file(&stat)?;
    sharing.check(file, &stat)?;
    let mut bytes = [0; HEADER_SIZE];
    let mut size = 0;
    while size < bytes.len() {
        match rustix::io::pread(file, &mut bytes[size..], size as u64) {
            Ok(0) => break,
            Ok(count) => size += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Reason::system("read the segment's header")(errno)),
        }
    }
    let header = Header::check_any(&bytes[..size], stat.st_size as u64)?;
    if header.flags & PLAIN != 0 && access == Access::ReadWrite {
        // Its writer is not seen here, only loads and stores, and would lose what is swapped.
        return Err(HeaderError::Plain.into());
    }
    Ok((stat, header))
}
