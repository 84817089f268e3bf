//! Other users of the same machine to whom nothing was shared: they get nothing, harm
//! nobody, and nobody takes for his own what they have put there. And those who may only
//! read.
//!
//! All sides are real processes with the rights of their users; the test itself, which is
//! root's, only looks on.

use robot_ipc::Reason;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};
use support::process::Partner;
use support::user::{
    ANNA, BERND, CLARA, KINDS, SHARED, can_be_others, check_works, done, file, make, refused,
};
use support::{Scratch, open, skipped};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
/// Everybody who is refused is so at once; so long only a machine that is busy takes.
const AT_ONCE: Duration = Duration::from_secs(4);

// ------------------------------------------------------------------- strangers

/// Against anybody else who reads, writes, calls or removes what was not shared.
#[test]
fn strangers_get_nothing_and_harm_nothing() {
    if !can_be_others("strangers", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let mut anna = ANNA.visit(&scratch, CHILD, &[]);
    for kind in KINDS {
        make(&mut anna, kind, "private");
        let before = std::fs::read(file(&scratch, kind, "private")).expect("root may");
        for options in [&[][..], &SHARED[..], &["mode=666"][..]] {
            for user in [BERND, CLARA] {
                let mut stranger = user.visit(&scratch, CHILD, options);
                let path = file(&scratch, kind, "private").display().to_string();
                let why = [
                    "ForeignOwner",
                    "it belongs to another user, who does not let this one open it",
                    "owner 61001, group 61001, mode 0600",
                    &path,
                    "its owner or root can remove it: robot-ipc rm --force private",
                ];
                for act in ["open", "peek", "remove"] {
                    // Looking at a function has no options.
                    refused(&mut stranger, &format!("{act} {kind} private"), &why);
                }
                if kind == "function" {
                    refused(&mut stranger, "offer private", &why);
                }
                let locks = format!("share-locks {path} 0 1024");
                refused(&mut stranger, &locks, &["Permission denied"]);
            }
        }
        let after = std::fs::read(file(&scratch, kind, "private")).expect("root may");
        // Who serves a function writes into it all the time.
        let is_idle = kind == "variable";
        assert!(!is_idle || before == after, "somebody has changed it");
        check_works(&mut anna, kind, "private", "again");
    }
    // Root may read it, but takes nobody else's word either.
    let mut root = Partner::start(&scratch, CHILD, &["visit"]);
    root.expect("ready");
    for kind in KINDS {
        for act in ["open", "peek", "remove"] {
            let why = [
                "ForeignOwner",
                "it belongs to another user",
                "61001",
                "rm --force",
            ];
            refused(&mut root, &format!("{act} {kind} private"), &why);
        }
        check_works(&mut anna, kind, "private", "still");
    }
}

/// Against believing, following, removing or waiting for what somebody else has put
/// under the name before.
#[test]
fn what_others_have_planted_is_refused_at_once() {
    if !can_be_others("planted files", CHILD) {
        return;
    }
    for kind in KINDS {
        let scratch = Scratch::new();
        let path = |name: &str| file(&scratch, kind, name).display().to_string();
        let mut anna = ANNA.visit(&scratch, CHILD, &[]);
        let mut bernd = BERND.visit(&scratch, CHILD, &[]);
        make(&mut anna, kind, "own");
        make(&mut bernd, kind, "theirs");
        let (own, theirs) = (path("own"), path("theirs"));
        // The mode of a segment of theirs, what they plant, and what is told.
        let foreign = "ForeignOwner";
        let cases: &[(&str, String, [&str; 2])] = &[
            (
                "600",
                format!("hard-link %P {theirs}"),
                [foreign, "mode 0600"],
            ),
            (
                "644",
                format!("hard-link %P {theirs}"),
                [foreign, "mode 0644"],
            ),
            (
                "666",
                format!("hard-link %P {theirs}"),
                [foreign, "mode 0666"],
            ),
            (
                "666",
                format!("symlink %P {theirs}"),
                ["NotAFile", "a symbolic link"],
            ),
            (
                "666",
                format!("symlink %P {own}"),
                ["NotAFile", "a symbolic link"],
            ),
            (
                "666",
                format!("symlink %P {own}-nowhere"),
                ["NotAFile", "a symbolic link"],
            ),
            (
                "666",
                "symlink %P /dev/zero".to_owned(),
                ["NotAFile", "a symbolic link"],
            ),
            ("666", "fifo %P".to_owned(), ["NotAFile", "a FIFO"]),
            (
                "666",
                "directory %P".to_owned(),
                ["NotAFile", "a directory"],
            ),
            (
                "666",
                "socket %P".to_owned(),
                ["NotAFile", "a device or socket"],
            ),
        ];
        for (number, (mode, what, told)) in cases.iter().enumerate() {
            let name = format!("planted-{number}");
            let planted = path(&name);
            done(&mut bernd, &format!("plant {mode} {theirs}"));
            done(
                &mut bernd,
                &format!("plant {}", what.replace("%P", &planted)),
            );
            let inode = std::fs::symlink_metadata(&planted).expect("planted").ino();
            for only_owner in [false, true] {
                // The same where it cannot even be opened.
                if only_owner && what.contains("link") {
                    continue;
                }
                if only_owner {
                    done(&mut bernd, &format!("plant 600 {planted}"));
                }
                let mut acts = vec!["open", "peek", "remove"];
                if kind == "function" {
                    acts.push("offer");
                }
                for act in acts {
                    let line = match act {
                        "offer" => format!("offer {name}"),
                        _ => format!("{act} {kind} {name}"),
                    };
                    let start = Instant::now();
                    let what_to_do = format!("robot-ipc rm --force {name}");
                    refused(&mut anna, &line, &[told[0], told[1], &planted, &what_to_do]);
                    assert!(start.elapsed() < AT_ONCE, "{line}: {:?}", start.elapsed());
                }
            }
            let now = std::fs::symlink_metadata(&planted).expect("nobody but its owner may");
            assert_eq!(now.ino(), inode, "{planted} is another file");
            assert!(!PathBuf::from(format!("{own}-nowhere")).exists());
            // Only this removes it, and by its owner or root only.
            refused(&mut anna, &format!("plant 600 {planted}"), &[""]);
            let removed = std::fs::remove_file(&planted);
            removed
                .or_else(|_| std::fs::remove_dir(&planted))
                .expect("root may");
            make(&mut anna, kind, &name);
        }
        // Another name of her own file is her own file, where the kernel allows such links.
        let linked = path("linked");
        bernd.say(&format!("plant hard-link {linked} {own}"));
        if bernd.hear() == "ok" {
            done(&mut anna, &format!("peek {kind} linked"));
            std::fs::remove_file(linked).expect("root may");
        }
        check_works(&mut anna, kind, "own", "whole");
    }
}

/// Against a reader that whoever planted the file gets to unpickle: one that changes its
/// rights while it is looked at.
#[test]
fn rights_that_change_all_the_time_let_nobody_in() {
    if !can_be_others("rights that change", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let mut bernd = BERND.visit(&scratch, CHILD, &[]);
    let mut anna = ANNA.visit(&scratch, CHILD, &[]);
    make(&mut bernd, "variable", "changing");
    let path = scratch.file("changing");
    std::thread::scope(|scope| {
        // Gone when this ends, however it ends.
        let (_going_on, is_over) = channel::<()>();
        let path = &path;
        scope.spawn(move || {
            while is_over.try_recv() == Err(TryRecvError::Empty) {
                for mode in [0o666, 0o600, 0o644] {
                    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("root may");
                }
            }
        });
        for _ in 0..300 {
            refused(&mut anna, "open variable changing", &["ForeignOwner"]);
            refused(&mut anna, "peek variable changing", &["ForeignOwner"]);
        }
    });
}

/// Against creating through what somebody puts there between the look at the name and the
/// creation: a link that leads to a file that is not there yet, or a file.
#[test]
fn what_is_planted_in_the_middle_of_a_creation_is_refused() {
    if !can_be_others("files planted during a creation", CHILD) {
        return;
    }
    for forced in [
        "forced=nothing",
        "forced=temporary files",
        "forced=no links",
    ] {
        for kind in KINDS {
            let scratch = Scratch::new();
            let path = |name: &str| file(&scratch, kind, name).display().to_string();
            let mut bernd = BERND.visit(&scratch, CHILD, &[]);
            make(&mut bernd, kind, "theirs");
            done(&mut bernd, &format!("plant 666 {}", path("theirs")));
            for (what, told) in [
                (format!("symlink %P {}", path("nowhere")), "a symbolic link"),
                (format!("symlink %P {}", path("theirs")), "a symbolic link"),
                (format!("hard-link %P {}", path("theirs")), "owner 61002"),
                ("fifo %P".to_owned(), "a FIFO"),
            ] {
                let options = ["stop-at=create: mapped", forced];
                let mut anna = ANNA.visit(&scratch, CHILD, &options);
                anna.say(&format!("open {kind} raced"));
                anna.wait_until_stopped();
                let planted = path("raced");
                done(
                    &mut bernd,
                    &format!("plant {}", what.replace("%P", &planted)),
                );
                anna.signal(rustix::process::Signal::CONT);
                let said = anna.hear();
                assert!(
                    said.starts_with("no ") && said.contains(told),
                    "{what}: {said}"
                );
                assert!(
                    !file(&scratch, kind, "nowhere").exists(),
                    "created through a link"
                );
                std::fs::remove_file(planted).expect("root may");
                anna.finish();
                let left = format!(".robot-ipc-new.{}.", anna.pid());
                let mut files = std::fs::read_dir("/dev/shm")
                    .expect("it is there")
                    .flatten();
                let is_left = |file: std::fs::DirEntry| {
                    file.file_name()
                        .as_encoded_bytes()
                        .starts_with(left.as_bytes())
                };
                assert!(!files.any(is_left), "{left} is left");
            }
        }
    }
}

/// Against a temporary name that somebody has guessed.
#[test]
fn temporary_names_can_be_guessed_in_vain() {
    if !can_be_others("guessed temporary names", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let mut bernd = BERND.visit(&scratch, CHILD, &[]);
    let mut anna = ANNA.visit(&scratch, CHILD, &["forced=temporary files"]);
    make(&mut bernd, "variable", "theirs");
    let theirs = scratch.file("theirs");
    let guessed = |number| format!("/dev/shm/.robot-ipc-new.{}.{number}", anna.pid());
    let guesses: Vec<String> = (0..5).map(guessed).collect();
    let mut plants = [
        "fifo %P",
        "directory %P",
        "socket %P",
        "symlink %P /dev/zero",
        "hard-link %P THEIRS",
    ]
    .map(|what| what.replace("THEIRS", &theirs.display().to_string()))
    .into_iter();
    for guess in &guesses {
        let what = plants.next().expect("as many").replace("%P", guess);
        done(&mut bernd, &format!("plant {what}"));
    }
    for kind in KINDS {
        make(&mut anna, kind, "made");
        check_works(&mut anna, kind, "made", "whole");
        let owner = std::fs::metadata(file(&scratch, kind, "made"))
            .expect("it exists")
            .uid();
        assert_eq!(owner, ANNA.uid);
    }
    for guess in guesses {
        assert!(
            std::fs::symlink_metadata(&guess).is_ok(),
            "{guess} was taken away"
        );
        std::fs::remove_file(&guess)
            .or_else(|_| std::fs::remove_dir(&guess))
            .expect("root may");
    }
}

/// Against a Python that is less careful than Rust is.
#[test]
fn in_python_strangers_get_nothing() {
    if !can_be_others("strangers in Python", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let Some(mut anna) = ANNA.visit_in_python(&scratch, &[]) else {
        return;
    };
    let mut bernd = BERND.visit(&scratch, CHILD, &[]);
    for options in [&[][..], &SHARED[..]] {
        let mut stranger = BERND.visit_in_python(&scratch, options).expect("as before");
        for kind in KINDS {
            if options.is_empty() {
                make(&mut anna, kind, "private");
            }
            let told = ["ForeignOwner", "owner 61001, group 61001, mode 0600"];
            let acts: &[&str] = match kind {
                "variable" => &["open variable", "peek variable", "remove variable"],
                _ => &["open function", "offer", "remove function"],
            };
            for act in acts {
                refused(&mut stranger, &format!("{act} private"), &told);
            }
            check_works(&mut anna, kind, "private", "whole");
        }
    }
    for kind in KINDS {
        let mut plant = |name: &str, what: &str| {
            let path = file(&scratch, kind, name).display().to_string();
            done(&mut bernd, &format!("plant {}", what.replace("%P", &path)));
        };
        plant("queue", "fifo %P");
        plant("link", "symlink %P /dev/zero");
        make(&mut bernd, kind, "visible");
        let path = file(&scratch, kind, "visible").display().to_string();
        done(&mut bernd, &format!("plant 644 {path}"));
        for (name, reason, text) in [
            ("queue", "NotASegment", "a FIFO"),
            ("link", "NotASegment", "a symbolic link"),
            ("visible", "ForeignOwner", "owner 61002"),
        ] {
            let start = Instant::now();
            for act in ["open", "remove"] {
                refused(&mut anna, &format!("{act} {kind} {name}"), &[reason, text]);
            }
            if kind == "variable" {
                refused(&mut anna, &format!("peek variable {name}"), &[reason, text]);
            } else {
                refused(&mut anna, &format!("offer {name}"), &[reason, text]);
            }
            assert!(start.elapsed() < AT_ONCE, "{name}: {:?}", start.elapsed());
        }
    }
}

/// Against executing what another user wants to be unpickled, whatever was asked for.
#[test]
fn files_of_others_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return skipped("files of other users", "only root can give files away");
    }
    let scratch = Scratch::new();
    drop(open(&scratch, "theirs"));
    let path = scratch.file("theirs");
    chown(&path, Some(12345), Some(23456)).expect("root may");
    let opened = |mode, group| {
        let options = scratch.options().mode(mode).group(group);
        options.open("theirs").map(drop)
    };
    // Not even with an option that asks for another group, or for less.
    for (mode, group) in [(0o660, 23457), (0o600, 23456)] {
        let refused = opened(mode, group).expect_err("it was opened");
        assert!(
            matches!(
                refused.reason(),
                Reason::ForeignOwner {
                    uid: 12345,
                    gid: 23456,
                    mode: 0o600,
                    ..
                }
            ),
            "{refused}"
        );
    }
    // Asked for, and granting no more than that.
    assert!(opened(0o660, 23456).is_ok());
    std::fs::set_permissions(&path, Permissions::from_mode(0o660)).expect("root may");
    assert!(opened(0o660, 23456).is_ok());
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("root may");
    let refused = opened(0o660, 23456).expect_err("the whole world may write it");
    assert!(
        matches!(refused.reason(), Reason::ForeignOwner { .. }),
        "{refused}"
    );
}

/// Against a file that others may write though nobody asked for that.
#[test]
fn files_that_others_may_write_are_refused_unless_asked_for() {
    let scratch = Scratch::new();
    drop(open(&scratch, "open"));
    let path = scratch.file("open");
    let set_mode = |mode| {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
    };
    for mode in [0o620, 0o602, 0o660, 0o666] {
        set_mode(mode);
        for read_only in [false, true] {
            let opened = scratch
                .options()
                .read_only(read_only)
                .open("open")
                .map(drop);
            let refused = opened.expect_err("it was opened");
            assert!(
                matches!(refused.reason(), Reason::ForeignOwner { mode: found, .. } if *found == mode),
                "{refused}"
            );
        }
    }
    let group = rustix::process::getegid().as_raw();
    let asking = |mode| scratch.options().mode(mode);
    set_mode(0o660);
    assert!(asking(0o660).open("open").is_ok());
    assert!(asking(0o660).group(group).open("open").is_ok());
    assert!(asking(0o660).group(group + 1).open("open").is_err());
    assert!(asking(0o640).open("open").is_err());
    set_mode(0o640);
    assert!(
        scratch.options().open("open").is_ok(),
        "others can only read it"
    );
}

// ------------------------------------------------------- those who only may read

/// Against sharing to read that lets others write, or others' values pass for one's own.
#[test]
fn a_group_can_be_let_in_to_read_only() {
    if !can_be_others("sharing to read only", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let options = ["mode=640", "group=62000"];
    let mut anna = ANNA.visit(&scratch, CHILD, &options);
    let mut bernd = BERND.visit(&scratch, CHILD, &options);
    make(&mut anna, "variable", "seen");
    assert_eq!(done(&mut bernd, "peek variable seen"), "whole");
    for line in ["write seen other", "remove variable seen"] {
        refused(&mut bernd, line, &["ReadOnly", "opened read-only"]);
    }
    let may_not = [
        "ForeignOwner",
        "who does not let this one open it",
        "mode 0640",
    ];
    refused(&mut bernd, "open variable seen", &may_not);
    let mut careful = BERND.visit(&scratch, CHILD, &[]);
    refused(
        &mut careful,
        "peek variable seen",
        &["ForeignOwner", "mode 0640"],
    );
    let mut clara = CLARA.visit(&scratch, CHILD, &options);
    refused(&mut clara, "peek variable seen", &may_not);
    // Her own, which others may read.
    assert_eq!(
        done(&mut ANNA.visit(&scratch, CHILD, &[]), "peek variable seen"),
        "whole"
    );
    make(&mut anna, "function", "offered");
    refused(&mut bernd, "open function offered", &may_not);
    check_works(&mut anna, "function", "offered", "whole");
}

/// Against readers that make the dead look alive, or the living dead: locks can be shared
/// by whoever may read. What they can do, keep others from taking back, beginning and
/// removing, ends with them.
#[test]
fn readers_can_be_in_the_way_but_deceive_nobody() {
    if !can_be_others("locks of readers", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let options = ["mode=640", "group=62000"];
    let mut anna = ANNA.visit(&scratch, CHILD, &options);
    let mut reader = BERND.visit(&scratch, CHILD, &options);
    let path = file(&scratch, "function", "answer").display().to_string();
    // The first participant of the function is one that dies.
    let mut dead = ANNA.visit(&scratch, CHILD, &options);
    done(&mut dead, "offer answer");
    assert_eq!(done(&mut anna, "peek function answer"), "1 servers");
    // A life that is shared already is not taken for the one's who lives.
    done(&mut reader, &format!("share-locks {path} 513 254"));
    assert_eq!(done(&mut anna, "peek function answer"), "1 servers");
    refused(&mut anna, "offer answer", &["TooManyParticipants"]);
    done(&mut reader, "let-go");
    // The dead stay dead, whoever shares the lock of their life.
    dead.kill();
    done(&mut reader, &format!("share-locks {path} 512 256"));
    assert_eq!(done(&mut anna, "peek function answer"), "0 servers");
    done(&mut reader, "let-go");
    // A life that could not be locked is never had: the next index is taken.
    done(&mut reader, &format!("share-locks {path} 512 1"));
    done(&mut anna, "offer answer");
    done(&mut reader, "let-go");
    assert_eq!(done(&mut anna, "peek function answer"), "1 servers");
    check_works(&mut anna, "function", "answer", "whole");

    // Who waits for the dead is told, even while a reader keeps them from being recovered.
    let path = file(&scratch, "function", "mortal").display().to_string();
    let mut command = ANNA.command(CHILD);
    command.args(["act-in-call", "mortal", "serve: taken", "stop", "serve"]);
    let environment = [("ROBOT_IPC_MODE", "0640"), ("ROBOT_IPC_GROUP", "62000")];
    let mut dead = Partner::run(scratch.enter(&mut command).envs(environment));
    dead.expect("ready");
    done(&mut anna, "open function mortal");
    anna.say("call mortal anything");
    dead.wait_until_stopped();
    done(&mut reader, &format!("await-locks {path} 0 1"));
    std::thread::sleep(Duration::from_millis(100));
    dead.kill();
    let told = anna.hear();
    assert!(told.starts_with("no DispatcherDied"), "{told}");

    // In the way: nobody begins, is recovered or removes. It is told, and ends with them.
    make(&mut anna, "variable", "seen");
    let path = file(&scratch, "variable", "seen").display().to_string();
    done(&mut reader, &format!("share-locks {path} 1 511"));
    done(&mut reader, &format!("share-locks {path} 513 511"));
    check_works(&mut anna, "variable", "seen", "goes-on");
    let mut late = ANNA.visit(&scratch, CHILD, &options);
    done(&mut late, "open variable seen");
    refused(&mut late, "write seen late", &["TooManyParticipants"]);
    assert_eq!(done(&mut late, "read seen"), "goes-on");
    refused(&mut anna, "remove variable seen", &["BeingRemoved"]);
    check_works(&mut anna, "variable", "seen", "goes-on");
    reader.kill();
    done(&mut late, "write seen late");
    done(&mut anna, "remove variable seen");
}
