//! Running the command: places of a test's own, what it prints, how it ends.

use robot_ipc::function::FunctionStatus;
use robot_ipc::{FunctionOptions, HostVariable, Place, VariableOptions};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A namespace of a test's own, emptied when the test ends.
pub(crate) struct Scratch(pub(crate) Place);

impl Drop for Scratch {
    fn drop(&mut self) {
        for entry in robot_ipc::listing::list(&self.0).unwrap_or_default() {
            let path = entry.subject.path();
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
    }
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch(robot_ipc::testing::scratch_place())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_robot-ipc"));
        command
            .args(arguments)
            .env("ROBOT_IPC_DIR", self.0.directory())
            .env("ROBOT_IPC_NAMESPACE", self.0.namespace())
            .env_remove("ROBOT_IPC_MODE")
            .env_remove("ROBOT_IPC_GROUP")
            .env_remove("ROBOT_IPC_MEMORY")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .expect("the command starts")
    }

    /// What it prints; it has to succeed and to complain of nothing.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(errors(&output), "", "{arguments:?}");
        text(&output)
    }

    /// What it complains of: one line, and exit code 1.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let error = errors(&output);
        assert!(
            error.starts_with("robot-ipc: ") && error.lines().count() == 1,
            "{error}"
        );
        error
    }

    pub(crate) fn options(&self) -> VariableOptions {
        VariableOptions::new().place(self.0.clone())
    }

    pub(crate) fn variable(&self, name: &str) -> HostVariable {
        self.options()
            .open(name)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// How to run a Python program that finds the module and this very library; `None`,
    /// loudly, if there is no Python, module or library.
    pub(crate) fn python_with_module(&self, what: &str) -> Option<impl Fn(&str) -> Command> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python-ctypes");
        let test = std::env::current_exe().expect("this test is a file");
        let library = test.parent().expect("in a folder").join("librobot_ipc.so");
        let has_python = Command::new("python3").arg("--version").output().is_ok();
        if !has_python || !module.join("robot_ipc.py").exists() || !library.exists() {
            skipped(what, "there is no python3, module or library");
            return None;
        }
        let place = self.0.clone();
        Some(move |program: &str| {
            let mut command = Command::new("python3");
            command
                .args(["-c", program])
                .env("ROBOT_IPC_DIR", place.directory())
                .env("ROBOT_IPC_NAMESPACE", place.namespace())
                .env("PYTHONPATH", &module)
                .env("ROBOT_IPC_LIBRARY", &library);
            command
        })
    }

    pub(crate) fn functions(&self) -> FunctionOptions {
        FunctionOptions::new().place(self.0.clone())
    }

    /// What can be seen of a function.
    pub(crate) fn status(&self, name: &str) -> FunctionStatus {
        FunctionStatus::of(&self.0, name).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn function_file(&self, name: &str) -> PathBuf {
        let kind = robot_ipc_core::header::Kind::Function;
        let subject = self.0.subject(kind, name.as_bytes());
        subject.expect("a good name").path().to_owned()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let kind = robot_ipc_core::header::Kind::Variable;
        self.0
            .subject(kind, name.as_bytes())
            .expect("a good name")
            .path()
            .to_owned()
    }
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// A running command, killed when the test ends however it ends.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running(
            command
                .stdout(Stdio::piped())
                .spawn()
                .expect("the command starts"),
        )
    }

    pub(crate) fn output(&mut self) -> BufReader<std::process::ChildStdout> {
        BufReader::new(self.0.stdout.take().expect("a pipe"))
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("our child");
    }

    pub(crate) fn ends(&mut self) -> std::process::ExitStatus {
        let mut status = None;
        eventually("the command ends", || {
            status = self.0.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `rm --stale` until `last` is all that it still has to do; all that it said.
/// Other tests of this process start processes, and between fork and exec each of those
/// has open what this one has: an object that was just let go of may be in use for that
/// long.
pub(crate) fn rm_stale_until(scratch: &Scratch, last: &str) -> String {
    let mut said = String::new();
    eventually("rm --stale has nothing more to remove", || {
        let now = scratch.run(&["rm", "--stale"]);
        said += &text(&now);
        text(&now) == last
    });
    said
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "after a minute: not yet: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: {what}: {why}\n");
}

/// What a Python program makes of `input`; `None` if there is no Python.
pub(crate) fn python(program: &str, input: &str) -> Option<String> {
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    assert!(output.status.success(), "{program} with {input}");
    Some(text(&output))
}

/// Looks something up in JSON with an expression on `v`.
pub(crate) fn look_up(json: &str, expression: &str) -> Option<String> {
    let program = format!("import json, sys; v = json.load(sys.stdin); print(({expression}))");
    let found = python(&program, json).map(|text| text.trim_end().to_owned());
    if found.is_none() {
        skipped("JSON is valid", "there is no python3");
    }
    found
}
