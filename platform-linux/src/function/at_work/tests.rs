//! Serving, seen from inside: the order of functions, and what is kept of those that are gone.

use super::*;
use crate::{DispatcherOptions, FunctionOptions, testing};

/// Against a function that is never served since another one is called all the time.
#[test]
fn a_busy_function_keeps_no_other_from_being_served() {
    let dispatcher = DispatcherOptions::new().build().unwrap();
    let options = FunctionOptions::new().place(testing::scratch_place());
    let options = options.max_response_size(0);
    let names = ["a", "b", "c", "d", "e", "f"];
    let ids = names.map(|name| dispatcher.add_for_next_call(&options, name.as_bytes()));
    let [busy, .., other] = ids.map(|id| id.unwrap());
    let callers = names.map(|name| options.open(name).unwrap());
    // It has seen all of them quiet, and knows which calls come next.
    assert!(dispatcher.next_call(Some(Duration::ZERO)).is_err());
    let mut waited = None;
    for round in 0..200 {
        callers[0].call(b"again").unwrap();
        if round == 100 {
            callers[5].call(b"once").unwrap();
        }
        let call = dispatcher.next_call(Some(Duration::from_secs(5))).unwrap();
        let served = call.function();
        call.reply_nothing().unwrap();
        if served == other {
            waited = Some(round - 100);
            break;
        }
        assert_eq!(served, busy);
    }
    assert!(
        matches!(waited, Some(0..10)),
        "it waited for {waited:?} others"
    );
    for caller in &callers {
        caller.remove(Duration::from_secs(5)).unwrap();
    }
}

/// Against a dispatcher that ends, or spins, because the file of one of its functions
/// was cut just before it went to sleep: the system says so, but not of which.
#[test]
fn a_bell_that_is_gone_costs_its_function_only() {
    crate::survive_truncation().unwrap();
    let dispatcher = DispatcherOptions::new().build().unwrap();
    let options = FunctionOptions::new().place(testing::scratch_place());
    for name in ["a", "b", "c"] {
        let added = dispatcher.add_for_next_call(&options, name.as_bytes());
        added.unwrap();
    }
    let inner = &dispatcher.inner;
    let next = || inner.next_call(Some(Duration::ZERO)).err().unwrap();
    assert!(matches!(
        next().error.reason(),
        Reason::NothingToServe { .. }
    ));
    let callers = ["a", "b", "c"].map(|name| options.open(name).unwrap());
    std::fs::File::create(callers[1].subject().path()).unwrap();
    {
        let rounds = lock(&inner.rounds);
        let tunnels: Vec<Mapped<'_>> = rounds
            .functions
            .iter()
            .map(|noted| noted.function.tunnel())
            .collect();
        // Neither arms the bells nor looks at them first, which would tell.
        let bells = tunnels.iter().map(|tunnel| (tunnel.memory().bell(), 0));
        let control = inner.control.seen();
        let slept = inner.control.sleep_with(control, bells, Duration::ZERO);
        assert_eq!(slept, Err(Errno::FAULT));
        let found = inner.find_unmapped(&rounds, control, Duration::from_secs(60));
        assert!(matches!(found, Ok(futex::Wakened::LookAgain)));
    }
    let lost = next();
    assert!(
        matches!(lost.error.reason(), Reason::Truncated { .. }),
        "{}",
        lost.error
    );
    assert!(lost.lost.is_some());
    callers[2].call(b"still").unwrap();
    let call = inner.next_call(Some(Duration::ZERO));
    assert_eq!(call.ok().unwrap().arguments(), b"still");
    for caller in &callers {
        caller.remove(Duration::from_secs(5)).unwrap();
    }
}

/// Against the memory of a function that stays because its own callback has removed it, and
/// nobody looks for calls again.
#[test]
fn a_function_that_removes_itself_is_let_go_of() {
    let options = FunctionOptions::new().place(testing::scratch_place());
    let dispatcher = Arc::new(DispatcherOptions::new().build().unwrap());
    let itself = Arc::downgrade(&dispatcher);
    let added = dispatcher.add_raw(&options, b"once", move |call| {
        let dispatcher = itself.upgrade().unwrap();
        dispatcher.remove(call.function())?;
        dispatcher.stop();
        call.reply_nothing()
    });
    added.unwrap();
    let caller = options.open("once").unwrap();
    caller.call(b"").unwrap();
    dispatcher.run(Some(Duration::from_secs(5))).unwrap();
    assert_eq!(caller.next_response(Some(Duration::ZERO)).unwrap(), None);
    assert!(lock(&dispatcher.inner.rounds).functions.is_empty());
    caller.remove(Duration::from_secs(5)).unwrap();
}

/// Against a stop that is forgotten since somebody lets the dispatcher go on before the thread
/// that is to end has looked: it would serve for ever beside the one that is to go on.
#[test]
fn a_stop_ends_who_serves_though_it_goes_on_at_once() {
    let options = FunctionOptions::new().place(testing::scratch_place());
    let dispatcher = Arc::new(DispatcherOptions::new().build().unwrap());
    let itself = Arc::downgrade(&dispatcher);
    let added = dispatcher.add_raw(&options, b"again", move |call| {
        let dispatcher = itself.upgrade().unwrap();
        dispatcher.stop();
        dispatcher.resume()?;
        call.reply_nothing()
    });
    added.unwrap();
    let caller = options.open("again").unwrap();
    for _ in 0..2 {
        caller.call(b"").unwrap();
        dispatcher.run(Some(Duration::from_secs(5))).unwrap();
    }
    caller.call(b"").unwrap();
    let call = dispatcher.next_call(Some(Duration::from_secs(5))).unwrap();
    call.reply_nothing().unwrap();
    caller.remove(Duration::from_secs(5)).unwrap();
}
