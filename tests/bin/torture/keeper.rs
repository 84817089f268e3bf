//! Who starts the workers, kills them, and watches that nobody hangs.
//!
//! It has one thread and no handle on anything that is tortured. Every process it started is
//! its child, and whatever those fork becomes its child when they die (it is the
//! *subreaper*): so it signals only processes that it has yet to bury, whose ids nobody else
//! can have, and in the end it can bury them all. Should it be killed itself, its workers die
//! with it, and their children find their standard input ended.

use crate::board::{Board, Counts, ROWS};
use crate::fate::Fate;
use crate::message::Plant;
use crate::processes::{children, describe, find_python, signal, stacks};
use crate::report::Deaths;
use crate::table::{self, FUNCTIONS, OBJECTS, VARIABLES, object_name};
use crate::worker::BOARD_VARIABLE;
use robot_ipc::Kind;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};
use std::collections::BTreeSet;
use std::io::{PipeReader, PipeWriter};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::folder::Folder;
use support::{Random, Scratch, library, workspace};

/// Who does not end an operation for so long hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// An object that nobody can use in full for so long is stuck.
const STARVATION: Duration = Duration::from_secs(15);
/// Whoever is at one operation for so long is not killed in it: it may hang.
const SLOW: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_micros(200);
/// Idle children are killed, the oldest first, if there are more.
const MAX_ORPHANS: usize = 20;
/// Nobody is started who forks while so many children of the dead are at work: with more
/// than 24 processes some could not borrow.
const MAX_WORKING_ORPHANS: usize = 6;
/// So many workers are stopped at a time at most.
const MAX_STOPPED: usize = 3;

const RUST_SEATS: [&[&str]; 11] = [
    &["write"],
    &["write"],
    &["read"],
    &["read"],
    &["call"],
    &["call"],
    &["serve"],
    &["serve"],
    &["remove"],
    &["fork"],
    &["open", "hoard"],
];
const PYTHON_SEATS: [&[&str]; 2] = [
    &["write", "read", "call", "fork"],
    &["serve", "remove", "fork"],
];

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) time: Option<Duration>,
    pub(crate) kills: Option<u64>,
    pub(crate) seed: Option<u64>,
    pub(crate) rust_only: bool,
    pub(crate) plant: Option<String>,
}

/// Where a worker sits: which roles are played there, and by whom.
#[derive(Debug)]
struct Seat {
    roles: &'static [&'static str],
    is_python: bool,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    pid: Pid,
    number: u64,
    row: usize,
    role: &'static str,
    is_at_work: bool,
    fate: Fate,
    dies_at: Option<Instant>,
    /// Its progress when its time had come.
    followed_from: Option<u32>,
    stops_at: Option<Instant>,
    stopped_until: Option<Instant>,
    /// It was sent SIGKILL.
    is_doomed: bool,
}

/// A child of a dead worker.
#[derive(Debug)]
struct Orphan {
    pid: Pid,
    since: Instant,
    is_doomed: bool,
}

/// Progress of a row, and since when it has been that.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pid: u32,
    progress: u32,
    since: Instant,
}

pub(crate) struct Keeper {
    plan: Plan,
    random: Random,
    start: Instant,
    board: Board,
    /// Where the objects are, alone.
    place: Folder,
    scratch: Scratch,
    desk: Folder,
    python: Option<PathBuf>,
    input: (PipeReader, PipeWriter),
    seats: Vec<Seat>,
    next_number: u64,
    orphans: Vec<Orphan>,
    /// Rows whose workers are dead, and since when, while a child may use theirs.
    limbo: Vec<(usize, Instant)>,
    seen: Vec<Seen>,
    objects: Vec<(u64, Instant)>,
    looked_at: Instant,
    /// What stood in the rows of those who are gone.
    counts: Counts,
    deaths: Deaths,
    failure: Option<String>,
}

