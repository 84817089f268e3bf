//! Files that are shared memory: where they lie, what they are called, who may
//! use them.
//!
//! Every object is one file, by default under `/dev/shm`. Its name says what it
//! is: `robot-ipc.NAMESPACE.variable.NAME`. A namespace that has a dot in it is
//! written behind its length, so that no two objects share a file name:
//! `robot-ipc..N.NAMESPACE.variable.NAME`, N being one digit of base 36.

use crate::Error;
use crate::error::{Reason, Result};
use crate::sharing::Sharing;
use core::fmt;
use robot_ipc_core::header::Kind;
use robot_ipc_core::name::{Name, Namespace};
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The folder of all segments unless told otherwise.
pub const DEFAULT_DIRECTORY: &str = "/dev/shm";
/// The namespace unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Names another folder.
pub const DIRECTORY_VARIABLE: &str = "ROBOT_IPC_DIR";
/// Names another namespace.
pub const NAMESPACE_VARIABLE: &str = "ROBOT_IPC_NAMESPACE";

const PREFIX: &str = "robot-ipc.";
/// Starts the names of files that are being made where files without a name
/// are not known.
const TEMPORARY_PREFIX: &str = ".robot-ipc-new.";

/// A folder and a namespace in it: where objects are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    namespace: Namespace,
}

impl Place {
    /// The place that the environment names, or else the default one.
    ///
    /// # Errors
    /// `ROBOT_IPC_DIR` or `ROBOT_IPC_NAMESPACE` has a value that cannot be used.
    pub fn from_environment() -> Result<Place> {
        let directory = std::env::var_os(DIRECTORY_VARIABLE);
        let namespace = std::env::var_os(NAMESPACE_VARIABLE);
        Place::new(
            directory
                .as_deref()
                .map_or(Path::new(DEFAULT_DIRECTORY), Path::new),
            namespace
                .as_deref()
                .unwrap_or(OsStr::new(DEFAULT_NAMESPACE))
                .as_bytes(),
        )
    }

    /// The place of `namespace` in `directory`.
    ///
    /// # Errors
    /// The namespace breaks the rules, or the folder is not an absolute path.
    pub fn new(directory: &Path, namespace: &[u8]) -> Result<Place> {
        if !directory.is_absolute() {
            return Err(Error::without_subject(Reason::bad_option(
                "the directory (ROBOT_IPC_DIR)",
                format_args!("'{}'", directory.display()),
                "it is not an absolute path",
            )));
        }
        let namespace = Namespace::from_bytes(namespace).map_err(|reason| {
            let what = "namespace (ROBOT_IPC_NAMESPACE)";
            Error::without_subject(Reason::bad_name(what, namespace, reason))
        })?;
        Ok(Place {
            directory: directory.to_owned(),
            namespace,
        })
    }

    /// The folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_str()
    }

    /// The same folder with another namespace.
    ///
    /// # Errors
    /// The namespace breaks the rules.
    pub fn with_namespace(&self, namespace: &[u8]) -> Result<Place> {
        Place::new(&self.directory, namespace)
    }

    /// The same namespace in another folder.
    ///
    /// # Errors
    /// The folder is not an absolute path.
    pub fn with_directory(&self, directory: &Path) -> Result<Place> {
        Place::new(directory, self.namespace.as_str().as_bytes())
    }

    /// The object `name` of this place.
    ///
    /// # Errors
    /// The name breaks the rules.
    pub fn subject(&self, kind: Kind, name: &[u8]) -> Result<Subject> {
        let name = Name::from_bytes(name).map_err(|reason| {
            Error::without_subject(Reason::bad_name(kind.as_str(), name, reason))
        })?;
        let mut file = OsString::from(self.prefix());
        file.push(kind.as_str());
        file.push(".");
        file.push(name.as_str());
        Ok(Subject {
            kind,
            name,
            path: self.directory.join(file),
        })
    }

    /// The object that the file called `file` is, if it is one of this place.
    #[must_use]
    pub fn subject_of_file(&self, file: &OsStr) -> Option<Subject> {
        let rest = file.to_str()?.strip_prefix(&self.prefix())?;
        let (kind, name) = [Kind::Variable, Kind::Function]
            .into_iter()
            .find_map(|kind| Some((kind, rest.strip_prefix(kind.as_str())?.strip_prefix('.')?)))?;
        self.subject(kind, name.as_bytes()).ok()
    }

    fn prefix(&self) -> String {
        let namespace = self.namespace();
        if namespace.contains('.') {
            let length = char::from_digit(namespace.len() as u32, 36).unwrap_or('0');
            format!("{PREFIX}.{length}.{namespace}.")
        } else {
            format!("{PREFIX}{namespace}.")
        }
    }
}

