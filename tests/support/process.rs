//! Child processes that tests talk with.

use crate::{Kept, Scratch, eventually};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The steps of a write in their order, by name.
pub const WRITE_STEPS: [&str; 10] = [
    "Looked",
    "Claimed",
    "Rechecked",
    "Busy",
    "Filled halfway",
    "Filled",
    "Stamped",
    "Published",
    "Released",
    "Woken",
];

/// A child process whose input and output are a test's.
#[derive(Debug)]
pub struct Partner {
    // Closed before the child is killed: what it has forked ends then.
    input: Option<ChildStdin>,
    child: Kept,
    lines: Receiver<String>,
}

/// How a child process was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was stopped.
    Stopped,
    /// It was killed by SIGKILL.
    Killed,
    /// It ended, with success or not.
    Ended(bool),
}

impl Partner {
    /// Starts the role `arguments[0]` of the child program in `scratch`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(scratch: &Scratch, program: &str, arguments: &[&str]) -> Partner {
        let (role, rest) = arguments.split_first().expect("a role");
        Partner::run(scratch.child(program, role).args(rest))
    }

    /// Starts `command`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(command: &mut Command) -> Partner {
        let mut child = Kept::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let output = child.0.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Partner {
            input: child.0.stdin.take(),
            child,
            lines,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Sends it a line.
    ///
    /// # Panics
    /// It does not listen any more.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is still open");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("saying {line:?}: {error}"));
    }

    /// Its next line.
    ///
    /// # Panics
    /// It ends, or says nothing for a minute.
    #[must_use]
    pub fn hear(&mut self) -> String {
        let line = self.lines.recv_timeout(Duration::from_secs(60));
        line.unwrap_or_else(|error| panic!("process {} says nothing: {error}", self.pid()))
    }

    /// Waits for the line `expected`.
    ///
    /// # Panics
    /// It says something else, or nothing.
    pub fn expect(&mut self, expected: &str) {
        let said = self.hear();
        assert_eq!(said, expected, "said by process {}", self.pid());
    }

    /// The number in its next line, which is `word` and a number.
    ///
    /// # Panics
    /// It says something else.
    #[must_use]
    pub fn number(&mut self, word: &str) -> u64 {
        let said = self.hear();
        let number = said
            .strip_prefix(word)
            .and_then(|rest| rest.trim().parse().ok());
        number.unwrap_or_else(|| panic!("expected '{word}' and a number, heard {said:?}"))
    }

    /// Ends its input, at which idle children and patient roles end.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.child.signal(signal);
    }

    /// Waits until it is stopped or ends.
    ///
    /// # Panics
    /// Neither happens within a minute.
    pub fn state(&mut self) -> State {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process");
        let mut state = None;
        eventually("a child process stops or ends", || {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            let found = waitid(WaitId::Pid(pid), options).ok().flatten();
            state = if found.is_some_and(|found| found.stopped()) {
                Some(State::Stopped)
            } else {
                self.child
                    .0
                    .try_wait()
                    .expect("it is our child")
                    .map(state_of)
            };
            state.is_some()
        });
        state.expect("just seen")
    }

    /// Waits until it is stopped.
    ///
    /// # Panics
    /// It ends instead.
    pub fn wait_until_stopped(&mut self) {
        assert_eq!(self.state(), State::Stopped);
    }

    /// Waits until it was killed by SIGKILL.
    ///
    /// # Panics
    /// It does something else.
    pub fn wait_until_killed(&mut self) {
        assert_eq!(self.state(), State::Killed);
    }

    /// Waits until it ends, with success.
    ///
    /// # Panics
    /// It fails, is stopped or killed.
    pub fn finish(&mut self) {
        self.end_input();
        assert_eq!(
            self.state(),
            State::Ended(true),
            "of process {}",
            self.pid()
        );
    }

    /// Waits until it ends, however it does.
    ///
    /// # Panics
    /// It does not within a minute.
    pub fn status(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("a child process ends", || {
            status = self.child.0.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// Kills it with SIGKILL and waits until it is gone; says how it ended.
    ///
    /// # Panics
    /// It is not our child.
    pub fn kill(&mut self) -> State {
        let _ = self.child.0.kill();
        state_of(self.child.0.wait().expect("it is our child"))
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.input = None;
    }
}

fn state_of(status: ExitStatus) -> State {
    match status.signal() {
        Some(9) => State::Killed,
        _ => State::Ended(status.success()),
    }
}
