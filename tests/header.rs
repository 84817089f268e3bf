//! The committed C header is what the Rust sources say, and C compilers accept
//! it.

use std::process::Command;
use support::{skipped, workspace};

const NOTE: &str = "\
/* The native C interface of robot-ipc.
 *
 * Generated from platform-linux/src/ffi; do not edit. After a change there:
 *     ROBOT_IPC_BLESS=1 cargo test -p robot-ipc-tests --test header
 */";

fn generated() -> String {
    let folder = workspace().join("platform-linux/src");
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(NOTE.to_owned()),
        include_guard: Some("RIPC_H".to_owned()),
        cpp_compat: true,
        documentation_style: cbindgen::DocumentationStyle::C99,
        usize_is_size_t: true,
        style: cbindgen::Style::Both,
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        line_length: 90,
        sort_by: cbindgen::SortKey::None,
        ..cbindgen::Config::default()
    };
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(folder.join("ffi.rs"))
        .with_src(folder.join("ffi/status.rs"))
        .with_src(folder.join("ffi/variable.rs"))
        .with_src(folder.join("ffi/in_place.rs"))
        .with_src(folder.join("ffi/exclusive.rs"))
        .with_src(folder.join("ffi/caller.rs"))
        .with_src(folder.join("ffi/dispatcher.rs"))
        .with_src(folder.join("ffi/prepared.rs"))
        .generate()
        .expect("the sources are parsed");
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).expect("text");
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .map(|line| {
            if line == "// # Safety" {
                "// The caller promises:"
            } else {
                line
            }
        })
        .collect();
    lines.join("\n") + "\n"
}

/// Against a header that tells C something else than the library does.
#[test]
fn the_committed_header_is_the_generated_one() {
    let path = workspace().join("platform-linux/include/ripc.h");
    let generated = generated();
    if std::env::var_os("ROBOT_IPC_BLESS").is_some() {
        std::fs::write(&path, &generated).expect("the header can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is not what the sources say; set ROBOT_IPC_BLESS=1 and run this test again",
        path.display()
    );
}

/// Against a header that only our own compiler flags accept.
#[test]
fn c_and_cpp_compilers_accept_the_header() {
    let strict = [
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-fsyntax-only",
        "-I",
    ];
    let include = workspace().join("platform-linux/include");
    for (compiler, language, standard) in [
        ("gcc", "c", "-std=c11"),
        ("clang", "c", "-std=c11"),
        ("g++", "c++", "-std=c++17"),
        ("clang++", "c++", "-std=c++17"),
    ] {
        let mut command = Command::new(compiler);
        command
            .args(strict)
            .arg(&include)
            .args([standard, "-include", "ripc.h", "-x", language]);
        match command.arg("/dev/null").output() {
            Ok(output) => assert!(
                output.status.success(),
                "{compiler}: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(_) => skipped(
                &format!("the header with {compiler}"),
                "it is not installed",
            ),
        }
    }
}
