//! Python programs of the earlier library: an imitation of its binding
//! (`tests/original_binding.py`) beside this build's library, with itself and with the
//! Python module.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::folder::Folder;
use support::process::Partner;
use support::{Scratch, library, skipped, workspace};

/// The binding, in a folder with the library, as programs copy it.
struct Copied {
    folder: Folder,
    scratch: Scratch,
}

impl Copied {
    /// `None` without a Python.
    fn new() -> Option<Copied> {
        if Command::new("python3").arg("--version").output().is_err() {
            skipped(
                "Python programs of the earlier library",
                "there is no python3",
            );
            return None;
        }
        let folder = Folder::new();
        let beside = |name: &str| folder.path().join(name);
        let link = |from: PathBuf, to: &str| {
            std::os::unix::fs::symlink(from, beside(to)).expect("a link");
        };
        link(library(), "librobot_ipc.so");
        let tests = workspace().join("tests");
        for name in ["original_binding.py", "original_program.py"] {
            std::fs::copy(tests.join(name), beside(name)).expect("a copy");
        }
        Some(Copied {
            folder,
            scratch: Scratch::new(),
        })
    }

    /// A process that uses `module`.
    fn start(&self, module: &str) -> Process {
        let path: &Path = self.folder.path();
        let mut command = Command::new("python3");
        self.scratch
            .enter(&mut command)
            .arg(path.join("original_program.py"))
            .arg(module)
            .env("PYTHONPATH", workspace().join("python-ctypes"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ROBOT_IPC_LIBRARY", library());
        Process(Partner::run(&mut command))
    }
}

struct Process(Partner);

impl Process {
    /// What comes of `line`: an action, a name and a value, between bars.
    fn does(&mut self, line: &str) -> String {
        self.0.say(line);
        self.0.hear()
    }

    fn expect(&mut self, line: &str, expected: &str) {
        assert_eq!(self.does(line), expected, "{line}");
    }

    fn finish(mut self) {
        self.0.finish();
    }
}

/// Against values of the earlier binding that another process does not get, or gets with
/// what a longer one before left behind it.
#[test]
fn a_variable_between_two_programs() {
    let Some(copied) = Copied::new() else { return };
    let [mut one, mut other] = ["original_binding"; 2].map(|module| copied.start(module));
    for process in [&mut one, &mut other] {
        process.expect("link|pose|64", "'done'");
    }
    one.expect("read|pose", "None"); // zeros are no pickle
    one.expect("write|pose|'a long text that is overwritten'", "'done'");
    one.expect("write|pose|{'x': 1}", "'done'");
    other.expect("read|pose", "{'x': 1}");
    other.expect("write|pose|[None, 2.5]", "'done'");
    one.expect("read|pose", "[None, 2.5]");
    // It is let go of, and stays.
    one.expect("forget|pose", "'done'");
    one.expect("link|pose|64", "'done'");
    one.expect("read|pose", "[None, 2.5]");
    one.expect("link|pose|65", "RuntimeError: cannot link variable pose");
    one.finish();
    other.finish();
}

/// Against values that the Python module cannot read because nobody said that they are
/// pickles, and against those of the module that the earlier binding cannot.
#[test]
fn a_variable_shared_with_the_module() {
    let Some(copied) = Copied::new() else { return };
    let mut earlier = copied.start("original_binding");
    let mut ours = copied.start("robot_ipc");
    for process in [&mut earlier, &mut ours] {
        process.expect("link|pose|4096", "'done'");
    }
    for value in ["{'x': (1, None)}", "'text'", "[2.5]"] {
        earlier.expect(&format!("write|pose|{value}"), "'done'");
        ours.expect("read|pose", value);
    }
    for value in ["{'x': (1, None), 'y': b'bytes'}", "'text'", "[2.5]"] {
        ours.expect(&format!("write|pose|{value}"), "'done'");
        earlier.expect("read|pose", value);
    }
    earlier.finish();
    ours.finish();
}

/// Against calls whose handle does not survive a C int, arguments or responses that are cut
/// or mixed up, and functions that are attached too late.
#[test]
fn a_function_between_programs() {
    let Some(copied) = Copied::new() else { return };
    let mut server = copied.start("original_binding");
    let mut callers = ["original_binding"; 2].map(|module| copied.start(module));
    server.expect("serve|divide|3", "'done'");
    for caller in &mut callers {
        caller.expect("caller|divide|()", "'done'");
        caller.expect("caller|divide quietly|()", "'done'");
        caller.expect("caller|divide large|(64, 1 << 20)", "'done'");
    }
    // Both have called before one of them asks.
    let [one, other] = &mut callers;
    one.expect("call|divide|((1, 4), {})", "'done'");
    other.expect("call|divide|((3,), {'divisor': 2})", "'done'");
    one.expect("call|divide|((8,), {})", "'done'");
    other.expect("response|divide", "{'quotient': 1.5}");
    one.expect("response|divide", "{'quotient': 0.25}");
    one.expect("response|divide", "{'quotient': 4.0}");
    one.expect("call|divide large|((1000000,), {})", "'done'");
    one.expect("response|divide large", "1000003 letters");
    // No response: it does not hang, and what is in the buffer is no pickle.
    one.expect("call|divide quietly|((1,), {})", "'done'");
    let nothing = one.does("response|divide quietly");
    assert!(nothing.contains("Error"), "{nothing}");
    // It is gone when it is collected, and another one serves.
    server.expect("stop", "'done'");
    other.expect("serve|divide|3", "'done'");
    one.expect("call|divide|((1, 8), {})", "'done'");
    one.expect("response|divide", "{'quotient': 0.125}");
    other.expect("stop", "'done'");
    server.finish();
    for caller in callers {
        caller.finish();
    }
}
