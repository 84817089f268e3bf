//! How often a target got to what it is there for.
//!
//! A fuzzer that only ever meets the first check of its subject looks as busy as one
//! that gets through. So each target counts what it has reached, and says so now and
//! then; `./run` wants every count to be more than 0.

use std::sync::Mutex;

/// Inputs so far, and how often each thing was reached, in the order of first use.
static TALLY: Mutex<(u64, Vec<(&'static str, u64)>)> = Mutex::new((0, Vec::new()));

/// Counts that `what` was reached.
pub fn reached(what: &'static str) {
    let mut tally = TALLY.lock().expect("no panic while it is held");
    match tally.1.iter_mut().find(|(known, _)| *known == what) {
        Some((_, count)) => *count += 1,
        None => tally.1.push((what, 1)),
    }
}

/// Counts `what` if it went well.
pub fn reached_if<T, E>(what: &'static str, result: Result<T, E>) -> Option<T> {
    let value = result.ok()?;
    reached(what);
    Some(value)
}

/// Names what a target wants to reach, when it begins.
pub fn wanted(all: &[&'static str]) {
    let mut tally = TALLY.lock().expect("no panic while it is held");
    if tally.1.is_empty() {
        tally.1.extend(all.iter().map(|what| (*what, 0)));
    }
}

/// Counts an input; after 1, 2, 4, 8, … of them says what was reached.
pub fn input_done() {
    let mut tally = TALLY.lock().expect("no panic while it is held");
    tally.0 += 1;
    if tally.0.is_power_of_two() && tally.0 >= 16 {
        let counts: Vec<String> = tally
            .1
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        eprintln!("tally of {} inputs: {}", tally.0, counts.join(", "));
    }
}
