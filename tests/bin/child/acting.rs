//! Roles that stop, die or dawdle at a step of a slow path: creating, opening,
//! registering, removing.

use crate::{Act, hear, open};
use robot_ipc::HostVariable;
use robot_ipc::testing::{Hook, install};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

fn never(_what: &'static str) -> bool {
    false
}

fn temporary_files(what: &'static str) -> bool {
    what == "temporary files"
}

fn no_links(what: &'static str) -> bool {
    what == "no links"
}

/// Opens each name it is told, slowly, and says what it got.
pub(crate) fn open_when_told() {
    // Give the others time to be at the same step.
    fn dawdle(step: &'static str) {
        if step.starts_with("create") {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    install(Hook {
        step: dawdle,
        forced: never,
    });
    println!("ready");
    while let Some(name) = hear() {
        match robot_ipc::VariableOptions::new().max_size(512).open(&name) {
            Ok(variable) => println!("{}", describe(&variable)),
            Err(error) => println!("error: {error}"),
        }
    }
}

fn describe(variable: &HostVariable) -> String {
    let inode = std::fs::metadata(variable.subject().path()).map_or(0, |found| found.ino());
    let written = variable
        .write(b"here")
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(written.version > 0);
    format!(
        "inode {inode} max_size {} slots {}",
        variable.max_size(),
        variable.slots()
    )
}

static AT: OnceLock<(String, Act)> = OnceLock::new();

fn act_there(reached: &'static str) {
    static DONE: AtomicU32 = AtomicU32::new(0);
    if let Some((_, act)) = AT.get().filter(|(step, _)| step == reached) {
        // Some steps are reached again, when others were faster.
        if DONE.swap(1, Relaxed) == 0 {
            act.now();
        }
    }
}

/// `NAME STEP ACT [temporary-files|no-links] [remove|read-only]`: opens NAME,
/// writes to it, or removes it, or only reads it, and acts at STEP.
pub(crate) fn stop_in_slow_path(arguments: &[&str]) {
    let [name, step, act, options @ ..] = arguments else {
        panic!("too few arguments")
    };
    AT.get_or_init(|| (step.to_string(), Act::from(act)));
    let forced = if options.contains(&"temporary-files") {
        temporary_files
    } else if options.contains(&"no-links") {
        no_links
    } else {
        never
    };
    install(Hook {
        step: act_there,
        forced,
    });
    if options.contains(&"read-only") {
        let options = robot_ipc::VariableOptions::new().read_only(true);
        let variable = options.open(name).unwrap_or_else(|error| panic!("{error}"));
        println!(
            "read {}",
            variable.version().unwrap_or_else(|error| panic!("{error}"))
        );
        return;
    }
    let variable = open(name);
    if options.contains(&"remove") {
        variable
            .remove(Duration::from_secs(1))
            .unwrap_or_else(|error| panic!("{error}"));
        println!("removed");
    } else {
        let written = variable.write(&support::pattern(crate::SIZE, 7));
        println!(
            "wrote {}",
            written.unwrap_or_else(|error| panic!("{error}")).version
        );
    }
}
