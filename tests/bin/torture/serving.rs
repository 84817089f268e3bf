//! What workers do as dispatchers, and the oracle over the questions they are asked.
//!
//! A dispatcher sees the questions of one caller to one function in the order in which that
//! caller made them (it made each after the call before it had returned), each of them at
//! most once, none that was taken back before it began, and none whose caller was dead already.

use crate::board::Row;
use crate::message::{MIN_SIZE, PICKLE_MARGIN, Plant, Question, Wish};
use crate::table::{FUNCTIONS, FunctionKind, Operation, VARIABLES};
use crate::worker::seen_at_ms;
use robot_ipc::function::FunctionId;
use robot_ipc::{
    DispatcherOptions, Encoding, HostFunctionDispatcher, IncomingCall, Reason, Result,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use support::Random;

/// So many of a caller's questions are remembered.
const REMEMBERED: usize = 256;

/// A process lives as long as its memory. Whoever looks at it just then (`ps`, say) keeps that
/// for a moment, though the process has ended.
const PATIENCE_WITH_THE_DEAD_MS: u32 = 10;

/// The questions that one function of this process was asked, by caller.
#[derive(Debug, Default)]
struct Ledger(HashMap<u64, Vec<u64>>);

impl Ledger {
    fn enter(&mut self, question: Question) -> Result<(), String> {
        let Question {
            caller, sequence, ..
        } = question;
        let asked = self.0.entry(caller).or_default();
        if let Some(last) = asked.last()
            && sequence <= *last
        {
            return Err(format!("question {sequence} of {caller} came after {last}"));
        }
        if question.withdrawn != 0 && asked.contains(&question.withdrawn) {
            let withdrawn = question.withdrawn;
            return Err(format!("{withdrawn} of {caller} ran, and was taken back"));
        }
        asked.push(sequence);
        if asked.len() > 2 * REMEMBERED {
            asked.drain(..REMEMBERED);
        }
        Ok(())
    }
}

/// A dispatcher and what it offers.
#[derive(Debug)]
pub(crate) struct Server {
    dispatcher: HostFunctionDispatcher,
    /// Which functions it is to offer, their numbers there, and what they were asked.
    offered: Vec<(usize, Option<FunctionId>, Arc<Mutex<Ledger>>)>,
    has_own_thread: bool,
    row: Arc<Row>,
    seed: Random,
}

impl Server {
    pub(crate) fn new(row: &Arc<Row>, random: &mut Random) -> Server {
        let dispatcher = DispatcherOptions::new()
            .one_word_sleep(random.below(4) == 0)
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        // All of them, or some; every function has several dispatchers at most times.
        let spares = random.below(3) == 0;
        let offered = (0..FUNCTIONS.len())
            .filter(|_| !spares || random.below(2) == 0)
            .map(|index| (index, None, Arc::default()))
            .collect();
        let has_own_thread = random.below(2) == 0;
        let mut server = Server {
            dispatcher,
            offered,
            has_own_thread,
            row: Arc::clone(row),
            seed: Random::new(random.next()),
        };
        server.offer();
        if has_own_thread {
            server.start();
        }
        server
    }

    fn start(&self) {
        if let Err(error) = self.dispatcher.start() {
            // Removed just now: it is offered anew in the next round.
            assert_eq!(*error.reason(), Reason::Retired, "starting: {error}");
        }
    }

    /// Offers what it does not, also if it was removed from the machine since.
    fn offer(&mut self) {
        for (index, id, ledger) in &mut self.offered {
            let is_there = id.is_some_and(|id| self.dispatcher.cells(id).is_ok());
            if is_there {
                continue;
            }
            let kind = FUNCTIONS[*index];
            let function = Function {
                index: *index,
                kind,
                row: Arc::clone(&self.row),
                ledger: Arc::clone(ledger),
                random: Random::new(self.seed.next()),
            };
            *id = function.add_to(&self.dispatcher);
        }
    }

    /// Serves for a while.
    pub(crate) fn serve(&mut self, random: &mut Random) {
        let time = Duration::from_micros(random.below(20_000));
        if self.has_own_thread {
            std::thread::sleep(time);
            self.row.go_on();
            match random.below(200) {
                0 => {
                    self.dispatcher.stop();
                    self.start();
                }
                1 => self.withdraw_one(random),
                _ => {}
            }
        } else {
            let object = VARIABLES.len();
            let _ = self
                .row
                .run(Operation::Serve, object, || self.dispatcher.run(Some(time)));
        }
        self.offer();
    }

    /// Offers one function no longer, until the next round.
    fn withdraw_one(&mut self, random: &mut Random) {
        if self.offered.is_empty() {
            return;
        }
        let index = random.below(self.offered.len() as u64) as usize;
        if let Some(id) = self.offered[index].1.take() {
            let _ = self.dispatcher.remove(id);
        }
    }
}

/// One function that is offered.
struct Function {
    index: usize,
    kind: FunctionKind,
    row: Arc<Row>,
    ledger: Arc<Mutex<Ledger>>,
    random: Random,
}

impl Function {
    fn add_to(mut self, dispatcher: &HostFunctionDispatcher) -> Option<FunctionId> {
        let object = VARIABLES.len() + self.index;
        let (row, kind) = (Arc::clone(&self.row), self.kind);
        let added = row.run(Operation::Offer, object, || {
            let run = move |call: IncomingCall| self.run(call);
            dispatcher.add_raw(&kind.options(), kind.name.as_bytes(), run)
        });
        added.ok()
    }

    fn run(&mut self, call: IncomingCall) -> Result<()> {
        let fails = |what: &str| -> ! {
            panic!("function '{}', as its dispatcher: {what}", self.kind.name)
        };
        if call.encoding() != Encoding::PICKLE {
            fails(&format!("the arguments are {}", call.encoding()));
        }
        let (question, digest) =
            Question::read(call.arguments()).unwrap_or_else(|what| fails(&what));
        if question.function != self.index as u64 {
            fails(&format!("{question:?} was for another function"));
        }
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.enter(question).unwrap_or_else(|what| fails(&what));
        drop(ledger);
        let dead_for = self.row.dead_for(question.caller, seen_at_ms());
        if dead_for > PATIENCE_WITH_THE_DEAD_MS && !self.kind.is_one_way() {
            fails(&format!(
                "{question:?} began {dead_for} ms after its caller's death"
            ));
        }
        let mut question = question;
        if question.wish == Wish::Answer && Plant::Stray.is_due(&mut self.random) {
            question.sequence -= 1;
        }
        let is_one_way = self.kind.is_one_way();
        if call.is_one_way() != is_one_way {
            fails("a call has become one-way, or does not say so");
        }
        let room = self.kind.max_response_size as usize;
        let ended = match question.wish {
            _ if is_one_way => call.reply_nothing(),
            Wish::Raise => call.reply_error(&question.complaint()),
            Wish::Nothing => call.reply_nothing(),
            Wish::TooLarge => {
                let answer = question.answer(digest, room + 1);
                match call.reply(&answer, Encoding::PICKLE) {
                    Err(error) if matches!(error.reason(), Reason::ResponseTooLarge { .. }) => {
                        Ok(())
                    }
                    other => other,
                }
            }
            Wish::Answer | Wish::Slowly => {
                if question.wish == Wish::Slowly {
                    std::thread::sleep(Duration::from_micros(self.random.below(5000)));
                }
                let room = room - PICKLE_MARGIN - MIN_SIZE;
                let size = MIN_SIZE + self.random.below(room as u64 + 1) as usize;
                call.reply(&question.answer(digest, size), Encoding::PICKLE)
            }
        };
        if let Err(error) = &ended {
            fails(&format!("replying failed: {error}"));
        }
        let _ = self
            .row
            .run(Operation::Answer, VARIABLES.len() + self.index, || Ok(()));
        ended
    }
}
