//! Who may use a segment.
//!
//! Whoever may write a segment decides what its readers unpickle. So by default
//! a segment belongs to one user (mode 0600), and one of somebody else, or one
//! that others may write, is refused. Sharing is asked for, on every side: by a
//! mode that gives rights to a group, and that group.

use crate::error::Reason;
use crate::shm;
use rustix::fs::{Gid, Mode, Stat};
use std::os::fd::OwnedFd;

/// The permission bits of a new segment, in octal.
pub(crate) const MODE_VARIABLE: &str = "ROBOT_IPC_MODE";
/// The group of a new segment, by name or number.
pub(crate) const GROUP_VARIABLE: &str = "ROBOT_IPC_GROUP";
/// The permission bits unless told otherwise.
pub(crate) const DEFAULT_MODE: u32 = 0o600;

/// Which rights a new segment gives, and which an existing one may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sharing {
    mode: u32,
    group: Option<u32>,
}

impl Sharing {
    /// What was asked for, or else what the environment says, or else one user.
    pub(crate) fn new(mode: Option<u32>, group: Option<u32>) -> Result<Sharing, Reason> {
        let mode = match mode {
            Some(mode) => mode,
            None => match std::env::var(MODE_VARIABLE) {
                Ok(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8)
                    .map_err(|_| bad_mode(format_args!("'{text}'"), "it is not an octal number"))?,
                Err(_) => DEFAULT_MODE,
            },
        };
        if mode & !0o666 != 0 {
            return Err(bad_mode(
                format_args!("{mode:#o}"),
                "only read and write bits make sense, such as 0600 or 0660",
            ));
        }
        if mode & 0o600 != 0o600 {
            return Err(bad_mode(
                format_args!("{mode:#o}"),
                "the owner has to be able to read and write",
            ));
        }
        let group = match group {
            Some(group) => Some(group),
            None => match std::env::var(GROUP_VARIABLE) {
                Ok(text) => Some(group_id(&text)?),
                Err(_) => None,
            },
        };
        Ok(Sharing { mode, group })
    }

    fn is_private(&self) -> bool {
        self.mode & 0o066 == 0
    }

    /// The group that others' segments have to have.
    fn group(&self) -> u32 {
        self.group
            .unwrap_or_else(|| rustix::process::getegid().as_raw())
    }

    /// Makes a new file as accessible as asked, whatever the umask.
    pub(crate) fn apply(&self, file: &OwnedFd) -> Result<(), Reason> {
        // A folder may give its own group to new files: nobody asked for that one.
        if self.group.is_some() || !self.is_private() {
            rustix::fs::fchown(file, None, Some(Gid::from_raw(self.group())))
                .map_err(Reason::system("give the file to the group asked for"))?;
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
            .map_err(Reason::system("set the file's mode"))
    }

    /// Refuses a file whose owner, group or mode is not what was asked for.
    pub(crate) fn check(&self, file: &OwnedFd, stat: &Stat) -> Result<(), Reason> {
        let mode = stat.st_mode & 0o7777;
        let me = rustix::process::geteuid().as_raw();
        let refuse = |reason| {
            Err(Reason::ForeignOwner {
                uid: stat.st_uid,
                gid: stat.st_gid,
                mode,
                reason,
            })
        };
        let own = stat.st_uid == 0 || stat.st_uid == me && shm::acts_as_owner(file);
        if own && mode & 0o022 == 0 {
            return Ok(());
        }
        if self.is_private() {
            return if own {
                refuse("others may write it")
            } else {
                refuse("it belongs to another user")
            };
        }
        if mode & !self.mode != 0 {
            return refuse("it gives more rights than were asked for");
        }
        if stat.st_gid != self.group() {
            return refuse("its group is not the one asked for");
        }
        if !is_one_group(stat.st_gid) {
            return refuse(
                "groups that this user namespace does not know show as the one asked for",
            );
        }
        Ok(())
    }
}

/// Whether `id` is one group's. In a user namespace all groups that it does not know show
/// as one.
fn is_one_group(id: u32) -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let unknown = read("/proc/sys/kernel/overflowgid");
    if id != unknown.trim().parse().unwrap_or(65534) {
        return true;
    }
    let map = read("/proc/self/gid_map");
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn bad_mode(value: impl core::fmt::Display, reason: &'static str) -> Reason {
    Reason::bad_option("the mode (ROBOT_IPC_MODE)", value, reason)
}

/// The number of a group given by number or name.
pub(crate) fn group_id(text: &str) -> Result<u32, Reason> {
    let bad = |reason| {
        let value = format!("'{}'", text.escape_debug());
        Reason::bad_option("the group (ROBOT_IPC_GROUP)", value, reason)
    };
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let name = std::ffi::CString::new(text).map_err(|_| bad("it contains a NUL byte"))?;
    crate::account::group_by_name(&name).ok_or_else(|| bad("there is no group of that name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a mode that locks its owner out, or means something unforeseen.
    #[test]
    fn modes_that_make_no_sense_are_refused() {
        for mode in [0o400, 0o060, 0o700, 0o4600, 0o1777, u32::MAX] {
            assert!(Sharing::new(Some(mode), None).is_err(), "{mode:o}");
        }
        for mode in [0o600, 0o640, 0o660, 0o666] {
            assert!(Sharing::new(Some(mode), None).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn groups_by_number_and_name() {
        assert_eq!(group_id("1234"), Ok(1234));
        assert_eq!(group_id("root"), Ok(0));
        assert!(group_id("no such group").is_err());
        assert!(group_id("nul\0").is_err());
    }
}
