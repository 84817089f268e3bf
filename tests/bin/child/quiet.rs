//! Roles that show what an operation does beside its work: system calls, signals.

use crate::{SIZE, hear, number, open};
use robot_ipc::testing::{Step, write_stepping};
use robot_ipc::{Encoding, FunctionOptions, HostFunctionCaller, HostFunctionDispatcher};
use std::cell::Cell;
use std::time::Duration;
use support::{pattern, system};

/// A system call that can be told from all others in a trace.
fn mark(place: u32) {
    let _ = std::fs::metadata(format!("/robot-ipc-mark-{place}"));
}

/// `OPERATION COUNT`: does it so often with a value of 64 bytes, and nothing else.
pub(crate) fn repeat(arguments: &[&str]) {
    let repeated = repeat_so_often(arguments[0], number(arguments[1]));
    repeated.unwrap_or_else(|error| panic!("{error}"));
}

fn repeat_so_often(operation: &str, count: u64) -> robot_ipc::Result<()> {
    let variable = open("repeated");
    let mut value = [7; 64];
    variable.write(&value)?;
    if let Some(rest) = operation.strip_prefix("exclusive-write") {
        let mut writer = variable.exclusive_writer()?.timestamps(rest.is_empty());
        for _ in 0..count {
            writer.write(&value)?;
        }
        return Ok(());
    }
    for _ in 0..count {
        match operation {
            "read" => drop(variable.read_into(&mut value)?),
            "write" => drop(variable.write(&value)?),
            "borrow" => drop(variable.borrow()?),
            "loan" => drop(variable.loan()?.publish(value.len(), Encoding::RAW)?),
            other => panic!("no operation is called {other}"),
        }
    }
    Ok(())
}

/// `NAMES…`: has so many variables of default size open, each written, read and borrowed once.
pub(crate) fn have_open(names: &[&str]) {
    let variables: Vec<_> = names.iter().map(|name| open(name)).collect();
    for variable in &variables {
        let written = variable.write(&pattern(64, 1));
        written.unwrap_or_else(|error| panic!("{error}"));
        drop(variable.borrow().unwrap_or_else(|error| panic!("{error}")));
        let read = variable.read_into(&mut [0; 64]);
        read.unwrap_or_else(|error| panic!("{error}"));
    }
    println!("ready");
    system::wait_for_end_of_input();
}

/// `NAME COUNT`: between mark 0 and 1 one write; between 1 and 2 COUNT writes;
/// between 2 and 3 COUNT reads of every kind; between 3 and 4 as often the time; between
/// 4 and 5 COUNT calls of a function, served and answered.
pub(crate) fn make_no_calls(arguments: &[&str]) {
    let function = Function::new();
    function.call();
    let variable = open(arguments[0]);
    let count = number(arguments[1]);
    let value = pattern(SIZE, 1);
    let mut buffer = vec![0; SIZE];
    let write = || {
        variable
            .write(&value)
            .unwrap_or_else(|error| panic!("{error}"))
    };
    write();
    variable
        .read_into(&mut buffer)
        .unwrap_or_else(|error| panic!("{error}"));
    variable.age().unwrap_or_else(|error| panic!("{error}"));
    println!("ready");
    hear();
    mark(0);
    write();
    mark(1);
    for _ in 0..count {
        write();
    }
    mark(2);
    for _ in 0..count {
        let sample = variable
            .read_into(&mut buffer)
            .unwrap_or_else(|error| panic!("{error}"));
        let version = variable.version().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(sample.version, version);
        variable
            .age_of(&sample)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    mark(3);
    for _ in 0..count {
        let _ = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    }
    mark(4);
    for _ in 0..count {
        function.call();
    }
    mark(5);
    println!("done");
}

/// A function that this very thread calls and serves.
struct Function {
    dispatcher: HostFunctionDispatcher,
    caller: HostFunctionCaller,
}

impl Function {
    fn new() -> Function {
        let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
        let options = FunctionOptions::new();
        dispatcher
            .add_for_next_call(&options, b"quiet")
            .unwrap_or_else(|error| panic!("{error}"));
        let caller = options.open("quiet");
        Function {
            dispatcher,
            caller: caller.unwrap_or_else(|error| panic!("{error}")),
        }
    }

    fn call(&self) {
        let at_once = Some(Duration::ZERO);
        let failed = |error: robot_ipc::Error| -> ! { panic!("{error}") };
        let pending = self
            .caller
            .call(&[7; 64])
            .unwrap_or_else(|error| failed(error));
        let call = self
            .dispatcher
            .next_call(at_once)
            .unwrap_or_else(|error| failed(error));
        call.reply(&[8; 64], Encoding::RAW)
            .unwrap_or_else(|error| failed(error));
        let mut buffer = [0; 64];
        pending
            .wait_into(&mut buffer, at_once)
            .unwrap_or_else(|error| failed(error));
        assert_eq!(buffer, [8; 64]);
    }
}

/// Is interrupted in the middle of a write; says how often the handler had run
/// right after that, at the end of the section, and after the write.
pub(crate) fn interrupt_in_write() {
    system::count_interrupts();
    let variable = open("interrupted");
    variable
        .write(b"first")
        .unwrap_or_else(|error| panic!("{error}"));
    let (at_once, at_end) = (Cell::new(99), Cell::new(99));
    let written = write_stepping(&variable, &[1; SIZE], Encoding::RAW, &|step| match step {
        Step::Busy => {
            system::interrupt_here();
            at_once.set(system::interrupts());
        }
        Step::Woken => at_end.set(system::interrupts()),
        _ => {}
    });
    written.unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{} {} {}",
        at_once.get(),
        at_end.get(),
        system::interrupts()
    );
}
