//! Sharing with a group: whoever asked for it and is in it shares everything, deaths
//! included, and nobody else gets anything.

use robot_ipc::HostVariable;
use robot_ipc::testing::taken_slots;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use support::folder::Folder;
use support::process::Partner;
use support::user::{
    ANNA, BERND, CLARA, KINDS, SHARED, TEAM, User, can_be_others, check_works, done, file, make,
    refused,
};
use support::{Scratch, eventually, pattern};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn write_when_told(user: User, scratch: &Scratch, options: &[(&str, &str)]) -> Partner {
    let mut command = user.command(CHILD);
    scratch.enter(command.args(["write-when-told", "pose"]));
    let mut partner = Partner::run(command.envs(options.iter().copied()));
    partner.expect("ready");
    partner
}

// --------------------------------------------------------------------- sharing

/// Against sharing with fewer or more than were asked: a umask that takes rights back, a
/// member of the group that is refused, somebody outside of it who is not, a member who
/// has not asked.
#[test]
fn a_group_shares_what_it_asks_for() {
    if !can_be_others("sharing with a group", CHILD) {
        return;
    }
    let asking = [&SHARED[..], &["umask=077"][..]].concat();
    for kind in KINDS {
        let scratch = Scratch::new();
        let path = file(&scratch, kind, "shared");
        let mut anna = ANNA.visit(&scratch, CHILD, &asking);
        make(&mut anna, kind, "shared");
        let found = std::fs::metadata(&path).expect("it exists");
        assert_eq!((found.mode() & 0o7777, found.gid()), (0o660, TEAM));

        let mut bernd = BERND.visit(&scratch, CHILD, &asking);
        if kind == "variable" {
            done(&mut bernd, "open variable shared");
            assert_eq!(done(&mut bernd, "read shared"), "whole");
        }
        check_works(&mut bernd, kind, "shared", "theirs");
        if kind == "variable" {
            assert_eq!(done(&mut anna, "read shared"), "theirs");
        } else {
            // Both serve it, and both are asked.
            done(&mut bernd, "offer shared");
            check_works(&mut anna, kind, "shared", "either");
        }

        // Neither asked for, nor for so much, nor with that group.
        let more = "it gives more rights than were asked for";
        let other = "its group is not the one asked for";
        for (options, why) in [
            (&[][..], "it belongs to another user"),
            (&["mode=600", "group=62000"], "it belongs to another user"),
            (&["mode=640", "group=62000"], more),
            (&["mode=660"], other),
            (&["mode=660", "group=61002"], other),
        ] {
            let mut careful = BERND.visit(&scratch, CHILD, options);
            let line = format!("open {kind} shared");
            let parts = ["ForeignOwner", why, "owner 61001, group 62000, mode 0660"];
            refused(&mut careful, &line, &parts);
        }
        // Asking is no right.
        let mut clara = CLARA.visit(&scratch, CHILD, &SHARED);
        for act in ["open", "peek", "remove"] {
            let parts = [
                "ForeignOwner",
                "who does not let this one open it",
                "mode 0660",
            ];
            refused(&mut clara, &format!("{act} {kind} shared"), &parts);
        }
        refused(
            &mut clara,
            &format!("open {kind} new"),
            &["PermissionDenied", "give the file to the group asked for"],
        );
        assert!(!file(&scratch, kind, "new").exists());

        // Names in /dev/shm belong to their owners: nothing is retired.
        let parts = [
            "PermissionDenied",
            "remove the segment; its owner or root can",
        ];
        refused(&mut bernd, &format!("remove {kind} shared"), &parts);
        check_works(&mut bernd, kind, "shared", "after");
        check_works(&mut anna, kind, "shared", "all");
        done(&mut anna, &format!("remove {kind} shared"));
        let late = if kind == "variable" {
            "write shared late"
        } else {
            "call shared late"
        };
        refused(
            &mut bernd,
            late,
            &["Retired", "it was removed while it was open"],
        );
    }
}

