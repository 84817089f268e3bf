//! Child processes of the tests: what one does is its first argument.

#[path = "child/acting.rs"]
mod acting;
#[path = "child/calling.rs"]
mod calling;
#[path = "child/forking.rs"]
mod forking;
#[path = "child/hostile.rs"]
mod hostile;
#[path = "child/pairing.rs"]
mod pairing;
#[path = "child/participants.rs"]
mod participants;
#[path = "child/quiet.rs"]
mod quiet;
#[path = "child/scribbling.rs"]
mod scribbling;
#[path = "child/truncation.rs"]
mod truncation;
#[path = "child/visiting.rs"]
mod visiting;
#[path = "child/writing.rs"]
mod writing;

use robot_ipc::{HostVariable, VariableOptions};

/// The size of the values that are written here.
const SIZE: usize = 4096;

fn main() {
    support::system::die_with_parent();
    support::system::end_at_panic();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((role, rest)) = arguments.split_first() else {
        eprintln!("for tests only: the first argument is what to do");
        std::process::exit(2);
    };
    match *role {
        "write-forever" => writing::write_forever(rest),
        "write-exclusively" => writing::write_exclusively(rest),
        "write-when-told" => writing::write_when_told(rest),
        "stop-in-write" => writing::stop_in_write(rest),
        "stop-in-recovery" => writing::stop_in_recovery(rest),
        "hold" => writing::hold(rest),
        "write-threads" => writing::write_threads(rest),
        "read-threads" => writing::read_threads(rest),
        "count-up" => writing::count_up(rest),
        "wait-forever" => writing::wait_forever(rest),
        "open-when-told" => acting::open_when_told(),
        "stop-in-slow-path" => acting::stop_in_slow_path(rest),
        "fill-directory" => hostile::fill_directory(),
        "open-mutated" => hostile::open_mutated(rest),
        "call-mutated" => hostile::call_mutated(rest),
        "use-mutated" => hostile::use_mutated(rest),
        "scribble" => scribbling::scribble(rest),
        "open-shared" => hostile::open_shared(rest),
        "pair" => pairing::pair(rest),
        "participants" => participants::participants(rest),
        "fork-uses-handle" => forking::uses_handle(),
        "fork-drops-guards" => forking::drops_guards(),
        "fork-stress" => forking::stress(rest),
        "fork-and-idle" => forking::idle(rest),
        "repeat" => quiet::repeat(rest),
        "have-open" => quiet::have_open(rest),
        "make-no-calls" => quiet::make_no_calls(rest),
        "interrupt-in-write" => quiet::interrupt_in_write(),
        "serve-forever" => calling::serve_forever(rest),
        "call-many" => calling::call_many(rest),
        "call-forever" => calling::call_forever(rest),
        "call-the-mortal" => calling::call_the_mortal(rest),
        "act-in-call" => calling::act_in_call(rest),
        "call-one-way" => calling::call_one_way(rest),
        "hoard-one" => calling::hoard_one(rest),
        "hoard" => calling::hoard(rest),
        "visit" => visiting::visit(rest),
        "call-after-fork" => calling::call_after_fork(rest),
        "be-cut" => truncation::be_cut(rest),
        "serve-three" => truncation::serve_three(rest),
        "cut-in-the-middle" => truncation::cut_in_the_middle(rest),
        "cut-at-each-step" => truncation::cut_at_each_step(),
        "map-and-cut" => truncation::map_and_cut(rest),
        "foreign-fault" => truncation::foreign_fault(rest),
        "use-regrown" => truncation::use_regrown(),
        unknown => {
            eprintln!("there is no role '{unknown}'");
            std::process::exit(2);
        }
    }
}

/// Opens `name` with default options.
fn open(name: &str) -> HostVariable {
    open_with(VariableOptions::new(), name)
}

fn open_with(options: VariableOptions, name: &str) -> HostVariable {
    options.open(name).unwrap_or_else(|error| panic!("{error}"))
}

/// A number among the arguments.
fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("'{text}' is not a number"))
}

/// The next line of the standard input; `None` at its end.
fn hear() -> Option<String> {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim().to_owned()),
    }
}

/// What a process does when it reaches a step.
#[derive(Clone, Copy, Debug)]
enum Act {
    Stop,
    Kill,
}

impl Act {
    fn from(text: &str) -> Act {
        match text {
            "stop" => Act::Stop,
            "kill" => Act::Kill,
            _ => panic!("'{text}' is neither 'stop' nor 'kill'"),
        }
    }

    fn now(self) {
        match self {
            Act::Stop => support::system::stop_here(),
            Act::Kill => support::system::die_here(),
        }
    }
}
