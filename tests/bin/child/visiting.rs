//! A role that does what it is told, step by step, and says what came of it: for tests
//! in which another user or another namespace is what matters.

use crate::hear;
use robot_ipc::function::{FunctionStatus, HostFunctionCaller, remove_function};
use robot_ipc::testing::{Hook, install};
use robot_ipc::{
    Error, FunctionOptions, HostFunctionDispatcher, HostVariable, Place, VariableOptions,
};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use support::system;

/// Who removes waits so long for somebody else who does.
const PATIENCE: Duration = Duration::from_secs(1);

/// What it has, and the options that it asks for.
#[derive(Default)]
struct Visitor {
    mode: Option<u32>,
    group: Option<u32>,
    variables: HashMap<String, HostVariable>,
    callers: HashMap<String, HostFunctionCaller>,
    dispatchers: Vec<HostFunctionDispatcher>,
    locked: Vec<File>,
}

/// What it says: what came of it, or the name of the reason and the text of the error.
type Said = Result<String, Failure>;

struct Failure(String);

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let reason = format!("{:?}", error.reason());
        let name = reason.split([' ', '(']).next().unwrap_or_default();
        Failure(format!("{name}: {error}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure(error.to_string())
    }
}

/// At which step to stop, and what to force.
static STOP_AT: OnceLock<String> = OnceLock::new();
static FORCED: OnceLock<String> = OnceLock::new();

fn stop_there(reached: &'static str) {
    static DONE: AtomicU32 = AtomicU32::new(0);
    // The step may be reached again.
    if STOP_AT.get().is_some_and(|step| step == reached) && DONE.swap(1, Relaxed) == 0 {
        system::stop_here();
    }
}

fn is_forced(what: &'static str) -> bool {
    FORCED.get().is_some_and(|forced| forced == what)
}

/// `[mode=OCTAL] [group=NUMBER] [umask=OCTAL] [stop-at=STEP] [forced=WHAT]`: says `ready`, and then what came of each
/// line that it is told: `ok`, or `no` and why.
pub(crate) fn visit(arguments: &[&str]) {
    let mut visitor = Visitor::default();
    for argument in arguments {
        let (option, value) = argument.split_once('=').expect("an option and its value");
        let octal = || u32::from_str_radix(value, 8).expect("an octal number");
        match option {
            "mode" => visitor.mode = Some(octal()),
            "group" => visitor.group = Some(crate::number(value) as u32),
            "umask" => drop(rustix::process::umask(rustix::fs::Mode::from_raw_mode(
                octal(),
            ))),
            "stop-at" => drop(STOP_AT.set(value.to_owned())),
            "forced" => drop(FORCED.set(value.to_owned())),
            _ => panic!("there is no option '{option}'"),
        }
    }
    install(Hook {
        step: stop_there,
        forced: is_forced,
    });
    println!("ready");
    while let Some(line) = hear() {
        let words: Vec<&str> = line.split(' ').collect();
        match visitor.act(&words) {
            Ok(said) => println!("{}", format!("ok {said}").trim_end()),
            Err(Failure(why)) => println!("no {why}"),
        }
    }
}

impl Visitor {
    fn variable_options(&self) -> VariableOptions {
        let mut options = VariableOptions::new();
        if let Some(mode) = self.mode {
            options = options.mode(mode);
        }
        match self.group {
            Some(group) => options.group(group),
            None => options,
        }
    }

    fn function_options(&self) -> FunctionOptions {
        let mut options = FunctionOptions::new();
        if let Some(mode) = self.mode {
            options = options.mode(mode);
        }
        match self.group {
            Some(group) => options.group(group),
            None => options,
        }
    }

    fn variable(&self, name: &str) -> &HostVariable {
        self.variables.get(name).expect("it was opened")
    }

    fn act(&mut self, words: &[&str]) -> Said {
        match *words {
            ["open", "variable", name] => {
                let opened = self.variable_options().open(name)?;
                self.variables.insert(name.to_owned(), opened);
            }
            ["open", "function", name] => {
                let opened = self.function_options().open(name)?;
                self.callers.insert(name.to_owned(), opened);
            }
            ["peek", "variable", name] => {
                let opened = self.variable_options().read_only(true).open(name)?;
                self.variables.insert(name.to_owned(), opened);
                return self.act(&["read", name]);
            }
            ["peek", "function", name] => {
                let status = FunctionStatus::of(&Place::from_environment()?, name)?;
                return Ok(format!("{} servers", status.servers.len()));
            }
            ["write", name, text] => drop(self.variable(name).write(text.as_bytes())?),
            ["read", name] => {
                let (bytes, _) = self.variable(name).sample()?;
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
            ["offer", name] => {
                let dispatcher = HostFunctionDispatcher::new(1)?;
                let repeat = |arguments: &[u8]| arguments.repeat(2);
                dispatcher.add_with(&self.function_options(), name, repeat)?;
                dispatcher.start()?;
                self.dispatchers.push(dispatcher);
            }
            ["call", name, text] => {
                let caller = self.callers.get(name).expect("it was opened");
                let answer = caller.call_within(text.as_bytes(), support::function::PATIENCE)?;
                let answer = answer.expect("the function always answers");
                return Ok(String::from_utf8_lossy(&answer.bytes).into_owned());
            }
            ["remove", "variable", name] => {
                if !self.variables.contains_key(name) {
                    self.act(&["open", "variable", name])?;
                }
                self.variable(name).remove(PATIENCE)?;
            }
            ["remove", "function", name] => match self.callers.get(name) {
                Some(caller) => caller.remove(PATIENCE)?,
                None => remove_function(&Place::from_environment()?, name.as_bytes(), PATIENCE)?,
            },
            ["plant", what, path] => plant(what, Path::new(path), None)?,
            ["plant", what, path, target] => plant(what, Path::new(path), Some(Path::new(target)))?,
            ["share-locks", path, start, length] => {
                let file = File::open(path)?;
                if !system::share_lock(&file, crate::number(start), crate::number(length), false) {
                    return Err(std::io::Error::last_os_error().into());
                }
                self.locked.push(file);
            }
            // Has them as soon as those end who hold them alone.
            ["await-locks", path, start, length] => {
                let file = File::open(path)?;
                let (start, length) = (crate::number(start), crate::number(length));
                std::thread::spawn(move || {
                    assert!(system::share_lock(&file, start, length, true));
                    std::thread::park();
                });
            }
            ["let-go"] => self.locked.clear(),
            ref unknown => panic!("'{unknown:?}' is not understood"),
        }
        Ok(String::new())
    }
}

/// Puts something there that is no segment of whoever looks for one.
fn plant(what: &str, path: &Path, target: Option<&Path>) -> Result<(), std::io::Error> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    match (what, target) {
        ("symlink", Some(target)) => std::os::unix::fs::symlink(target, path),
        ("hard-link", Some(target)) => std::fs::hard_link(target, path),
        ("directory", None) => std::fs::create_dir(path),
        ("socket", None) => std::os::unix::net::UnixListener::bind(path).map(drop),
        ("fifo", None) => {
            let all = Mode::from_raw_mode(0o666);
            mknodat(CWD, path, FileType::Fifo, all, 0)?;
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))
        }
        // A mode, for what was planted or opened before.
        (mode, None) => {
            let mode = u32::from_str_radix(mode, 8).expect("an octal number");
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode))
        }
        _ => panic!("'{what}' cannot be planted"),
    }
}
