//! `robot-ipc demo`: a control loop in Rust and its helpers in Python, one of
//! which is killed every second while it writes.
//!
//! Everybody checks every value that is read: it has to be of one piece, and to
//! follow from the one before it. The demo fails if one does not.

// Flags of this process, which signal-hook wants as they are.
#![allow(clippy::disallowed_types)]

mod arm;
mod python;
mod screen;

use arm::{Arm, Counts};
use python::{Controller, Python};
use robot_ipc::{Place, VariableOptions};
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const NAMESPACE_PREFIX: &str = "demo-";
/// The main thread looks around so often.
const TICK: Duration = Duration::from_millis(10);

/// What the demo is asked to do.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Demo {
    /// How long it runs.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Runs the demo.
pub(crate) fn run(arguments: Demo, everywhere: &Place) -> ExitCode {
    match try_run(arguments, everywhere) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("robot-ipc: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(arguments: Demo, everywhere: &Place) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    remove_leftovers(everywhere);
    let namespace = format!("{NAMESPACE_PREFIX}{}", std::process::id());
    let place = everywhere.with_namespace(namespace.as_bytes())?;
    let arm = Arm::new(&VariableOptions::new().place(place.clone()))?;
    say(&format!(
        "a 1 kHz control loop in Rust, namespace {namespace}, {} s",
        arguments.seconds
    ));

    let python = Python::find(&place);
    if let Err(why) = &python {
        say(&format!("without the Python half: {why}"));
    }
    let result = play(&arm, python.ok().as_ref(), arguments, &interrupted);
    arm.remove();
    result
}

/// Everything between the opening of the variables and their removal.
fn play(
    arm: &Arm,
    python: Option<&Python>,
    arguments: Demo,
    interrupted: &AtomicBool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let ended = AtomicBool::new(false);
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let (kills, report) = std::thread::scope(|scope| {
        let control = scope.spawn(|| {
            let result = arm.control(|| ended.load(Relaxed));
            ended.store(true, Relaxed);
            result
        });
        let attended = attend(arm, python, end, || {
            interrupted.load(Relaxed) || ended.load(Relaxed)
        });
        ended.store(true, Relaxed);
        control
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        attended
    })?;

    let mut total = arm.view().counts;
    let [_, setpoints, telemetry] = arm.versions()?;
    if let Some(report) = report {
        let lost = report.lost + setpoints.abs_diff(report.written);
        let written = setpoints + telemetry;
        total.add(&Counts {
            written,
            read: report.read,
            torn: report.torn,
            lost,
        });
    }
    if interrupted.load(Relaxed) {
        say("interrupted");
    }
    say(&format!(
        "the loop was late by {:?} at most",
        arm.view().longest_delay
    ));
    let Counts {
        written,
        read,
        torn,
        lost,
    } = total;
    say(&format!(
        "written={written} read={read} torn={torn} lost={lost} kills={kills}"
    ));
    Ok(if torn == 0 && lost == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Keeps the helpers going, one of them by killing it, and draws the screen.
fn attend(
    arm: &Arm,
    python: Option<&Python>,
    end: Instant,
    stop: impl Fn() -> bool,
) -> Result<(u32, Option<python::Report>), Box<dyn std::error::Error>> {
    let mut screen = screen::Screen::new();
    let mut controller = python.map(Python::controller).transpose()?;
    let mut victim = python.map(Victim::start).transpose()?;
    let mut next_picture = Instant::now() + screen.interval();
    while Instant::now() < end && !stop() {
        std::thread::sleep(TICK);
        let versions = arm.versions()?;
        if let (Some(python), Some(victim)) = (python, &mut victim) {
            victim.kill_if_due(python, versions[2])?;
        }
        if controller.as_mut().is_some_and(Controller::has_ended) {
            break;
        }
        if Instant::now() >= next_picture {
            next_picture += screen.interval();
            screen.draw(
                &arm.view(),
                versions,
                victim.as_ref().map_or(0, |victim| victim.kills),
            );
        }
    }
    let kills = victim.map_or(0, |victim| victim.kills);
    let report = controller.map(Controller::end).transpose()?;
    Ok((kills, report))
}

/// The process that is killed and started again.
struct Victim {
    child: Child,
    kills: u32,
    /// The latest version when it was started.
    since: u64,
    due: Instant,
}

impl Victim {
    fn start(python: &Python) -> std::io::Result<Victim> {
        let due = Instant::now() + Duration::from_secs(1);
        Ok(Victim {
            child: python.telemetry()?,
            kills: 0,
            since: 0,
            due,
        })
    }

    /// Kills it when a second is over and it is writing, and starts it again.
    fn kill_if_due(&mut self, python: &Python, version: u64) -> std::io::Result<()> {
        if Instant::now() < self.due || version == self.since {
            return Ok(());
        }
        self.end();
        self.kills += 1;
        self.since = version;
        self.due += Duration::from_secs(1);
        self.child = python.telemetry()?;
        Ok(())
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.end();
    }
}

/// A line for whoever still listens: a closed pipe does not end the demo.
fn say(text: &str) {
    let _ = crate::output::line(text);
}

/// Removes what demos left behind that were killed themselves.
fn remove_leftovers(everywhere: &Place) {
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
            let _ = VariableOptions::new()
                .place(place)
                .adopt_size()
                .remove_if_unused(subject.name());
        }
    }
}
