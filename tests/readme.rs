//! What the README shows works as it stands there.

use std::process::Command;
use support::{Scratch, library, skipped, workspace};

/// The code blocks of the README in `language`.
fn blocks(language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("README.md")).expect("there is a README");
    let start = format!("```{language}\n");
    let ends = text.split(&start).skip(1);
    ends.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

/// Against a Python example that does not work.
#[test]
fn the_python_examples_run() {
    let blocks = blocks("python");
    assert_eq!(blocks.len(), 4);
    // Somebody else has to write for the third one's `wait`.
    let program = format!(
        "import threading, time\n\
         import robot_ipc\n\
         other = robot_ipc.HostVariable('goal', max_size=65536)\n\
         other.data = []\n\
         def write():\n    while True:\n        other.update(lambda old: old)\n        time.sleep(0.01)\n\
         threading.Thread(target=write, daemon=True).start()\n\
         {}\nassert goal.read()[-1:] == [4], goal.read()\n",
        blocks.join("\n")
    );
    let scratch = Scratch::new();
    let mut command = Command::new("python3");
    scratch.enter(&mut command);
    command
        .args(["-c", &program])
        .env("PYTHONPATH", workspace().join("python-ctypes"))
        .env("ROBOT_IPC_LIBRARY", library());
    let Ok(output) = command.output() else {
        skipped("the README's Python examples", "python3 cannot be started");
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{'x': 1.5, 'heading': 0.25}\n0.25\nhello arm\n"
    );
}

/// The README's Rust example, in a place of its own.
fn rust_example() -> robot_ipc::Result<()> {
    use robot_ipc::{VariableOptions, codec::Postcard};

    let goal = VariableOptions::new().open_typed::<Postcard<(f64, bool)>>("rust-goal")?;
    goal.write(&(1.5, true))?;
    assert_eq!(goal.read()?, (1.5, true));
    goal.variable().remove(std::time::Duration::from_secs(1))
}

/// The one with a function.
fn rust_function_example() -> robot_ipc::Result<()> {
    use robot_ipc::{FunctionOptions, HostFunctionDispatcher};

    let dispatcher = HostFunctionDispatcher::new(1)?;
    dispatcher.add("rust-repeat", |arguments: &[u8]| arguments.repeat(2))?;
    dispatcher.start()?;
    let repeat = FunctionOptions::new().open("rust-repeat")?;
    let answer = repeat.call_within(b"ab", std::time::Duration::from_secs(5))?;
    assert_eq!(answer.unwrap().bytes, b"abab");
    repeat.remove(std::time::Duration::from_secs(1))
}

/// Against a Rust example that does not compile, or does something else. The
/// test runner starts this again in a process whose environment is a scratch
/// place.
#[test]
fn the_rust_example_runs() {
    let without_indent = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let here = without_indent(include_str!("readme.rs"));
    for block in blocks("rust") {
        assert!(
            here.contains(&without_indent(&block)),
            "not tested: {block}"
        );
    }
    if std::env::var_os("README_EXAMPLE").is_some() {
        rust_example().unwrap_or_else(|error| panic!("{error}"));
        rust_function_example().unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    let scratch = Scratch::new();
    let mut command = Command::new(std::env::current_exe().expect("this test is a file"));
    scratch.enter(command.args(["--exact", "the_rust_example_runs"]));
    let output = command
        .env("README_EXAMPLE", "1")
        .output()
        .expect("this test starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Against a C example that does not compile, or does nothing.
#[test]
fn the_c_example_runs() {
    let blocks = blocks("c");
    assert_eq!(blocks.len(), 1);
    let (include, body) = blocks[0]
        .split_once("\n\n")
        .expect("an include, then statements");
    let source = format!(
        "#include <stdio.h>\n{include}\nint main(void)\n{{\n{body}\nripc_sample sample;\n\
         return ripc_variable_latest(pose, &sample) != RIPC_OK || sample.length != 24;\n}}\n"
    );
    let folder = std::env::temp_dir();
    let program = folder.join(format!("readme-{}", std::process::id()));
    let file = program.with_extension("c");
    std::fs::write(&file, source).expect("room for a file");
    let libraries = library().parent().expect("in a folder").to_owned();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(workspace().join("platform-linux/include"))
        .arg(&file)
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&libraries)
        .args(["-lrobot_ipc", "-Wl,-rpath"])
        .arg(&libraries)
        .output();
    let _ = std::fs::remove_file(&file);
    let Ok(compiled) = compiled else {
        skipped("the README's C example", "no C compiler is installed");
        return;
    };
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let scratch = Scratch::new();
    let mut command = Command::new(&program);
    let output = scratch
        .enter(&mut command)
        .output()
        .expect("the program starts");
    let _ = std::fs::remove_file(&program);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
