//! `robot-ipc rm`: away with objects.

use crate::failure::{Failure, complain};
use crate::output;
use robot_ipc::function::{remove_function, remove_function_if_unused};
use robot_ipc::shm::Subject;
use robot_ipc::{Error, Place, Reason, VariableOptions, listing};
use robot_ipc_core::header::Kind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

/// How long to wait for somebody else who is removing the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes variables and functions; every process that has one open is told so
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
pub(crate) struct Rm {
    /// Names; a variable and a function of one name are both removed
    #[arg(group = "which")]
    names: Vec<OsString>,
    /// All objects of the namespace that no living process has open
    #[arg(long, group = "which")]
    stale: bool,
    /// Removes the files whatever they are: for damaged ones, and for those of
    /// other versions. Processes that have them open are not told
    #[arg(long, conflicts_with = "stale")]
    force: bool,
}

impl Rm {
    pub(crate) fn run(&self, place: &Place) -> Result<ExitCode, Failure> {
        if self.stale {
            return remove_stale(place);
        }
        let mut exit = ExitCode::SUCCESS;
        for name in &self.names {
            let removed = if self.force {
                remove_files(place, name)
            } else {
                remove(place, name)
            };
            for failure in removed.err().into_iter().flatten() {
                exit = failure.report();
            }
        }
        Ok(exit)
    }
}

fn options(place: &Place) -> VariableOptions {
    VariableOptions::new().place(place.clone()).adopt_size()
}

/// Removes whatever has that name. If one of two cannot be removed, the other one is.
fn remove(place: &Place, name: &OsStr) -> Result<(), Vec<Failure>> {
    // A name that breaks the rules does so for both.
    place
        .subject(Kind::Variable, name.as_bytes())
        .map_err(|error| vec![error.into()])?;
    let kinds = [Kind::Variable, Kind::Function].map(|kind| remove_one(place, kind, name));
    let mut missing = Vec::new();
    let mut failures = Vec::new();
    for error in kinds.into_iter().filter_map(Result::err) {
        match error.reason() {
            Reason::NotFound => missing.push(error),
            _ => failures.push(error.into()),
        }
    }
    if let [variable, _function] = &missing[..] {
        let text = variable.subject().map_or(String::new(), Subject::to_string);
        failures.push(Failure::message(format!(
            "{text}: there is none of that name, and no function either"
        )));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

fn remove_one(place: &Place, kind: Kind, name: &OsStr) -> Result<(), Error> {
    let name = name.as_bytes();
    let existed = exists(&place.subject(kind, name)?);
    let removed = match kind {
        Kind::Variable => options(place)
            .open_bytes(name)
            .and_then(|variable| variable.remove(PATIENCE)),
        Kind::Function => remove_function(place, name, PATIENCE),
    };
    match removed {
        // It was retired already, and opening it has finished the job.
        Err(error) if existed && *error.reason() == Reason::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes the file of every kind of object that `name` could be.
fn remove_files(place: &Place, name: &OsStr) -> Result<(), Vec<Failure>> {
    let remove = || {
        let variable = place.subject(Kind::Variable, name.as_bytes())?;
        let function = place.subject(Kind::Function, name.as_bytes())?;
        if exists(&function) {
            listing::remove_file(&function)?;
            if !exists(&variable) {
                return Ok(());
            }
        }
        listing::remove_file(&variable)
    };
    remove().map_err(|error: Error| vec![error.into()])
}

fn exists(subject: &Subject) -> bool {
    subject.path().symlink_metadata().is_ok()
}

fn remove_stale(place: &Place) -> Result<ExitCode, Failure> {
    let mut exit = ExitCode::SUCCESS;
    for entry in listing::list(place)? {
        let subject = &entry.subject;
        let removed = match entry.error {
            Some(error) => Err(error),
            None => match subject.kind() {
                Kind::Variable => options(place).remove_if_unused(subject.name()),
                Kind::Function => remove_function_if_unused(place, subject.name().as_bytes()),
            },
        };
        match removed {
            Ok(true) => output::line(&format!("removed {subject}"))?,
            Ok(false) => output::line(&format!("in use: {subject}"))?,
            Err(error) if matches!(error.reason(), Reason::NotFound) => {}
            Err(error) => {
                complain(&error.to_string());
                exit = ExitCode::FAILURE;
            }
        }
    }
    let temporaries = listing::remove_stale_temporaries(place);
    if temporaries > 0 {
        output::line(&format!("removed {temporaries} unfinished files"))?;
    }
    Ok(exit)
}
