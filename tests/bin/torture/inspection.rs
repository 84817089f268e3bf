//! The last look, by a fresh process when everybody else is dead: everything is still
//! usable, nothing stays taken, nobody is counted who is gone.

use crate::board::kind_of;
use crate::message::{
    MIN_SIZE, Question, Value, Wish, digest, pickled_arguments, unpickled, unseal,
};
use crate::table::{FUNCTIONS, FunctionKind, VARIABLES, VariableKind};
use robot_ipc::testing::{taken_cells, taken_slots};
use robot_ipc::{Encoding, HostFunctionDispatcher, IncomingCall, Reason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use support::{eventually, system};

const PATIENCE: Duration = Duration::from_secs(10);
/// The number of this process among writers and callers.
const NUMBER: u64 = u64::MAX;

pub(crate) fn inspect() {
    system::die_with_parent();
    system::end_at_panic();
    for kind in VARIABLES {
        inspect_variable(&kind);
    }
    for kind in FUNCTIONS {
        inspect_function(&kind);
    }
}

fn inspect_variable(kind: &VariableKind) {
    let name = kind.name;
    let fails = |error: robot_ipc::Error| -> ! { panic!("in the end, '{name}': {error}") };
    let variable = kind
        .options()
        .open(name)
        .unwrap_or_else(|error| fails(error));
    let before = match variable.sample() {
        Ok((value, sample)) => {
            let value = Value::read(&value).unwrap_or_else(|what| panic!("'{name}': {what}"));
            (sample.version, value.incarnation)
        }
        Err(error) if *error.reason() == Reason::NeverWritten => (0, 1),
        Err(error) => fails(error),
    };
    // Round all slots: each of them is of use.
    for count in 1..=2 * u64::from(kind.slots) {
        let value = Value {
            writer: NUMBER,
            sequence: count,
            incarnation: before.1,
        };
        let bytes = value.pickled(kind.room());
        let written = variable.write_encoded(&bytes, Encoding::PICKLE);
        let version = written.unwrap_or_else(|error| fails(error)).version;
        assert_eq!(
            version,
            before.0 + count,
            "'{name}': everybody else is dead"
        );
        let (read, sample) = variable.sample().unwrap_or_else(|error| fails(error));
        assert_eq!(
            (Value::read(&read), sample.version),
            (Ok(value), version),
            "'{name}'"
        );
    }
    assert_eq!(taken_slots(&variable), 0, "slots of '{name}' stay taken");
    let census = variable.census().unwrap_or_else(|error| fails(error));
    assert_eq!(census.participants, [std::process::id()], "'{name}'");
}

fn inspect_function(kind: &FunctionKind) {
    let name = kind.name;
    let fails = |error: robot_ipc::Error| -> ! { panic!("in the end, '{name}': {error}") };
    let options = kind.options();
    let caller = options.open(name).unwrap_or_else(|error| fails(error));
    let dispatcher = HostFunctionDispatcher::new(1).unwrap_or_else(|error| fails(error));
    let served = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&served);
    let run = move |call: IncomingCall| {
        let (question, digest) =
            Question::read(call.arguments()).unwrap_or_else(|what| panic!("{what}"));
        // One-way calls of the dead may come first.
        count.fetch_add(u32::from(question.caller == NUMBER), Relaxed);
        call.reply(&question.answer(digest, MIN_SIZE), Encoding::PICKLE)
    };
    let added = dispatcher.add_raw(&options, name.as_bytes(), run);
    added.unwrap_or_else(|error| fails(error));
    dispatcher.start().unwrap_or_else(|error| fails(error));
    let calls = 2 * kind.cells;
    for sequence in 1..=u64::from(calls) {
        let question = Question {
            caller: NUMBER,
            sequence,
            function: 0,
            wish: Wish::Answer,
            withdrawn: 0,
        };
        let bytes = question.sealed(MIN_SIZE);
        let called =
            caller.call_encoded_within(&pickled_arguments(&bytes), Encoding::PICKLE, PATIENCE);
        match called {
            Ok(Some(response)) => {
                let head = unpickled(&response.bytes).and_then(unseal);
                assert_eq!(
                    head,
                    Some([NUMBER, sequence, 0, digest(&bytes)]),
                    "'{name}'"
                );
            }
            Ok(None) => assert!(kind.is_one_way(), "'{name}' returned nothing"),
            Err(error) => panic!("in the end, '{name}': {}: {error}", kind_of(&error)),
        }
    }
    eventually("all calls are served", || served.load(Relaxed) == calls);
    eventually("all cells are free", || taken_cells(&caller) == 0);
}
