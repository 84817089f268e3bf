//! The demo's Python processes.

use super::calls::BOUND;
use robot_ipc::Place;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Both programs begin with this.
const COMMON: &str = include_str!("common.py");
const CONTROLLER: &str = include_str!("controller.py");
const TELEMETRY: &str = include_str!("telemetry.py");

/// What the controller tells at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) read: u64,
    pub(crate) written: u64,
    pub(crate) torn: u64,
    pub(crate) lost: u64,
}

/// How to start Python processes that find the module and this very library.
#[derive(Debug)]
pub(crate) struct Python {
    place: Place,
    library: PathBuf,
    module: PathBuf,
}

impl Python {
    /// `Err` says in words why there is no Python half.
    pub(crate) fn find(place: &Place) -> Result<Python, String> {
        match Command::new("python3")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
        {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("python3 does not work here ({status})")),
            Err(error) => return Err(format!("python3 cannot be started ({error})")),
        }
        let library = find("librobot_ipc.so", &library_folders())?;
        let module = find("robot_ipc.py", &module_folders())?;
        Ok(Python {
            place: place.clone(),
            library,
            module,
        })
    }

    /// Starts the process that writes setpoints and serves `hand_at`.
    pub(crate) fn controller(&self) -> io::Result<Controller> {
        let child = self.start(CONTROLLER, Stdio::piped(), Stdio::piped())?;
        Ok(Controller { child })
    }

    /// Starts the process that is going to be killed.
    pub(crate) fn telemetry(&self) -> io::Result<Child> {
        self.start(TELEMETRY, Stdio::null(), Stdio::null())
    }

    fn start(&self, program: &str, input: Stdio, output: Stdio) -> io::Result<Child> {
        use std::os::unix::process::CommandExt;
        Command::new("python3")
            .args(["-c", &format!("{COMMON}\n\n{program}")])
            .env("PYTHONPATH", self.module.parent().unwrap_or(Path::new(".")))
            .env("ROBOT_IPC_LIBRARY", &self.library)
            .env("ROBOT_IPC_EXPECTED_BUILD_ID", robot_ipc::build_id::BUILD_ID)
            .env("ROBOT_IPC_DEMO_PARENT", std::process::id().to_string())
            .env("ROBOT_IPC_DEMO_BOUND", BOUND.as_secs_f64().to_string())
            .env(robot_ipc::shm::DIRECTORY_VARIABLE, self.place.directory())
            .env(robot_ipc::shm::NAMESPACE_VARIABLE, self.place.namespace())
            .stdin(input)
            .stdout(output)
            // Ctrl-C at the terminal is for the demo, which ends its children.
            .process_group(0)
            .spawn()
    }
}

/// The process that writes setpoints and serves `hand_at`.
#[derive(Debug)]
pub(crate) struct Controller {
    child: Child,
}

impl Controller {
    /// Whether it has ended, which it should not.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it, and returns what it counted.
    pub(crate) fn end(mut self) -> Result<Report, String> {
        drop(self.child.stdin.take());
        let failed =
            |why: String| format!("the Python process that writes setpoints failed: {why}");
        // Whatever it is in has an end; and what it prints is less than a pipe holds.
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if start.elapsed() > 2 * BOUND {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(failed("it did not end and was killed".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        let output = self.child.stdout.take();
        let read = output.map_or(Ok(0), |mut output| output.read_to_string(&mut text));
        let status = self.child.wait();
        read.map_err(|error| failed(error.to_string()))?;
        match status {
            Ok(status) if status.success() => parse(&text).ok_or_else(|| failed(text)),
            Ok(status) => Err(failed(status.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// The numbers of a flat JSON object.
fn parse(text: &str) -> Option<Report> {
    let number = |key: &str| {
        let rest = text.split_once(&format!("\"{key}\": "))?.1;
        let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
        rest[..end].parse().ok()
    };
    Some(Report {
        read: number("read")?,
        written: number("written")?,
        torn: number("torn")?,
        lost: number("lost")?,
    })
}

/// Where the library of this very build may be: `cargo run` puts it into `deps`.
fn library_folders() -> Vec<PathBuf> {
    let Ok(program) = std::env::current_exe() else {
        return Vec::new();
    };
    let Some(folder) = program.parent() else {
        return Vec::new();
    };
    vec![
        folder.join("deps"),
        folder.to_owned(),
        folder.join("../lib"),
    ]
}

/// Where the Python module may be: in the sources, or below an install prefix.
fn module_folders() -> Vec<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../python-ctypes");
    let program = std::env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new("."));
    vec![
        sources,
        folder.join("../share/robot-ipc"),
        folder.to_owned(),
    ]
}

fn find(file: &str, folders: &[PathBuf]) -> Result<PathBuf, String> {
    let paths = folders.iter().map(|folder| folder.join(file));
    paths.clone().find(|path| path.exists()).ok_or_else(|| {
        let looked: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        format!("{file} was not found: looked for {}", looked.join(", "))
    })
}
