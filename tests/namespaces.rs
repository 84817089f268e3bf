//! Containers that share `/dev/shm`: the same process has another id in each of them, and
//! the same user another number, or none.

use robot_ipc::function::FunctionStatus;
use robot_ipc::testing::taken_slots;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::process::Partner;
use support::user::{
    ANNA, BERND, KINDS, SHARED, User, can_be_others, can_unshare, check_works, done, file, make,
    refused,
};
use support::{Scratch, eventually, pattern};

const CHILD: &str = env!("CARGO_BIN_EXE_child");
/// A shell takes the first id, so that what it starts can be stopped and killed.
const PID_NAMESPACE: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

/// A process in a pid namespace of its own.
struct Container {
    partner: Partner,
    /// Its id out here.
    pid: Pid,
}

impl Container {
    /// Starts a role of the child program, which first says that it is ready.
    fn start(scratch: &Scratch, arguments: &[&str]) -> Container {
        let mut command = Command::new("unshare");
        command.args(PID_NAMESPACE);
        // The shell itself would report who was killed.
        let script = "exec 3>&2 2>/dev/null; (exec \"$@\" 2>&3 3>&-); exit $?";
        command.args(["sh", "-c", script, "sh", CHILD]);
        let mut partner = Partner::run(scratch.enter(command.args(arguments)));
        partner.expect("ready");
        let shell = only_child_of(partner.pid());
        let pid = Pid::from_raw(only_child_of(shell) as i32).expect("a process");
        Container { partner, pid }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("it is there");
    }

    /// Kills the process, and not only what is around it.
    fn kill(mut self) {
        self.signal(Signal::KILL);
        self.partner.end_input();
        let _ = self.partner.state();
    }

    fn wait_until_stopped(&self) {
        eventually("a process in a container is stopped", || {
            field(self.pid.as_raw_nonzero().get() as u32, 0).is_some_and(|state| state == "T")
        });
    }
}

/// A field of what the system tells of a process, counted after its name.
fn field(pid: u32, index: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    fields.split(' ').nth(index).map(str::to_owned)
}

fn only_child_of(parent: u32) -> u32 {
    let processes = std::fs::read_dir("/proc").expect("the list of processes");
    let mut pids = processes.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        (field(pid, 1)? == parent.to_string()).then_some(pid)
    });
    pids.next().expect("it has a child")
}

/// Against liveness that goes by process ids: of two processes with the same one, one is
/// stopped and keeps what it has, and once it is killed the other one takes it back.
#[test]
fn the_dead_and_the_living_are_told_apart_across_containers() {
    if !can_unshare("variables across pid namespaces", &PID_NAMESPACE, None) {
        return;
    }
    for step in ["Claimed", "Filled halfway", "Published"] {
        let scratch = Scratch::new();
        let mut stopped = Container::start(&scratch, &["stop-in-write", "pose", step, "stop", "1"]);
        let mut writer = Container::start(&scratch, &["write-when-told", "pose"]);
        let ids = [&stopped, &writer].map(|one| inner_pid(one.pid));
        assert_eq!(ids[0], ids[1], "they should have one id");
        stopped.partner.say("go");
        stopped.wait_until_stopped();
        let seen = scratch.options().read_only(true).open("pose");
        let seen = seen.unwrap_or_else(|error| panic!("{error}"));
        let mut write = |number: u64| {
            writer.partner.say(&number.to_string());
            let _ = writer.partner.number("wrote");
            assert_eq!(seen.sample().expect("a value").0, pattern(4096, number));
        };
        // More than it takes to look into who is in the way, and for longer.
        let start = std::time::Instant::now();
        let mut number = 10;
        while number < 500 || start.elapsed().as_millis() < 100 {
            number += 1;
            write(number);
        }
        assert_eq!(taken_slots(&seen), 1, "{step}: taken from the living");
        stopped.kill();
        eventually("what the dead held is taken back", || {
            write(7);
            taken_slots(&seen) == 0
        });
    }
}

/// The id of a process in its own namespace.
fn inner_pid(pid: Pid) -> String {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("it is there");
    let line = status.lines().find(|line| line.starts_with("NSpid:"));
    let last = line.and_then(|line| line.split_whitespace().last());
    last.expect("ids in namespaces").to_owned()
}

/// Against calls that do not leave a container, and deaths that are not heard of outside
/// of it.
#[test]
fn calls_cross_containers_and_so_do_deaths() {
    if !can_unshare("functions across pid namespaces", &PID_NAMESPACE, None) {
        return;
    }
    let scratch = Scratch::new();
    let status = || FunctionStatus::of(scratch.place(), "answer").expect("somebody served it");
    let server = Container::start(&scratch, &["serve-forever", "answer"]);
    for _ in 0..3 {
        let mut caller = Container::start(
            &scratch,
            &["act-in-call", "answer", "never", "kill", "call"],
        );
        caller.partner.say("go");
        caller.partner.expect("answered");
    }
    // Each leaves a cell, and there are 16 of them.
    for _ in 0..18 {
        let arguments = ["act-in-call", "answer", "call: drafted", "kill", "call"];
        let mut dead = Container::start(&scratch, &arguments);
        dead.partner.say("go");
        let _ = dead.partner.state();
    }
    assert_eq!(status().servers.len(), 1);
    server.signal(Signal::STOP);
    server.wait_until_stopped();
    assert_eq!(status().servers.len(), 1, "the stopped live");
    server.kill();
    assert_eq!(status().servers.len(), 0, "the dead do not");

    let server = Container::start(
        &scratch,
        &["act-in-call", "answer", "serve: taken", "stop", "serve"],
    );
    let mut caller = Container::start(&scratch, &["visit"]);
    done(&mut caller.partner, "open function answer");
    caller.partner.say("call answer whatever-it-is");
    server.wait_until_stopped();
    // Longer than a caller takes to look who lives, a few times over.
    std::thread::sleep(std::time::Duration::from_millis(800));
    let seen = status();
    assert_eq!((seen.running, seen.servers.len()), (1, 1));
    server.kill();
    let told = caller.partner.hear();
    assert!(told.starts_with("no DispatcherDied"), "{told}");
}