impl Keeper {
    pub(crate) fn new(plan: &Plan, seed: u64) -> Keeper {
        let me = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(me)).expect("any process may be one");
        let place = Folder::new();
        let desk = Folder::new();
        let python = if plan.rust_only { None } else { find_python() };
        let seat = |is_python| {
            move |roles: &&'static [&'static str]| Seat {
                roles,
                is_python,
                worker: None,
            }
        };
        let mut seats: Vec<Seat> = RUST_SEATS.iter().map(seat(false)).collect();
        if python.is_some() {
            seats.extend(PYTHON_SEATS.iter().map(seat(true)));
        }
        let now = Instant::now();
        Keeper {
            plan: plan.clone(),
            random: Random::new(seed),
            start: now,
            board: Board::create(&desk.path().join("board")),
            scratch: Scratch::in_directory(place.path()),
            place,
            desk,
            python,
            input: std::io::pipe().expect("two descriptors"),
            seats,
            next_number: 1,
            orphans: Vec::new(),
            limbo: Vec::new(),
            seen: vec![
                Seen {
                    pid: 0,
                    progress: 0,
                    since: now
                };
                2 * ROWS
            ],
            objects: vec![(0, now); OBJECTS],
            looked_at: now,
            counts: Counts::default(),
            deaths: Deaths::default(),
            failure: None,
        }
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        self.start = Instant::now();
        while !self.is_over() {
            self.bury();
            self.fill_seats();
            self.act();
            if self.looked_at.elapsed() > Duration::from_millis(50) {
                self.looked_at = Instant::now();
                self.look_after_orphans();
                self.look_for_hangs();
            }
            if let Some(failure) = self.failure.take() {
                self.let_them_speak();
                return Err(failure);
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let enough = self
            .plan
            .kills
            .is_some_and(|kills| self.deaths.kills() >= kills);
        enough
            || self
                .plan
                .time
                .is_some_and(|time| self.start.elapsed() >= time)
    }

    /// Whoever has found a fault gets the time to say which.
    fn let_them_speak(&mut self) {
        let start = Instant::now();
        while let Some(row) = (0..2 * ROWS).find(|row| self.board.has_failed(*row)) {
            if start.elapsed() > Duration::from_secs(10) {
                let pid = self.board.pid(row);
                eprintln!("process {pid} does not get it out\n{}", stacks(pid));
                return;
            }
            let workers = self.seats.iter().filter_map(|seat| seat.worker.as_ref());
            workers.for_each(|worker| signal(worker.pid, Signal::CONT));
            std::thread::sleep(Duration::from_millis(1));
            // That empties their rows.
            self.bury();
            self.look_after_orphans();
        }
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    // ------------------------------------------------------------------ start

    fn fill_seats(&mut self) {
        let has_child = |limbo: &&(usize, Instant)| self.board.has_child(limbo.0);
        let is_crowded = self.limbo.iter().filter(has_child).count() >= MAX_WORKING_ORPHANS;
        for index in 0..self.seats.len() {
            let seat = &self.seats[index];
            if seat.worker.is_some() || is_crowded && seat.roles.contains(&"fork") {
                continue;
            }
            let is_used = |row: usize| {
                let sits = |seat: &Seat| seat.worker.as_ref().is_some_and(|other| other.row == row);
                self.seats.iter().any(sits) || self.limbo.iter().any(|(other, _)| *other == row)
            };
            if let Some(row) = (0..ROWS).find(|row| !is_used(*row)) {
                self.seats[index].worker = Some(self.start_worker(index, row));
            }
        }
    }

    // Not kept as a `Child`: it is buried together with all others.
    #[allow(clippy::zombie_processes)]
    fn start_worker(&mut self, seat: usize, row: usize) -> Worker {
        let Seat {
            roles, is_python, ..
        } = self.seats[seat];
        let random = &mut self.random;
        let role = roles[random.below(roles.len() as u64) as usize];
        let fate = Fate::draw(random, is_python);
        let seed = random.next();
        let number = self.next_number;
        self.next_number += 1;
        self.board.clear(row);
        self.board.clear(row + ROWS);
        let mut command = self.command(is_python);
        command.args([role, &number.to_string(), &row.to_string()]);
        command.args([seed.to_string(), fate.fuse.to_string()]);
        let input = self.input.0.try_clone().expect("a descriptor");
        command.stdin(input).stdout(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        self.board.set_pid(row, child.id());
        self.deaths.started(is_python);
        Worker {
            pid: Pid::from_child(&child),
            number,
            row,
            role,
            is_at_work: false,
            fate,
            dies_at: fate.startup.map(|time| Instant::now() + time),
            followed_from: None,
            stops_at: None,
            stopped_until: None,
            is_doomed: false,
        }
    }

    fn command(&self, is_python: bool) -> Command {
        let program = std::env::current_exe().expect("this program is a file");
        let mut command = match self.python.as_ref().filter(|_| is_python) {
            None => {
                let mut command = Command::new(program);
                command.arg("work");
                command
            }
            Some(python) => {
                let mut command = Command::new(python);
                command
                    .arg(workspace().join("tests/torture/worker.py"))
                    .env("TORTURE_TABLE", table::text())
                    .env("ROBOT_IPC_LIBRARY", library())
                    .env("ROBOT_IPC_EXPECTED_BUILD_ID", robot_ipc::build_id::BUILD_ID)
                    .env("PYTHONPATH", workspace().join("python-ctypes"))
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
        };
        command.env_remove(Plant::VARIABLE);
        if let Some(plant) = &self.plan.plant {
            command.env(Plant::VARIABLE, plant);
        }
        command.env(BOARD_VARIABLE, self.desk.path().join("board"));
        self.scratch.enter(&mut command);
        command
    }

    // -------------------------------------------------------------------- act

    /// Kills, stops and continues whoever's time has come.
    fn act(&mut self) {
        let now = Instant::now();
        let is_stopped = |seat: &Seat| {
            let worker = seat.worker.as_ref();
            worker.is_some_and(|worker| worker.stopped_until.is_some())
        };
        let mut stopped = self.seats.iter().filter(|seat| is_stopped(seat)).count();
        for seat in &mut self.seats {
            let Some(worker) = seat.worker.as_mut().filter(|worker| !worker.is_doomed) else {
                continue;
            };
            if self.board.has_failed(worker.row) {
                continue;
            }
            if !worker.is_at_work && self.board.progress(worker.row) > 0 {
                worker.is_at_work = true;
                worker.dies_at.get_or_insert(now + worker.fate.life);
                worker.stops_at = worker.fate.stop.map(|(after, _)| now + after);
            }
            if let Some(until) = worker.stopped_until {
                if now < until {
                    continue;
                }
                // One in four dies without having been continued.
                if self.random.below(4) != 0 {
                    signal(worker.pid, Signal::CONT);
                    worker.stopped_until = None;
                    self.seen[worker.row].since = now;
                    self.seen[worker.row + ROWS].since = now;
                    continue;
                }
            } else if worker.stops_at.is_some_and(|at| at <= now) {
                worker.stops_at = None;
                if stopped < MAX_STOPPED {
                    stopped += 1;
                    signal(worker.pid, Signal::STOP);
                    self.deaths.stops += 1;
                    worker.stopped_until = worker.fate.stop.map(|(_, time)| now + time);
                    continue;
                }
            }
            if worker.stopped_until.is_none() {
                if worker.dies_at.is_none_or(|at| at > now) {
                    continue;
                }
                let progress = self.board.progress(worker.row);
                let seen = self.seen[worker.row];
                let is_slow = progress == seen.progress && now - seen.since > SLOW;
                let from = *worker.followed_from.get_or_insert(progress);
                if from == progress && (worker.fate.is_followed || is_slow) {
                    continue;
                }
            }
            signal(worker.pid, Signal::KILL);
            worker.is_doomed = true;
        }
    }

    /// The children of the dead: they become ours. The oldest idle ones make room.
    fn look_after_orphans(&mut self) {
        let children = children();
        let workers: Vec<Pid> = self
            .seats
            .iter()
            .filter_map(|seat| Some(seat.worker.as_ref()?.pid))
            .collect();
        for pid in children {
            let known =
                workers.contains(&pid) || self.orphans.iter().any(|orphan| orphan.pid == pid);
            if !known {
                self.deaths.orphans += 1;
                self.orphans.push(Orphan {
                    pid,
                    since: Instant::now(),
                    is_doomed: false,
                });
            }
        }
        let mut spare = self.orphans.len().saturating_sub(MAX_ORPHANS);
        for orphan in &mut self.orphans {
            // Some are killed at once, at work or idle.
            let young = orphan.since.elapsed() < Duration::from_millis(100);
            let is_due = spare > 0 || young && self.random.below(20) == 0;
            let pid = orphan.pid.as_raw_nonzero().get() as u32;
            let speaks = |row| self.board.pid(row) == pid && self.board.has_failed(row);
            let is_due = is_due && !(ROWS..2 * ROWS).any(speaks);
            if is_due && !orphan.is_doomed {
                signal(orphan.pid, Signal::KILL);
                orphan.is_doomed = true;
            }
            spare = spare.saturating_sub(1);
        }
        // Rows whose last user is gone.
        let alive: BTreeSet<u32> = self
            .orphans
            .iter()
            .map(|orphan| orphan.pid.as_raw_nonzero().get() as u32)
            .collect();
        let board = &self.board;
        let (done, kept) =
            core::mem::take(&mut self.limbo)
                .into_iter()
                .partition(|(row, since)| {
                    let child = board.pid(row + ROWS);
                    // It may have been forked in the very moment of the kill.
                    let is_over = since.elapsed() > Duration::from_secs(1);
                    !board.has_child(*row) || is_over && (child == 0 || !alive.contains(&child))
                });
        self.limbo = kept;
        let done: Vec<(usize, Instant)> = done;
        for (row, _) in done {
            self.board.add_to(&mut self.counts, row + ROWS);
            self.board.clear(row + ROWS);
        }
    }

    // ------------------------------------------------------------------- bury

    /// Takes leave of all who have ended.
    fn bury(&mut self) {
        while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
            self.bury_one(pid, status);
        }
    }

    fn bury_one(&mut self, pid: Pid, status: WaitStatus) {
        let is_killed = status.terminating_signal() == Some(Signal::KILL.as_raw());
        let sits = |seat: &&mut Seat| seat.worker.as_ref().is_some_and(|worker| worker.pid == pid);
        let Some(seat) = self.seats.iter_mut().find(sits) else {
            // A child of a dead worker: it may end well, or be killed, also by its fuse.
            self.orphans.retain(|orphan| orphan.pid != pid);
            self.deaths.orphan_kills += u64::from(is_killed);
            if !is_killed && status.exit_status() != Some(0) {
                self.fail(format!("a forked child failed: {}", describe(status)));
            }
            return;
        };
        let is_python = seat.is_python;
        let Some(worker) = seat.worker.take() else {
            return;
        };
        let row = worker.row;
        self.board.bury(worker.number);
        let may_be_killed = worker.is_doomed || worker.fate.fuse != 0;
        if is_killed && may_be_killed && !self.board.has_failed(row) {
            self.deaths.killed(
                is_python,
                worker.is_doomed,
                worker.stopped_until.is_some(),
                worker.is_at_work || self.board.progress(row) > 0,
            );
        } else {
            let (role, doing) = (worker.role, self.board.doing(row));
            let language = if is_python { "Python" } else { "Rust" };
            self.fail(format!(
                "the worker '{role}' in {language} (process {}), at {doing}, {}",
                pid.as_raw_nonzero(),
                describe(status)
            ));
        }
        self.board.add_to(&mut self.counts, row);
        self.board.clear(row);
        self.limbo.push((row, Instant::now()));
    }

    // ------------------------------------------------------------------ watch

    /// Fails if somebody makes no progress, or nobody does with some object.
    fn look_for_hangs(&mut self) {
        let now = Instant::now();
        let stopped = |row: usize| {
            let is_stopped = |seat: &Seat| {
                let worker = seat.worker.as_ref();
                worker.is_some_and(|worker| {
                    worker.row == row % ROWS && row < ROWS && worker.stopped_until.is_some()
                })
            };
            self.seats.iter().any(is_stopped)
        };
        for row in 0..2 * ROWS {
            let (pid, progress) = (self.board.pid(row), self.board.progress(row));
            let seen = self.seen[row];
            if self.board.has_failed(row) {
                let doing = self.board.doing(row);
                return self.fail(format!("process {pid} has found a fault, in {doing}"));
            }
            if pid == 0 || pid != seen.pid || progress != seen.progress || stopped(row) {
                self.seen[row] = Seen {
                    pid,
                    progress,
                    since: now,
                };
            } else if now - seen.since > PATIENCE
                && std::fs::exists(format!("/proc/{pid}")).unwrap_or(true)
            {
                let doing = self.board.doing(row);
                let role = self.seats.iter().find_map(|seat| {
                    let worker = seat.worker.as_ref()?;
                    (worker.row == row).then_some(worker.role)
                });
                let what = format!(
                    "process {pid} ('{}') hangs for {:?} in {doing}\n{}",
                    role.unwrap_or("a forked child"),
                    now - seen.since,
                    stacks(pid)
                );
                return self.fail(what);
            }
        }
        let counts = self.all_counts();
        for object in 0..OBJECTS {
            let count = counts.objects[object];
            let (last, since) = self.objects[object];
            if count != last {
                self.objects[object] = (count, now);
            } else if now - since > STARVATION {
                let name = object_name(object);
                return self.fail(format!(
                    "nobody could use '{name}' in full for {:?}, after {count} times",
                    now - since
                ));
            }
        }
    }

    fn all_counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        for row in 0..2 * ROWS {
            self.board.add_to(&mut counts, row);
        }
        counts
    }

    // -------------------------------------------------------------------- end

    /// Kills and buries all but the children that idle: these have to harm nobody.
    pub(crate) fn end_workers(&mut self) {
        let start = Instant::now();
        for seat in &mut self.seats {
            if let Some(worker) = &mut seat.worker {
                signal(worker.pid, Signal::KILL);
                worker.is_doomed = true;
            }
        }
        // Children of the dead become ours only now; those that work have a row.
        while self.seats.iter().any(|seat| seat.worker.is_some()) || !self.limbo.is_empty() {
            self.bury();
            self.look_after_orphans();
            let works = |orphan: &&Orphan| {
                let pid = orphan.pid.as_raw_nonzero().get() as u32;
                (ROWS..2 * ROWS).any(|row| self.board.pid(row) == pid)
            };
            self.orphans
                .iter()
                .filter(works)
                .for_each(|orphan| signal(orphan.pid, Signal::KILL));
            assert!(
                start.elapsed() < PATIENCE,
                "processes that cannot be killed"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills and buries everybody who is left.
    pub(crate) fn end_everybody(&mut self) {
        let start = Instant::now();
        loop {
            self.bury();
            let left = children();
            if left.is_empty() {
                return;
            }
            for pid in left {
                signal(pid, Signal::KILL);
            }
            assert!(
                start.elapsed() < PATIENCE,
                "processes that cannot be killed"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What a fresh process finds, and what is left in the folder: while children of the dead
    /// idle, and again when nobody is left.
    pub(crate) fn inspect_twice(&mut self) -> Result<(), String> {
        let idle = self.orphans.len();
        println!("inspection, while {idle} children of the dead idle, and without them");
        self.inspect()?;
        self.end_everybody();
        self.inspect()
    }

    fn inspect(&mut self) -> Result<(), String> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut command = Command::new(std::env::current_exe().expect("this program is a file"));
        let command = self.scratch.enter(command.arg("inspect"));
        let status = command.status().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("the inspection in the end: {status}"));
        }
        let place = self.scratch.place();
        let file = |kind: Kind, name: &str| {
            let subject = place.subject(kind, name.as_bytes());
            subject.map(|subject| subject.path().to_owned())
        };
        let variables = VARIABLES.iter().map(|kind| file(Kind::Variable, kind.name));
        let functions = FUNCTIONS.iter().map(|kind| file(Kind::Function, kind.name));
        let expected: Result<BTreeSet<PathBuf>, _> = variables.chain(functions).collect();
        let expected = expected.map_err(|error| error.to_string())?;
        let found: BTreeSet<PathBuf> = self.place.files().into_iter().collect();
        if found != expected {
            return Err(format!("{found:?} was left, and not {expected:?}"));
        }
        Ok(())
    }

    pub(crate) fn report(&self) {
        self.deaths.report(self.start.elapsed());
        self.all_counts().report();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for pid in children() {
            signal(pid, Signal::KILL);
        }
    }
}
