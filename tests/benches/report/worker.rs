//! Another process that works when it is told to.
//!
//! It is this very program in a role, or a peer's. It reads lines of words, and answers each
//! with a line of figures. To let two processes work at the same time, a line carries the
//! time at which to start, by the clock that they share.

use crate::Context;
use crate::pace::now;
use std::cell::RefCell;
use std::io::BufRead;
use std::process::Command;
use support::process::Partner;

/// A process that works when it is told to. It ends when this is dropped, and with us.
pub(crate) struct Worker(RefCell<Partner>);

impl Worker {
    /// Starts this program in a role, on a processor.
    pub(crate) fn start(context: &Context, role: &str, core: usize, arguments: &[&str]) -> Worker {
        let this = std::env::current_exe().expect("this bench is a file");
        let mut command = Command::new(this);
        command
            .args(["role", role, &core.to_string()])
            .args(arguments);
        Worker::run(context.scratch.enter(&mut command))
    }

    /// Starts another program.
    pub(crate) fn run(command: &mut Command) -> Worker {
        Worker(RefCell::new(Partner::run(command)))
    }

    /// Tells it what to do.
    pub(crate) fn say(&self, line: &str) {
        self.0.borrow_mut().say(line);
    }

    /// The figures that it answers; none if it says that it failed, which is told.
    pub(crate) fn hear(&self) -> Vec<f64> {
        let line = self.0.borrow_mut().hear();
        if let Some(error) = line.strip_prefix("error ") {
            println!("  failed: {error}");
            return Vec::new();
        }
        let figures = line.split_whitespace().map(|word| {
            let figure = word.parse();
            figure.unwrap_or_else(|_| panic!("expected figures, heard {line:?}"))
        });
        figures.collect()
    }

    /// Both.
    pub(crate) fn ask(&self, line: &str) -> Vec<f64> {
        self.say(line);
        self.hear()
    }
}

/// When processes start that are told now to work at the same time.
pub(crate) fn soon() -> u64 {
    now() + 1_000_000
}

/// The worker's side: does what each line says, and answers with its figures.
pub(crate) fn serve(mut work: impl FnMut(&[&str]) -> Vec<f64>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let figures: Vec<String> = work(&words).iter().map(f64::to_string).collect();
        println!("{}", figures.join(" "));
    }
}
