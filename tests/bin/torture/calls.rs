//! What workers do as callers, and the oracle over the answers they get.
//!
//! An answer has to echo who asked, the how manieth question it was, and the function, and
//! to carry what the function made of the whole question. Whatever is another one's, an
//! earlier one's, or a mixture, fails. So does an error that the question did not wish for,
//! unless somebody was killed, stopped or removed.

use crate::board::{Row, kind_of};
use crate::message::{MIN_SIZE, Question, Wish, digest, pickled_arguments, unpickled, unseal};
use crate::table::{FUNCTIONS, FunctionKind, Operation, VARIABLES};
use robot_ipc::function::{Response, Withdrawal};
use robot_ipc::{Encoding, HostFunctionCaller, PendingCall, Reason, Result};
use std::time::Duration;
use support::Random;

/// Who calls: the numbers that go into its questions.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) number: u64,
    pub(crate) sequence: u64,
    pub(crate) random: Random,
}

/// What a process has of one function that it calls.
#[derive(Debug)]
pub(crate) struct Line {
    index: usize,
    kind: FunctionKind,
    caller: Option<HostFunctionCaller>,
    /// A question that was taken back before it began: nobody may ever run it.
    withdrawn: u64,
}

/// A question that was made, and what an answer has to show.
#[derive(Clone, Copy, Debug)]
struct Asked {
    question: Question,
    digest: u64,
}

fn fails(index: usize, what: &str) -> ! {
    panic!("function '{}': {what}", FUNCTIONS[index].name)
}

impl Asked {
    /// Checks that this is how the call has to end.
    fn check(&self, index: usize, end: &Result<Option<Response>>) {
        let wish = self.question.wish;
        match end {
            Ok(Some(response)) if matches!(wish, Wish::Answer | Wish::Slowly) => {
                self.check_answer(index, response);
            }
            Ok(None) if wish == Wish::Nothing => {}
            Ok(Some(response)) => {
                let length = response.bytes.len();
                fails(index, &format!("{self:?} was answered by {length} bytes"));
            }
            Ok(None) => fails(index, &format!("{self:?} came to nothing")),
            Err(error) => match error.reason() {
                // A dispatcher may take its function back in the very moment.
                Reason::Raised { text } if text.ends_with("before the call began") => {}
                Reason::Raised { text }
                    if wish != Wish::Raise || !text.contains(&self.question.complaint()) =>
                {
                    fails(index, &format!("{self:?} raised '{text}'"));
                }
                Reason::ResponseTooLarge { .. } if wish != Wish::TooLarge => {
                    fails(index, &format!("{self:?}: {error}"));
                }
                // Whether it may end so at all is the board's business.
                _ => {}
            },
        }
    }

    fn check_answer(&self, index: usize, response: &Response) {
        if response.encoding != Encoding::PICKLE {
            fails(index, &format!("an answer is {}", response.encoding));
        }
        let head = unpickled(&response.bytes).and_then(unseal);
        let Some([caller, sequence, function, digest]) = head else {
            let length = response.bytes.len();
            fails(
                index,
                &format!("the answer to {self:?} is torn: {length} bytes"),
            );
        };
        let question = self.question;
        let expected = [
            question.caller,
            question.sequence,
            question.function,
            self.digest,
        ];
        if [caller, sequence, function, digest] != expected {
            let what = format!(
                "{self:?} got the answer to question {sequence} of {caller}, to function \
                 {function}, of digest {digest}"
            );
            fails(index, &what);
        }
    }
}

impl Line {
    pub(crate) fn all() -> Vec<Line> {
        let kinds = FUNCTIONS.iter().enumerate();
        let line = |(index, kind): (usize, &FunctionKind)| Line {
            index,
            kind: *kind,
            caller: None,
            withdrawn: 0,
        };
        kinds.map(line).collect()
    }

    fn object(&self) -> usize {
        VARIABLES.len() + self.index
    }

    pub(crate) fn close(&mut self) {
        self.caller = None;
    }

    fn take(&mut self, row: &Row) -> Option<HostFunctionCaller> {
        self.caller.take().or_else(|| {
            let options = self.kind.options().send_timeout(Duration::from_millis(500));
            let open = || options.open(self.kind.name);
            row.run(Operation::OpenFunction, self.object(), open).ok()
        })
    }