/// Against a removal that only the owner of a file can do where the folder is everybody's.
#[test]
fn in_a_folder_of_the_group_each_member_removes() {
    if !can_be_others("a folder of a group", CHILD) {
        return;
    }
    let folder = Folder::new();
    chown(folder.path(), None, Some(TEAM)).expect("root may");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o770)).expect("ours");
    let scratch = Scratch::in_directory(folder.path());
    let mut anna = ANNA.visit(&scratch, CHILD, &SHARED);
    let mut bernd = BERND.visit(&scratch, CHILD, &SHARED);
    let mut clara = CLARA.visit(&scratch, CHILD, &SHARED);
    for kind in KINDS {
        make(&mut anna, kind, "shared");
        if kind == "variable" {
            done(&mut bernd, "open variable shared");
        } else {
            done(&mut bernd, "open function shared");
        }
        refused(
            &mut clara,
            &format!("open {kind} shared"),
            &["PermissionDenied", "may not open the segment"],
        );
        done(&mut bernd, &format!("remove {kind} shared"));
        if kind == "variable" {
            refused(&mut anna, "write shared late", &["Retired"]);
        }
        assert!(!file(&scratch, kind, "shared").exists());
    }
}

/// Against a folder that gives its group to every file in it: with whom is shared is what
/// was asked for, and nothing else.
#[test]
fn a_folder_does_not_choose_the_group() {
    if !can_be_others("a set-group-id folder", CHILD) {
        return;
    }
    let folder = Folder::new();
    chown(folder.path(), None, Some(TEAM)).expect("root may");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o2777)).expect("ours");
    let scratch = Scratch::in_directory(folder.path());
    let mut anna = ANNA.visit(&scratch, CHILD, &["mode=660"]);
    let mut bernd = BERND.visit(&scratch, CHILD, &SHARED);
    for kind in KINDS {
        make(&mut anna, kind, "own-group");
        let found = std::fs::metadata(file(&scratch, kind, "own-group")).expect("it exists");
        assert_eq!(found.gid(), ANNA.gid);
        refused(
            &mut bernd,
            &format!("open {kind} own-group"),
            &["ForeignOwner"],
        );
        check_works(&mut anna, kind, "own-group", "whole");
    }
}