/// One object: its kind, its name, and the file it is or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    kind: Kind,
    name: Name,
    path: PathBuf,
}

impl Subject {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} '{}'", self.kind, self.name.as_str().escape_debug())
    }
}

/// Which file a path led to: a name can be given to another one at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    #[allow(clippy::unnecessary_cast)] // the widths differ between processors
    pub(crate) fn of(stat: &Stat) -> FileIdentity {
        FileIdentity {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        }
    }
}

/// Whether a handle may change what it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    ReadWrite,
}

/// Opens the file of a segment without following links and without ever
/// waiting (somebody may have put a FIFO there).
pub(crate) fn open_file(path: &Path, access: Access) -> Result<OwnedFd, Errno> {
    let access = match access {
        Access::ReadOnly => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    let careful = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::open(path, access | careful, Mode::empty())
}

/// Why what has the name `path` could not be opened for `operation`.
pub(crate) fn refusal(path: &Path, errno: Errno, operation: &'static str) -> Reason {
    let not_a_file = |what| Reason::NotAFile { what };
    match errno {
        Errno::NOENT => Reason::NotFound,
        Errno::LOOP | Errno::MLINK => not_a_file("a symbolic link"),
        Errno::ISDIR => not_a_file("a directory"),
        Errno::NXIO => not_a_file("a device or socket"),
        Errno::ACCESS | Errno::PERM => {
            let denied = Reason::system(operation)(errno);
            let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
            stat.map_or(denied.clone(), |stat| {
                if let Err(reason) = check_is_file(&stat) {
                    reason
                } else if stat.st_uid == rustix::process::geteuid().as_raw() {
                    denied
                } else {
                    Reason::ForeignOwner {
                        uid: stat.st_uid,
                        gid: stat.st_gid,
                        mode: stat.st_mode & 0o7777,
                        reason: "it belongs to another user, who does not let this one open it",
                    }
                }
            })
        }
        errno => Reason::system(operation)(errno),
    }
}

/// Fails if a file is none that could be memory.
pub(crate) fn check_is_file(stat: &Stat) -> Result<(), Reason> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        _ => "a device or socket",
    };
    Err(Reason::NotAFile { what })
}

/// Which file `path` leads to now, if to any.
pub(crate) fn identity_at(path: &Path) -> Result<Option<FileIdentity>, Errno> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileIdentity::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// How many bytes the file of that `identity` has, if `path` leads to it.
pub(crate) fn size_at(path: &Path, identity: FileIdentity) -> Option<u64> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    (FileIdentity::of(&stat) == identity).then_some(stat.st_size as u64)
}

/// A new file that has no name yet, or one that nobody opens.
pub(crate) struct NewFile {
    pub(crate) file: OwnedFd,
    /// Its name, where files without one are not known.
    temporary: Option<PathBuf>,
}

