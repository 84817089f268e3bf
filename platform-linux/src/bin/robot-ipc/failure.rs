//! What makes a subcommand end early.

use std::process::ExitCode;

/// Why a subcommand did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's word on it.
    Library(robot_ipc::Error),
    /// The command's own.
    Message(String),
    /// Whoever read the output has seen enough.
    OutputClosed,
    /// A signal of that number ended it.
    Signal(i32, String),
}

impl Failure {
    pub(crate) fn message(text: impl Into<String>) -> Failure {
        Failure::Message(text.into())
    }

    /// Tells the user, in one line, and says how to exit.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Library(error) => complain(&error.to_string()),
            Failure::Message(text) => complain(text),
            Failure::OutputClosed => return ExitCode::SUCCESS,
            Failure::Signal(signal, text) => {
                complain(text);
                // Ends the process, as whoever started it expects.
                let _ = signal_hook::low_level::emulate_default_handler(*signal);
            }
        }
        ExitCode::FAILURE
    }
}

/// One line on standard error.
pub(crate) fn complain(text: &str) {
    use std::io::Write as _;
    // Names and paths are put into texts as they are, and may hold anything.
    let mut line = String::new();
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    let _ = writeln!(std::io::stderr(), "robot-ipc: {line}");
}

impl From<robot_ipc::Error> for Failure {
    fn from(error: robot_ipc::Error) -> Self {
        Failure::Library(error)
    }
}
