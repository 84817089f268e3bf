//! `robot-ipc ls`: which objects there are.

use crate::failure::Failure;
use crate::only_to_look;
use crate::output::{self, Json};
use robot_ipc::function::FunctionStatus;
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
    details: Result<Details, Error>,
}

/// What an object tells of itself.
enum Details {
    Variable(Variable),
    Function(FunctionStatus),
}

/// What a variable tells of itself.
struct Variable {
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
        let (variables, functions): (Vec<Row>, Vec<Row>) = rows
            .into_iter()
            .partition(|row| row.entry.subject.kind() == Kind::Variable);
        table(VARIABLE_TITLES, &variables, variable_cells)?;
        if !variables.is_empty() && !functions.is_empty() {
            output::line("")?;
        }
        table(FUNCTION_TITLES, &functions, function_cells)
    }
}

/// `None` if it has gone meanwhile.
fn row(place: &Place, mut entry: Entry) -> Option<Row> {
    let subject = &entry.subject;
    let details = match entry.error.take() {
        Some(error) => Err(error),
        None => match subject.kind() {
            Kind::Variable => variable(place, subject.name()).map(Details::Variable),
            Kind::Function => FunctionStatus::of(place, subject.name()).map(Details::Function),
        },
    };
    match &details {
        Err(error) if matches!(error.reason(), Reason::NotFound) => None,
        _ => Some(Row { entry, details }),
    }
}

fn variable(place: &Place, name: &str) -> Result<Variable, Error> {
    let variable = only_to_look(place).open(name)?;
    Ok(Variable {
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
        Ok(Details::Variable(variable)) => json
            .number("max_size", u64::from(variable.max_size))
            .number("slots", u64::from(variable.slots))
            .number("version", variable.version)
            .seconds("age", variable.age)
            .numbers("participants", &variable.participants),
        Ok(Details::Function(function)) => json
            .number(
                "max_argument_size",
                u64::from(function.sizes.max_argument_size),
            )
            .number(
                "max_response_size",
                u64::from(function.sizes.max_response_size),
            )
            .number("cells", u64::from(function.cells))
            .numbers("servers", &function.servers)
            .number("waiting", u64::from(function.queued))
            .number("running", u64::from(function.running))
            .number("unfetched", u64::from(function.unfetched))
            .number("served", u64::from(function.served))
            .number("dropped", u64::from(function.dropped)),
    }
    .end()
}

const VARIABLE_TITLES: [&str; 8] = [
    "NAME", "KIND", "SIZE", "SLOTS", "VERSION", "AGE", "OWNER", "LIVE",
];

fn variable_cells(row: &Row) -> [String; 8] {
    let details = match &row.details {
        Ok(Details::Variable(variable)) => Some(variable),
        _ => None,
    };
    let cell = |tell: &dyn Fn(&Variable) -> String| details.map_or_else(unknown, tell);
    [
        name(row),
        kind(row),
        cell(&|variable| variable.max_size.to_string()),
        cell(&|variable| variable.slots.to_string()),
        cell(&|variable| variable.version.to_string()),
        details
            .and_then(|variable| variable.age)
            .map_or_else(unknown, output::duration),
        owner(row),
        cell(&|variable| variable.participants.len().to_string()),
    ]
}

const FUNCTION_TITLES: [&str; 12] = [
    "NAME",
    "KIND",
    "ARGS",
    "RETURNS",
    "CELLS",
    "WAITING",
    "RUNNING",
    "UNFETCHED",
    "SERVED",
    "DROPPED",
    "OWNER",
    "SERVED BY",
];

fn function_cells(row: &Row) -> [String; 12] {
    let details = match &row.details {
        Ok(Details::Function(function)) => Some(function),
        _ => None,
    };
    let cell = |tell: &dyn Fn(&FunctionStatus) -> String| details.map_or_else(unknown, tell);
    let number = |tell: fn(&FunctionStatus) -> u32| cell(&|function| tell(function).to_string());
    [
        name(row),
        kind(row),
        number(|function| function.sizes.max_argument_size),
        cell(&|function| match function.sizes.max_response_size {
            0 => "one-way".to_owned(),
            size => size.to_string(),
        }),
        number(|function| function.cells),
        number(|function| function.queued),
        number(|function| function.running),
        number(|function| function.unfetched),
        number(|function| function.served),
        number(|function| function.dropped),
        owner(row),
        cell(&served_by),
    ]
}

/// The processes that serve a function.
fn served_by(function: &FunctionStatus) -> String {
    if function.servers.is_empty() {
        return "nobody".to_owned();
    }
    let pids: Vec<String> = function.servers.iter().map(u32::to_string).collect();
    pids.join(",")
}

fn unknown() -> String {
    "-".to_owned()
}

fn name(row: &Row) -> String {
    row.entry.subject.name().escape_debug().to_string()
}

fn kind(row: &Row) -> String {
    row.entry.subject.kind().as_str().to_owned()
}

fn owner(row: &Row) -> String {
    let owner = row.entry.owner;
    owner.map_or_else(unknown, |owner| owner.to_string())
}

/// Prints the objects of one kind, if there are any.
fn table<const N: usize>(
    titles: [&str; N],
    rows: &[Row],
    cells: fn(&Row) -> [String; N],
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let lines: Vec<[String; N]> = rows.iter().map(cells).collect();
    let mut widths = titles.map(str::len);
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    output::line(&align(titles, widths))?;
    for (row, line) in rows.iter().zip(&lines) {
        let text = align(line.each_ref().map(String::as_str), widths);
        match &row.details {
            Err(error) => output::line(&format!("{text}  {}", error.reason()))?,
            Ok(_) => output::line(&text)?,
        }
    }
    Ok(())
}

/// Names to the left, numbers to the right.
fn align<const N: usize>(cells: [&str; N], widths: [usize; N]) -> String {
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
