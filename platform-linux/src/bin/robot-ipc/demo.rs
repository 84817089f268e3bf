//! `robot-ipc demo`: a control loop in Rust and its helpers in Python, one of
//! which is killed every second while it writes and calls.
//!
//! Everybody checks every value that is read: it has to be of one piece, and to
//! follow from the one before it. Everybody checks every answer to a call: it has to be
//! that of the very call, and to come in time. The demo fails if one does not.
//!
//! | file | what stands there |
//! |---|---|
//! | `arm` | the loop and its variables |
//! | `functions` | the functions of Rust, and calls from Rust |
//! | `calls` | what is counted of calls |
//! | `cleaning` | no demo leaves anything behind |
//! | `python` | the processes of Python |
//! | `screen` | what is shown meanwhile |
//! | `common.py`, `controller.py`, `telemetry.py` | the programs of Python |

// Flags of this process, which signal-hook wants as they are.
#![allow(clippy::disallowed_types)]

mod arm;
mod calls;
mod cleaning;
mod functions;
mod python;
mod screen;

use arm::{Arm, Counts};
use calls::{BOUND, Calls, FUNCTIONS, Tally};
use functions::Callers;
use python::{Controller, Python};
use robot_ipc::codec::Raw;
use robot_ipc::{Place, Reason, TypedVariable, VariableOptions};
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const NAMESPACE_PREFIX: &str = "demo-";
/// The main thread looks around so often.
const TICK: Duration = Duration::from_millis(10);
/// Nobody is killed who has waited for an answer for longer than that: it would hide that
/// none comes.
const SUSPICIOUS: Duration = Duration::from_millis(250);

/// Runs a control loop in Rust, steered and called from Python, with kills in between
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
    cleaning::remove_leftovers(everywhere);
    let namespace = format!("{NAMESPACE_PREFIX}{}", std::process::id());
    let place = everywhere.with_namespace(namespace.as_bytes())?;
    let result = set_up_and_play(arguments, &place, &interrupted);
    cleaning::remove_all(&place);
    result
}

fn set_up_and_play(
    arguments: Demo,
    place: &Place,
    interrupted: &AtomicBool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let options = VariableOptions::new().place(place.clone());
    let arm = Arm::new(&options)?;
    let _dispatcher = functions::serve(place, &arm.orders())?;
    say(&format!(
        "a 1 kHz control loop in Rust, namespace {}, {} s",
        place.namespace(),
        arguments.seconds
    ));
    let python = Python::find(place);
    if let Err(why) = &python {
        say(&format!("without the Python half: {why}"));
    }
    let mut all = Everybody {
        callers: Callers::start(place)?,
        controller: Ledger::open(&options, "calls-controller")?,
        telemetry: Ledger::open(&options, "calls-telemetry")?,
        hung: 0,
    };
    play(&arm, &mut all, python.ok().as_ref(), arguments, interrupted)
}

