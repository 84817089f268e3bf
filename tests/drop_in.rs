//! Programs of the earlier C library: written against its interface (`tests/c/drop_in.c`),
//! linked to the shared and to the static library of this build, alone, with each other
//! and with Rust.

use robot_ipc::{Encoding, FunctionOptions, HostFunctionDispatcher};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::compiler::{Program, compile, output, strict};
use support::process::{Partner, State};
use support::{Kept, Scratch, eventually, library, workspace};

const HANG: Duration = Duration::from_secs(60);

fn program(static_library: bool) -> Option<Program> {
    compile(&workspace().join("tests/c/drop_in.c"), static_library)
}

fn start(program: &Program, scratch: &Scratch, arguments: &[&str]) -> Partner {
    let mut partner = Partner::run(&mut program.command(scratch, arguments));
    partner.expect("ready");
    partner
}

fn options(scratch: &Scratch, argument_size: u64, result_size: u64) -> FunctionOptions {
    FunctionOptions::new()
        .place(scratch.place().clone())
        .max_argument_size(argument_size)
        .max_response_size(result_size)
}

/// Against each function that does something else than its header says: values and their
/// sizes, names, times, responses and their absence, starting, attaching and deleting; and
/// against null, stale and foreign handles that crash. By sixteen threads at once, too.
#[test]
fn every_function_does_what_its_header_says() {
    for static_library in [false, true] {
        if let Some(program) = program(static_library) {
            for part in ["variable", "threads", "functions"] {
                assert_eq!(program.run(&[part]), "", "{part}");
            }
        }
    }
}

/// Against a shared variable that is another one in C than in Rust, and against bytes that
/// C makes look like another encoding's.
#[test]
fn a_variable_shared_with_rust() {
    let Some(program) = program(false) else {
        return;
    };
    let scratch = Scratch::new();
    let variable = scratch.options().max_size(8).open("shared").expect("open");
    for (bytes, encoding) in [
        (&b"\x01\x02\x03"[..], Encoding::RAW),
        (b"\x04\x05\x06\x07\x08\x09\x0a\x0b", Encoding::PICKLE),
        (b"", Encoding::UNSPECIFIED),
    ] {
        variable.write_encoded(bytes, encoding).expect("write");
        let mut expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        expected.extend(std::iter::repeat_n('0', 16 - expected.len()));
        let found = program.run_in(&scratch, &["get", "/shared", "8"]);
        assert_eq!(found.trim_end(), expected);
    }
    let _ = program.run_in(&scratch, &["put", "/shared", "8", "42", "5"]);
    let (value, sample) = variable.sample().expect("read");
    assert_eq!(
        (&value[..], sample.encoding),
        (&[42; 5][..], Encoding::UNSPECIFIED)
    );
}

/// Against arguments of Rust that are shorter than C's, and results that are: C reads
/// beyond them.
#[test]
fn functions_shared_with_rust() {
    let Some(program) = program(false) else {
        return;
    };
    let scratch = Scratch::new();
    // From Rust to C: byte i of the result is byte i of the arguments plus i.
    let mut server = start(&program, &scratch, &["serve", "c", "6", "6"]);
    let to_c = options(&scratch, 6, 6).open("c").expect("open");
    for arguments in [&[9; 6][..], &[1, 1], &[]] {
        let answer = to_c.call_within(arguments, HANG).expect("an answer");
        let answer = answer.expect("a result");
        let mut expected = arguments.to_vec();
        expected.resize(6, 0);
        (0..6).for_each(|index| expected[index] += index as u8);
        assert_eq!(
            (answer.bytes, answer.encoding),
            (expected, Encoding::UNSPECIFIED)
        );
    }
    server.finish();
    // From C to Rust.
    let dispatcher = HostFunctionDispatcher::new(3).expect("a dispatcher");
    let options = options(&scratch, 4, 8);
    let add = |name: &str, reply: fn(&[u8]) -> Result<Vec<u8>, String>| {
        dispatcher.add_with(&options, name, reply).expect("added");
    };
    add("short", |arguments| Ok(vec![arguments.len() as u8; 3]));
    add("raises", |_| Err("on purpose".to_owned()));
    dispatcher.start().expect("it starts");
    let ask = |name| program.run_in(&scratch, &["ask", name, "4", "8"]);
    assert_eq!(ask("short").trim_end(), "0 0 0404040000000000");
    let raised = ask("raises");
    let expected = format!("202 {} ", libc::EREMOTEIO);
    assert!(raised.starts_with(&expected), "{raised}");
    assert!(raised.contains("on purp"), "{raised}"); // as much as a result has room for
}

/// Against a size at which arguments or results are cut, shifted or mixed up.
#[test]
fn arguments_and_results_of_all_sizes() {
    let Some(program) = program(false) else {
        return;
    };
    let large = (16 << 20).to_string();
    for (argument_size, result_size) in [
        ("1", "1"),
        ("7", "1"),
        ("1", "63"),
        ("64", "4097"),
        ("4095", "4096"),
        ("1000003", "65537"),
        (&large, "1"),
        ("1", &large),
    ] {
        let scratch = Scratch::new();
        let sizes = ["sized", argument_size, result_size];
        let mut server = start(&program, &scratch, &[&["serve"][..], &sizes].concat());
        let calls = [&["call"][..], &sizes, &["1", "2"]].concat();
        assert_eq!(program.run_in(&scratch, &calls), "");
        server.finish();
    }
}