    /// Keeps a caller for later, unless the function was removed.
    fn keep(&mut self, caller: HostFunctionCaller, end: Option<&robot_ipc::Error>) {
        let removed = |error: &robot_ipc::Error| {
            matches!(error.reason(), Reason::Retired | Reason::RetiredCall)
        };
        if !end.is_some_and(removed) {
            self.caller = Some(caller);
        }
    }

    fn question(&self, asker: &mut Asker) -> (Asked, Vec<u8>) {
        asker.sequence += 1;
        let wish = match asker.random.below(20) {
            0 => Wish::Raise,
            1 => Wish::Nothing,
            2 => Wish::TooLarge,
            3 => Wish::Slowly,
            _ => Wish::Answer,
        };
        let question = Question {
            caller: asker.number,
            sequence: asker.sequence,
            function: self.index as u64,
            wish,
            withdrawn: self.withdrawn,
        };
        let room = self.kind.room();
        let size = MIN_SIZE + asker.random.below((room - MIN_SIZE) as u64 + 1) as usize;
        let bytes = question.sealed(size);
        let digest = digest(&bytes);
        (Asked { question, digest }, pickled_arguments(&bytes))
    }

    /// How long a call is waited for: mostly for as long as it takes, sometimes not at all.
    fn patience(random: &mut Random) -> Duration {
        match random.below(8) {
            0 => Duration::from_micros(random.below(300)),
            1 => Duration::from_millis(random.below(50)),
            _ => Duration::from_millis(1500),
        }
    }

    /// Calls, in one of the ways there are.
    pub(crate) fn call(&mut self, row: &Row, asker: &mut Asker) {
        let Some(caller) = self.take(row) else {
            return;
        };
        let end = if self.kind.is_one_way() {
            self.notify(row, asker, &caller)
        } else if asker.random.below(2) == 0 {
            self.call_and_wait(row, asker, &caller)
        } else {
            self.call_many(row, asker, &caller)
        };
        self.keep(caller, end.err().as_ref());
    }

    fn call_and_wait(
        &mut self,
        row: &Row,
        asker: &mut Asker,
        caller: &HostFunctionCaller,
    ) -> Result<()> {
        let (asked, arguments) = self.question(asker);
        let patience = Line::patience(&mut asker.random);
        let end = row.run(Operation::Call, self.object(), || {
            caller.call_encoded_within(&arguments, Encoding::PICKLE, patience)
        });
        asked.check(self.index, &end);
        end.map(drop)
    }

    fn notify(&mut self, row: &Row, asker: &mut Asker, caller: &HostFunctionCaller) -> Result<()> {
        let (_, arguments) = self.question(asker);
        row.run(Operation::Notify, self.object(), || {
            caller.call_encoded(&arguments, Encoding::PICKLE).map(drop)
        })
    }

