//! Tortures the whole: starts processes of all roles, in Rust and in Python, and kills,
//! stops, continues and forks them at random while some of them remove and recreate what the
//! others use. An oracle in every process checks every value and every answer; this one
//! checks that nobody hangs, that nothing starves, and in the end that nothing is left behind.
//!
//! ```text
//! cargo run --release -p robot-ipc-tests --bin torture -- --seconds 60
//!     --minutes N, --seconds N   how long; a minute unless told otherwise
//!     --kills N                  ends after so many kills, however long they take
//!     --seed S                   the decisions of an earlier run
//!     --rust-only                without Python
//!     --plant torn|stale|stray|hang   a fault for the oracle to find: it has to fail
//! ```
//!
//! The seed decides what is started, what it does, when it is killed, and how. How far each
//! process comes until then it does not: the same seed is a run of the same kind, not the
//! same run.

#[path = "torture/board.rs"]
mod board;
#[path = "torture/calls.rs"]
mod calls;
#[path = "torture/fate.rs"]
mod fate;
#[path = "torture/inspection.rs"]
mod inspection;
#[path = "torture/keeper.rs"]
mod keeper;
#[path = "torture/message.rs"]
mod message;
#[path = "torture/processes.rs"]
mod processes;
#[path = "torture/report.rs"]
mod report;
#[path = "torture/serving.rs"]
mod serving;
#[path = "torture/table.rs"]
mod table;
#[path = "torture/variables.rs"]
mod variables;
#[path = "torture/worker.rs"]
mod worker;

use keeper::{Keeper, Plan};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "torture [--minutes N] [--seconds N] [--kills N] [--seed S] [--rust-only] \
                     [--plant FAULT]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["work", ref rest @ ..] => worker::work(rest),
        ["inspect"] => inspection::inspect(),
        _ => {
            let Some(plan) = plan(&arguments) else {
                eprintln!("usage: {USAGE}");
                return ExitCode::from(2);
            };
            return torture(&plan);
        }
    }
    ExitCode::SUCCESS
}

fn plan(arguments: &[&str]) -> Option<Plan> {
    let mut time = None;
    let mut plan = Plan {
        time: None,
        kills: None,
        seed: None,
        rust_only: false,
        plant: None,
    };
    let mut arguments = arguments.iter();
    while let Some(option) = arguments.next() {
        if *option == "--rust-only" {
            plan.rust_only = true;
            continue;
        }
        if *option == "--plant" {
            let name = *arguments.next()?;
            message::Plant::of_name(name)?;
            plan.plant = Some(name.to_owned());
            continue;
        }
        let number: u64 = arguments.next()?.parse().ok()?;
        let mut add = |seconds| *time.get_or_insert(Duration::ZERO) += Duration::from_secs(seconds);
        match *option {
            "--minutes" => add(60 * number),
            "--seconds" => add(number),
            "--kills" => plan.kills = Some(number),
            "--seed" => plan.seed = Some(number),
            _ => return None,
        }
    }
    let default = plan.kills.is_none().then_some(Duration::from_secs(60));
    plan.time = time.or(default);
    Some(plan)
}

fn torture(plan: &Plan) -> ExitCode {
    let seed = plan.seed.unwrap_or_else(|| support::seed("torture"));
    println!("torture: --seed {seed}");
    let mut keeper = Keeper::new(plan, seed);
    let outcome = keeper.run();
    keeper.end_workers();
    let outcome = outcome.and_then(|()| keeper.inspect_twice());
    keeper.end_everybody();
    keeper.report();
    match outcome {
        Ok(()) => {
            println!("torture: passed");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("torture: FAILED with --seed {seed}: {what}");
            ExitCode::FAILURE
        }
    }
}
