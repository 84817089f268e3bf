//! C++ programs of the earlier library (`tests/c/drop_in.cpp`), with each compiler and
//! standard that there is, and programs that must not compile.

use std::io::Write;
use std::process::Stdio;
use support::compiler::{compile, compile_with, output, strict};
use support::workspace;

const COMPILERS: [&str; 2] = ["g++", "clang++"];
const STANDARDS: [&str; 2] = ["c++17", "c++20"];

/// Against a wrapper that loses, doubles or leaks a handle, throws nothing, hands over
/// other bytes than it was given, or passes what cannot be shared.
#[test]
fn a_program_of_every_class() {
    let source = workspace().join("tests/c/drop_in.cpp");
    if let Some(program) = compile(&source, true) {
        assert_eq!(program.run(&[]), "done\n");
    }
    for (compiler, standard) in pairs() {
        if let Some(program) = compile_with(compiler, standard, &source, false) {
            assert_eq!(program.run(&[]), "done\n", "{compiler} {standard}");
        }
    }
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let with = |compiler| STANDARDS.map(|standard| (compiler, standard));
    COMPILERS.into_iter().flat_map(with)
}

/// What `compiler` says of a function with `body`; `None` if it says nothing against it.
fn errors(compiler: &str, standard: &str, body: &str) -> Option<String> {
    let text = format!(
        "#include <robot_ipc.hpp>\n\
         using namespace RobotIPC;\n\
         struct Plain {{ int number; }};\n\
         struct Virtual {{ virtual void go() {{}} }};\n\
         struct Destructor {{ int number; ~Destructor() {{}} }};\n\
         struct Copier {{ Copier(const Copier &) {{}} int number; }};\n\
         struct Wide {{ alignas(128) char letter; }};\n\
         inline void use() {{ {body} }}\n"
    );
    let mut command = strict(compiler, standard);
    command.args(["-fsyntax-only", "-x", "c++", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it ran a moment ago");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(text)
}

/// Against types that cannot be shared and are, with a crash or garbage at the other side;
/// and against an error at which nobody sees why.
#[test]
fn what_cannot_be_shared_does_not_compile() {
    let pointer = "a pointer means nothing in another process";
    let layout = "has to have standard layout";
    let copyable = "has to be trivially copyable";
    let destructible = "has to be trivially destructible";
    let refused = [
        ("HostVariable<int *> it(\"\");", pointer),
        ("HostVariable<const char *[2]> it(\"\");", pointer),
        ("HostVariable<Virtual> it(\"\");", layout),
        ("HostVariable<std::string> it(\"\");", copyable),
        ("HostVariable<Copier> it(\"\");", copyable),
        ("HostVariable<Destructor> it(\"\");", destructible),
        ("HostFunctionCaller<int(char *)> it(\"\");", pointer),
        ("HostFunctionCaller<int *(Plain)> it(\"\");", pointer),
        ("HostFunctionCaller<Virtual(Plain)> it(\"\");", layout),
        ("HostFunctionCaller<Plain(std::string)> it(\"\");", copyable),
        (
            "HostFunctionDispatcher it; it.attach(\"\", (int *(*)(std::string *))nullptr);",
            copyable,
        ),
        (
            "HostFunctionDispatcher it; it.attach(\"\", (int **(*)(Plain *))nullptr);",
            pointer,
        ),
        (
            "HostFunctionDispatcher it; it.attach(\"\", (int *(*)(Wide *))nullptr);",
            "arguments are aligned to 64 bytes",
        ),
        ("validate_memory_layout<Virtual>();", layout),
        ("HostVariable<Plain> it(\"\"), copy(it);", "delete"),
        (
            "HostVariable<Plain> it(\"\"), other(\"\"); it = other;",
            "delete",
        ),
        ("HostFunctionCaller<int(int)> it(\"\"), copy(it);", "delete"),
        ("HostFunctionDispatcher it, copy(it);", "delete"),
        (
            "HostVariable<Plain> it(\"\"); it.write(1.5);",
            "const Plain",
        ),
    ];
    let accepted = [
        "HostVariable<Plain> it(\"\"); it.write(Plain{1});",
        "HostFunctionCaller<Plain(int)> it(\"\"); it(1);",
        "HostFunctionDispatcher it; it.attach(\"\", (int *(*)(Plain *))nullptr);",
        "static_assert(validate_memory_layout<Plain>(), \"\");",
    ];
    // One standard each: all pairs would take half a minute.
    for (compiler, standard) in COMPILERS.into_iter().zip(STANDARDS) {
        let mut probe = strict(compiler, standard);
        let what = format!("the checks at compile time, with {compiler}");
        if output(probe.arg("--version"), &what).is_none() {
            continue;
        }
        for body in accepted {
            assert_eq!(errors(compiler, standard, body), None, "{body}");
        }
        for (body, expected) in refused {
            let said = errors(compiler, standard, body);
            let said = said.unwrap_or_else(|| panic!("{compiler} {standard} accepts: {body}"));
            assert!(
                said.contains(expected),
                "{compiler} {standard}: {body}\n{said}"
            );
        }
        let template = "auto call = [](IPCSafeType auto it) { return it; }; call(std::string());";
        if standard == "c++20" {
            let said = errors(compiler, standard, template).expect("a constraint");
            assert!(said.contains("IPCSafeType"), "{said}");
        }
    }
}
