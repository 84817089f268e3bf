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

/// Against a build id that stays the same when a source changes.
#[test]
fn every_source_of_the_library_is_in_its_build_id() {
    for package in ["core", "platform-linux"] {
        let folder = workspace().join(package).join("src");
        let listed = text(&folder.join("build_id.rs"));
        for file in files(&folder, "rs") {
            let name = file.strip_prefix(&folder).expect("inside").display().to_string();
            let test_only = name.contains("tests") || name.contains("loom") || name.starts_with("bin/");
            assert!(test_only || listed.contains(&format!("\"{name}\"")), "{package}: {name}");
        }
    }
}