/// Against an environment that means something else than the options, and a mode without
/// a group that is not the process's own.
#[test]
fn the_environment_asks_as_options_do() {
    if !can_be_others("sharing by the environment", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let visit = |user: User, options: &[(&str, &str)]| {
        let mut command = user.command(CHILD);
        scratch.enter(command.args(["visit", "umask=077"]));
        let mut visitor = Partner::run(command.envs(options.iter().copied()));
        visitor.expect("ready");
        visitor
    };
    let shared = [("ROBOT_IPC_MODE", "0660"), ("ROBOT_IPC_GROUP", "62000")];
    let mut anna = visit(ANNA, &shared);
    let mut bernd = visit(BERND, &shared);
    let mut clara = visit(CLARA, &shared);
    // Of one group by nature, and asking for no other one.
    let mate = visit(BERND.with_group(ANNA.gid), &shared[..1]);
    let mut mates = [visit(ANNA, &shared[..1]), mate];
    for kind in KINDS {
        make(&mut anna, kind, "by-environment");
        if kind == "variable" {
            done(&mut bernd, "open variable by-environment");
        }
        check_works(&mut bernd, kind, "by-environment", "theirs");
        refused(
            &mut clara,
            &format!("open {kind} by-environment"),
            &["ForeignOwner"],
        );
        assert_eq!(
            done(&mut bernd, &format!("peek {kind} by-environment")),
            if kind == "variable" {
                "theirs"
            } else {
                "1 servers"
            }
        );

        make(&mut mates[0], kind, "without-group");
        if kind == "variable" {
            done(&mut mates[1], "open variable without-group");
        }
        check_works(&mut mates[1], kind, "without-group", "mine");
        refused(
            &mut bernd,
            &format!("open {kind} without-group"),
            &["ForeignOwner"],
        );
    }
    let mut confused = visit(ANNA, &[("ROBOT_IPC_MODE", "rw")]);
    refused(
        &mut confused,
        "open variable x",
        &["BadOption", "ROBOT_IPC_MODE", "'rw'", "octal"],
    );
    let mut confused = visit(ANNA, &[("ROBOT_IPC_GROUP", "no such group")]);
    refused(
        &mut confused,
        "open variable x",
        &[
            "BadOption",
            "ROBOT_IPC_GROUP",
            "there is no group of that name",
        ],
    );
}

/// Against a Python that shares more or less than Rust does.
#[test]
fn in_python_a_group_shares_what_it_asks_for() {
    if !can_be_others("sharing in Python", CHILD) {
        return;
    }
    let scratch = Scratch::new();
    let asking = [&SHARED[..], &["umask=077"][..]].concat();
    let visit = |user: User, options: &[&str]| user.visit_in_python(&scratch, options);
    let Some(mut anna) = visit(ANNA, &asking) else {
        return;
    };
    let mut bernd = visit(BERND, &asking).expect("as before");
    let mut careful = visit(BERND, &[]).expect("as before");
    let mut clara = visit(CLARA, &asking).expect("as before");
    for kind in KINDS {
        make(&mut anna, kind, "shared");
        if kind == "variable" {
            done(&mut bernd, "open variable shared");
            assert_eq!(done(&mut bernd, "read shared"), "whole");
        }
        check_works(&mut bernd, kind, "shared", "theirs");
        for stranger in [&mut careful, &mut clara] {
            let told = ["ForeignOwner", "owner 61001, group 62000, mode 0660"];
            refused(stranger, &format!("open {kind} shared"), &told);
        }
        let told = ["PermissionDenied", "its owner or root can"];
        refused(&mut bernd, &format!("remove {kind} shared"), &told);
        check_works(&mut bernd, kind, "shared", "after");
        done(&mut anna, &format!("remove {kind} shared"));
        assert!(!file(&scratch, kind, "shared").exists());
    }
    let options = ["mode=640", "group=62000"];
    let mut anna = visit(ANNA, &options).expect("as before");
    let mut bernd = visit(BERND, &options).expect("as before");
    make(&mut anna, "variable", "seen");
    assert_eq!(done(&mut bernd, "peek variable seen"), "whole");
    refused(&mut bernd, "write seen other", &["ReadOnly"]);
    refused(
        &mut bernd,
        "open variable seen",
        &["ForeignOwner", "mode 0640"],
    );
}

/// Against a death that only its own user could clean up after.
#[test]
fn a_group_recovers_what_its_dead_leave() {
    if !can_be_others("recovery across users", CHILD) {
        return;
    }
    let shared = [("ROBOT_IPC_MODE", "0660"), ("ROBOT_IPC_GROUP", "62000")];
    for (mortal, heir) in [(ANNA, BERND), (BERND, ANNA)] {
        let scratch = Scratch::new();
        let start = |user: User, arguments: &[&str]| {
            let mut command = user.command(CHILD);
            scratch.enter(command.args(arguments));
            let mut partner = Partner::run(command.envs(shared));
            partner.expect("ready");
            partner
        };
        let mut survivor = write_when_told(heir, &scratch, &shared);
        survivor.say("1");
        survivor.expect("wrote 1");
        for step in ["Claimed", "Filled halfway", "Published"] {
            let mut dead = start(mortal, &["stop-in-write", "pose", step, "kill", "7"]);
            dead.say("go");
            dead.wait_until_killed();
        }
        let options = scratch.options().mode(0o660).group(TEAM).read_only(true);
        let seen: HostVariable = options
            .open("pose")
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(taken_slots(&seen) > 0, "nobody held anything when it died");
        eventually("the other user takes back what the dead hold", || {
            survivor.say("9");
            let _ = survivor.number("wrote");
            taken_slots(&seen) == 0
        });
        assert_eq!(seen.sample().expect("a value").0, pattern(4096, 9));

        // Calls of the dead, and calls to them.
        let mut server = start(
            mortal,
            &["act-in-call", "answer", "serve: taken", "kill", "serve"],
        );
        let mut caller = heir.visit(&scratch, CHILD, &SHARED);
        done(&mut caller, "open function answer");
        let dead = ["DispatcherDied", "may or may not have done its work"];
        refused(&mut caller, "call answer whatever-it-is", &dead);
        server.wait_until_killed();
        let mut server = start(heir, &["serve-forever", "answer"]);
        for _ in 0..20 {
            // Each leaves a cell; there are 16.
            let mut dead = start(
                mortal,
                &["act-in-call", "answer", "call: drafted", "kill", "call"],
            );
            dead.say("go");
            dead.wait_until_killed();
        }
        let mut last = start(heir, &["act-in-call", "answer", "never", "kill", "call"]);
        last.say("go");
        last.expect("answered");
        server.finish();
    }
}
