//! `robot-ipc rm`: away with objects.

use crate::failure::{Failure, complain};
use crate::output;
use robot_ipc::shm::Subject;
use robot_ipc::{Place, Reason, VariableOptions, listing};
use robot_ipc_core::header::Kind;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

/// How long to wait for somebody else who is removing the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes variables; every process that has one open is told so at its next use
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
pub(crate) struct Rm {
    /// The variables
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
            if let Err(failure) = removed {
                exit = failure.report();
            }
        }
        Ok(exit)
    }
}

fn options(place: &Place) -> VariableOptions {
    VariableOptions::new().place(place.clone()).adopt_size()
}

fn remove(place: &Place, name: &OsStr) -> Result<(), Failure> {
    let exists = exists(&place.subject(Kind::Variable, name.as_bytes())?);
    match options(place).open_bytes(name.as_bytes()) {
        Ok(variable) => Ok(variable.remove(PATIENCE)?),
        // It was retired already, and opening it has finished the job.
        Err(error) if exists && matches!(error.reason(), Reason::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the file of every kind of object that `name` could be.
fn remove_files(place: &Place, name: &OsStr) -> Result<(), Failure> {
    let variable = place.subject(Kind::Variable, name.as_bytes())?;
    let function = place.subject(Kind::Function, name.as_bytes())?;
    if exists(&function) {
        listing::remove_file(&function)?;
        if !exists(&variable) {
            return Ok(());
        }
    }
    Ok(listing::remove_file(&variable)?)
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
            None if subject.kind() == Kind::Variable => {
                options(place).remove_if_unused(subject.name())
            }
            None => {
                complain(&format!(
                    "{subject}: this version does not know whether anybody uses it"
                ));
                exit = ExitCode::FAILURE;
                continue;
            }
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
