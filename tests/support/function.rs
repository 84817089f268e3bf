//! A function that tests call: whether an answer belongs to its question can be seen.

use crate::{Random, Scratch, eventually};
use robot_ipc::function::{FunctionStatus, HostFunctionCaller, Response};
use robot_ipc::{FunctionOptions, HostFunctionDispatcher};
use std::time::Duration;

/// The largest arguments, and the largest answer, in bytes.
pub const SIZE: u32 = 4096;
/// A wait for an answer that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Default options in `scratch`.
pub fn options(scratch: &Scratch) -> FunctionOptions {
    FunctionOptions::new().place(scratch.place().clone())
}

/// A question of a random size: who asks, the how manieth it is, and filling that
/// follows from both.
#[must_use]
pub fn question(random: &mut Random, asker: u64, number: u64) -> Vec<u8> {
    let size = 16 + random.below(u64::from(SIZE) - 15) as usize;
    let mut bytes = Vec::with_capacity(size + 8);
    bytes.extend_from_slice(&asker.to_ne_bytes());
    bytes.extend_from_slice(&number.to_ne_bytes());
    let mut filling = filling(asker, number);
    while bytes.len() < size {
        bytes.extend_from_slice(&filling.next().to_ne_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn filling(asker: u64, number: u64) -> Random {
    Random::new(asker.rotate_left(32) ^ number)
}

/// Who asks, and the how manieth question it is; `None` if it is not of one piece.
#[must_use]
pub fn read_question(bytes: &[u8]) -> Option<(u64, u64)> {
    let asker = u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?);
    let number = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    let mut filling = filling(asker, number);
    let is_whole = bytes[16..]
        .chunks(8)
        .all(|chunk| filling.next().to_ne_bytes().starts_with(chunk));
    is_whole.then_some((asker, number))
}

/// The answer to a question: every bit turned over, backwards.
#[must_use]
pub fn answer(question: &[u8]) -> Vec<u8> {
    question.iter().rev().map(|byte| !byte).collect()
}

/// Adds the function `name`, which answers questions and fails at others.
///
/// # Panics
/// It cannot be added.
pub fn add_answering(dispatcher: &HostFunctionDispatcher, options: &FunctionOptions, name: &str) {
    let function = |arguments: &[u8]| match read_question(arguments) {
        Some(_) => Ok(answer(arguments)),
        None => Err("the question is torn"),
    };
    let added = dispatcher.add_with(options, name, function);
    added.unwrap_or_else(|error| panic!("{error}"));
}

/// Checks that `response` is the answer to `question`.
///
/// # Panics
/// It is not.
pub fn check_answer(question: &[u8], response: Option<&Response>) {
    let response = response.expect("the function always answers");
    assert!(
        response.bytes == answer(question),
        "the answer to {:?} is another one's: {:?}",
        read_question(question),
        read_question(&answer(&response.bytes)),
    );
}

/// Asks one question and checks its answer.
///
/// # Panics
/// There is none, or it is another one's.
pub fn ask(caller: &HostFunctionCaller, random: &mut Random, asker: u64, number: u64) {
    let question = question(random, asker, number);
    let response = caller.call_within(&question, PATIENCE);
    check_answer(
        &question,
        response.unwrap_or_else(|error| panic!("{error}")).as_ref(),
    );
}

/// The function `name` in `scratch`, to call it.
///
/// # Panics
/// It cannot be opened.
#[must_use]
pub fn open(scratch: &Scratch, name: &str) -> HostFunctionCaller {
    let opened = options(scratch).open(name);
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// What can be seen of the function `name` in `scratch`.
///
/// # Panics
/// There is none.
#[must_use]
pub fn status(scratch: &Scratch, name: &str) -> FunctionStatus {
    FunctionStatus::of(scratch.place(), name).unwrap_or_else(|error| panic!("{error}"))
}

/// No cell stays taken once everybody who held one is dead: all of them can be had
/// at once.
///
/// # Panics
/// One does.
pub fn check_no_cell_is_lost(scratch: &Scratch, name: &str) {
    let mut random = Random::new(4);
    let callers = [open(scratch, name), open(scratch, name)];
    eventually("all cells are free", || {
        // Whoever needs a cell recovers the dead that hold one; so does a newcomer.
        ask(&callers[0], &mut random, 99, 0);
        let pending: Vec<_> = (0..14)
            .map_while(|number| callers[1].call(&question(&mut random, 98, number)).ok())
            .collect();
        let count = pending.len();
        for call in pending {
            call.wait(Some(PATIENCE))
                .unwrap_or_else(|error| panic!("{error}"));
        }
        let status = status(scratch, name);
        count == 14 && (status.queued, status.running, status.unfetched) == (0, 0, 0)
    });
}
