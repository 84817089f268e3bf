//! Creating variables: by many at once, by those who die, with other sizes.

use robot_ipc::listing::remove_stale_temporaries;
use robot_ipc::{HostVariable, Reason};
use rustix::process::Signal;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};
use support::folder::Folder;
use support::process::Partner;
use support::{Scratch, open, pattern};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

/// The variable is whole, empty and of use.
fn check_new(variable: &HostVariable) {
    let error = variable.sample().expect_err("nobody has written");
    assert_eq!(*error.reason(), Reason::NeverWritten);
    for number in 1..30 {
        let written = variable.write(&pattern(4096, number));
        assert_eq!(
            written.unwrap_or_else(|error| panic!("{error}")).version,
            number
        );
    }
}

/// Against creators that overwrite each other, or see half a segment.
#[test]
fn sixteen_creators_share_one_segment() {
    let scratch = Scratch::new();
    let start = |_| Partner::start(&scratch, CHILD, &["open-when-told"]);
    let mut creators: Vec<Partner> = (0..16).map(start).collect();
    for creator in &mut creators {
        creator.expect("ready");
    }
    for round in 0..30 {
        let name = format!("v{round}");
        for creator in &mut creators {
            creator.say(&name);
        }
        let seen: Vec<String> = creators.iter_mut().map(Partner::hear).collect();
        assert!(seen[0].starts_with("inode "), "{}", seen[0]);
        assert!(seen[0].ends_with("max_size 512 slots 14"), "{}", seen[0]);
        assert!(
            seen.iter().all(|other| *other == seen[0]),
            "round {round}: {seen:?}"
        );
        let variable = scratch
            .options()
            .adopt_size()
            .open(&name)
            .expect("it exists");
        assert_eq!(
            variable.version().ok(),
            Some(16),
            "somebody wrote elsewhere"
        );
    }
    for creator in &mut creators {
        creator.finish();
    }
}

const STEPS: [&str; 5] = [
    "create: opened",
    "create: reserved",
    "create: initialised",
    "create: mapped",
    "create: linked",
];

/// Against a file that is half made, or left over, under any name.
#[test]
fn a_creator_killed_at_any_step_leaves_no_file_or_a_whole_one() {
    for step in STEPS {
        let folder = Folder::new();
        let scratch = Scratch::in_directory(folder.path());
        let arguments = ["stop-in-slow-path", "victim", step, "kill"];
        Partner::start(&scratch, CHILD, &arguments).wait_until_killed();
        let expected = usize::from(step == "create: linked");
        assert_eq!(
            folder.files().len(),
            expected,
            "{:?} at {step}",
            folder.files()
        );
        let missing = scratch.options().read_only(true).open("victim").map(drop);
        assert_eq!(missing.is_ok(), expected == 1, "{missing:?} at {step}");
        check_new(&open(&scratch, "victim"));
    }
}

/// Against a creator that holds everybody up while it is stopped.
#[test]
fn a_stopped_creator_hangs_nobody() {
    for step in STEPS {
        let scratch = Scratch::new();
        let arguments = ["stop-in-slow-path", "victim", step, "stop"];
        let mut stopped = Partner::start(&scratch, CHILD, &arguments);
        stopped.wait_until_stopped();
        let variable = open(&scratch, "victim");
        check_new(&variable);
        stopped.signal(Signal::CONT);
        assert_eq!(stopped.number("wrote"), 30, "it writes to ours");
        stopped.finish();
    }
}

fn make_old(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(10);
    let file = File::options()
        .write(true)
        .open(path)
        .expect("the temporary file");
    file.set_modified(long_ago).expect("a time");
}

