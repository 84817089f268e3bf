//! Processes that fork while they use variables.

use robot_ipc::testing::taken_slots;
use support::process::{Partner, State};
use support::{Scratch, open};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn run(arguments: &[&str]) {
    let scratch = Scratch::new();
    Partner::start(&scratch, CHILD, arguments).finish();
}

/// Against a child that acts as its parent, or that loses its handle.
#[test]
fn a_child_is_a_participant_of_its_own() {
    run(&["fork-uses-handle"]);
}

/// Against a child that lets go of what its parent has borrowed and loaned.
#[test]
fn a_child_that_drops_inherited_guards_changes_nothing() {
    run(&["fork-drops-guards"]);
}

/// Against locks that a child inherits locked.
#[test]
fn forks_in_the_middle_of_everything_end_in_no_deadlock() {
    run(&["fork-stress", "100"]);
}

/// Against a dead parent that its child keeps alive.
#[test]
fn a_dead_parent_is_dead_though_its_child_lives() {
    let scratch = Scratch::new();
    let mut parent = Partner::start(&scratch, CHILD, &["fork-and-idle", "v"]);
    let child = parent.number("child");
    let variable = open(&scratch, "v");
    assert_eq!(
        variable.census().expect("it exists").participants,
        [parent.pid()]
    );
    assert_eq!(taken_slots(&variable), 2);
    assert_eq!(parent.kill(), State::Killed);
    let living = std::fs::metadata(format!("/proc/{child}")).is_ok();
    assert!(
        living,
        "the child has ended with its parent: nothing was tested"
    );
    assert_eq!(variable.census().expect("it exists").participants, [0; 0]);
    variable.write(b"after").expect("a new writer");
    assert_eq!(taken_slots(&variable), 0);
    assert_eq!(
        variable.census().expect("it exists").participants,
        [std::process::id()]
    );
    assert!(
        std::fs::metadata(format!("/proc/{child}")).is_ok(),
        "it has to live until here"
    );
}
