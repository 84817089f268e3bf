//! One worker: a process of a role, which goes on until it is killed.
//!
//! | role | what it does |
//! |---|---|
//! | write | writes in all ways: also what it has loaned, and if nobody else has written |
//! | read | reads in all ways: waits, borrows, by a read-only handle |
//! | call | calls, one at a time or many, takes calls back, calls one-way |
//! | serve | dispatches some or all functions |
//! | open | opens everything anew each time |
//! | remove | removes what is mortal from the machine |
//! | fork | does all of that and forks: the children idle for life, or go on with its handles |
//! | hoard | borrows and loans as much as there is, calls and never fetches |
//!
//! At the steps of the protocols some workers kill themselves (`fuse`: at which step, counted
//! from the start), and all give way to others now and then.

use crate::board::{Row, now_ms};
use crate::calls::{Asker, Line};
use crate::serving::Server;
use crate::table::Operation;
use crate::variables::{Witness, Writer};
use robot_ipc::testing::{Hook, install};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use support::{Random, system};

/// The environment variable with the board's file.
pub(crate) const BOARD_VARIABLE: &str = "TORTURE_BOARD";
/// How many children that idle a worker has at most.
const MAX_IDLE_CHILDREN: usize = 2;
/// A child's number is its parent's, and how manieth it is times this.
const CHILD_NUMBER: u64 = 1 << 40;

static ROW: OnceLock<Arc<Row>> = OnceLock::new();
static FUSE: AtomicU32 = AtomicU32::new(0);
static STEPS: AtomicU32 = AtomicU32::new(0);
static SEEN_AT: AtomicU32 = AtomicU32::new(0);

/// When the dispatcher of this process last saw a call, which it has taken since.
pub(crate) fn seen_at_ms() -> u32 {
    SEEN_AT.load(Relaxed)
}

/// Some step of some protocol was reached.
fn at_step() {
    let step = STEPS.fetch_add(1, Relaxed) + 1;
    if step == FUSE.load(Relaxed) {
        system::die_here();
    }
    // As good as random, and without a state.
    if step.wrapping_mul(0x9E37_79B9) >> 27 == 0 {
        rustix::thread::sched_yield();
    }
}

fn at_named_step(name: &'static str) {
    if name == "recover: recovered"
        && let Some(row) = ROW.get()
    {
        row.count(Operation::TakeBack);
    }
    if name == "serve: seen" {
        SEEN_AT.store(now_ms(), Relaxed);
    }
    at_step();
}

fn never(_what: &'static str) -> bool {
    false
}

struct Worker {
    row: Arc<Row>,
    random: Random,
    writer: Writer,
    asker: Asker,
    variables: Vec<Witness>,
    lines: Vec<Line>,
    server: Option<Server>,
    idle_children: usize,
    /// The child that works, and how many there have been.
    child: Option<i32>,
    children: u64,
}

/// `ROLE NUMBER ROW SEED FUSE`
pub(crate) fn work(arguments: &[&str]) {
    system::die_with_parent();
    // Before it is printed: who is killed meanwhile would have failed unheard.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(row) = ROW.get() {
            row.set_failed();
        }
        // Nor by itself.
        FUSE.store(0, Relaxed);
        print(panic);
    }));
    system::end_at_panic();
    let [role, numbers @ ..] = arguments else {
        panic!("a role is missing")
    };
    let numbers: Vec<u64> = numbers
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let [number, row, seed, fuse] = numbers[..] else {
        panic!("expected ROLE NUMBER ROW SEED FUSE")
    };
    let board = std::env::var(BOARD_VARIABLE).unwrap_or_else(|_| panic!("{BOARD_VARIABLE}"));
    let row = ROW.get_or_init(|| Arc::new(Row::open(&board, row as usize)));
    FUSE.store(fuse as u32, Relaxed);
    install(Hook {
        step: at_named_step,
        forced: never,
    });
    let mut worker = Worker::new(Arc::clone(row), number, seed);
    let has_server = *role == "serve" || *role == "fork" && worker.random.below(3) == 0;
    if has_server {
        worker.server = Some(Server::new(row, &mut worker.random));
    }
    loop {
        worker.act(role);
    }
}

impl Worker {
    fn new(row: Arc<Row>, number: u64, seed: u64) -> Worker {
        let mut random = Random::new(seed);
        Worker {
            row,
            writer: Writer {
                number,
                sequence: 0,
                random: Random::new(random.next()),
            },
            asker: Asker {
                number,
                sequence: 0,
                random: Random::new(random.next()),
            },
            random,
            variables: Witness::all(),
            lines: Line::all(),
            server: None,
            idle_children: 0,
            child: None,
            children: 0,
        }
    }

    fn act(&mut self, role: &str) {
        match role {
            "write" => self.write(),
            "read" => self.read(),
            "call" => self.call(),
            "serve" => {
                let server = self.server.as_mut().expect("it has one");
                server.serve(&mut self.random);
            }
            "open" => self.open(),
            "remove" => self.remove(),
            "fork" => self.fork(),
            "hoard" => self.hoard(),
            unknown => panic!("there is no role '{unknown}'"),
        }
    }