impl NewFile {
    /// A file in `directory` that is `size` bytes of zeros, all of them backed
    /// by memory, and as accessible as `sharing` says.
    pub(crate) fn create(
        directory: &Path,
        size: u64,
        sharing: &Sharing,
    ) -> Result<NewFile, Reason> {
        let new = NewFile::open(directory).map_err(Reason::system(
            "create a file in the folder for shared memory",
        ))?;
        crate::steps::reached("create: opened");
        sharing.apply(&new.file)?;
        reserve(&new.file, size).map_err(|errno| match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::NOMEM => Reason::NoSpace {
                needed: size,
                free: free_bytes(&new.file),
            },
            errno => Reason::system("reserve shared memory")(errno),
        })?;
        crate::steps::reached("create: reserved");
        Ok(new)
    }

    fn open(directory: &Path) -> Result<NewFile, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        if UNNAMED_CANNOT_BE_LINKED.load(Relaxed) == 0 && !crate::steps::forced("temporary files") {
            match rustix::fs::open(directory, flags | OFlags::TMPFILE, mode) {
                Ok(file) => {
                    return Ok(NewFile {
                        file,
                        temporary: None,
                    });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
                Err(errno) => return Err(errno),
            }
        }
        remove_stale_temporaries(directory);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = COUNT.fetch_add(1, Relaxed);
            let path = directory.join(format!("{TEMPORARY_PREFIX}{}.{number}", std::process::id()));
            match rustix::fs::open(&path, flags | OFlags::EXCL | OFlags::CREATE, mode) {
                Ok(file) => {
                    // Locked while its creator lives, so that others can tell.
                    crate::lock::try_exclusive(&file, crate::lock::Byte::Admin)?;
                    return Ok(NewFile {
                        file,
                        temporary: Some(path),
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Gives the file its name; `false` if that is taken.
    pub(crate) fn link(&mut self, path: &Path) -> Result<bool, Errno> {
        let linked = match self.temporary.take() {
            None => link_unnamed(&self.file, path),
            Some(temporary) => {
                let renamed = rename_new(&temporary, path);
                if renamed.is_err() {
                    let _ = rustix::fs::unlink(&temporary);
                }
                crate::lock::unlock(&self.file, crate::lock::Byte::Admin);
                renamed
            }
        };
        match linked {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Somebody took a temporary file for stale, or a file without a name
            // cannot get one here: the next one will have a name from the start.
            Err(Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP) => {
                UNNAMED_CANNOT_BE_LINKED.store(1, Relaxed);
                Ok(false)
            }
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = rustix::fs::unlink(temporary);
        }
    }
}

/// 1 once that was tried in vain: without /proc, on an old kernel, unprivileged.
static UNNAMED_CANNOT_BE_LINKED: AtomicU32 = AtomicU32::new(0);

fn link_unnamed(file: &OwnedFd, path: &Path) -> Result<(), Errno> {
    if crate::steps::forced("no links") {
        return Err(Errno::NOENT);
    }
    // Needs a privilege or a new kernel; through /proc it needs neither.
    match rustix::fs::linkat(file, "", CWD, path, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT | Errno::PERM | Errno::INVAL) => {}
        done => return done,
    }
    use std::os::fd::AsRawFd;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)
}

fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            // A link to the same file fails on an existing name just as well.
            rustix::fs::link(from, to)?;
            rustix::fs::unlink(from)
        }
        done => done,
    }
}

/// Backs all of a file with memory now, so that a full file system is an error
/// here and not a fatal signal at some later write.
fn reserve(file: &OwnedFd, size: u64) -> Result<(), Errno> {
    // In pieces: a signal undoes a piece, and must not undo everything each time.
    const PIECE: u64 = 4 << 20;
    let mut offset = 0;
    while offset < size {
        let length = PIECE.min(size - offset);
        match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, length) {
            Ok(()) => offset += length,
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return write_zeros(file, size),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn write_zeros(file: &OwnedFd, size: u64) -> Result<(), Errno> {
    let zeros = vec![0; 1 << 16];
    let mut offset = 0;
    while offset < size {
        let length = (size - offset).min(zeros.len() as u64) as usize;
        offset += rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &zeros[..length], offset))?
            as u64;
    }
    Ok(())
}

fn free_bytes(file: &OwnedFd) -> u64 {
    rustix::fs::fstatvfs(file).map_or(0, |stat| stat.f_bavail * stat.f_frsize)
}

/// Removes files that a killed creator left under a temporary name.
pub(crate) fn remove_stale_temporaries(directory: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let mut removed = 0;
    for entry in entries.flatten() {
        if !entry
            .file_name()
            .as_bytes()
            .starts_with(TEMPORARY_PREFIX.as_bytes())
        {
            continue;
        }
        let path = entry.path();
        let Ok(file) = open_file(&path, Access::ReadWrite) else {
            continue;
        };
        // A creator locks its file a moment after making it.
        let young = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok())
            .is_none_or(|age| age.as_secs() < 2);
        if !young
            && matches!(
                crate::lock::try_exclusive(&file, crate::lock::Byte::Admin),
                Ok(true)
            )
        {
            removed += usize::from(rustix::fs::unlink(&path).is_ok());
        }
    }
    removed
}

