//! `robot-ipc get`: the latest value.

use crate::failure::{Failure, complain};
use crate::value::{self, Shown};
use crate::{only_to_look, output};
use robot_ipc::Place;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Prints the latest value of a variable: pickles as text, other bytes in hexadecimal
#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    /// The variable
    name: OsString,
    /// Writes the bytes themselves
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Prints value, version, age in seconds and encoding as JSON
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(crate) fn run(&self, place: &Place) -> Result<(), Failure> {
        let variable = only_to_look(place).open_bytes(self.name.as_bytes())?;
        let (bytes, sample) = variable.sample()?;
        if self.raw {
            return output::bytes(&bytes);
        }
        if self.json {
            return output::line(&value::json(&variable, &bytes, &sample).end());
        }
        let shown = Shown::of(&bytes, sample.encoding);
        output::line(&shown.text)?;
        if let Some(note) = shown.note {
            complain(&note);
        }
        Ok(())
    }
}