/// Everything between the opening of the variables and their removal.
fn play(
    arm: &Arm,
    all: &mut Everybody,
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
        let attended = attend(arm, all, python, end, || {
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
    let calls = all.tell()?;
    let Counts {
        written,
        read,
        torn,
        lost,
    } = total;
    let Tally {
        answered,
        mixed,
        hung,
        ..
    } = calls;
    say(&format!(
        "written={written} read={read} torn={torn} lost={lost} kills={kills} \
         calls={answered} mixed={mixed} hung={hung}"
    ));
    Ok(if [torn, lost, mixed, hung] == [0; 4] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Keeps the helpers going, one of them by killing it, and draws the screen.
fn attend(
    arm: &Arm,
    all: &mut Everybody,
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
        let waiting = all.telemetry.waiting()?;
        if waiting.max(all.controller.waiting()?) > 2 * BOUND {
            break;
        }
        if let (Some(python), Some(victim)) = (python, &mut victim)
            && victim.kill_if_due(python, versions[2], waiting)?
        {
            all.telemetry.note_death()?;
        }
        if controller.as_mut().is_some_and(Controller::has_ended) {
            break;
        }
        if Instant::now() >= next_picture {
            next_picture += screen.interval();
            screen.draw(
                &arm.view(),
                versions,
                &all.calls()?.sum(),
                victim.as_ref().map_or(0, |victim| victim.kills),
            );
        }
    }
    // Who calls ends before those who serve.
    let limit = BOUND + SUSPICIOUS;
    let is_stuck = |waiting: Duration| u64::from(waiting > limit);
    while (SUSPICIOUS..=limit).contains(&all.telemetry.waiting()?) {
        std::thread::sleep(TICK);
    }
    all.hung += is_stuck(all.telemetry.waiting()?);
    let kills = victim.map_or(0, |victim| victim.kills);
    all.hung += u64::from(!all.callers.end());
    all.hung += is_stuck(all.controller.waiting()?);
    let report = match controller.map(Controller::end).transpose() {
        // Of which the last line tells.
        Err(why) if all.hung > 0 => {
            say(&why);
            None
        }
        ended => ended?,
    };
    Ok((kills, report))
}

/// All who call, and what they have counted.
struct Everybody {
    callers: Callers,
    controller: Ledger,
    telemetry: Ledger,
    /// So many calls did not even end when their time was over.
    hung: u64,
}

impl Everybody {
    fn calls(&self) -> robot_ipc::Result<Calls> {
        let mut calls = self.python_calls()?;
        calls.add(&self.callers.calls());
        Ok(calls)
    }

    fn python_calls(&self) -> robot_ipc::Result<Calls> {
        let mut calls = self.controller.calls()?;
        calls.add(&self.telemetry.calls()?);
        Ok(calls)
    }

    /// Tells what was counted, and returns it for all calls together.
    fn tell(&self) -> robot_ipc::Result<Tally> {
        let sides = [
            ("Rust", self.callers.calls()),
            ("Python", self.python_calls()?),
        ];
        for (side, calls) in sides {
            for (function, tally) in FUNCTIONS.iter().zip(&calls.0) {
                if tally.begun > 0 {
                    say(&format!(
                        "{function} from {side}: {} answers, {} errors, p50 {:.1?}, p99 {:.1?}, \
                         p99.9 {:.1?}, longest {:.1?}",
                        tally.answered,
                        tally.failed,
                        tally.percentile(0.5),
                        tally.percentile(0.99),
                        tally.percentile(0.999),
                        tally.longest()
                    ));
                }
            }
        }
        if let Some(error) = self.callers.failure() {
            say(&format!("the first error in Rust: {error}"));
        }
        let died = self.telemetry.calls()?.sum().under_way();
        if died > 0 {
            say(&format!(
                "calls under way when their caller was killed: {died}"
            ));
        }
        let mut sum = self.calls()?.sum();
        sum.hung += self.hung;
        Ok(sum)
    }
}

/// What the callers of Python write down, and since when they wait for an answer.
struct Ledger {
    variable: TypedVariable<Raw<Calls>>,
    /// How many calls had begun at the last look, and since when that is so.
    begun: u64,
    since: Instant,
    /// How many were under way when their caller was killed.
    died: u64,
}

impl Ledger {
    fn open(options: &VariableOptions, name: &str) -> robot_ipc::Result<Ledger> {
        let options = options.clone().max_size(size_of::<Calls>() as u64);
        Ok(Ledger {
            variable: options.open_typed(name)?,
            begun: 0,
            since: Instant::now(),
            died: 0,
        })
    }

    fn calls(&self) -> robot_ipc::Result<Calls> {
        match self.variable.read() {
            Err(error) if *error.reason() == Reason::NeverWritten => Ok(Calls::default()),
            read => read,
        }
    }

    /// For how long its caller has been waiting for one and the same answer.
    fn waiting(&mut self) -> robot_ipc::Result<Duration> {
        let sum = self.calls()?.sum();
        if sum.begun != self.begun || sum.under_way() <= self.died {
            self.begun = sum.begun;
            self.since = Instant::now();
        }
        Ok(self.since.elapsed())
    }

    /// Whoever wrote it down is dead: what is under way does not end.
    fn note_death(&mut self) -> robot_ipc::Result<()> {
        self.died = self.calls()?.sum().under_way();
        Ok(())
    }
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

    /// Kills it when a second is over and it is at work, and starts it again. `waiting`
    /// is for how long it has waited for an answer. Returns whether it did.
    fn kill_if_due(
        &mut self,
        python: &Python,
        version: u64,
        waiting: Duration,
    ) -> std::io::Result<bool> {
        if Instant::now() < self.due || version == self.since || waiting > SUSPICIOUS {
            return Ok(false);
        }
        self.end();
        self.kills += 1;
        self.since = version;
        self.due += Duration::from_secs(1);
        self.child = python.telemetry()?;
        Ok(true)
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