/// Whether the kernel lets this process act as the owner of what `file` has open. Numbers
/// do not tell: in a user namespace all users that it does not know show as one number,
/// which can be this process's own too.
pub(crate) fn acts_as_owner(file: impl AsFd) -> bool {
    // Nobody else may switch this on; what it does, leaving out the time of reading, does
    // not matter here.
    rustix::fs::fcntl_getfl(&file)
        .and_then(|flags| rustix::fs::fcntl_setfl(&file, flags | OFlags::NOATIME))
        .is_ok()
}

/// Whether this process may take the name of `file` away from its folder.
pub(crate) fn may_remove(path: &Path, file: &OwnedFd) -> bool {
    use rustix::fs::{Access as May, accessat};
    let Some(directory) = path.parent() else {
        return false;
    };
    let allowed = May::WRITE_OK | May::EXEC_OK;
    if accessat(CWD, directory, allowed, AtFlags::EACCESS).is_err() {
        return false;
    }
    let Ok(folder) = rustix::fs::stat(directory) else {
        return false;
    };
    let sticky = folder.st_mode & 0o1000 != 0;
    let owns_folder = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(directory, flags, Mode::empty()).is_ok_and(acts_as_owner)
    };
    !sticky || acts_as_owner(file) || owns_folder()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(namespace: &str) -> Place {
        Place::new(Path::new("/dev/shm"), namespace.as_bytes()).unwrap()
    }

    fn file(place: &Place, kind: Kind, name: &str) -> OsString {
        place
            .subject(kind, name.as_bytes())
            .unwrap()
            .path()
            .file_name()
            .unwrap()
            .to_owned()
    }

    /// Against two objects that share a file: names, namespaces and kinds that
    /// look alike once they are put together.
    #[test]
    fn no_two_objects_share_a_file() {
        let mut seen = std::collections::BTreeMap::new();
        let names = [
            "a",
            "b",
            "variable.a",
            "a.variable.b",
            "variable.variable.a",
            "1.a",
            ".a",
        ];
        for namespace in [
            "default",
            "a",
            "b",
            "a.variable",
            "a.variable.a",
            "variable",
            "1.a",
            "1",
        ] {
            for name in names.into_iter().filter(|name| !name.starts_with('.')) {
                for kind in [Kind::Variable, Kind::Function] {
                    let file = file(&place(namespace), kind, name);
                    let twin = seen.insert(file.clone(), (namespace, name, kind));
                    assert_eq!(twin, None, "{file:?}");
                    let subject = place(namespace).subject_of_file(&file).unwrap();
                    assert_eq!((subject.kind(), subject.name()), (kind, name));
                }
            }
        }
    }

    /// Against a name that passes the rules and then is too long for a file.
    #[test]
    fn the_longest_names_fit_a_file_name() {
        for namespace in ["n".repeat(32), format!("{}.x", "n".repeat(30))] {
            let file = file(&place(&namespace), Kind::Variable, &"v".repeat(200));
            assert!(file.len() <= 255, "{} bytes", file.len());
            assert!(place(&namespace).subject_of_file(&file).is_some());
        }
        assert_eq!(
            file(&place("default"), Kind::Variable, "pose"),
            "robot-ipc.default.variable.pose"
        );
    }

    /// Against a listing that shows other people's files, or another namespace.
    #[test]
    fn foreign_files_are_no_objects() {
        let place = place("robot");
        for file in [
            "robot-ipc.robot.variable.",
            "robot-ipc.robot.",
            "robot-ipc.other.variable.x",
            "x",
        ] {
            assert_eq!(place.subject_of_file(OsStr::new(file)), None, "{file}");
        }
    }

    #[test]
    fn places_that_cannot_be() {
        assert!(Place::new(Path::new("relative"), b"x").is_err());
        assert!(Place::new(Path::new("/tmp"), b"").is_err());
        assert!(Place::new(Path::new("/tmp"), &[b'x'; 33]).is_err());
    }
}