/// Against temporary files, where the system knows no others, that stay for ever
/// or are taken from a creator that lives.
#[test]
fn temporary_files_of_dead_creators_go_and_of_living_ones_stay() {
    for step in STEPS {
        let folder = Folder::new();
        let scratch = Scratch::in_directory(folder.path());
        let arguments = [
            "stop-in-slow-path",
            "victim",
            step,
            "stop",
            "temporary-files",
        ];
        let mut creator = Partner::start(&scratch, CHILD, &arguments);
        creator.wait_until_stopped();
        let files = folder.files();
        assert_eq!(files.len(), 1, "{files:?}");
        make_old(&files[0]);
        assert_eq!(
            remove_stale_temporaries(scratch.place()),
            0,
            "its creator lives, at {step}"
        );
        assert_eq!(folder.files(), files);
        creator.kill();
        if step == "create: linked" {
            assert_eq!(files, [scratch.file("victim")]);
            check_new(&open(&scratch, "victim"));
            continue;
        }
        assert_ne!(files, [scratch.file("victim")]);
        File::options()
            .write(true)
            .open(&files[0])
            .expect("it is there")
            .set_modified(SystemTime::now())
            .expect("a time");
        assert_eq!(
            remove_stale_temporaries(scratch.place()),
            0,
            "it may be locked any moment"
        );
        make_old(&files[0]);
        if step == "create: mapped" {
            // The next creator does it, too.
            let arguments = ["stop-in-slow-path", "other", "", "stop", "temporary-files"];
            let mut other = Partner::start(&scratch, CHILD, &arguments);
            assert_eq!(other.number("wrote"), 1);
            other.finish();
            assert_eq!(folder.files(), [scratch.file("other")]);
        } else {
            assert_eq!(remove_stale_temporaries(scratch.place()), 1, "at {step}");
            assert!(folder.files().is_empty());
        }
        check_new(&open(&scratch, "victim"));
    }
}

/// Against the fallback behaving differently from what it stands in for.
#[test]
fn a_variable_made_through_a_temporary_file_is_like_any_other() {
    // Asked for, and come to when a file without a name could not be linked.
    for way in ["temporary-files", "no-links"] {
        let folder = Folder::new();
        let scratch = Scratch::in_directory(folder.path());
        let arguments = ["stop-in-slow-path", "victim", "", "stop", way];
        let mut creators: Vec<Partner> = (0..4)
            .map(|_| Partner::start(&scratch, CHILD, &arguments))
            .collect();
        let mut versions: Vec<u64> = creators.iter_mut().map(|one| one.number("wrote")).collect();
        versions.sort_unstable();
        assert_eq!(versions, [1, 2, 3, 4], "all in one segment");
        for creator in &mut creators {
            creator.finish();
        }
        assert_eq!(folder.files(), [scratch.file("victim")]);
        open(&scratch, "victim")
            .remove(Duration::from_secs(5))
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(folder.files().is_empty());
    }
}

/// Against processes that believe in different sizes.
#[test]
fn another_size_or_number_of_slots_is_an_error_that_names_both() {
    let scratch = Scratch::new();
    let variable = scratch
        .options()
        .max_size(100)
        .slots(5)
        .open("sized")
        .expect("a new one");
    let reason = |options: robot_ipc::VariableOptions| {
        options
            .open("sized")
            .expect_err("another size")
            .reason()
            .clone()
    };
    assert_eq!(
        reason(scratch.options().max_size(101)),
        Reason::SizeMismatch {
            existing: 100,
            asked: 101
        }
    );
    assert_eq!(
        reason(scratch.options().max_size(100).slots(6)),
        Reason::SlotsMismatch {
            existing: 5,
            asked: 6
        }
    );
    assert_eq!(
        reason(scratch.options().max_size(101).read_only(true)),
        Reason::SizeMismatch {
            existing: 100,
            asked: 101
        }
    );
    for options in [
        scratch.options().max_size(100),
        scratch.options().max_size(100).slots(5),
        scratch.options().adopt_size(),
        scratch.options().adopt_size().slots(5),
    ] {
        let same = options.open("sized").expect("the same size");
        assert_eq!((same.max_size(), same.slots()), (100, 5));
    }
    let text = scratch
        .options()
        .max_size(101)
        .open("sized")
        .expect_err("another size")
        .to_string();
    assert!(
        text.contains("100") && text.contains("101") && text.contains("sized"),
        "{text}"
    );
    drop(variable);
}

/// Against a reader that makes what it was only to look for.
#[test]
fn adopting_and_reading_only_create_nothing() {
    let folder = Folder::new();
    let scratch = Scratch::in_directory(folder.path());
    for options in [
        scratch.options().adopt_size(),
        scratch.options().read_only(true),
        scratch.options().adopt_size().read_only(true),
    ] {
        let missing = options.open("missing").expect_err("there is none");
        assert_eq!(*missing.reason(), Reason::NotFound);
    }
    assert!(folder.files().is_empty());
}
