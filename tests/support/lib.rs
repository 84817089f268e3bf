//! What the tests share: places of their own, child processes, this very build's
//! library.

pub mod compiler;
pub mod folder;
pub mod function;
pub mod process;
pub mod segment_file;
pub mod system;
pub mod user;

use robot_ipc::{HostVariable, Place, VariableOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The shared library that was built together with this program.
///
/// # Panics
/// There is none.
#[must_use]
pub fn library() -> PathBuf {
    let program = std::env::current_exe().expect("this program is a file");
    let folder = program.parent().expect("in a folder");
    // Tests lie beside it, programs one folder above; what lies beside those may be older.
    let library = [folder.join("deps"), folder.to_owned()]
        .map(|folder| folder.join("librobot_ipc.so"))
        .into_iter()
        .find(|library| library.exists());
    library.unwrap_or_else(|| {
        let folder = folder.display();
        panic!("librobot_ipc.so was not built together with this program in {folder}")
    })
}

/// Names the command that starts the child program in place of the one that was built with
/// the tests: one for another processor, after the emulator that it needs.
pub const OTHER_CHILD: &str = "ROBOT_IPC_TEST_CHILD";

/// What [`OTHER_CHILD`] says.
#[must_use]
pub fn other_child() -> Option<String> {
    std::env::var(OTHER_CHILD).ok()
}

/// The words of the command that starts the child program, `program` if it is the own one.
#[must_use]
pub fn child_words(program: &str) -> Vec<String> {
    match other_child() {
        Some(command) => command.split_whitespace().map(str::to_owned).collect(),
        None => vec![program.to_owned()],
    }
}

/// A namespace of a test's own. Its objects are removed when the test ends.
#[derive(Debug)]
pub struct Scratch {
    place: Place,
}

impl Scratch {
    /// A new one in `/dev/shm`.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Scratch {
        Scratch {
            place: robot_ipc::testing::scratch_place(),
        }
    }

    /// A new one in another folder.
    ///
    /// # Panics
    /// The folder is not an absolute path.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Scratch {
        let place = robot_ipc::testing::scratch_place();
        Scratch {
            place: place.with_directory(directory).expect("an absolute path"),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Default options in this place.
    pub fn options(&self) -> VariableOptions {
        VariableOptions::new().place(self.place.clone())
    }

    /// The file of the variable `name`.
    ///
    /// # Panics
    /// The name breaks the rules.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let kind = robot_ipc_core::header::Kind::Variable;
        self.place
            .subject(kind, name.as_bytes())
            .expect("a good name")
            .path()
            .to_owned()
    }

    /// Makes `command` look for its objects here.
    pub fn enter<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env(robot_ipc::shm::DIRECTORY_VARIABLE, self.place.directory())
            .env(robot_ipc::shm::NAMESPACE_VARIABLE, self.place.namespace())
            .env_remove("ROBOT_IPC_MODE")
            .env_remove("ROBOT_IPC_GROUP")
            .env_remove("ROBOT_IPC_MEMORY")
    }

    /// A child process (`bin/child.rs`, or see [`OTHER_CHILD`]) that does `role` here.
    #[must_use]
    pub fn child(&self, program: &str, role: &str) -> Command {
        let words = child_words(program);
        let mut command = Command::new(&words[0]);
        self.enter(command.args(&words[1..]).arg(role));
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for entry in robot_ipc::listing::list(&self.place).unwrap_or_default() {
            let _ = std::fs::remove_file(entry.subject.path());
        }
    }
}

/// A child process that is killed when the test ends, however it ends.
#[derive(Debug)]
pub struct Kept(pub Child);

impl Kept {
    /// Starts `command`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Kept {
        Kept(
            command
                .spawn()
                .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")),
        )
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it ends by itself; whether it succeeded.
    ///
    /// # Panics
    /// It takes longer than a minute, which means that it hangs.
    pub fn succeeds(&mut self) -> bool {
        let mut status = None;
        eventually("a child process ends", || {
            status = self.0.try_wait().expect("it is our child");
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `condition` holds. The limit is a bound on hangs, not a measure.
///
/// # Panics
/// It does not hold within a minute.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "after a minute: not yet: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A value of `size` bytes that shows whether it is whole: a number, repeated,
/// each time mixed with where it stands.
///
/// # Panics
/// `size` is not a multiple of 8.
pub fn fill_pattern(buffer: &mut [u8], number: u64) {
    assert!(buffer.len().is_multiple_of(8) && !buffer.is_empty());
    for (index, word) in buffer.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(number ^ mix(index as u64)).to_ne_bytes());
    }
}

/// The number of a pattern; `None` if the value is torn.
#[must_use]
pub fn pattern_of(value: &[u8]) -> Option<u64> {
    let mut words = value.chunks_exact(8).enumerate().map(|(index, word)| {
        u64::from_ne_bytes(word.try_into().unwrap_or_default()) ^ mix(index as u64)
    });
    let number = words.next()?;
    (value.len().is_multiple_of(8) && words.all(|other| other == number)).then_some(number)
}

fn mix(index: u64) -> u64 {
    index.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Numbers that look random and can be had again: the seed is printed by tests.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    /// The next one.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Says loudly that something could not be tested here: not through `eprintln!`,
/// which the test runner would keep to itself.
pub fn skipped(what: &str, why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "\n*** NOT TESTED: {what}: {why}");
}

/// Opens `name` with default options in `scratch`.
///
/// # Panics
/// It cannot be opened.
#[must_use]
pub fn open(scratch: &Scratch, name: &str) -> HostVariable {
    scratch
        .options()
        .open(name)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A value of `size` bytes, the pattern of `number`.
///
/// # Panics
/// `size` is not a multiple of 8.
#[must_use]
pub fn pattern(size: usize, number: u64) -> Vec<u8> {
    let mut buffer = vec![0; size];
    fill_pattern(&mut buffer, number);
    buffer
}

/// A seed for [`Random`]: `ROBOT_IPC_TEST_SEED`, or else one of the moment. It is
/// printed, so that a failure can be had again.
#[must_use]
pub fn seed(what: &str) -> u64 {
    let told = std::env::var("ROBOT_IPC_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = told.unwrap_or_else(|| {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        time.map_or(1, |time| time.as_nanos() as u64) ^ u64::from(std::process::id()) << 40
    });
    println!("{what}: ROBOT_IPC_TEST_SEED={seed}");
    seed
}

/// A number from the environment, or else the default one.
#[must_use]
pub fn scale(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}
