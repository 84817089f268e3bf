//! C and C++ programs, compiled against the headers and the library of this very build.

use crate::{Scratch, library, skipped, workspace};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A program that is removed when the test ends.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Program {
    /// The program, to be run in `scratch`.
    #[must_use]
    pub fn command(&self, scratch: &Scratch, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        scratch.enter(command.args(arguments));
        command
    }

    /// Runs it in a place of its own; what it says.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> String {
        let scratch = Scratch::new();
        self.run_in(&scratch, arguments)
    }

    /// Runs it in `scratch`; what it says.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn run_in(&self, scratch: &Scratch, arguments: &[&str]) -> String {
        let mut command = self.command(scratch, arguments);
        let output = command.output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command:?}: {}: {errors}",
            output.status
        );
        String::from_utf8(output.stdout).expect("text")
    }
}

/// `compiler` with `standard`, as strict as can be, and with our headers.
#[must_use]
pub fn strict(compiler: &str, standard: &str) -> Command {
    let mut command = Command::new(compiler);
    command
        .arg(format!("-std={standard}"))
        .args([
            "-pthread",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(workspace().join("platform-linux/include"))
        .arg("-I")
        .arg(workspace().join("core/include"));
    command
}

/// What `compiler` says of `what`; `None`, said loudly, if there is none.
#[must_use]
pub fn output(command: &mut Command, what: &str) -> Option<Output> {
    let output = command.output().ok();
    if output.is_none() {
        let why = format!("{} is not installed", command.get_program().display());
        skipped(what, &why);
    }
    output
}

/// Compiles `source`, C or C++ by its name; `None` without a compiler.
///
/// # Panics
/// It cannot be compiled.
#[must_use]
pub fn compile(source: &Path, static_library: bool) -> Option<Program> {
    let is_cpp = source.extension().is_some_and(|it| it == "cpp");
    let (compiler, standard) = if is_cpp {
        ("c++", "c++17")
    } else {
        ("cc", "c11")
    };
    compile_with(compiler, standard, source, static_library)
}

/// As `compile`, with that compiler and standard.
///
/// # Panics
/// It cannot be compiled.
#[must_use]
pub fn compile_with(
    compiler: &str,
    standard: &str,
    source: &Path,
    static_library: bool,
) -> Option<Program> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "{}-{}-{}",
        source.file_stem()?.display(),
        std::process::id(),
        COUNT.fetch_add(1, Relaxed)
    );
    let program = Program {
        path: std::env::temp_dir().join(name),
    };
    let mut command = strict(compiler, standard);
    command.arg(source).arg("-o").arg(&program.path);
    if static_library {
        command
            .arg(library().with_extension("a"))
            .args(["-lpthread", "-ldl", "-lm"]);
    } else {
        let folder = library().parent()?.to_owned();
        command
            .arg("-L")
            .arg(&folder)
            .args(["-lrobot_ipc", "-Wl,-rpath"])
            .arg(folder);
    }
    let what = format!("{} with {compiler}", source.display());
    let text = output(&mut command, &what)?;
    let errors = String::from_utf8_lossy(&text.stderr);
    assert!(text.status.success(), "{command:?}: {errors}");
    Some(program)
}
