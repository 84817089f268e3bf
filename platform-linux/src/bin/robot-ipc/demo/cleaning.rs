//! No demo leaves anything behind: what it made goes at its end, and what killed ones
//! made goes when the next one begins.

use super::NAMESPACE_PREFIX;
use robot_ipc::function::{remove_function, remove_function_if_unused};
use robot_ipc::shm::Subject;
use robot_ipc::{Kind, Place, Reason, Result, VariableOptions, listing};
use std::time::Duration;

/// How long to wait for somebody else who removes the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Removes whatever a namespace has.
pub(crate) fn remove_all(place: &Place) {
    for entry in listing::list(place).unwrap_or_default() {
        match remove(place, &entry.subject) {
            Err(error) if *error.reason() != Reason::NotFound => eprintln!("robot-ipc: {error}"),
            _ => {}
        }
    }
}

fn remove(place: &Place, subject: &Subject) -> Result<()> {
    match subject.kind() {
        Kind::Variable => variable_options(place)
            .open(subject.name())?
            .remove(PATIENCE),
        Kind::Function => remove_function(place, subject.name().as_bytes(), PATIENCE),
    }
}

/// Removes what demos left behind that were killed themselves.
pub(crate) fn remove_leftovers(everywhere: &Place) {
    let Ok(files) = std::fs::read_dir(everywhere.directory()) else {
        return;
    };
    for file in files.flatten() {
        let name = file.file_name();
        let namespace = name
            .to_str()
            .and_then(|name| name.strip_prefix("robot-ipc."))
            .and_then(|rest| rest.split('.').next())
            .filter(|namespace| namespace.starts_with(NAMESPACE_PREFIX));
        let Some(namespace) = namespace else { continue };
        let Ok(place) = everywhere.with_namespace(namespace.as_bytes()) else {
            continue;
        };
        if let Some(subject) = place.subject_of_file(&name) {
            // Of a demo that is running nothing is unused.
            let _ = remove_if_unused(&place, &subject);
        }
    }
}

fn remove_if_unused(place: &Place, subject: &Subject) -> Result<bool> {
    match subject.kind() {
        Kind::Variable => variable_options(place).remove_if_unused(subject.name()),
        Kind::Function => remove_function_if_unused(place, subject.name().as_bytes()),
    }
}

fn variable_options(place: &Place) -> VariableOptions {
    VariableOptions::new().place(place.clone()).adopt_size()
}
