//! What the participants of a tunnel do, and whether what they are told is true.

use super::case::Answer;
use super::transitions::Doing;
use super::{CallId, MAX_SIZE, Made, TunnelWorld, take_one};
use crate::life::{self, Interruption, PARTICIPANTS, Who, participant};
use crate::tally::reached;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::recovery::Recoverable;
use robot_ipc_core::tunnel::{
    Call, Draft, DraftError, Outcome, Part, Progress, State, SubmitError, Taken, Withdrawal,
};

impl TunnelWorld<'_> {
    // ----------------------------------------------------------------- callers

    pub(super) fn draft(
        &self,
        who: Who,
        interruption: Option<Interruption>,
    ) -> Option<(Draft, CallId)> {
        let id = self.calls.borrow().len();
        self.calls.borrow_mut().push(Made {
            caller: who,
            caller_life: self.lives.number(who),
            is_one_way: false,
            argument: Vec::new(),
            encoding: Encoding::UNSPECIFIED,
            order: None,
            has_started: false,
            response: None,
        });
        let me = participant(who);
        let (draft, was_interrupted) =
            self.act(who, interruption, Doing::Drafting(id), |system| {
                let mut draft = self.tunnel.draft(system, me);
                if draft == Err(DraftError::Full) {
                    self.tunnel.reap_all(system, me);
                    draft = self.tunnel.draft(system, me);
                }
                (draft, system.was_interrupted())
            })?;
        match draft {
            Ok(draft) => return Some((draft, id)),
            Err(DraftError::Retired) => assert!(self.is_retired.get()),
            Err(DraftError::Full) if was_interrupted => {}
            Err(DraftError::Full) => {
                self.justify_full();
                reached("full");
            }
        }
        None
    }

    /// Every cell is a living one's to end, or a call that has to be served.
    fn justify_full(&self) {
        for cell in &*self.cells.borrow() {
            let is_kept = cell.state == State::Ready && cell.is_orphan;
            let holder = cell.responsible.expect("no cell is free");
            assert!(
                is_kept || self.lives.is_out_of_reach(holder),
                "it is not full: {cell:?}"
            );
        }
    }

    pub(super) fn submit(
        &self,
        who: Who,
        interruption: Option<Interruption>,
        draft: Draft,
        id: CallId,
        size: u8,
        is_one_way: bool,
    ) {
        let argument = Self::bytes(2 * id, size % (MAX_SIZE as u8 + 1));
        let encoding = Encoding(id as u32);
        let part = Part {
            length: argument.len() as u32,
            encoding,
        };
        {
            let made = &mut self.calls.borrow_mut()[id];
            made.is_one_way = is_one_way;
            made.argument.clone_from(&argument);
            made.encoding = encoding;
        }
        let me = participant(who);
        let process = self.process(who);
        let made = self.act(who, interruption, Doing::Submitting(id), |system| {
            let (first, second) = argument.split_at(argument.len() / 3);
            self.tunnel.fill_argument(&draft, 0, first);
            self.tunnel.fill_argument(&draft, first.len(), second);
            let made = self.tunnel.submit(system, me, draft, part, is_one_way);
            made.map_err(|(error, draft)| {
                *process.doing.borrow_mut() = Doing::Discarding(id);
                self.tunnel.discard(system, draft);
                error
            })
        });
        match made {
            None => {}
            Some(Ok(_)) if is_one_way => reached("called one-way"),
            Some(Ok(call)) => {
                process.calls.borrow_mut().push((call, id));
                reached("called");
            }
            Some(Err(error)) => {
                assert_eq!(error, SubmitError::Retired);
                assert!(self.is_retired.get());
            }
        }
    }

    /// What the caller sees is what became of the call.
    pub(super) fn check_progress(&self, call: Call, id: CallId) {
        let progress = self.tunnel.progress(call);
        let state = self.cell_of(id).map(|cell| cell.state);
        match (state, progress) {
            (None, Progress::Ended)
            | (Some(State::Ready), Progress::Queued(_))
            | (Some(State::Running), Progress::Running(_))
            | (Some(State::Died), Progress::Died) => {}
            (Some(State::Done), Progress::Done(outcome, part)) => {
                let calls = self.calls.borrow();
                let (expected, expected_part, bytes) =
                    calls[id].response.as_ref().expect("it was answered");
                assert_eq!((outcome, part), (*expected, *expected_part));
                let mut response = vec![0; bytes.len()];
                self.tunnel.copy_response(call, &mut response);
                assert_eq!(&response, bytes, "somebody else's response");
            }
            other => panic!("call {id}: {other:?}"),
        }
    }

    pub(super) fn fetch(&self, who: Who, which: u8) {
        let process = self.process(who);
        let Some((call, id)) = take_one(&process.calls, which) else {
            return;
        };
        self.check_progress(call, id);
        let progress = self.tunnel.progress(call);
        let goes_on = matches!(progress, Progress::Queued(_) | Progress::Running(_));
        let doing = if goes_on {
            Doing::Nothing
        } else {
            Doing::LettingGo(id)
        };
        let forgotten = self.act(who, None, doing, |system| self.tunnel.forget(system, call));
        let can_be_forgotten = !goes_on && progress != Progress::Ended;
        assert_eq!(forgotten, Some(can_be_forgotten));
        if goes_on {
            process.calls.borrow_mut().push((call, id));
            return;
        }
        reached(match progress {
            Progress::Done(..) => "fetched",
            Progress::Died => "told of a death",
            _ => "fetched nothing",
        });
        process.past.borrow_mut().push(call);
    }

    pub(super) fn withdraw(&self, who: Who, which: u8) {
        let process = self.process(who);
        let Some((call, id)) = take_one(&process.calls, which) else {
            return;
        };
        let expected = match self.cell_of(id).map(|cell| cell.state) {
            Some(State::Ready) => Withdrawal::NeverStarted,
            Some(State::Running) => Withdrawal::Running,
            _ => Withdrawal::Ended,
        };
        let withdrawn = self.act(who, None, Doing::LettingGo(id), |system| {
            self.tunnel.withdraw(system, call)
        });
        assert_eq!(withdrawn, Some(expected));
        if expected == Withdrawal::NeverStarted {
            assert!(!self.calls.borrow()[id].has_started);
        }
        reached("withdrawn");
        if expected == Withdrawal::Running {
            let cell = self.cell_of(id).expect("it is running");
            assert!(cell.is_orphan, "nobody will free it");
        } else {
            process.past.borrow_mut().push(call);
        }
    }

    pub(super) fn unqueue(&self, who: Who, which: u8) {
        let process = self.process(who);
        let Some((call, id)) = take_one(&process.calls, which) else {
            return;
        };
        let is_queued = self
            .cell_of(id)
            .is_some_and(|cell| cell.state == State::Ready);
        let unqueued = self.act(who, None, Doing::LettingGo(id), |system| {
            self.tunnel.unqueue(system, call)
        });
        assert_eq!(unqueued, Some(is_queued));
        if is_queued {
            process.past.borrow_mut().push(call);
        } else {
            process.calls.borrow_mut().push((call, id));
        }
    }

    /// A call that has ended can do no harm to whoever has its cell now.
    pub(super) fn use_past_call(&self, who: Who, which: u8) {
        let past = self.process(who).past.borrow().clone();
        if past.is_empty() {
            return;
        }
        let call = past[which as usize % past.len()];
        let done = self.act(who, None, Doing::Nothing, |system| {
            let forgotten = self.tunnel.forget(system, call);
            let unqueued = self.tunnel.unqueue(system, call);
            (forgotten, unqueued, self.tunnel.withdraw(system, call))
        });
        assert_eq!(done, Some((false, false, Withdrawal::Ended)));
    }

    // ------------------------------------------------------------- dispatchers

    pub(super) fn take(&self, who: Who, interruption: Option<Interruption>) {
        let done = self.act(who, interruption, Doing::Taking, |system| {
            let process = self.process(who);
            let lookout = &mut *process.lookout.borrow_mut();
            let taken = self.tunnel.take(system, participant(who), lookout);
            (taken, system.was_interrupted())
        });
        match done {
            None => {}
            Some((Some(taken), _)) => {
                let id = self.check_taken(who, &taken);
                self.process(who).taken.borrow_mut().push((taken, id));
                reached("taken");
            }
            Some((None, true)) => {}
            Some((None, false)) => {
                let is_missed = self.oldest_ready().is_some() && !self.is_retired.get();
                assert!(!is_missed, "there is a call, and it was not taken");
            }
        }
    }

    /// It is the call whose cell has become this dispatcher's, as its caller made it.
    fn check_taken(&self, who: Who, taken: &Taken) -> CallId {
        let known: Vec<CallId> = {
            let process = self.process(who);
            let known = process.taken.borrow();
            known.iter().map(|(_, id)| *id).collect()
        };
        let cells = self.cells.borrow();
        let mut running = cells
            .iter()
            .filter(|cell| cell.state == State::Running && cell.responsible == Some(who));
        let new = |id: &CallId| !known.contains(id);
        let id = running.find_map(|cell| cell.call.filter(new));
        let id = id.expect("a cell is its own now");
        let calls = self.calls.borrow();
        let made = &calls[id];
        assert_eq!(taken.is_one_way(), made.is_one_way);
        let part = taken.argument();
        assert_eq!(part.encoding, made.encoding);
        let mut argument = vec![0; part.length as usize];
        self.tunnel.copy_argument(taken, &mut argument);
        assert_eq!(argument, made.argument, "other arguments than the call's");
        id
    }

    pub(super) fn finish(
        &self,
        who: Who,
        interruption: Option<Interruption>,
        which: u8,
        answer: Answer,
    ) {
        let Some((taken, id)) = take_one(&self.process(who).taken, which) else {
            return;
        };
        let (outcome, size) = match answer {
            Answer::Nothing => (None, 0),
            Answer::Returned { size } => (Some(Outcome::RETURNED), size.into()),
            Answer::Raised { size } => (Some(Outcome::RAISED), size.into()),
            Answer::TooLarge { size } => (Some(Outcome::TOO_LARGE), size),
            Answer::Unknown { outcome, size } => (Some(Outcome(outcome)), size.into()),
        };
        let has_bytes = !matches!(outcome, Some(Outcome::TOO_LARGE | Outcome::TOO_OLD));
        let mut bytes = Vec::new();
        let response = outcome.map(|outcome| {
            let length = if has_bytes {
                size % (MAX_SIZE as u32 + 1)
            } else {
                size
            };
            if has_bytes {
                bytes = Self::bytes(2 * id + 1, length as u8);
            }
            let encoding = Encoding(!(id as u32));
            (outcome, Part { length, encoding })
        });
        self.calls.borrow_mut()[id].response =
            response.map(|(outcome, part)| (outcome, part, bytes.clone()));
        let doing = Doing::Finishing(id, response.is_some());
        let ended = self.act(who, interruption, doing, |system| {
            let (first, second) = bytes.split_at(bytes.len() / 3);
            self.tunnel.fill_response(&taken, 0, first);
            self.tunnel.fill_response(&taken, first.len(), second);
            let me = participant(who);
            self.tunnel.finish(system, me, taken, response)
        });
        if let Some(ended) = ended {
            assert_eq!(ended, Ok(()));
            reached("answered");
        }
    }

    // ----------------------------------------------------------------- waiting

    pub(super) fn arm_bells(&self, who: Who) {
        let Some([calls, room]) = self.process(who).heard.take() else {
            return;
        };
        let is_as_heard = (
            calls == self.tunnel.listen_for_calls(),
            room == self.tunnel.listen_for_room(),
        );
        let armed = self.act(who, None, Doing::Nothing, |_| {
            let calls = self.tunnel.arm_for_calls(calls);
            (calls.is_some(), self.tunnel.arm_for_room(room).is_some())
        });
        let expected = (
            is_as_heard.0 || calls.is_waiting(),
            is_as_heard.1 || room.is_waiting(),
        );
        assert_eq!(armed, Some(expected));
    }

    pub(super) fn arm_call(&self, who: Who, which: u8) {
        let calls = self.process(who).calls.borrow().clone();
        if calls.is_empty() {
            return;
        }
        let (call, id) = calls[which as usize % calls.len()];
        if let Progress::Queued(seen) | Progress::Running(seen) = self.tunnel.progress(call) {
            let armed = self.act(who, None, Doing::Arming(id), |_| {
                self.tunnel.arm_for_response(call, seen).is_some()
            });
            assert_eq!(armed, Some(true));
        }
    }

    // ------------------------------------------------------------ birth, death

    pub(super) fn be_born(&self, who: Who, interruption: Option<Interruption>) {
        let me = participant(who);
        life::join(
            self,
            who,
            interruption,
            |system, lock| {
                self.tunnel.recover(system, me, lock);
            },
            |system| self.tunnel.reap_all(system, me),
        );
        // A one-way call of the dead rings without any step after it.
        if self.lives.is_alive(who) && !self.lives.is_busy(who) {
            self.observe(who);
        }
    }

    /// All are killed, and one is born. It serves what has to be served, and then all
    /// cells are free.
    pub(super) fn end(&self) {
        for who in 0..PARTICIPANTS.len() {
            life::kill(self, who);
        }
        let survivor = 4;
        self.be_born(survivor, None);
        self.check();
        for cell in &*self.cells.borrow() {
            let is_kept = cell.state == State::Ready && cell.is_orphan;
            assert!(is_kept || cell.state == State::Free, "left: {cell:?}");
        }
        if self.is_retired.get() {
            return;
        }
        while self.oldest_ready().is_some() {
            self.take(survivor, None);
            self.finish(survivor, None, 0, Answer::Nothing);
            self.check();
            reached("served for the dead");
        }
        let count = self.cells.borrow().len();
        for _ in 0..count {
            let drafted = self.draft(survivor, None);
            assert!(drafted.is_some(), "a cell is lost");
        }
    }

    // ------------------------------------------------------------------ checks

    pub(super) fn check(&self) {
        for who in 0..PARTICIPANTS.len() {
            if !self.lives.is_alive(who) || self.lives.is_busy(who) {
                continue;
            }
            let process = self.process(who);
            for (call, id) in &*process.calls.borrow() {
                self.check_progress(*call, *id);
            }
            for call in &*process.past.borrow() {
                assert_eq!(self.tunnel.progress(*call), Progress::Ended);
            }
            for (taken, id) in &*process.taken.borrow() {
                let cell = self.cell_of(*id).expect("it is running");
                assert_eq!((cell.state, cell.responsible), (State::Running, Some(who)));
                assert_eq!(self.tunnel.is_wanted(taken), !cell.is_orphan);
            }
            for (_, id) in &*process.drafts.borrow() {
                let cell = self.cell_of(*id).expect("it is drafted");
                assert_eq!((cell.state, cell.responsible), (State::Writing, Some(who)));
            }
        }
    }
}
