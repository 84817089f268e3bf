//! Everything that costs time, beside what it could cost at least.
//!
//!     cargo bench -p robot-ipc-tests
//!     cargo bench -p robot-ipc-tests -- --quick --json report.json freshness
//!     cargo bench -p robot-ipc-tests -- --from report.json --plot report.svg
//!
//! A table: each figure stands beside a reference of the same run, and beside its goal if it
//! has one. Goals are reported and never fail; what must not happen at all (a torn value, a
//! rejected write) does. The parts of the table are `GROUPS`; what a part compares takes
//! turns (`measuring.rs`). Where two sides are needed they are two processes on two
//! processors (`worker.rs`).

mod arguments;
mod crossing;
mod crowds;
mod function;
mod host;
mod machine;
mod measuring;
mod pace;
mod peers;
mod periodic;
mod plot;
mod python;
mod row;
mod scaling;
mod table;
mod variable;
mod worker;

use arguments::Arguments;
use host::Host;
use measuring::{Rows, Scale};
use row::Row;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use support::Scratch;
use support::folder::Folder;
use table::Report;

/// A part of the table: a name to choose it by, and what measures it.
type Group = (&'static str, fn(&mut Context));
/// A role of a process: a name, and what plays it, with the arguments behind the name and the
/// processor.
type Role = (&'static str, fn(&[&str]));

/// The parts of the table, in its order.
const GROUPS: &[Group] = &[
    ("variable, one process", variable::alone),
    ("variable, across cores", crossing::flat_out),
    ("variable, freshness", crossing::freshness),
    ("variable, many writers", crowds::writers),
    ("variable, many readers", crowds::readers),
    ("variable, 1 kHz", periodic::loop_at_1_khz),
    ("variable, opening", variable::opening),
    ("variable, number of slots", scaling::slots),
    ("variable, idle participants", scaling::participants),
    ("variable, open variables", scaling::variables),
    ("function, call after call", function::hot),
    ("function, after 10 ms", function::after_idle),
    ("function, one-way", function::one_way),
    ("function, in a crowd", function::crowded),
    ("function, opening", function::opening),
    ("Python", python::measure),
];

/// What processes of this program do that are not the first one.
const ROLES: &[Role] = &[
    ("variable", crossing::act),
    ("crowd", crowds::act),
    ("open", scaling::act),
    (machine::ROLE, machine::answer),
    (function::SERVER, function::serve),
    (function::IDLE_CALLER, function::idle_caller),
    ("python", python::act),
];

/// What every part of the table uses.
pub(crate) struct Context {
    pub(crate) scale: Scale,
    /// Two processors for two sides; the same one twice if there is one only.
    pub(crate) cores: [usize; 2],
    /// Where the objects are that are measured.
    pub(crate) scratch: Scratch,
    group: &'static str,
    rows: Vec<Row>,
    faults: Vec<String>,
}

impl Context {
    /// Adds rows to the table.
    pub(crate) fn report(&mut self, mut rows: Rows) {
        for row in &mut rows.0 {
            // Another program has groups of its own.
            if row.group.is_empty() {
                self.group.clone_into(&mut row.group);
            }
        }
        for rows in rows.0.chunk_by(|row, next| row.group == next.group) {
            table::print_rows(rows);
        }
        self.rows.append(&mut rows.0);
    }

    /// Something was seen that must not happen at all.
    pub(crate) fn fault(&mut self, what: String) {
        self.faults.push(what);
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["role", "clean-up", folder] => clean_up(folder),
        ["role", role, core, ref arguments @ ..] => play(role, core, arguments),
        _ => return run(&Arguments::parse(&words)),
    }
    ExitCode::SUCCESS
}

fn play(role: &str, core: &str, arguments: &[&str]) {
    support::system::die_with_parent();
    support::system::end_at_panic();
    if core != "-" {
        measuring::pin(core.parse().expect("the number of a processor"));
    }
    let found = ROLES.iter().find(|(name, _)| *name == role);
    let (_, act) = found.unwrap_or_else(|| panic!("there is no role '{role}'"));
    act(arguments);
}

/// Removes what the first process has left when it is gone, however it ended.
fn clean_up(folder: &str) {
    support::system::wait_for_end_of_input();
    let _ = std::fs::remove_dir_all(folder);
    peers::clean_up(folder.as_ref());
}

fn run(arguments: &Arguments) -> ExitCode {
    let mut faults = Vec::new();
    let report = match &arguments.from {
        Some(path) => {
            let mut report = Report::load(path);
            report.rows.retain(|row| arguments.wants(&row.group));
            report.print();
            report
        }
        None => measure(arguments, &mut faults),
    };
    table::print_summary(&report.rows);
    if let Some(path) = &arguments.json {
        report.save(path);
    }
    if let Some(path) = &arguments.plot {
        table::save(path, &plot::draw(&report));
    }
    for fault in &faults {
        println!("*** IMPOSSIBLE: {fault}");
    }
    ExitCode::from(u8::from(!faults.is_empty()))
}

fn measure(arguments: &Arguments, faults: &mut Vec<String>) -> Report {
    arguments.check(&GROUPS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let folder = Folder::new();
    let mut cleaner = start_cleaner(&folder);
    let usable = measuring::cores();
    let host = Host::new(usable.len());
    let mut context = Context {
        scale: arguments.scale(),
        cores: [usable[0], usable[usable.len() - 1]],
        scratch: Scratch::in_directory(folder.path()),
        group: "",
        rows: Vec::new(),
        faults: Vec::new(),
    };
    table::print_head(&host);
    for (name, measure) in GROUPS {
        if arguments.wants(name) {
            context.group = name;
            measure(&mut context);
        }
    }
    *faults = context.faults;
    drop(cleaner.stdin.take());
    let _ = cleaner.wait();
    Report {
        host,
        rows: context.rows,
    }
}

/// A process that removes the folder when this one is gone.
fn start_cleaner(folder: &Folder) -> Child {
    let this = std::env::current_exe().expect("this bench is a file");
    let mut cleaner = Command::new(this);
    cleaner.args(["role", "clean-up"]).arg(folder.path());
    // Not of our process group: Ctrl-C at a terminal does not reach it.
    cleaner.stdin(Stdio::piped()).process_group(0);
    cleaner.spawn().expect("a process that cleans up")
}