    /// Several calls at a time, whose answers are fetched in their order or in any other;
    /// some are taken back.
    fn call_many(
        &mut self,
        row: &Row,
        asker: &mut Asker,
        caller: &HostFunctionCaller,
    ) -> Result<()> {
        let quota = u64::from(self.kind.cells.saturating_sub(2).max(1));
        let count = 1 + asker.random.below(quota);
        let mut pending: Vec<(Asked, PendingCall<'_>)> = Vec::new();
        let mut result = Ok(());
        for _ in 0..count {
            let (asked, arguments) = self.question(asker);
            let sent = row.run(Operation::Send, self.object(), || {
                caller.call_encoded(&arguments, Encoding::PICKLE)
            });
            match sent {
                Ok(call) => pending.push((asked, call)),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let fetched = if asker.random.below(3) == 0 {
            self.fetch_in_order(row, caller, &pending)
        } else {
            self.fetch_by_handle(row, asker, pending)
        };
        // What is still under way is nobody's any more.
        caller.withdraw_all();
        result.and(fetched)
    }

    fn fetch_in_order(
        &self,
        row: &Row,
        caller: &HostFunctionCaller,
        pending: &[(Asked, PendingCall<'_>)],
    ) -> Result<()> {
        let mut left = pending;
        while !left.is_empty() {
            let end = row.run(Operation::Fetch, self.object(), || {
                caller.next_response(Some(Duration::from_millis(1500)))
            });
            // Those that ended without a response are passed over.
            let ended = match &end {
                Ok(Some(response)) => {
                    let head = unpickled(&response.bytes).and_then(unseal);
                    let sequence = head.map(|[_, sequence, _, _]| sequence);
                    left.iter()
                        .position(|(asked, _)| Some(asked.question.sequence) == sequence)
                }
                Ok(None) => {
                    let nothing = left
                        .iter()
                        .all(|(asked, _)| asked.question.wish == Wish::Nothing);
                    if !nothing {
                        fails(self.index, &format!("{left:?} came to nothing"));
                    }
                    return Ok(());
                }
                Err(_) => {
                    let nothing = |(asked, _): &(Asked, _)| asked.question.wish == Wish::Nothing;
                    left.iter().position(|call| !nothing(call))
                }
            };
            let Some(index) = ended else {
                if let Err(error) = end {
                    if matches!(error.reason(), Reason::ResponseTooLarge { .. }) {
                        fails(self.index, &format!("{error} of {left:?}"));
                    }
                    // A call that comes to nothing may end in a death.
                    return Err(error);
                }
                fails(self.index, &format!("an answer to none of {left:?}"));
            };
            let passed = left[..index]
                .iter()
                .all(|(asked, _)| asked.question.wish == Wish::Nothing);
            if !passed {
                fails(
                    self.index,
                    &format!("{:?} answered before {:?}", left[index].0, left[0].0),
                );
            }
            match &end {
                // Which one it is of is not told.
                Err(error)
                    if kind_of(error) == "Raised" || kind_of(error) == "ResponseTooLarge" =>
                {
                    left[index].0.check(self.index, &end);
                }
                Err(_) => return end.map(drop),
                Ok(_) => left[index].0.check(self.index, &end),
            }
            left = &left[index + 1..];
        }
        Ok(())
    }

    fn fetch_by_handle(
        &mut self,
        row: &Row,
        asker: &mut Asker,
        mut pending: Vec<(Asked, PendingCall<'_>)>,
    ) -> Result<()> {
        let mut result = Ok(());
        while !pending.is_empty() {
            let index = asker.random.below(pending.len() as u64) as usize;
            let (asked, call) = pending.swap_remove(index);
            if asker.random.below(8) == 0 {
                let cancelled = row.run(Operation::Cancel, self.object(), || Ok(call.cancel()));
                match cancelled {
                    Ok(Withdrawal::NeverStarted) => self.withdrawn = asked.question.sequence,
                    Ok(Withdrawal::Corrupt) => fails(self.index, "a withdrawn cell is corrupt"),
                    _ => {}
                }
                continue;
            }
            let patience = Line::patience(&mut asker.random);
            let end = row.run(Operation::Fetch, self.object(), || {
                call.wait(Some(patience))
            });
            asked.check(self.index, &end);
            if let Err(error) = end
                && !matches!(error.reason(), Reason::Raised { .. })
            {
                result = Err(error);
            }
        }
        result
    }

    /// Calls that are never fetched, until there is no room for more.
    pub(crate) fn hoard(&mut self, row: &Row, asker: &mut Asker) {
        if self.kind.is_one_way() {
            return;
        }
        let Some(caller) = self.take(row) else {
            return;
        };
        let mut end = Ok(());
        for _ in 0..asker.random.below(u64::from(self.kind.cells) + 2) {
            let (_, arguments) = self.question(asker);
            end = row.run(Operation::Hoard, self.object(), || {
                caller.call_encoded(&arguments, Encoding::PICKLE).map(drop)
            });
            if end.is_err() {
                break;
            }
        }
        std::thread::sleep(Duration::from_micros(asker.random.below(20_000)));
        caller.withdraw_all();
        self.keep(caller, end.err().as_ref());
    }

    /// Removes the function from the machine, if it is one that may be.
    pub(crate) fn remove(&mut self, row: &Row, asker: &mut Asker) {
        if !self.kind.is_mortal {
            return;
        }
        if let Some(caller) = self.take(row) {
            let _ = row.run(Operation::RemoveFunction, self.object(), || {
                caller.remove(Duration::from_secs(1))
            });
        }
        self.call(row, asker);
    }

    /// In a forked child: calls that its parent has under way are none of its.
    pub(crate) fn forget_withdrawn(&mut self) {
        self.withdrawn = 0;
    }
}
