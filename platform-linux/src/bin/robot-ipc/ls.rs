//! `robot-ipc ls`: which objects there are.

use crate::failure::Failure;
use crate::only_to_look;
use crate::output::{self, Json};
use robot_ipc::listing::{self, Entry};
use robot_ipc::{Error, Place, Reason};
use robot_ipc_core::header::Kind;
use std::time::Duration;

/// Lists the objects of the namespace, also those that cannot be used
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Prints one JSON array; ages are in seconds
    #[arg(long)]
    json: bool,
}

/// What is known of one object.
struct Row {
    entry: Entry,
    details: Result<Option<Details>, Error>,
}

/// What a variable tells of itself.
struct Details {
    max_size: u32,
    slots: u32,
    version: u64,
    age: Option<Duration>,
    participants: Vec<u32>,
}

impl Ls {
    pub(crate) fn run(&self, place: &Place) -> Result<(), Failure> {
        let rows: Vec<Row> = listing::list(place)?
            .into_iter()
            .filter_map(|entry| row(place, entry))
            .collect();
        if self.json {
            let rows: Vec<String> = rows.iter().map(json).collect();
            return output::line(&format!("[{}]", rows.join(",\n ")));
        }
        table(&rows)
    }
}

/// `None` if it has gone meanwhile.
fn row(place: &Place, mut entry: Entry) -> Option<Row> {
    if let Some(error) = entry.error.take() {
        return Some(Row {
            entry,
            details: Err(error),
        });
    }
    if entry.subject.kind() != Kind::Variable {
        return Some(Row {
            entry,
            details: Ok(None),
        });
    }
    let details = details(place, entry.subject.name());
    match &details {
        Err(error) if matches!(error.reason(), Reason::NotFound) => None,
        _ => Some(Row {
            entry,
            details: details.map(Some),
        }),
    }
}

fn details(place: &Place, name: &str) -> Result<Details, Error> {
    let variable = only_to_look(place).open(name)?;
    Ok(Details {
        max_size: variable.max_size(),
        slots: variable.slots(),
        version: variable.version()?,
        age: variable.age().ok(),
        participants: variable.census()?.participants,
    })
}

fn json(row: &Row) -> String {
    let subject = &row.entry.subject;
    let mut json = Json::new()
        .text("name", subject.name())
        .text("kind", subject.kind().as_str())
        .text("file", &subject.path().to_string_lossy());
    if let Some(owner) = row.entry.owner {
        json = json.number("owner", u64::from(owner));
    }
    if let Some(mode) = row.entry.mode {
        json = json.text("mode", &format!("{mode:04o}"));
    }
    match &row.details {
        Err(error) => json.text("error", &error.to_string()),
        Ok(None) => json,
        Ok(Some(details)) => json
            .number("max_size", u64::from(details.max_size))
            .number("slots", u64::from(details.slots))
            .number("version", details.version)
            .seconds("age", details.age)
            .numbers("participants", &details.participants),
    }
    .end()
}

const TITLES: [&str; 8] = [
    "NAME", "KIND", "SIZE", "SLOTS", "VERSION", "AGE", "OWNER", "LIVE",
];

fn table(rows: &[Row]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let lines: Vec<[String; 8]> = rows.iter().map(cells).collect();
    let mut widths = TITLES.map(str::len);
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    output::line(&align(TITLES, widths))?;
    for (row, line) in rows.iter().zip(&lines) {
        let text = align(line.each_ref().map(String::as_str), widths);
        match &row.details {
            Err(error) => output::line(&format!("{text}  {}", error.reason()))?,
            Ok(_) => output::line(&text)?,
        }
    }
    Ok(())
}

fn cells(row: &Row) -> [String; 8] {
    let subject = &row.entry.subject;
    let unknown = || "-".to_owned();
    let owner = row
        .entry
        .owner
        .map_or_else(unknown, |owner| owner.to_string());
    let details = row.details.as_ref().ok().and_then(Option::as_ref);
    let cell = |tell: &dyn Fn(&Details) -> String| details.map_or_else(unknown, tell);
    [
        subject.name().escape_debug().to_string(),
        subject.kind().as_str().to_owned(),
        cell(&|details| details.max_size.to_string()),
        cell(&|details| details.slots.to_string()),
        cell(&|details| details.version.to_string()),
        details
            .and_then(|details| details.age)
            .map_or_else(unknown, output::duration),
        owner,
        cell(&|details| details.participants.len().to_string()),
    ]
}

/// Names to the left, numbers to the right.
fn align(cells: [&str; 8], widths: [usize; 8]) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        let space = if index == 0 { "" } else { "  " };
        line += &if index < 2 {
            format!("{space}{cell:<width$}")
        } else {
            format!("{space}{cell:>width$}")
        };
    }
    line
}
