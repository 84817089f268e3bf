//! `robot-ipc watch`: each new value as it comes.

use crate::failure::Failure;
use crate::value::{self, Shown};
use crate::{only_to_look, output, seconds};
use robot_ipc::{Place, Reason};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Prints each change of a variable: version, age and value
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// The variable
    name: OsString,
    /// Ends after so many changes
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Fails if there is no change for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Prints each change as a JSON object in a line of its own
    #[arg(long)]
    json: bool,
}

impl Watch {
    pub(crate) fn run(&self, place: &Place) -> Result<(), Failure> {
        let variable = only_to_look(place).open_bytes(self.name.as_bytes())?;
        let mut last = variable.version()?;
        let mut seen = 0;
        while self.count.is_none_or(|count| seen < count) {
            match variable.wait_for_update(last, self.timeout) {
                // Stopped and continued, or looked at by a debugger.
                Err(error) if *error.reason() == Reason::Interrupted => continue,
                waited => waited?,
            };
            let (bytes, sample) = variable.sample()?;
            let skipped = sample.version.saturating_sub(last).saturating_sub(1);
            last = sample.version;
            seen += 1;
            if self.json {
                let json = value::json(&variable, &bytes, &sample);
                output::line(&json.number("skipped", skipped).end())?;
                continue;
            }
            let age = variable
                .age_of(&sample)
                .map_or("age unknown".to_owned(), output::duration);
            let skipped = if skipped == 0 {
                String::new()
            } else {
                format!(" ({skipped} skipped)")
            };
            let text = Shown::of(&bytes, sample.encoding).line();
            output::line(&format!("version {last}{skipped}, {age}: {text}"))?;
        }
        Ok(())
    }
}