/// The role `visit` as `user` in a user namespace of its own.
fn visit_in_user_namespace(
    user: User,
    scratch: &Scratch,
    options: &[&str],
    asking: &[&str],
) -> Partner {
    let mut command = user.command("unshare");
    command.args(options).arg(CHILD).arg("visit").args(asking);
    let mut partner = Partner::run(scratch.enter(&mut command));
    partner.expect("ready");
    partner
}

const AS_ROOT: [&str; 2] = ["--user", "--map-root-user"];
const AS_NOBODY: [&str; 1] = ["--user"];

/// Against taking everybody's files for one's own, because all users that a namespace does
/// not know have one number, and one's own may be that one too.
#[test]
fn strangers_are_strangers_in_a_user_namespace() {
    let what = "user namespaces";
    if !can_be_others(what, CHILD)
        || !can_unshare(what, &AS_ROOT, Some(ANNA))
        || !can_unshare(what, &AS_NOBODY, Some(ANNA))
    {
        return;
    }
    for kind in KINDS {
        let scratch = Scratch::new();
        let mut anna = ANNA.visit(&scratch, CHILD, &[]);
        let mut bernd = BERND.visit(&scratch, CHILD, &[]);
        let mut root = Partner::start(&scratch, CHILD, &["visit"]);
        root.expect("ready");
        make(&mut anna, kind, "own");
        make(&mut bernd, kind, "theirs");
        make(&mut root, kind, "of-root");
        // Readable for everybody, so that nothing but a look at the owner is in the way.
        for name in ["theirs", "of-root"] {
            let path = file(&scratch, kind, name);
            std::fs::set_permissions(path, Permissions::from_mode(0o644)).expect("root may");
        }
        for namespace in [&AS_ROOT[..], &AS_NOBODY[..]] {
            let visit =
                |asking: &[&str]| visit_in_user_namespace(ANNA, &scratch, namespace, asking);
            // Her own are her own.
            let mut inside = visit(&[]);
            done(&mut inside, &format!("peek {kind} own"));
            if kind == "variable" {
                done(&mut inside, "open variable own");
            }
            check_works(&mut inside, kind, "own", "inside");
            check_works(&mut anna, kind, "own", "outside");
            for name in ["theirs", "of-root"] {
                let parts = ["ForeignOwner", "it belongs to another user", "owner 65534"];
                refused(&mut inside, &format!("peek {kind} {name}"), &parts);
            }
            // Nor by a group that is nobody's.
            if kind == "variable" {
                for asking in [&["mode=644"][..], &["mode=644", "group=65534"][..]] {
                    let mut asking = visit(asking);
                    refused(
                        &mut asking,
                        "peek variable theirs",
                        &["ForeignOwner", "group"],
                    );
                }
            }
            let mut inside = visit(&[]);
            // The file knows whose it is, also if the one who makes it does not.
            make(&mut inside, kind, "born-inside");
            let mut outside = ANNA.visit(&scratch, CHILD, &[]);
            done(&mut outside, &format!("remove {kind} born-inside"));
        }
        let mut inside = visit_in_user_namespace(ANNA, &scratch, &AS_NOBODY, &[]);
        done(&mut inside, &format!("remove {kind} own"));
        assert!(!file(&scratch, kind, "own").exists());
    }
}

/// Against somebody who is root in a namespace only: what it cannot remove it must not
/// retire.
#[test]
fn root_of_a_namespace_retires_only_what_it_can_remove() {
    let what = "removing in a user namespace";
    if !can_be_others(what, CHILD) || !can_unshare(what, &AS_ROOT, Some(ANNA)) {
        return;
    }
    let mate = BERND.with_group(ANNA.gid);
    for kind in KINDS {
        let scratch = Scratch::new();
        let mut bernd = mate.visit(&scratch, CHILD, &["mode=660"]);
        make(&mut bernd, kind, "shared");
        let mut anna = visit_in_user_namespace(ANNA, &scratch, &AS_ROOT, &["mode=660"]);
        if kind == "variable" {
            done(&mut anna, "open variable shared");
        }
        check_works(&mut anna, kind, "shared", "inside");
        let parts = ["PermissionDenied", "its owner or root can"];
        refused(&mut anna, &format!("remove {kind} shared"), &parts);
        check_works(&mut bernd, kind, "shared", "still");
        // The group of both has a number there; that of the team has none.
        let mut team = BERND.visit(&scratch, CHILD, &SHARED);
        make(&mut team, kind, "of-the-team");
        let parts = ["ForeignOwner", "group 65534"];
        refused(&mut anna, &format!("open {kind} of-the-team"), &parts);
    }
}
