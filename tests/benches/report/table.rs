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

/// Saves the rows as JSON.
pub(crate) fn save(path: &Path, host: &Host, rows: &[Row]) {
    let report = Report {
        host: host.clone(),
        rows: rows.to_vec(),
    };
    let text = serde_json::to_string_pretty(&report).expect("plain figures");
    let saved = std::fs::write(path, text + "\n");
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
}

pub(crate) fn print_group(name: &str) {
    println!("\n{name}");
}

pub(crate) fn print_row(row: &Row) {
    let spread = format!("[{}..{}]", figure(row.min), figure(row.max));
    print!(
        "  {:<44} {:>9} {:<5} {spread:<18}",
        row.name,
        figure(row.median),
        row.unit
    );
    match (&row.reference, row.ratio) {
        (Some(reference), Some(ratio)) => print!(" {ratio:>6.2} × {:<28}", reference.name),
        _ => print!(" {:37}", ""),
    }
    if let (Some(goal), Some(met)) = (&row.goal, row.met) {
        let met = if met { "met    " } else { "NOT MET" };
        print!(" {met} {} = {}", goal.text, figure(goal.limit));
    }
    println!();
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
