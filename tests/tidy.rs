//! Rules of style that a machine can check.

use std::path::{Path, PathBuf};
use support::workspace;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with(".git") {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Against promises in ARCHITECTURE.md whose tests were renamed or removed.
#[test]
fn every_test_that_is_said_to_show_a_promise_exists() {
    let architecture = text(&workspace().join("ARCHITECTURE.md"));
    let (_, table) = architecture
        .split_once("## What shows it")
        .expect("a section with that head");
    let mut named = 0;
    for (file, test) in table.split('`').filter_map(|word| word.split_once("::")) {
        let (places, definition) = match file {
            "file" => continue, // how to read the table
            _ if test.is_empty() => continue,
            "models" | "core" => (files(&workspace().join("core/src"), "rs"), "fn"),
            "command" => (files(&workspace().join("platform-linux/tests"), "rs"), "fn"),
            file if file.ends_with(".py") => {
                let place = workspace().join("python-ctypes/tests").join(file);
                (vec![place], "def")
            }
            file => {
                let place = workspace().join("tests").join(file).with_extension("rs");
                (vec![place], "fn")
            }
        };
        let definition = format!("{definition} {test}(");
        let exists = places.iter().any(|place| text(place).contains(&definition));
        assert!(exists, "there is no {file}::{test}");
        named += 1;
    }
    assert!(named > 50, "only {named} tests were found in the table");
}

/// Against a build id that stays the same when a source changes.
#[test]
fn every_source_of_the_library_is_in_its_build_id() {
    for package in ["core", "platform-linux"] {
        let folder = workspace().join(package).join("src");
        let listed = text(&folder.join("build_id.rs"));
        for file in files(&folder, "rs") {
            let name = file
                .strip_prefix(&folder)
                .expect("inside")
                .display()
                .to_string();
            let test_only =
                name.contains("tests") || name.contains("loom") || name.starts_with("bin/");
            assert!(
                test_only || listed.contains(&format!("\"{name}\"")),
                "{package}: {name}"
            );
        }
    }
}

fn sources() -> Vec<PathBuf> {
    ["core", "platform-linux", "tests", "fuzz"]
        .iter()
        .flat_map(|folder| files(&workspace().join(folder), "rs"))
        .collect()
}

/// Against files that nobody reads to the end, and files without a word on what
/// they are for.
#[test]
fn sources_are_short_and_say_what_they_are() {
    for path in sources() {
        let text = text(&path);
        let lines = text.lines().count();
        assert!(lines <= 700, "{}: {lines} lines", path.display());
        let head = text.lines().next().unwrap_or_default();
        let speaks = head.starts_with("//!") || text.starts_with("extern crate std;");
        assert!(speaks, "{}: no head doc", path.display());
    }
}

/// Against work that was put off without anybody being told.
#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "XX".to_owned() + "X",
    ];
    let python = files(&workspace().join("python-ctypes"), "py");
    for path in sources().into_iter().chain(python) {
        for (number, line) in text(&path).lines().enumerate() {
            let found = marks.iter().find(|mark| line.contains(mark.as_str()));
            assert_eq!(found, None, "{}:{}", path.display(), number + 1);
        }
    }
}

/// Against a test whose reason nobody remembers.
#[test]
fn tests_across_processes_say_what_they_stand_against() {
    for path in files(&workspace().join("tests"), "rs") {
        let text = text(&path);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, _) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| **line == "#[test]")
        {
            let comment = lines[..index]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("///") || line.starts_with("#["));
            let said = comment
                .into_iter()
                .any(|line| line.starts_with("/// Against"));
            assert!(said, "{}:{}", path.display(), index + 1);
        }
    }
}

/// Against versions that drift apart: the library refuses a Python file of
/// another one.
#[test]
fn there_is_one_version() {
    let module = text(&workspace().join("python-ctypes/robot_ipc.py"));
    let line = format!("__version__ = \"{}\"", robot_ipc_core::VERSION);
    assert!(module.contains(&line), "robot_ipc.py has another version");
    let changes = text(&workspace().join("CHANGELOG.md"));
    assert!(
        changes.contains(&format!("## {}", robot_ipc_core::VERSION)),
        "CHANGELOG.md"
    );
}
