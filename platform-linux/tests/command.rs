//! The command `robot-ipc` as its users run it.
#![cfg(feature = "command")]

#[path = "command/functions.rs"]
mod functions;
#[path = "command/support.rs"]
mod support;

use robot_ipc::Encoding;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Running, Scratch, errors, eventually, look_up, rm_stale_until, text};

// ------------------------------------------------------------------- set, get

/// Against a value that comes back as another one, in either direction.
#[test]
fn values_are_set_and_got() {
    let scratch = Scratch::new();
    assert_eq!(
        scratch.prints(&[
            "set",
            "pose",
            r#"{"x": 1.5, "joints": [1, -2, null], "ok": true}"#,
            "--max-size",
            "200"
        ]),
        ""
    );
    assert_eq!(
        scratch.prints(&["get", "pose"]),
        "{'x': 1.5, 'joints': [1, -2, None], 'ok': True}\n"
    );
    scratch.prints(&["set", "pose", "-7"]);
    assert_eq!(scratch.prints(&["get", "pose"]), "-7\n");
    scratch.prints(&["set", "pose", "--hex", "00 ff0A"]);
    assert_eq!(scratch.prints(&["get", "pose"]), "00ff0a\n");
    assert_eq!(scratch.run(&["get", "--raw", "pose"]).stdout, [0, 255, 10]);
    scratch.prints(&["set", "pose", "--text", "hello"]);
    assert_eq!(scratch.run(&["get", "pose", "--raw"]).stdout, b"hello");
    let file = scratch.file("no object").with_extension("bytes");
    std::fs::write(&file, b"from a file").expect("a file");
    scratch.prints(&["set", "pose", "--file", file.to_str().expect("text")]);
    std::fs::remove_file(&file).expect("our file");
    assert_eq!(
        scratch.run(&["get", "pose", "--raw"]).stdout,
        b"from a file"
    );

    let (bytes, sample) = scratch
        .options()
        .adopt_size()
        .open("pose")
        .expect("it is there")
        .sample()
        .expect("a value");
    assert_eq!(
        (bytes.as_slice(), sample.version, sample.encoding),
        (b"from a file".as_slice(), 5, Encoding::RAW)
    );

    let mut command = scratch.command(&["set", "pose", "--file", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"piped")
        .expect("it reads");
    assert!(child.wait().expect("our child").success());
    assert_eq!(scratch.run(&["get", "pose", "--raw"]).stdout, b"piped");
}

/// Against encodings that are guessed, hidden, or shown as what they are not.
#[test]
fn each_encoding_is_named() {
    let scratch = Scratch::new();
    let variable = scratch.variable("v");
    let get = || {
        let output = scratch.run(&["get", "v"]);
        assert!(output.status.success());
        (text(&output).trim_end().to_owned(), errors(&output))
    };
    let put = |bytes: &[u8], encoding| {
        variable
            .write_encoded(bytes, encoding)
            .unwrap_or_else(|error| panic!("{error}"));
        get()
    };
    let pickle = b"\x80\x04]\x94(K\x01\x8c\x01\x1be.";
    assert_eq!(
        put(pickle, Encoding::PICKLE),
        ("[1, '\\x1b']".into(), String::new())
    );
    let (shown, note) = put(pickle, Encoding::UNSPECIFIED);
    assert!(
        shown == "[1, '\\x1b']" && note.contains("named no encoding"),
        "{shown} {note}"
    );
    let (shown, note) = put(b"\x01\x02", Encoding::UNSPECIFIED);
    assert!(
        shown == "0102" && note.contains("named no encoding"),
        "{shown} {note}"
    );
    let (shown, note) = put(b"\x01\x02", Encoding::POSTCARD);
    assert!(
        shown == "0102" && note.contains("postcard"),
        "{shown} {note}"
    );
    let (shown, note) = put(b"\x01\x02", Encoding(77));
    assert!(
        shown == "0102" && note.contains("number 77"),
        "{shown} {note}"
    );
    let (shown, note) = put(b"\x80\x04X\xff\xff\xff\xff.", Encoding::PICKLE);
    assert!(
        shown.starts_with("800458") && note.contains("byte 2 (BINUNICODE)"),
        "{shown} {note}"
    );
    // 13 KB that overflow the stack of a decoder that recurses.
    let deep = [
        b"\x80\x04".to_vec(),
        vec![b']'; 2000],
        vec![b'a'; 1999],
        b".".to_vec(),
    ]
    .concat();
    let (_, note) = put(&deep, Encoding::PICKLE);
    assert!(note.contains("nested deeper than 100"), "{note}");
    assert_eq!(put(b"", Encoding::RAW), (String::new(), String::new()));
}

#[test]
fn get_prints_json() {
    let scratch = Scratch::new();
    scratch.prints(&["set", "v", r#"["\"\n"]"#, "--max-size", "100"]);
    let json = scratch.prints(&["get", "--json", "v"]);
    let Some(found) = look_up(
        &json,
        "v['version'], v['encoding'], v['value'], v['size'], 0 < v['age'] < 60",
    ) else {
        return;
    };
    assert_eq!(found, r#"(1, 'pickle', '[\'"\\n\']', 10, True)"#);
}

#[test]
fn what_cannot_be_set_or_got() {
    let scratch = Scratch::new();
    assert!(
        scratch
            .fails(&["get", "v"])
            .contains("variable 'v': there is none of that name")
    );
    assert!(
        scratch
            .fails(&["set", "v", "1"])
            .contains("there is none of that name")
    );
    assert!(!scratch.file("v").exists());
    scratch.variable("v");
    assert!(scratch.fails(&["get", "v"]).contains("nobody has written"));
    assert!(
        scratch
            .fails(&["set", "v", "hello"])
            .contains("'\"hello\"'")
    );
    assert!(
        scratch
            .fails(&["set", "v", "1", "--max-size", "8"])
            .contains("4096")
    );
    assert!(scratch.fails(&["set", "v", "--hex", "0x"]).contains("'x'"));
    assert!(scratch.fails(&["set", "v", "--hex", "012"]).contains("odd"));
    assert!(
        scratch
            .fails(&["set", "v", "--file", "/no/such/file"])
            .contains("/no/such/file")
    );
    assert!(
        scratch
            .fails(&["set", "v", "--text", &"x".repeat(4097)])
            .contains("4097")
    );
    assert!(scratch.fails(&["get", "a/b"]).contains("'/'"));
    assert!(
        scratch
            .fails(&["get", "v", "--namespace", "a/b"])
            .contains("namespace")
    );
    assert_eq!(scratch.variable("v").version().expect("a version"), 0);
    for usage in [
        &["get"][..],
        &["set", "v"],
        &["set", "v", "1", "--text", "x"],
        &["rm"],
        &["what"],
        &[],
        &["watch", "v", "--timeout", "x"],
    ] {
        assert_eq!(scratch.run(usage).status.code(), Some(2), "{usage:?}");
    }
}

/// Against a command that looks somewhere else than it was told.
#[test]
fn the_place_is_an_option() {
    let scratch = Scratch::new();
    let folder = std::env::temp_dir().join(format!("robot-ipc-command-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.to_str().expect("text");
    scratch.prints(&[
        "--directory",
        path,
        "--namespace",
        "other",
        "set",
        "v",
        "1",
        "--max-size",
        "64",
    ]);
    assert!(folder.join("robot-ipc.other.variable.v").exists());
    let relative = Command::new(env!("CARGO_BIN_EXE_robot-ipc"))
        .args(["ls", "--directory", ".", "--namespace", "other"])
        .current_dir(&folder)
        // Values that cannot be used do not matter if they are overridden.
        .env("ROBOT_IPC_DIR", "relative")
        .env("ROBOT_IPC_NAMESPACE", "")
        .output()
        .expect("the command starts");
    assert!(text(&relative).contains("\nv "), "{relative:?}");
    assert_eq!(scratch.prints(&["ls"]), "");
    std::fs::remove_dir_all(&folder).expect("our folder");
}

#[test]
fn the_version_is_that_of_this_build() {
    let version = Scratch::new().prints(&["--version"]);
    assert_eq!(
        version,
        format!("robot-ipc {}\n", robot_ipc::build_id::BUILD_ID)
    );
}

// -------------------------------------------------------------------------- ls

/// Against a listing that hides what is broken, or that changes what it lists.
#[test]
fn ls_lists_what_there_is() {
    let scratch = Scratch::new();
    assert_eq!(scratch.prints(&["ls"]), "");
    assert_eq!(scratch.prints(&["ls", "--json"]), "[]\n");
    let written = scratch.variable("written");
    written.write(b"x").expect("a write");
    written.write(b"y").expect("a write");
    scratch
        .options()
        .max_size(100)
        .slots(3)
        .open("fresh")
        .expect("a variable");
    std::fs::write(scratch.file("damaged"), b"no segment").expect("a file");
    std::fs::create_dir(scratch.file("folder")).expect("a folder");

    let before = std::fs::read(scratch.file("fresh")).expect("its bytes");
    let table = scratch.prints(&["ls"]);
    assert_eq!(
        std::fs::read(scratch.file("fresh")).expect("its bytes"),
        before
    );
    let line = |name: &str| {
        let line = table
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{table}"));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let uid = rustix::process::geteuid().as_raw().to_string();
    assert_eq!(
        line("NAME").join(" "),
        "NAME KIND SIZE SLOTS VERSION AGE OWNER LIVE"
    );
    assert_eq!(
        line("fresh").join(" "),
        format!("fresh variable 100 3 0 - {uid} 0")
    );
    let found = line("written");
    assert_eq!(found[..5].join(" "), "written variable 4096 14 2");
    assert_eq!(found[found.len() - 2..].join(" "), format!("{uid} 1"));
    assert!(
        line("damaged").join(" ").contains("it cannot be used"),
        "{table}"
    );
    assert!(line("folder").join(" ").contains("a directory"), "{table}");

    let json = scratch.prints(&["ls", "--json"]);
    let expression = "{o['name']: (o['kind'], o.get('max_size'), o.get('slots'), o.get('version'), \
         o.get('participants'), o.get('age') is not None, 'error' in o) for o in v}";
    let Some(found) = look_up(&json, expression) else {
        return;
    };
    let pid = std::process::id();
    let expected = [
        "{'damaged': ('variable', None, None, None, None, False, True)",
        "'folder': ('variable', None, None, None, None, False, True)",
        "'fresh': ('variable', 100, 3, 0, [], False, False)",
        &format!("'written': ('variable', 4096, 14, 2, [{pid}], True, False)}}"),
    ];
    assert_eq!(found, expected.join(", "));
}

#[test]
fn ls_of_no_folder_fails() {
    let error = Scratch::new().fails(&["ls", "--directory", "/no/such/folder"]);
    assert!(error.contains("folder"), "{error}");
}

// ----------------------------------------------------------------------- watch

/// Starts a watch of `name` and waits until it has opened it.
fn watch(scratch: &Scratch, name: &str, arguments: &[&str]) -> Running {
    let running = Running::start(
        scratch
            .command(&[&["watch", name], arguments].concat())
            .stderr(Stdio::piped()),
    );
    let file = scratch.file(name);
    let file = file.to_str().expect("text");
    let maps = format!("/proc/{}/maps", running.0.id());
    eventually("it has opened the variable", || {
        std::fs::read_to_string(&maps).is_ok_and(|maps| maps.contains(file))
    });
    // It then looks which version is the latest, which takes no time to speak of.
    std::thread::sleep(Duration::from_millis(200));
    running
}

/// Against changes that are printed late, twice, or not at all into a pipe.
#[test]
fn watch_prints_each_change() {
    let scratch = Scratch::new();
    let variable = scratch.variable("v");
    variable.write(b"\x00").expect("a write");
    let mut running = watch(&scratch, "v", &["--count", "3"]);
    let mut lines = running.output().lines().map(|line| line.expect("text"));
    variable
        .write_encoded(b"\x80\x04K\x05.", Encoding::PICKLE)
        .expect("a write");
    let line = lines.next().expect("a line");
    assert!(
        line.starts_with("version 2, ") && line.ends_with("s: 5"),
        "{line}"
    );

    running.signal(rustix::process::Signal::STOP);
    let state = format!("/proc/{}/stat", running.0.id());
    eventually("it is stopped", || {
        std::fs::read_to_string(&state).is_ok_and(|state| state.contains(") T "))
    });
    for byte in 0..10 {
        variable.write(&[byte]).expect("a write");
    }
    running.signal(rustix::process::Signal::CONT);
    let line = lines.next().expect("a line");
    assert!(
        line.starts_with("version 12 (9 skipped), ") && line.ends_with(": 09"),
        "{line}"
    );
    variable
        .write_encoded(&[0xAB], Encoding(9))
        .expect("a write");
    let rest: Vec<String> = lines.collect();
    assert!(
        rest.len() == 1 && rest[0].contains(": ab (shown as bytes: "),
        "{rest:?}"
    );
    assert!(running.ends().success());
}

/// Against a command that is killed by SIGBUS when somebody cuts a file, and against a list
/// that leaves such a file out.
#[test]
fn a_file_that_is_cut_is_told() {
    let scratch = Scratch::new();
    drop(scratch.variable("v"));
    let mut running = watch(&scratch, "v", &[]);
    std::fs::File::create(scratch.file("v")).expect("its file");
    let mut error = String::new();
    let mut errors = running.0.stderr.take().expect("a pipe");
    errors.read_to_string(&mut error).expect("text");
    assert!(
        error.contains("variable 'v': its file was truncated"),
        "{error}"
    );
    assert_eq!(running.ends().code(), Some(1));
    let list = scratch.prints(&["ls"]);
    assert!(
        list.contains("v ") && list.contains("cannot be used"),
        "{list}"
    );
    scratch.prints(&["rm", "--force", "v"]);
}

#[test]
fn watch_prints_json_lines() {
    let scratch = Scratch::new();
    let variable = scratch.variable("v");
    let mut running = watch(&scratch, "v", &["--count", "1", "--json"]);
    variable.write(b"\xab").expect("a write");
    let mut line = String::new();
    running.output().read_line(&mut line).expect("a line");
    let Some(found) = look_up(
        &line,
        "v['version'], v['skipped'], v['encoding'], v['value']",
    ) else {
        return;
    };
    assert_eq!(found, "(1, 0, 'raw', 'ab')");
}

#[test]
fn watch_ends_when_told() {
    let scratch = Scratch::new();
    let variable = scratch.variable("v");
    let error = scratch.fails(&["watch", "v", "--timeout", "0.05"]);
    assert!(error.contains("nothing was written"), "{error}");

    use std::os::unix::process::ExitStatusExt as _;
    let mut running = watch(&scratch, "v", &[]);
    running.signal(rustix::process::Signal::INT);
    let status = running.ends();
    assert!(
        status.signal() == Some(2) || matches!(status.code(), Some(0 | 130)),
        "{status}"
    );

    let mut running = watch(&scratch, "v", &[]);
    variable.remove(Duration::from_secs(5)).expect("it is ours");
    assert_eq!(running.ends().code(), Some(1));
    assert!(
        scratch
            .fails(&["watch", "v"])
            .contains("there is none of that name")
    );
}

/// Against a panic, or an error text, when whoever reads the output goes away.
#[test]
fn a_closed_pipe_ends_quietly() {
    let scratch = Scratch::new();
    let variable = scratch.variable("v");
    let mut running = watch(&scratch, "v", &[]);
    drop(running.output());
    variable.write(b"x").expect("a write");
    assert!(running.ends().success());
    let mut error = String::new();
    let stderr = running.0.stderr.take().expect("a pipe");
    BufReader::new(stderr).read_line(&mut error).expect("text");
    assert_eq!(error, "");
}

// -------------------------------------------------------------------------- rm

/// Against removing what somebody uses, if only to read, and against leaving
/// what nobody does.
#[test]
fn rm_stale_removes_what_nobody_uses() {
    let scratch = Scratch::new();
    for name in ["dead", "read", "written", "killed"] {
        scratch.prints(&["set", name, "1", "--max-size", "64"]);
    }
    let written = scratch
        .options()
        .max_size(64)
        .open("written")
        .expect("it is there");
    let reader = watch(&scratch, "read", &[]);
    let mut killed = watch(&scratch, "killed", &[]);
    killed.signal(rustix::process::Signal::KILL);
    killed.ends();
    std::fs::write(scratch.file("damaged"), b"no segment").expect("a file");

    let output = scratch.run(&["rm", "--stale"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        text(&output),
        "removed variable 'dead'\nremoved variable 'killed'\nin use: variable 'read'\nin use: variable 'written'\n"
    );
    assert!(
        errors(&output).contains("robot-ipc rm --force damaged"),
        "{output:?}"
    );
    for (name, stays) in [
        ("dead", false),
        ("killed", false),
        ("read", true),
        ("written", true),
        ("damaged", true),
    ] {
        assert_eq!(scratch.file(name).exists(), stays, "{name}");
    }
    written.write(b"still in use").expect("a write");

    drop((reader, written));
    std::fs::remove_file(scratch.file("damaged")).expect("a file");
    let said = rm_stale_until(&scratch, "");
    for name in ["read", "written"] {
        let removed = format!("removed variable '{name}'\n");
        assert!(said.contains(&removed), "{said}");
    }
}

/// Against handles that go on with a variable that nobody else can see.
#[test]
fn rm_tells_those_who_have_it_open() {
    let scratch = Scratch::new();
    let variable = scratch.variable("v");
    variable.write(b"x").expect("a write");
    scratch.variable("w");
    let output = scratch.run(&["rm", "v", "missing", "w"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors(&output).contains("variable 'missing': there is none"),
        "{output:?}"
    );
    assert!(!scratch.file("v").exists() && !scratch.file("w").exists());
    assert_eq!(
        *variable.write(b"y").expect_err("it is gone").reason(),
        robot_ipc::Reason::Retired
    );
}

/// Against a file that nothing can remove but `rm` with its full path.
#[test]
fn rm_force_removes_any_file() {
    let scratch = Scratch::new();
    std::fs::write(scratch.file("damaged"), b"no segment").expect("a file");
    std::os::unix::fs::symlink("/nowhere", scratch.file("link")).expect("a link");
    let error = scratch.fails(&["rm", "damaged"]);
    assert!(error.contains("robot-ipc rm --force damaged"), "{error}");
    scratch.prints(&["rm", "--force", "damaged", "link"]);
    assert!(!scratch.file("damaged").exists() && scratch.file("link").symlink_metadata().is_err());
    assert!(
        scratch
            .fails(&["rm", "--force", "damaged"])
            .contains("there is none")
    );
}

// ----------------------------------------------------------------- other users

/// Against a command that shows, changes or removes what belongs to others, or follows
/// what they have put there.
#[test]
fn others_objects_are_named_and_left_alone() {
    let scratch = Scratch::new();
    let run_as = |user: u32, arguments: &[&str]| {
        let here = scratch.command(arguments);
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={user}"));
        command.arg(format!("--regid={user}")).arg("--clear-groups");
        command.arg(here.get_program()).args(arguments);
        let environment = here.get_envs();
        command.envs(environment.filter_map(|(name, value)| Some((name, value?))));
        command
            .env_remove("ROBOT_IPC_MODE")
            .env_remove("ROBOT_IPC_GROUP")
            .env_remove("ROBOT_IPC_MEMORY");
        command.stdin(Stdio::null()).output()
    };
    const ANNA: u32 = 61_001;
    const BERND: u32 = 61_002;
    if !run_as(ANNA, &["ls"]).is_ok_and(|output| output.status.success()) {
        let why = "it takes root, setpriv, and a folder that others can reach";
        return support::skipped("the command of other users", why);
    }
    let run_as = |user, arguments: &[&str]| run_as(user, arguments).expect("as before");
    let made = run_as(ANNA, &["set", "pose", "5", "--max-size", "100"]);
    assert!(made.status.success(), "{made:?}");
    let planted = scratch.file("planted");
    std::os::unix::fs::symlink(scratch.file("pose"), &planted).expect("a link");
    std::os::unix::fs::lchown(&planted, Some(BERND), None).expect("root may");

    let listed = text(&run_as(BERND, &["ls"]));
    let line = listed.lines().find(|line| line.starts_with("pose"));
    let line = line.expect("it is shown");
    assert!(
        line.contains("61001") && line.contains("it belongs to another user"),
        "{line}"
    );
    for arguments in [
        &["get", "pose"][..],
        &["set", "pose", "6"],
        &["rm", "pose"],
        &["rm", "--stale"],
    ] {
        let output = run_as(BERND, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let error = errors(&output);
        let told = [
            "owner 61001, group 61001, mode 0600",
            "its owner or root can remove it",
        ];
        assert!(
            told.iter().all(|part| error.contains(part)),
            "{arguments:?}: {error}"
        );
    }
    let error = errors(&run_as(BERND, &["rm", "--force", "pose"]));
    assert!(
        error.contains("may not take its name away; its owner or root can"),
        "{error}"
    );

    for arguments in [
        &["get", "planted"][..],
        &["rm", "planted"],
        &["rm", "--stale"],
    ] {
        let output = run_as(ANNA, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(
            errors(&output).contains("a symbolic link"),
            "{arguments:?}: {output:?}"
        );
    }
    // Nobody has it open, so that was all that --stale could remove.
    let made = run_as(ANNA, &["set", "pose", "5", "--max-size", "100"]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(text(&run_as(ANNA, &["get", "pose"])), "5\n");
    // Root believes nobody, and removes what is to go.
    assert!(scratch.fails(&["get", "pose"]).contains("owner 61001"));
    assert!(scratch.fails(&["rm", "pose"]).contains("rm --force pose"));
    scratch.prints(&["rm", "--force", "pose", "planted"]);
    assert!(!scratch.file("pose").exists() && planted.symlink_metadata().is_err());
}

// ---------------------------------------------------------------------- Python

/// Against a command and a Python module that do not understand each other.
#[test]
fn python_and_the_command_read_each_other() {
    let scratch = Scratch::new();
    let Some(run) = scratch.python_with_module("Python and the command") else {
        return;
    };
    let python = |program: &str| {
        let output = run(program).output().expect("python3");
        assert!(output.status.success(), "{output:?}");
        text(&output)
    };
    python(
        "from robot_ipc import HostVariable; HostVariable('v').data = {'b': (1, 2.5), 'a': {3}}",
    );
    let shown = scratch.prints(&["get", "v"]);
    assert_eq!(shown, "{'b': (1, 2.5), 'a': {3}}\n");
    scratch.prints(&[
        "set",
        "v",
        r#"{"z": [true, null, "é", 100000000000], "a": -1.5}"#,
    ]);
    let read = python("from robot_ipc import HostVariable; print(ascii(HostVariable('v').data))");
    assert_eq!(
        read,
        "{'z': [True, None, '\\xe9', 100000000000], 'a': -1.5}\n"
    );
}
