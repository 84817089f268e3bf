//! The steps of the slow paths, for tests that stop or kill a process at each.
//!
//! In programs nobody installs a hook, and a step is one load of a null pointer
//! on a path that makes system calls anyway, or in a call. The steps of reading and
//! writing are reached through the [`Environment`](robot_ipc_core::Environment) of the
//! operation instead, and cost nothing.

use robot_ipc_core::environment::Step;
use std::sync::OnceLock;

/// What a test does at a step.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Called at every step, with its name.
    pub step: fn(&'static str),
    /// Whether the system is to look as if it could not do `what`.
    pub forced: fn(what: &'static str) -> bool,
}

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Installs the hook of a test process, once.
pub fn install(hook: Hook) {
    let _ = HOOK.set(hook);
}

pub(crate) fn reached(step: &'static str) {
    if let Some(hook) = HOOK.get() {
        (hook.step)(step);
    }
}

/// The same for a step of a call. A call has few of them, and each costs one load.
#[inline]
pub(crate) fn reached_step(step: Step) {
    if let Some(hook) = HOOK.get() {
        (hook.step)(name_of(step));
    }
}

/// What a step of a call is called.
fn name_of(step: Step) -> &'static str {
    match step {
        Step::Drafted => "call: drafted",
        Step::Ticketed => "call: ticketed",
        Step::Submitted => "call: submitted",
        Step::Rung => "call: rung",
        Step::CallSeen => "serve: seen",
        Step::CallTaken => "serve: taken",
        Step::Answered => "serve: answered",
        Step::HandedOver => "serve: handed over",
        Step::Finished => "serve: finished",
        Step::Taken => "recover: taken",
        Step::Recovered => "recover: recovered",
        _ => "another",
    }
}

pub(crate) fn forced(what: &'static str) -> bool {
    HOOK.get().is_some_and(|hook| (hook.forced)(what))
}
