//! Each language with each other: one writes what another one reads, and calls what
//! another one serves, as the same struct, in two processes.

use std::process::Command;
use support::compiler::{Program, compile};
use support::process::Partner;
use support::{Scratch, library, skipped, workspace};

/// One side of a pair.
enum Side {
    Compiled(&'static str, Program),
    Python,
    Rust,
}

impl Side {
    fn language(&self) -> &'static str {
        match self {
            Side::Compiled(language, _) => language,
            Side::Python => "Python",
            Side::Rust => "Rust",
        }
    }

    /// It plays `role` with the object `name` in `scratch`.
    fn play(&self, scratch: &Scratch, role: &str, name: &str) -> Command {
        match self {
            Side::Compiled(_, program) => program.command(scratch, &[role, name]),
            Side::Rust => {
                let mut command = scratch.child(env!("CARGO_BIN_EXE_child"), "pair");
                command.args([role, name]);
                command
            }
            Side::Python => {
                let mut command = Command::new("python3");
                scratch
                    .enter(&mut command)
                    .arg(workspace().join("tests/pairs/pairs.py"))
                    .args([role, name])
                    .env("ROBOT_IPC_LIBRARY", library())
                    .env("PYTHONPATH", workspace().join("python-ctypes"))
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
        }
    }
}

/// The languages that this machine has.
fn sides() -> Vec<Side> {
    let mut sides = vec![Side::Rust];
    for (language, file) in [("C", "pairs.c"), ("C++", "pairs.cpp")] {
        let source = workspace().join("tests/pairs").join(file);
        sides.extend(compile(&source, false).map(|program| Side::Compiled(language, program)));
    }
    if Command::new("python3").arg("--version").output().is_ok() {
        sides.push(Side::Python);
    } else {
        skipped("pairs with Python", "there is no python3");
    }
    sides
}

fn succeeds(mut command: Command, what: &str) {
    let output = command.output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {errors}");
}

/// Against bytes that mean one thing to their writer and another one to their reader.
#[test]
fn what_one_language_writes_every_other_reads() {
    let sides = sides();
    let scratch = Scratch::new();
    for writer in &sides {
        let name = writer.language();
        succeeds(writer.play(&scratch, "write", name), name);
        for reader in &sides {
            let what = format!("{} reads what {name} wrote", reader.language());
            succeeds(reader.play(&scratch, "read", name), &what);
        }
    }
}

/// Against arguments and responses that do not cross, in either direction.
#[test]
fn what_one_language_serves_every_other_calls() {
    let sides = sides();
    let scratch = Scratch::new();
    for server in &sides {
        let name = server.language();
        let mut serving = Partner::run(&mut server.play(&scratch, "serve", name));
        serving.expect("ready");
        for caller in &sides {
            let what = format!("{} calls what {name} serves", caller.language());
            succeeds(caller.play(&scratch, "call", name), &what);
        }
        serving.finish();
    }
}
