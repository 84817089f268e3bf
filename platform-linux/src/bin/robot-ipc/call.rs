//! `robot-ipc call`: calls a function and prints its answer.

use crate::failure::{Failure, complain};
use crate::value::Shown;
use crate::{arguments, output, seconds};
use robot_ipc::error::Stage;
use robot_ipc::function::{FunctionStatus, HostFunctionCaller, Response, Withdrawal};
use robot_ipc::{Encoding, Error, FunctionOptions, PendingCall, Place, Reason};
use robot_ipc_core::header::Kind;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often a wait looks whether a signal has come. It usually ends the wait itself.
const SLICE: Duration = Duration::from_millis(100);
/// After this time somebody who waits wants to know for what.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls a function, waits for its answer and prints it
#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The function
    name: OsString,
    /// null, true, a number, "text", [list] or {"key": value}; or name=value. Python takes them
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Takes the call back if there is no answer after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
}

impl Call {
    pub(crate) fn run(&self, place: &Place) -> Result<(), Failure> {
        let pickle = arguments::to_pickle(&self.arguments)
            .map_err(|error| Failure::message(error.to_string()))?;
        let start = Instant::now();
        let function = self.open(place)?;
        let signal = Signal::listen()?;
        let call = loop {
            match function.call_encoded(&pickle, Encoding::PICKLE) {
                Err(error) if *error.reason() == Reason::Interrupted => {
                    if let Some(number) = signal.come() {
                        return Err(Failure::Signal(number, "nothing was sent".to_owned()));
                    }
                }
                sent => break sent?,
            }
        };
        if function.is_one_way() {
            self.tell_whether_served(place);
            return Ok(());
        }
        match self.wait(&call, start, &signal)? {
            Some(response) => {
                let shown = Shown::of(&response.bytes, response.encoding);
                output::line(&shown.text)?;
                if let Some(note) = shown.note {
                    complain(&note);
                }
                Ok(())
            }
            None => output::line("None"),
        }
    }

    fn open(&self, place: &Place) -> Result<HostFunctionCaller, Failure> {
        let options = FunctionOptions::new().place(place.clone()).adopt_sizes();
        let options = match self.timeout {
            Some(timeout) => options.send_timeout(timeout),
            None => options,
        };
        let opened = options.open_bytes(self.name.as_bytes());
        let error = match opened {
            Err(error) if *error.reason() == Reason::NotFound => error,
            opened => return Ok(opened?),
        };
        let variable = place.subject(Kind::Variable, self.name.as_bytes())?;
        let hint = if variable.path().exists() {
            "; there is a variable of that name, which get shows"
        } else {
            "; robot-ipc ls shows what there is"
        };
        let subject = error.subject().unwrap_or(&variable);
        Err(Failure::message(format!(
            "{subject}: there is none of that name: nobody has offered it{hint}"
        )))
    }

    /// Waits for the answer. Whatever ends that without one takes the call back.
    fn wait(
        &self,
        call: &PendingCall<'_>,
        start: Instant,
        signal: &Signal,
    ) -> Result<Option<Response>, Failure> {
        let mut told: Option<Stage> = None;
        loop {
            if let Some(number) = signal.come() {
                return Err(Failure::Signal(number, withdrawn(*call).to_owned()));
            }
            let waited = start.elapsed();
            let left = self.timeout.map(|timeout| timeout.saturating_sub(waited));
            let error = match call.wait(Some(left.map_or(SLICE, |left| left.min(SLICE)))) {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match error.reason() {
                Reason::Interrupted => {}
                Reason::CallTimedOut { stage, .. } => {
                    let waited = start.elapsed();
                    if self.timeout.is_some_and(|timeout| waited >= timeout) {
                        return Err(timed_out(&error, *stage, waited, *call));
                    }
                    if waited >= PATIENCE && told != Some(*stage) {
                        told = Some(*stage);
                        complain(&format!("waiting: {}; Ctrl-C ends it", state_of(*stage)));
                    }
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// A call that nobody answers says nothing when it is not run, either.
    fn tell_whether_served(&self, place: &Place) {
        let name = self.name.to_string_lossy();
        let status = FunctionStatus::of(place, &name);
        if status.is_ok_and(|status| status.servers.is_empty()) {
            complain(&format!(
                "nobody serves function '{name}' now: the call waits until somebody does"
            ));
        }
    }
}

fn timed_out(error: &Error, stage: Stage, waited: Duration, call: PendingCall<'_>) -> Failure {
    let subject = error
        .subject()
        .map_or(String::new(), |subject| format!("{subject}: "));
    Failure::message(format!(
        "{subject}no response within {}: {}; {}",
        output::duration(waited),
        state_of(stage),
        withdrawn(call)
    ))
}

fn state_of(stage: Stage) -> String {
    match stage {
        Stage::NotServed => "nobody serves the function".to_owned(),
        Stage::Queued { pid } => {
            format!("the call has not started yet; process {pid} serves the function")
        }
        Stage::Running { pid } => format!("process {pid} is running the call"),
    }
}

/// Takes a call back, and says what that means.
fn withdrawn(call: PendingCall<'_>) -> &'static str {
    match call.cancel() {
        Withdrawal::NeverStarted => "the call was taken back and will not run",
        Withdrawal::Running => "the call goes on, and nobody hears of its answer",
        Withdrawal::Ended | Withdrawal::Corrupt => "the call had just ended",
    }
}

/// A signal that ends the command, once it has come.
struct Signal(Arc<AtomicUsize>);

impl Signal {
    fn listen() -> Result<Signal, Failure> {
        let number = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_usize(signal, Arc::clone(&number), signal as usize)
                .map_err(|error| {
                    Failure::message(format!("could not listen for signals: {error}"))
                })?;
        }
        Ok(Signal(number))
    }

    /// Its number, if one has come.
    fn come(&self) -> Option<i32> {
        let number = self.0.load(Relaxed);
        (number != 0).then_some(number as i32)
    }
}
