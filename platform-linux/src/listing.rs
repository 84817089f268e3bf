//! Which objects there are.

use crate::error::{Error, Reason, Result};
use crate::segment::inspect;
use crate::sharing::Sharing;
use crate::shm::{self, Access, Place, Subject};
use robot_ipc_core::header::Kind;

/// One object of a place, usable or not.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Which one.
    pub subject: Subject,
    /// User id of its owner, if the file could be looked at.
    pub owner: Option<u32>,
    /// Permission bits of the file, if it could be looked at.
    pub mode: Option<u32>,
    /// Why it cannot be used, if so.
    pub error: Option<Error>,
}

/// The objects of `place`, by kind and name.
///
/// # Errors
/// The folder cannot be read.
pub fn list(place: &Place) -> Result<Vec<Entry>> {
    let entries = std::fs::read_dir(place.directory()).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Error::without_subject(Reason::system("read the folder for shared memory")(errno))
    })?;
    let sharing = Sharing::new(None, None).map_err(Error::without_subject)?;
    let mut found: Vec<Entry> = entries
        .flatten()
        .filter_map(|entry| place.subject_of_file(&entry.file_name()))
        .filter_map(|subject| look_at(subject, &sharing))
        .collect();
    found.sort_by(|left, right| {
        let key = |entry: &Entry| (entry.subject.kind() as u32, entry.subject.name().to_owned());
        key(left).cmp(&key(right))
    });
    Ok(found)
}

/// `None` if it is gone by now.
fn look_at(subject: Subject, sharing: &Sharing) -> Option<Entry> {
    let stat = rustix::fs::statat(
        rustix::fs::CWD,
        subject.path(),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    );
    let checked = match shm::open_file(subject.path(), Access::ReadOnly) {
        Ok(file) => inspect(&file, sharing, Access::ReadOnly).and_then(|(_, header)| {
            if Kind::from_word(header.kind) == Some(subject.kind()) {
                Ok(())
            } else {
                Err(robot_ipc_core::header::HeaderError::OtherKind { found: header.kind }.into())
            }
        }),
        Err(rustix::io::Errno::NOENT) => return None,
        Err(errno) => Err(shm::refusal(subject.path(), errno, "open it")),
    };
    let error = checked
        .err()
        .map(|reason| Error::new(&std::sync::Arc::new(subject.clone()), reason));
    Some(Entry {
        owner: stat.as_ref().ok().map(|stat| stat.st_uid),
        mode: stat.as_ref().ok().map(|stat| stat.st_mode & 0o7777),
        subject,
        error,
    })
}

/// Takes the file of an object away whatever it is, without a look at those who
/// have it open: for files that are damaged or of another version.
///
/// # Errors
/// There is none, it is a directory, or this process may not remove it.
pub fn remove_file(subject: &Subject) -> Result<()> {
    rustix::fs::unlink(subject.path()).map_err(|errno| {
        let reason = match errno {
            rustix::io::Errno::NOENT => Reason::NotFound,
            errno => Reason::system("take its name away; its owner or root can")(errno),
        };
        Error::new(&std::sync::Arc::new(subject.clone()), reason)
    })
}

/// Removes files that creators left behind which were killed where the file
/// system knows no files without names. Returns how many.
#[must_use]
pub fn remove_stale_temporaries(place: &Place) -> usize {
    shm::remove_stale_temporaries(place.directory())
}
