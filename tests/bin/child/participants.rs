//! Roles with many processes.

use crate::{number, open_with};
use robot_ipc::{Reason, VariableOptions};
use support::system;

/// `NAME COUNT WHAT`: forks so many processes, one after the other, each of
/// which writes or borrows, says how that went and its process id, and keeps
/// what it has until the input ends.
pub(crate) fn participants(arguments: &[&str]) {
    let (name, count, what) = (arguments[0], number(arguments[1]), arguments[2]);
    let variable = open_with(VariableOptions::new().adopt_size(), name);
    for _ in 0..count {
        system::fork(|| {
            let pid = std::process::id();
            let mut borrow = None;
            let done = match what {
                "write" => variable.write(b"here").map(drop),
                _ => variable.borrow().map(|borrowed| borrow = Some(borrowed)),
            };
            match done {
                Ok(()) => println!("ok {pid}"),
                Err(error) => match error.reason() {
                    Reason::TooManyBorrowers => println!("TooManyBorrowers {pid}"),
                    Reason::TooManyParticipants => println!("TooManyParticipants {pid}"),
                    _ => println!("{error}"),
                },
            }
            system::wait_for_end_of_input();
            drop(borrow);
            0
        });
    }
    system::wait_for_end_of_input();
}
