//! A little torture (`bin/torture.rs`) of what was built for the tests, with its checks of
//! arithmetic and its deferral of Ctrl-C; and whether the oracle can fail.

use std::process::Command;

fn torture(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_torture"));
    let output = command.args(arguments).output().expect("it can be started");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// Against faults that only overflow checks and debug assertions show, when processes are
/// killed at random.
#[test]
fn a_little_torture_is_survived() {
    let (passed, text) = torture(&["--seconds", "4"]);
    println!("{text}");
    assert!(passed);
    let kills = text
        .split_once(" kills:")
        .and_then(|(before, _)| before.lines().last());
    let kills: u64 = kills
        .and_then(|count| count.parse().ok())
        .expect("it tells its kills");
    assert!(kills > 20, "only {kills} kills");
}

/// Against an oracle that finds nothing because it looks at nothing: the program has to
/// find what was planted, and to tell how to have it again.
#[test]
fn what_is_planted_is_found() {
    // In one of the ways in which it can be come upon.
    for (plant, ways) in [
        (
            "torn",
            ["its checksum is wrong", "an update found a torn value"],
        ),
        ("stale", ["after that writer's", "after that writer's"]),
        (
            "stray",
            ["got the answer to question", "an answer to none of"],
        ),
    ] {
        let (passed, text) = torture(&["--seconds", "60", "--rust-only", "--plant", plant]);
        let is_found = ways.iter().any(|way| text.contains(way));
        assert!(!passed && is_found, "{plant}: {text}");
        assert!(text.contains("FAILED with --seed "), "{plant}: {text}");
    }
}