/// Against responses that go to another caller than the one that asked, and against
/// several processes that serve one function.
#[test]
fn callers_get_their_own_responses() {
    let Some(program) = program(false) else {
        return;
    };
    let scratch = Scratch::new();
    let sizes = ["own", "64", "200"];
    let serve = [&["serve"][..], &sizes].concat();
    let servers = [0, 1].map(|_| start(&program, &scratch, &serve));
    let callers: Vec<Kept> = ["17", "4711", "65537"]
        .iter()
        .map(|seed| {
            let arguments = [&["call"][..], &sizes, &[seed, "200"]].concat();
            Kept::start(&mut program.command(&scratch, &arguments))
        })
        .collect();
    for mut caller in callers {
        assert!(caller.succeeds());
    }
    for mut server in servers {
        server.finish();
    }
}

/// Against C programs whose death hangs others, or loses or tears the latest value.
#[test]
fn programs_that_are_killed() {
    let Some(program) = program(false) else {
        return;
    };
    let scratch = Scratch::new();
    let size = 65536;
    let variable = scratch
        .options()
        .max_size(size)
        .open("killed")
        .expect("open");
    let is_whole = || {
        let (value, sample) = variable.sample().expect("whole, whoever dies");
        assert_eq!(value.len() as u64, size);
        assert!(value.chunks(8).all(|word| word == &value[..8]), "torn");
        sample.version
    };
    let size = size.to_string();
    let mut last = 0;
    for round in 0..20 {
        let mut writers = [0, 1].map(|_| start(&program, &scratch, &["scribble", "killed", &size]));
        eventually("the new ones write", || is_whole() > last + round);
        for writer in &mut writers {
            assert_eq!(writer.kill(), State::Killed);
        }
        last = is_whole();
    }
    let _ = program.run_in(&scratch, &["put", "killed", &size, "1", &size]);
    assert_eq!(is_whole(), last + 1);

    // One dies with a call: its caller is told, and the next one serves.
    let mut server = start(&program, &scratch, &["hang", "killed", "4", "4"]);
    let mut caller = Partner::run(&mut program.command(&scratch, &["ask", "killed", "4", "4"]));
    server.expect("hangs");
    server.signal(Signal::KILL);
    let told = caller.hear();
    let expected = format!("203 {} aaaaaaaa", libc::EOWNERDEAD);
    assert!(told.starts_with(&expected), "{told}");
    caller.finish();
    let mut server = start(&program, &scratch, &["serve", "killed", "4", "4"]);
    let answer = program.run_in(&scratch, &["ask", "killed", "4", "4"]);
    assert_eq!(answer.trim_end(), "0 0 00010203");
    server.finish();
}

/// Against a header that needs another one first, or flags that users do not have; and
/// against headers of which only one can be used in a program.
#[test]
fn each_header_can_be_included_alone() {
    let headers = [
        "robot_ipc.h",
        "robot_ipc_constant.h",
        "host_variable.h",
        "host_function_caller.h",
        "host_function_receiver.h",
    ];
    for (compiler, language, standards) in [
        ("gcc", "c", &["c11", "c17"][..]),
        ("clang", "c", &["c11", "c17"]),
        ("g++", "c++", &["c++17", "c++20"]),
        ("clang++", "c++", &["c++17", "c++20"]),
    ] {
        let mut programs: Vec<Vec<&str>> = headers.iter().map(|header| vec![*header]).collect();
        programs.extend([vec!["robot_ipc.h", "ripc.h"], vec!["ripc.h", "robot_ipc.h"]]);
        if language == "c++" {
            programs.extend([vec!["robot_ipc.hpp"], vec!["ripc.h", "robot_ipc.hpp"]]);
        }
        for (included, standard) in programs
            .iter()
            .flat_map(|it| standards.iter().map(move |standard| (it, standard)))
        {
            let mut command = strict(compiler, standard);
            for header in included.iter().chain(&included[..1]) {
                command.args(["-include", header]);
            }
            command.args(["-fsyntax-only", "-x", language, "/dev/null"]);
            let Some(output) = output(&mut command, &format!("the headers with {compiler}")) else {
                break;
            };
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {errors}");
        }
    }
}

/// Against a function that the header declares and the library does not export.
#[test]
fn the_library_exports_every_function() {
    let mut command = Command::new("nm");
    command.args(["-D", "--defined-only"]).arg(library());
    let Some(output) = output(&mut command, "the exported functions") else {
        return;
    };
    let exported = String::from_utf8_lossy(&output.stdout).into_owned();
    let include = workspace().join("platform-linux/include");
    let mut declared = 0;
    for header in ["variable", "function_caller", "function_receiver"] {
        let path = include.join(format!("host_{header}.h"));
        for name in declarations(&path) {
            let is_exported = exported
                .lines()
                .any(|line| line.ends_with(&format!(" T {name}")));
            assert!(is_exported, "{name}");
            declared += 1;
        }
    }
    assert_eq!(declared, 14, "as many as programs know");
    let native = std::fs::read_to_string(include.join("ripc.h")).expect("the native header");
    assert!(
        !native.contains("host_variable("),
        "the native header has others"
    );
}

/// The functions that a header declares: the words before a parenthesis, outside of comments,
/// in lines that begin with a type.
fn declarations(header: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(header).expect("a header");
    let lines = text
        .lines()
        .filter(|line| line.starts_with(|it: char| it.is_alphabetic()));
    let heads = lines.filter(|line| !line.starts_with("typedef") && !line.starts_with("extern"));
    let names = heads.filter_map(|line| line.split_once('(')?.0.rsplit(' ').next());
    names
        .map(|name| name.trim_start_matches('*').to_owned())
        .collect()
}
