//! The command and host functions: `call`, and what `ls` and `rm` make of them.

use crate::support::{Running, Scratch, errors, eventually, look_up, rm_stale_until, text};
use robot_ipc::function::Reply;
use robot_ipc::{Encoding, HostFunctionDispatcher, IncomingCall, pickle};
use rustix::process::Signal;
use std::io::BufRead;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// The pickle of `[1, 'x']`.
const PICKLE: &[u8] = b"\x80\x04](K\x01\x8c\x01xe.";

/// Serves one function in a thread of this process.
fn serve(
    scratch: &Scratch,
    name: &str,
    function: impl FnMut(IncomingCall) -> robot_ipc::Result<()> + Send + 'static,
) -> HostFunctionDispatcher {
    let dispatcher = HostFunctionDispatcher::new(1).expect("a dispatcher");
    dispatcher
        .add_raw(&scratch.functions(), name.as_bytes(), function)
        .unwrap_or_else(|error| panic!("{error}"));
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    dispatcher
}

// ------------------------------------------------------------------------ call

/// Against a call of something else than was typed, and an answer that is not shown as
/// what it is.
#[test]
fn call_sends_what_was_typed_and_prints_what_came() {
    let scratch = Scratch::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&seen);
    let mut answers = [
        (Some(PICKLE), Encoding::PICKLE),
        (Some(b"\x00\xff"), Encoding::RAW),
        (Some(b"\x01\x02"), Encoding(77)),
        (None, Encoding::RAW),
    ]
    .into_iter();
    let _dispatcher = serve(&scratch, "f", move |call| {
        let pickled = (call.encoding() == Encoding::PICKLE).then(|| pickle::text(call.arguments()));
        calls.lock().expect("no panic").push(pickled);
        match answers.next() {
            Some((Some(bytes), encoding)) => call.reply(bytes, encoding),
            _ => call.reply_nothing(),
        }
    });
    assert_eq!(scratch.prints(&["call", "f"]), "[1, 'x']\n");
    let typed = [
        "call",
        "f",
        "1",
        "speed=-0.5",
        "\"a=b\"",
        "on=true",
        "{\"x\": [null]}",
        "-3",
    ];
    assert_eq!(scratch.prints(&typed), "00ff\n");
    let output = scratch.run(&["call", "--timeout", "60", "f", "-1.5"]);
    assert!(output.status.success());
    assert_eq!(text(&output), "0102\n");
    assert!(errors(&output).contains("number 77"), "{output:?}");
    assert_eq!(scratch.prints(&["call", "f", "x=\"ä\""]), "None\n");

    let seen = seen.lock().expect("no panic");
    let seen: Vec<&str> = seen
        .iter()
        .flatten()
        .flatten()
        .map(String::as_str)
        .collect();
    assert_eq!(
        seen,
        [
            "((), {})",
            "((1, 'a=b', {'x': [None]}, -3), {'speed': -0.5, 'on': True})",
            "((-1.5,), {})",
            "((), {'x': 'ä'})",
        ]
    );
}

/// Against an error of the function that is lost, or that looks like an answer.
#[test]
fn what_a_function_raises_is_an_error() {
    let scratch = Scratch::new();
    let _dispatcher = serve(&scratch, "f", |call| {
        call.reply_error("ValueError: wrong\nin two lines")
    });
    let output = scratch.run(&["call", "f", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output), "");
    assert!(
        errors(&output).contains("raised: ValueError: wrong\\nin two lines"),
        "{output:?}"
    );
}