    fn any(random: &mut Random, count: usize) -> usize {
        random.below(count as u64) as usize
    }

    fn variable(&mut self) -> &mut Witness {
        let index = Worker::any(&mut self.random, self.variables.len());
        &mut self.variables[index]
    }

    fn write(&mut self) {
        let index = Worker::any(&mut self.random, self.variables.len());
        self.variables[index].write(&self.row, &mut self.writer, &|_| at_step());
    }

    fn read(&mut self) {
        let index = Worker::any(&mut self.random, self.variables.len());
        let (variable, row) = (&mut self.variables[index], &self.row);
        match self.random.below(8) {
            0 => variable.look(row, &mut self.random),
            1 => variable.wait(row, &mut self.random),
            2 | 3 => variable.borrow(row, &mut self.random),
            _ => variable.read(row, &mut self.random),
        }
    }

    fn call(&mut self) {
        let index = Worker::any(&mut self.random, self.lines.len());
        self.lines[index].call(&self.row, &mut self.asker);
    }

    fn open(&mut self) {
        match self.random.below(3) {
            0 => self.write(),
            1 => self.read(),
            _ => self.call(),
        }
        self.variables.iter_mut().for_each(Witness::close);
        self.lines.iter_mut().for_each(Line::close);
    }

    fn remove(&mut self) {
        std::thread::sleep(Duration::from_micros(self.random.below(60_000)));
        self.row.go_on();
        let index = Worker::any(&mut self.random, self.variables.len() + self.lines.len());
        match index.checked_sub(self.variables.len()) {
            None => self.variables[index].remove(&self.row, &mut self.writer),
            Some(index) => self.lines[index].remove(&self.row, &mut self.asker),
        }
    }

    /// Anything but forking and removing.
    fn mingle(&mut self) {
        match self.random.below(5) {
            0 | 1 => self.write(),
            2 => self.read(),
            _ => self.call(),
        }
    }

    fn fork(&mut self) {
        self.look_after_child();
        for _ in 0..self.random.below(20) {
            self.mingle();
        }
        // What is held meanwhile is the parent's alone.
        let row = Arc::clone(&self.row);
        let borrow = self.variable().hold_borrow(&row);
        let loan = self.variable().hold_loan(&row);
        if self.random.below(2) == 0 && self.child.is_none() {
            self.fork_working_child();
        } else if self.idle_children < MAX_IDLE_CHILDREN {
            self.idle_children += 1;
            self.row.count(Operation::Fork);
            system::fork_idle_child();
        }
        self.mingle();
        drop(loan);
        drop(borrow);
    }

    fn fork_working_child(&mut self) {
        self.row.count(Operation::Fork);
        self.row.set_has_child(true);
        self.children += 1;
        let seed = self.random.next();
        let child = system::fork(|| {
            self.row.become_child();
            // Whoever started all of this may be gone without having killed us.
            std::thread::spawn(|| {
                system::wait_for_end_of_input();
                system::die_here();
            });
            let number = self.writer.number + self.children * CHILD_NUMBER;
            (self.writer.number, self.writer.sequence) = (number, 0);
            (self.asker.number, self.asker.sequence) = (number, 0);
            self.random = Random::new(seed);
            self.lines.iter_mut().for_each(Line::forget_withdrawn);
            for _ in 0..self.random.below(300) {
                self.mingle();
            }
            0
        });
        self.child = Some(child);
    }

    /// The end of a child that worked: it ended well, or was killed.
    fn look_after_child(&mut self) {
        let Some(child) = self.child else {
            return;
        };
        let Ok(Some((_, status))) = waitpid(Pid::from_raw(child), WaitOptions::NOHANG) else {
            return;
        };
        let ended_well = status.exit_status() == Some(0) || status.terminating_signal() == Some(9);
        assert!(ended_well, "a forked child failed: {status:?}");
        self.child = None;
        self.row.set_has_child(false);
    }

    fn hoard(&mut self) {
        let row = Arc::clone(&self.row);
        if self.random.below(2) == 0 {
            let index = Worker::any(&mut self.random, self.lines.len());
            self.lines[index].hoard(&row, &mut self.asker);
            return;
        }
        let index = Worker::any(&mut self.random, self.variables.len());
        let variable = &mut self.variables[index];
        let mut borrows = Vec::new();
        let mut loans = Vec::new();
        for _ in 0..self.random.below(16) {
            if self.random.below(2) == 0 {
                borrows.extend(variable.hold_borrow(&row));
            } else {
                loans.extend(variable.hold_loan(&row));
            }
        }
        std::thread::sleep(Duration::from_micros(self.random.below(10_000)));
        for (borrow, bytes) in &borrows {
            variable.check_held(borrow, bytes);
        }
    }
}
