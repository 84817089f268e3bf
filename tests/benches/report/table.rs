//! The table as text and as JSON.

use crate::host::Host;
use crate::row::Row;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// All that one run has found.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) host: Host,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// What was saved before.
    pub(crate) fn load(path: &Path) -> Report {
        let text = std::fs::read_to_string(path);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let report = serde_json::from_str(&text);
        report.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Saves it as JSON.
    pub(crate) fn save(&self, path: &Path) {
        let text = serde_json::to_string_pretty(self).expect("plain figures");
        save(path, &(text + "\n"));
    }

    /// All of it as text.
    pub(crate) fn print(&self) {
        print_head(&self.host);
        for rows in self.rows.chunk_by(|row, next| row.group == next.group) {
            print_rows(rows);
        }
    }
}

/// Saves a file.
pub(crate) fn save(path: &Path, text: &str) {
    let saved = std::fs::write(path, text);
    saved.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

pub(crate) fn print_head(host: &Host) {
    let Host {
        processor,
        cores,
        kernel,
        date,
    } = host;
    println!("{processor}, {cores} usable cores, Linux {kernel}, {date}");
    println!("median [smallest..largest] of interleaved rounds");
    if cfg!(debug_assertions) {
        println!("built with debug assertions: this shows that it runs, and no figure");
    }
}

/// Rows of one group, below its name.
pub(crate) fn print_rows(rows: &[Row]) {
    let Some(first) = rows.first() else { return };
    println!("\n{}", first.group);
    let width = |text: fn(&Row) -> &str| {
        let widths = rows.iter().map(|row| text(row).chars().count());
        widths.max().unwrap_or_default()
    };
    let names = width(|row| &row.name);
    let references = width(|row| row.reference.as_ref().map_or("", |found| &found.name));
    for row in rows {
        let spread = format!("[{}..{}]", figure(row.min), figure(row.max));
        let (name, median, unit) = (&row.name, figure(row.median), &row.unit);
        let mut line = format!("  {name:names$} {median:>9} {unit:3} {spread:20}");
        let (ratio, reference) = match (row.ratio, &row.reference) {
            (Some(ratio), Some(reference)) => (format!("{ratio:.2} ×"), reference.name.as_str()),
            _ => Default::default(),
        };
        line += &format!(" {ratio:>8} {reference:references$}");
        if let (Some(goal), Some(met)) = (&row.goal, row.met) {
            let met = if met { "met    " } else { "NOT MET" };
            line += &format!("  {met} {} = {}", goal.text, figure(goal.limit));
        }
        println!("{}", line.trim_end());
    }
}

/// Four digits that matter.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// How many goals were met, and which were not.
pub(crate) fn print_summary(rows: &[Row]) {
    let goals = rows.iter().filter(|row| row.met.is_some()).count();
    let missed: Vec<&Row> = rows.iter().filter(|row| row.met == Some(false)).collect();
    println!("\ngoals met: {} of {goals}", goals - missed.len());
    for row in missed {
        println!("  not met: {}: {}", row.group, row.name);
    }
}
