//! Other users and other namespaces, as far as this machine lets a test have them. No
//! accounts are made: a number is enough for the kernel.

use crate::process::Partner;
use crate::{Scratch, library, skipped, workspace};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What there is.
pub const KINDS: [&str; 2] = ["variable", "function"];

/// Somebody by number.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Another group that the user is in.
    pub also: Option<u32>,
}

/// The group of [`ANNA`] and [`BERND`].
pub const TEAM: u32 = 62_000;
/// How those of the team ask for sharing.
pub const SHARED: [&str; 2] = ["mode=660", "group=62000"];
/// A user in the team.
pub const ANNA: User = User::new(61_001, Some(TEAM));
/// Another one in the team.
pub const BERND: User = User::new(61_002, Some(TEAM));
/// Somebody who is not in it.
pub const CLARA: User = User::new(61_003, None);

impl User {
    const fn new(uid: u32, also: Option<u32>) -> User {
        User {
            uid,
            gid: uid,
            also,
        }
    }

    /// The same user with another group of its own, and no other one.
    #[must_use]
    pub const fn with_group(self, gid: u32) -> User {
        User {
            gid,
            also: None,
            ..self
        }
    }

    /// `program` as this user.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid));
        command.arg(format!("--regid={}", self.gid));
        match self.also {
            Some(group) => command.arg(format!("--groups={group}")),
            None => command.arg("--clear-groups"),
        };
        command.arg("--").arg(program.as_ref());
        command
    }

    /// The role `visit` of the child `program`, as this user in `scratch`.
    #[must_use]
    pub fn visit(&self, scratch: &Scratch, program: &str, options: &[&str]) -> Partner {
        let mut command = self.command(program);
        let mut partner = Partner::run(scratch.enter(command.arg("visit").args(options)));
        partner.expect("ready");
        partner
    }

    /// The role `visit` in Python, as this user in `scratch`; `None`, loudly, if there is no
    /// Python that this user can run.
    #[must_use]
    pub fn visit_in_python(&self, scratch: &Scratch, options: &[&str]) -> Option<Partner> {
        // The first one may lie in a folder of root's.
        let programs = ["python3", "/usr/bin/python3", "/usr/local/bin/python3"];
        let command = |program: &str| {
            let mut command = self.command(program);
            scratch
                .enter(&mut command)
                .current_dir("/")
                .env("PYTHONPATH", workspace().join("python-ctypes"))
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("ROBOT_IPC_LIBRARY", library());
            command
        };
        let found = programs.into_iter().find(|program| {
            let mut command = command(program);
            command.args(["-c", "import robot_ipc; robot_ipc.build_id()"]);
            User::succeeds(command)
        });
        let Some(program) = found else {
            skipped(
                "other users with Python",
                "they cannot run a python3 that finds the module and the library",
            );
            return None;
        };
        let script = include_str!("../bin/visit.py");
        let mut partner = Partner::run(command(program).args(["-c", script]).args(options));
        partner.expect("ready");
        Some(partner)
    }

    /// Whether `command` can be run to its end; it gets no input.
    fn succeeds(mut command: Command) -> bool {
        let silent = || Stdio::null();
        let command = command.stdin(silent()).stdout(silent()).stderr(silent());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Tells a visitor to do something, which has to work; what it says to that.
///
/// # Panics
/// It was refused.
pub fn done(visitor: &mut Partner, line: &str) -> String {
    visitor.say(line);
    let said = visitor.hear();
    let done = said.strip_prefix("ok").map(|rest| rest.trim().to_owned());
    done.unwrap_or_else(|| panic!("'{line}': {said}"))
}

/// Tells a visitor to do something, which has to be refused: with a text that starts with
/// the first of `parts`, the name of the reason, and has the others in it.
///
/// # Panics
/// It was done, or the text is another one.
pub fn refused(visitor: &mut Partner, line: &str, parts: &[&str]) {
    visitor.say(line);
    let said = visitor.hear();
    let why = said.strip_prefix("no ").unwrap_or_default();
    let starts = parts.first().is_none_or(|reason| why.starts_with(reason));
    let is_right = starts && parts.iter().all(|part| why.contains(part));
    assert!(is_right, "'{line}': {said}, expected {parts:?}");
}

/// The file of an object of that kind.
///
/// # Panics
/// The name breaks the rules.
#[must_use]
pub fn file(scratch: &Scratch, kind: &str, name: &str) -> PathBuf {
    let kind = match kind {
        "variable" => robot_ipc_core::header::Kind::Variable,
        _ => robot_ipc_core::header::Kind::Function,
    };
    let subject = scratch.place().subject(kind, name.as_bytes());
    subject.expect("a good name").path().to_owned()
}

/// Makes an object of that kind, which `visitor` then writes or serves.
pub fn make(visitor: &mut Partner, kind: &str, name: &str) {
    if kind == "variable" {
        done(visitor, &format!("open variable {name}"));
        done(visitor, &format!("write {name} whole"));
    } else {
        done(visitor, &format!("offer {name}"));
    }
}

/// What `visitor` has of the object works.
///
/// # Panics
/// It does not.
pub fn check_works(visitor: &mut Partner, kind: &str, name: &str, text: &str) {
    if kind == "variable" {
        done(visitor, &format!("write {name} {text}"));
        assert_eq!(done(visitor, &format!("read {name}")), text);
    } else {
        done(visitor, &format!("open function {name}"));
        let answer = done(visitor, &format!("call {name} {text}"));
        assert_eq!(answer, text.repeat(2));
    }
}

/// Whether `program` can be run as other users; says loudly `what` is not tested if not.
#[must_use]
pub fn can_be_others(what: &str, program: &str) -> bool {
    let why = if !rustix::process::geteuid().is_root() {
        "only root can act as other users"
    } else if !User::succeeds(ANNA.command("true")) {
        "setpriv is missing or may not change the user"
    } else {
        let mut command = ANNA.command(program);
        command.arg("visit");
        if User::succeeds(command) {
            return true;
        }
        "other users cannot reach the folder that the tests were built in"
    };
    skipped(what, why);
    false
}

/// Whether namespaces can be made with these options of unshare(1), by root or by `user`;
/// says loudly `what` is not tested if not.
#[must_use]
pub fn can_unshare(what: &str, options: &[&str], user: Option<User>) -> bool {
    let mut command = match user {
        Some(user) => user.command("unshare"),
        None => Command::new("unshare"),
    };
    command.args(options).arg("true");
    let can = User::succeeds(command);
    if !can {
        skipped(what, &format!("unshare {} fails here", options.join(" ")));
    }
    can
}
