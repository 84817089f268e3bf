//! The Python module, with the library of this very build: its own tests (see
//! `python-ctypes/tests`), by each Python that this machine has.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::{library, skipped, workspace};

/// The versions of Python, 3.x, that the module supports.
const MINORS: std::ops::RangeInclusive<u32> = 8..=13;

/// A Python interpreter.
#[derive(Debug)]
struct Python {
    program: PathBuf,
    minor: u32,
}

impl Python {
    /// `None` if `program` is none, or cannot be run (a shim of pyenv's, say).
    fn probe(program: &Path) -> Option<Python> {
        let code = "import sys; print(*sys.version_info[:2])";
        let output = Command::new(program).args(["-c", code]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let minor = text.trim().strip_prefix("3 ")?.parse().ok()?;
        Some(Python {
            program: program.to_owned(),
            minor,
        })
    }

    /// The one that programs are started with.
    fn default() -> Option<Python> {
        Python::probe(Path::new("python3"))
    }

    /// One of each version but `except`, as far as there are any.
    fn others(except: u32) -> Vec<Python> {
        let mut programs: Vec<PathBuf> = MINORS
            .map(|minor| PathBuf::from(format!("python3.{minor}")))
            .collect();
        let home = std::env::var_os("HOME").unwrap_or_default();
        let versions = std::fs::read_dir(Path::new(&home).join(".pyenv/versions"));
        programs.extend(
            versions
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path().join("bin/python3")),
        );
        let mut found: Vec<Python> = Vec::new();
        for python in programs.iter().filter_map(|program| Python::probe(program)) {
            let known =
                python.minor == except || found.iter().any(|other| other.minor == python.minor);
            if !known && python.minor >= *MINORS.start() {
                found.push(python);
            }
        }
        found
    }

    /// This interpreter, with the library of this build.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(workspace())
            .env("ROBOT_IPC_LIBRARY", library())
            .env("ROBOT_IPC_EXPECTED_BUILD_ID", robot_ipc::build_id::BUILD_ID)
            .env("PYTHONPATH", "python-ctypes")
            // No __pycache__ in the source tree.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Both of its streams, as people read them.
fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Says loudly which of the tests in a verbose report of unittest were skipped.
fn report_skipped(report: &str) {
    for line in report.lines().filter(|line| line.contains(" skipped ")) {
        let (test, why) = line.split_once(" skipped ").unwrap_or((line, ""));
        skipped(test.trim_end_matches([' ', '.']), why);
    }
}

/// Against anything that the tests of the module stand against.
#[test]
fn the_tests_of_the_python_module_pass() {
    let Some(python) = Python::default().filter(|python| python.minor >= *MINORS.start()) else {
        return skipped(
            "the Python module",
            "there is no python3 of version 3.8 or newer",
        );
    };
    let arguments = [
        "-m",
        "unittest",
        "discover",
        "-s",
        "python-ctypes/tests",
        "-v",
    ];
    let output = python
        .command()
        .args(arguments)
        .output()
        .expect("it ran a moment ago");
    let report = text(&output);
    assert!(output.status.success(), "{python:?}:\n{report}");
    // Against a folder in which no tests are found.
    assert!(
        report.contains("\nRan ") && !report.contains("\nRan 0 tests"),
        "{report}"
    );
    report_skipped(&report);
}

/// Against syntax or a function that only some versions of Python know.
#[test]
fn every_python_here_writes_and_reads() {
    const ROUND_TRIP: &str = r#"
import ctypes, os, typing, robot_ipc
assert robot_ipc.build_id() == os.environ["ROBOT_IPC_EXPECTED_BUILD_ID"], robot_ipc.build_id()
class Pose(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("valid", ctypes.c_bool)]
name, space = "pose", "python-{}".format(os.getpid())
with robot_ipc.HostVariable[typing.Any](name, namespace=space) as pose:
    pose.data = {"x": 1.0}
    assert pose.data == {"x": 1.0} and pose.sample().version == 1
    assert pose.update(lambda value: {**value, "y": 2.0}) == pose.wait(1.0, since=1)
    try: pose.wait(0.01)
    except TimeoutError: pass
    pose.unlink()
with robot_ipc.HostVariable(name, data_format=Pose, namespace=space) as pose:
    pose.data = Pose(2.5, True)
    assert (pose.data.x, pose.data.valid) == (2.5, True)
    pose.unlink()
import logging
logging.disable()  # of what the function raises on purpose
dispatcher = robot_ipc.HostFunctionDispatcher(1)
def divide(a, b): return a / b
dispatcher.add("divide", divide, namespace=space)
dispatcher.start()
with robot_ipc.HostFunctionCaller("divide", namespace=space) as caller:
    assert caller.call(1, b=4, timeout=30) == 0.25
    try: caller.call(1, 0, timeout=30)
    except robot_ipc.RemoteError as error:
        assert isinstance(error.__cause__, ZeroDivisionError) and "in divide" in str(error)
    del dispatcher
    caller.unlink()
print("whole")
"#;
    let Some(first) = Python::default() else {
        return skipped("the Python module in other versions", "there is no python3");
    };
    let others = Python::others(first.minor);
    for python in &others {
        let output = python
            .command()
            .args(["-c", ROUND_TRIP])
            .output()
            .expect("it ran a moment ago");
        let report = text(&output);
        assert!(
            output.status.success() && report == "whole\n",
            "{python:?}:\n{report}"
        );
    }
    for minor in MINORS {
        if minor != first.minor && others.iter().all(|python| python.minor != minor) {
            skipped(
                &format!("the module with Python 3.{minor}"),
                "it is not installed here",
            );
        }
    }
}
