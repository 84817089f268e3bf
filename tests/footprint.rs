//! What an open variable costs a process that has little: memory, descriptors, threads. How
//! much code comes with it is weighed where programs for small controllers are built, see
//! `targets`.

use support::Scratch;
use support::process::Partner;

const CHILD: &str = env!("CARGO_BIN_EXE_child");
/// How much resident memory one variable of default size may take that is this process's
/// own, or the variable's, in KiB.
const BUDGET: u64 = 48;

/// What the system says of a process.
#[derive(Debug)]
struct Footprint {
    own_kib: u64,
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

fn footprint_with(names: &[String]) -> Footprint {
    let scratch = Scratch::new();
    let mut command = scratch.child(CHILD, "have-open");
    let mut child = Partner::run(command.args(names));
    child.expect("ready");
    let place = |file: &str| format!("/proc/{}/{file}", child.pid());
    let count = |file| std::fs::read_dir(place(file)).expect("it lives").count();
    let status = std::fs::read_to_string(place("status")).expect("it lives");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("a number")
    };
    Footprint {
        own_kib: kib("RssAnon:") + kib("RssShmem:"),
        resident_kib: kib("VmRSS:"),
        descriptors: count("fd"),
        threads: count("task"),
    }
}

/// Against a variable that a controller with 64 MB has no room for: its memory grows, it keeps
/// descriptors of which there are few, or it starts a thread.
#[test]
fn an_open_variable_costs_little() {
    let names = |count: u32| -> Vec<String> {
        let numbers = 0..count;
        numbers.map(|number| format!("number-{number}")).collect()
    };
    let [none, one, ten] = [0, 1, 10].map(|count| footprint_with(&names(count)));
    println!("none: {none:?}\none: {one:?}\nten: {ten:?}");
    for (count, with) in [(1, &one), (10, &ten)] {
        assert_eq!(with.threads, 1);
        assert_eq!(with.descriptors, none.descriptors);
        let own = with.own_kib.saturating_sub(none.own_kib);
        assert!(own <= BUDGET * count, "{count}: {own} KiB");
    }
    // With the code that comes along, of a small program.
    if let Ok(budget) = std::env::var("ROBOT_IPC_TEST_RESIDENT_KIB") {
        let budget: u64 = budget.parse().expect("a number");
        let more = one.resident_kib.saturating_sub(none.resident_kib);
        println!("one variable: {more} KiB more than none");
        assert!(more <= budget, "one variable takes {more} KiB");
    }
}
