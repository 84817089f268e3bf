//! The C interface, from C programs: the example of the documentation, and each
//! function with what goes wrong, linked to the shared and to the static library.

use std::process::Command;
use support::compiler::compile;
use support::{Kept, Scratch, library, skipped, workspace};

/// Against a C interface that differs from the Rust one, or crashes its caller.
#[test]
fn every_function_from_c() {
    let sources = ["tests/c/native.c", "tests/c/functions.c"];
    for (source, static_library) in sources.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        if let Some(program) = compile(&workspace().join(source), static_library) {
            let text = program.run(&[]);
            let build = robot_ipc::build_id::BUILD_ID;
            assert!(
                text.trim_end().ends_with(build),
                "linked to another build: {text}"
            );
        }
    }
}

/// Against a deadlock with fork handlers of the program's own, registered before
/// its first variable is opened: those that take a lock under which another
/// thread opens variables, and one that opens a variable in the child.
#[test]
fn a_program_with_fork_handlers_of_its_own() {
    let source = workspace().join("tests/c/fork_handlers.c");
    for static_library in [false, true] {
        if let Some(program) = compile(&source, static_library) {
            for part in ["lock", "child"] {
                assert_eq!(program.run(&[part]), "done\n", "{part}");
            }
        }
    }
}

/// Against an example that does not work any more.
#[test]
fn the_example_runs() {
    if let Some(program) = compile(&workspace().join("platform-linux/examples/pose.c"), false) {
        assert_eq!(
            program.run(&[]),
            "version 1: 1.5 -2 0.25\nwait: RIPC_TIMED_OUT\n"
        );
    }
}

/// Against an example of a function that nobody can call from another process.
#[test]
fn the_example_of_a_function_runs() {
    let source = workspace().join("platform-linux/examples/divide.c");
    let Some(program) = compile(&source, false) else {
        return;
    };
    let scratch = Scratch::new();
    let start = |arguments: &[&str]| program.command(&scratch, arguments);
    let mut server = Kept::start(&mut start(&["serve"]));
    let call = |divisor: &str| start(&["call", "1", divisor]).output().expect("it starts");
    assert_eq!(call("4").stdout, b"0.25\n");
    let failed = call("0");
    let errors = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        !failed.status.success() && errors.contains("division by zero"),
        "{errors}"
    );
    server.signal(rustix::process::Signal::INT);
    assert!(server.succeeds(), "it stops at Ctrl-C");
}

/// Against a library that programs link to by the path it was built at: the
/// name it gives itself is the one the linker looks for.
#[test]
fn the_shared_library_has_a_soname() {
    match Command::new("readelf").arg("-d").arg(library()).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("soname: [librobot_ipc.so]"), "{text}");
        }
        Err(_) => skipped("the library's SONAME", "readelf is not installed"),
    }
}