/// Against a call that waits for ever, or ends without saying why it has no answer.
#[test]
fn call_says_why_there_is_no_answer() {
    let scratch = Scratch::new();
    assert!(
        scratch
            .fails(&["call", "none"])
            .contains("nobody has offered it")
    );
    assert!(!scratch.function_file("none").exists());
    scratch.variable("v");
    assert!(
        scratch
            .fails(&["call", "v"])
            .contains("a variable of that name")
    );

    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let dispatcher = serve(&scratch, "slow", move |call| {
        let _ = begun.send(());
        let _ = ended.recv();
        call.reply_nothing()
    });
    let me = format!("process {}", std::process::id());
    let error = scratch.fails(&["call", "slow", "--timeout", "0.2"]);
    assert!(
        error.contains(&format!("{me} is running the call")),
        "{error}"
    );
    assert!(error.contains("nobody hears of its answer"), "{error}");
    has_begun.recv().expect("it was called");
    let error = scratch.fails(&["call", "slow", "--timeout", "0.2"]);
    assert!(
        error.contains("has not started yet; ") && error.contains(&me),
        "{error}"
    );
    assert!(error.contains("will not run"), "{error}");
    drop(end);
    drop(dispatcher);

    let start = Instant::now();
    let error = scratch.fails(&["call", "slow", "--timeout", "0.2"]);
    assert!(
        error.contains("nobody serves the function; the call was taken back"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(has_begun.try_recv().is_err(), "a withdrawn call has run");

    let _dispatcher = serve(&scratch, "lost", |call| {
        drop(call);
        Ok(())
    });
    let error = scratch.fails(&["call", "lost"]);
    assert!(error.contains("did not come back"), "{error}");
    let too_large = format!("\"{}\"", "x".repeat(5000));
    let error = scratch.fails(&["call", "lost", &too_large]);
    assert!(error.contains("max_argument_size is 4096"), "{error}");
}

/// Against arguments that are guessed, and a call in spite of them.
#[test]
fn call_refuses_what_is_no_argument() {
    let scratch = Scratch::new();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let _dispatcher = serve(&scratch, "f", move |call| {
        counted.fetch_add(1, Relaxed);
        call.reply_nothing()
    });
    for (argument, why) in [
        ("hello", "'\"hello\"'"),
        ("x=hello", "argument x=hello: "),
        ("[1", "it ends there"),
    ] {
        let error = scratch.fails(&["call", "f", argument]);
        assert!(error.contains(why), "{error}");
    }
    assert!(
        scratch
            .fails(&["call", "f", "x=1", "x=2"])
            .contains("twice")
    );
    assert!(scratch.fails(&["call", "a/b"]).contains("'/'"));
    for usage in [&["call"][..], &["call", "f", "--timeout", "soon"]] {
        assert_eq!(scratch.run(usage).status.code(), Some(2), "{usage:?}");
    }
    assert_eq!(count.load(Relaxed), 0);
}

/// Against one-way calls that wait for an answer, or that are lost since their caller
/// has ended.
#[test]
fn one_way_calls_arrive_and_print_nothing() {
    let scratch = Scratch::new();
    let options = scratch.functions().max_response_size(0);
    let dispatcher = HostFunctionDispatcher::new(1).expect("a dispatcher");
    let (came, arrived) = mpsc::channel();
    dispatcher
        .add_raw(&options, b"tell", move |call| {
            let _ = came.send(pickle::text(call.arguments()).expect("a pickle"));
            call.reply_nothing()
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let output = scratch.run(&["call", "tell", "1"]);
    assert!(output.status.success() && text(&output).is_empty());
    assert!(
        errors(&output).contains("nobody serves function 'tell' now"),
        "{output:?}"
    );
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scratch.prints(&["call", "tell", "2"]), "");
    let patience = Duration::from_secs(60);
    for expected in ["((1,), {})", "((2,), {})"] {
        assert_eq!(arrived.recv_timeout(patience).as_deref(), Ok(expected));
    }
}

/// Starts a call of `name`, and waits until the function has it.
fn calling(scratch: &Scratch, name: &str, is_there: impl Fn(u32, u32) -> bool) -> Running {
    let running = Running::start(scratch.command(&["call", name, "1"]).stderr(Stdio::piped()));
    eventually("the call is there", || {
        let status = scratch.status(name);
        is_there(status.queued, status.running)
    });
    running
}

/// Interrupts a call; what it says.
fn interrupted(mut running: Running) -> String {
    running.signal(Signal::INT);
    let status = running.ends();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{status}");
    let mut said = String::new();
    let errors = running.0.stderr.take().expect("a pipe");
    for line in std::io::BufReader::new(errors).lines() {
        said += &line.expect("text");
    }
    said
}

/// Against a call that runs although its caller has given up, and against a Ctrl-C that
/// ends nothing, or looks like success.
#[test]
fn ctrl_c_withdraws_a_call() {
    let scratch = Scratch::new();
    drop(scratch.functions().open("f").expect("a function"));
    let queued = calling(&scratch, "f", |queued, _| queued == 1);
    assert!(interrupted(queued).contains("will not run"));
    assert_eq!(scratch.status("f").queued, 0);

    let (begun, has_begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let _dispatcher = serve(&scratch, "f", move |call| {
        let _ = begun.send(());
        let _ = ended.recv();
        call.reply(PICKLE, Encoding::PICKLE)
    });
    let runs = calling(&scratch, "f", |_, running| running == 1);
    has_begun.recv().expect("it was called");
    // A stop and a continuation are no Ctrl-C.
    runs.signal(Signal::STOP);
    runs.signal(Signal::CONT);
    std::thread::sleep(Duration::from_millis(200));
    assert!(interrupted(runs).contains("nobody hears of its answer"));
    assert!(has_begun.try_recv().is_err(), "a withdrawn call has run");
    drop(end);
    assert_eq!(scratch.prints(&["call", "f"]), "[1, 'x']\n");
}

/// Against a user who does not know what the command waits for.
#[test]
fn a_long_wait_is_explained() {
    let scratch = Scratch::new();
    drop(scratch.functions().open("f").expect("a function"));
    let output = scratch.run(&["call", "f", "--timeout", "1.3"]);
    let said = errors(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(
        lines[0].contains("waiting: nobody serves the function"),
        "{said}"
    );
}

// -------------------------------------------------------------------------- ls

/// Against a listing that hides functions, or what becomes of their calls, and one that
/// changes what it lists.
#[test]
fn ls_lists_functions() {
    let scratch = Scratch::new();
    let options = scratch.functions();
    let dispatcher = HostFunctionDispatcher::new(2).expect("a dispatcher");
    let aged = options.clone().max_age(Duration::ZERO);
    dispatcher
        .add_with(&options, "served", |_: &[u8]| Reply::Bytes(vec![1]))
        .and(dispatcher.add_with(&aged, "aged", |_: &[u8]| Reply::Nothing))
        .unwrap_or_else(|error| panic!("{error}"));
    let one_way = options
        .clone()
        .max_argument_size(64)
        .max_response_size(0)
        .cells(4);
    let waiting = one_way.open("waiting").expect("a function");
    for _ in 0..2 {
        waiting.call(b"x").expect("a cell");
    }
    let served = options.open("served").expect("it is there");
    let unfetched = served.call(b"x").expect("a cell");
    let aged = options.open("aged").expect("it is there");
    let call = aged.call(b"x").expect("a cell");
    dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
    call.wait(None).expect_err("it is too old");
    eventually("both have ended", || {
        scratch.status("served").unfetched == 1
    });
    std::fs::write(scratch.function_file("damaged"), b"no segment").expect("a file");

    let before = std::fs::read(scratch.function_file("waiting")).expect("its bytes");
    let table = scratch.prints(&["ls"]);
    let after = std::fs::read(scratch.function_file("waiting")).expect("its bytes");
    assert_eq!(before, after);
    let line = |name: &str| {
        let found = table.lines().find(|line| line.starts_with(name));
        let words = found
            .unwrap_or_else(|| panic!("{table}"))
            .split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    let uid = rustix::process::geteuid().as_raw();
    let pid = std::process::id();
    assert_eq!(
        line("NAME"),
        "NAME KIND ARGS RETURNS CELLS WAITING RUNNING UNFETCHED SERVED DROPPED OWNER SERVED BY"
    );
    for (name, rest) in [
        ("waiting", format!("64 one-way 4 2 0 0 0 0 {uid} nobody")),
        ("served", format!("4096 4096 16 0 0 1 1 0 {uid} {pid}")),
        ("aged", format!("4096 4096 16 0 0 0 0 1 {uid} {pid}")),
    ] {
        assert_eq!(line(name), format!("{name} function {rest}"));
    }
    assert!(line("damaged").contains("it cannot be used"), "{table}");
    assert!(unfetched.wait(None).expect("an answer").is_some());

    scratch.variable("v");
    let both = scratch.prints(&["ls"]);
    assert_eq!(
        both.lines()
            .filter(|line| line.starts_with("NAME "))
            .count(),
        2,
        "{both}"
    );
    let json = scratch.prints(&["ls", "--json"]);
    let expression = "{o['name']: (o.get('max_argument_size'), o.get('max_response_size'), \
         o.get('cells'), o.get('servers'), o.get('waiting'), o.get('running'), \
         o.get('unfetched'), o.get('served'), o.get('dropped'), 'error' in o) \
         for o in v if o['kind'] == 'function'}";
    let Some(found) = look_up(&json, expression) else {
        return;
    };
    let expected = [
        format!("{{'aged': (4096, 4096, 16, [{pid}], 0, 0, 0, 0, 1, False)"),
        "'damaged': (None, None, None, None, None, None, None, None, None, True)".to_owned(),
        format!("'served': (4096, 4096, 16, [{pid}], 0, 0, 0, 1, 0, False)"),
        "'waiting': (64, 0, 4, [], 2, 0, 0, 0, 0, False)}".to_owned(),
    ];
    assert_eq!(found, expected.join(", "));
}

// -------------------------------------------------------------------------- rm

/// Against a function that stays, or handles that go on with one that has gone.
#[test]
fn rm_removes_whatever_has_the_name() {
    let scratch = Scratch::new();
    let function = scratch.functions().open("both").expect("a function");
    let only = scratch.functions().open("only").expect("a function");
    scratch.variable("both");
    let output = scratch.run(&["rm", "both", "missing", "only"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output).lines().count(), 1, "{output:?}");
    assert!(
        errors(&output).contains("'missing': there is none of that name"),
        "{output:?}"
    );
    assert!(!scratch.file("both").exists());
    for (handle, name) in [(function, "both"), (only, "only")] {
        assert!(!scratch.function_file(name).exists());
        let error = handle.call(b"x").expect_err("it is gone");
        assert_eq!(*error.reason(), robot_ipc::Reason::Retired);
    }
    assert_eq!(errors(&scratch.run(&["rm", "a/b"])).lines().count(), 1);

    // What cannot be removed does not keep the other one.
    std::fs::write(scratch.file("half"), b"no segment").expect("a file");
    drop(scratch.functions().open("half").expect("a function"));
    let error = scratch.fails(&["rm", "half"]);
    assert!(error.contains("robot-ipc rm --force half"), "{error}");
    assert!(scratch.file("half").exists() && !scratch.function_file("half").exists());
}

/// Against removing functions that somebody has open, and against leaving the others.
#[test]
fn rm_stale_removes_functions_that_nobody_has_open() {
    let scratch = Scratch::new();
    drop(scratch.functions().open("dead").expect("a function"));
    let used = scratch.functions().open("used").expect("a function");
    let said = rm_stale_until(&scratch, "in use: function 'used'\n");
    assert!(said.contains("removed function 'dead'\n"), "{said}");
    let call = used.call(b"x").expect("it is still there");
    call.cancel();
    drop(used);
    let said = rm_stale_until(&scratch, "");
    assert!(said.ends_with("removed function 'used'\n"), "{said}");
    assert_eq!(scratch.prints(&["ls"]), "");
}

// ---------------------------------------------------------------------- Python

/// Against a command that Python's functions do not understand, or the other way round.
#[test]
fn functions_of_python_are_called() {
    let scratch = Scratch::new();
    let Some(run) = scratch.python_with_module("Python's functions and the command") else {
        return;
    };
    let program = "import sys\n\
         from robot_ipc import HostFunctionDispatcher\n\
         dispatcher = HostFunctionDispatcher(2)\n\
         @dispatcher.add('divide')\n\
         def divide(a, b=2, *, scale=1.0):\n    return {'quotient': scale * a / b, 'of': (a, b)}\n\
         @dispatcher.add('tell', max_sz_ret=0)\n\
         def tell(*args, **kwargs):\n    print(args, kwargs, flush=True)\n\
         dispatcher.start()\n\
         print('ready', flush=True)\n\
         sys.stdin.read()\n";
    let mut command = run(program);
    let mut server = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::null()));
    let mut lines = server.output().lines().map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("ready"));
    assert_eq!(
        scratch.prints(&["call", "divide", "1", "4"]),
        "{'quotient': 0.25, 'of': (1, 4)}\n"
    );
    assert_eq!(
        scratch.prints(&["call", "divide", "b=8", "scale=0.5", "a=16"]),
        "{'quotient': 1.0, 'of': (16, 8)}\n"
    );
    let error = scratch.fails(&["call", "divide", "1", "0"]);
    assert!(error.contains("raised: ZeroDivisionError: "), "{error}");
    let error = scratch.fails(&["call", "divide", "c=1"]);
    assert!(
        error.contains("raised: TypeError: ") && error.contains("'c'"),
        "{error}"
    );
    assert_eq!(
        scratch.prints(&["call", "tell", "[1, null]", "x={\"y\": true}"]),
        ""
    );
    assert_eq!(
        lines.next().as_deref(),
        Some("([1, None],) {'x': {'y': True}}")
    );

    server.signal(Signal::KILL);
    server.ends();
    let error = scratch.fails(&["call", "divide", "1", "--timeout", "0.3"]);
    assert!(error.contains("nobody serves the function"), "{error}");
}
