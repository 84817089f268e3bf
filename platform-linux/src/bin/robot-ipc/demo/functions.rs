//! The demo's functions: `move_to` and `stop`, which this process serves beside its
//! control loop, and the thread that calls them, and Python's `hand_at`, from Rust.
//!
//! `move_to` and `stop` take and return plain structs, as the loop's variables are: what
//! a control loop gets has a fixed size, is read without decoding and allocating, and
//! looks the same from C. `hand_at` is a Python function like any other, so Rust makes
//! for it the pickle that a Python caller would, and reads the pickle that it returns.

use super::arm::{JOINTS, Orders, checksum};
use super::calls::{BOUND, Calls, End, HAND_AT, MOVE_TO, STOP};
use bytemuck::{Pod, Zeroable};
use robot_ipc::codec::Raw;
use robot_ipc::{
    DispatcherOptions, Encoding, Error, FunctionOptions, HostFunctionCaller,
    HostFunctionDispatcher, Place, Reason, Result, TypedCaller,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two rounds of calls.
const PAUSE: Duration = Duration::from_millis(1);
/// Each so many rounds the arm is stopped for one.
pub(crate) const ROUNDS_PER_STOP: u64 = 10;
/// How many rounds pass before it is looked again whether Python has offered `hand_at`.
const ROUNDS_PER_LOOK: u64 = 50;
/// How long the arm's links are.
const LINKS: [f64; JOINTS] = [0.4, 0.3, 0.2];

/// What `move_to` and `stop` take. Python has the same struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Order {
    /// Who calls, and their how-manieth call it is.
    caller: u64,
    number: u64,
    /// What to swing around from now on; `stop` does not look at it.
    centre: [f64; JOINTS],
    checksum: u64,
}

/// What they return.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Done {
    /// Of the order.
    caller: u64,
    number: u64,
    /// Which function it was.
    function: u64,
    /// Where the arm was when it was told.
    position: [f64; JOINTS],
    checksum: u64,
}

/// What `hand_at` returns, as Python pickles it.
#[derive(Debug, Deserialize)]
struct Hand {
    caller: u64,
    number: u64,
    hand: [f64; 2],
}

impl Order {
    fn new(caller: u64, number: u64) -> Order {
        let mut order = Order {
            caller,
            number,
            centre: [0.1 * (number as f64 / 1000.0).sin(); JOINTS],
            checksum: 0,
        };
        order.checksum = checksum(&order);
        order
    }
}

impl Done {
    fn of(order: &Order, function: usize, position: [f64; JOINTS]) -> Done {
        let mut done = Done {
            caller: order.caller,
            number: order.number,
            function: function as u64,
            position,
            checksum: 0,
        };
        done.checksum = checksum(&done);
        done
    }

    /// Whether it is the answer to that very call.
    fn is_of(&self, order: &Order, function: usize) -> bool {
        self.checksum == checksum(self)
            && (self.caller, self.number) == (order.caller, order.number)
            && self.function == function as u64
    }
}

impl Hand {
    fn is_of(&self, order: &Order) -> bool {
        let is_near = |left: f64, right: f64| (left - right).abs() < 1e-9;
        let (mut x, mut y, mut angle) = (0.0, 0.0, 0.0);
        for (link, joint) in LINKS.iter().zip(order.centre) {
            angle += joint;
            x += link * angle.cos();
            y += link * angle.sin();
        }
        (self.caller, self.number) == (order.caller, order.number)
            && is_near(self.hand[0], x)
            && is_near(self.hand[1], y)
    }
}

fn options(place: &Place) -> FunctionOptions {
    FunctionOptions::new()
        .place(place.clone())
        .max_argument_size(size_of::<Order>() as u64)
        .max_response_size(size_of::<Done>() as u64)
}

/// Serves `move_to` and `stop` in a thread beside the loop.
pub(crate) fn serve(place: &Place, orders: &Arc<Orders>) -> Result<HostFunctionDispatcher> {
    let dispatcher = DispatcherOptions::new()
        .max_functions(2)
        .on_error(|error| eprintln!("robot-ipc: {error}"))
        .build()?;
    let options = options(place);
    let arm = Arc::clone(orders);
    dispatcher.add_typed::<Raw<Order>, Raw<Done>, _, _>(&options, "move_to", move |order| {
        check(&order)?;
        Ok::<_, &str>(Some(Done::of(&order, MOVE_TO, arm.move_to(order.centre))))
    })?;
    let arm = Arc::clone(orders);
    dispatcher.add_typed::<Raw<Order>, Raw<Done>, _, _>(&options, "stop", move |order| {
        check(&order)?;
        Ok::<_, &str>(Some(Done::of(&order, STOP, arm.stop())))
    })?;
    dispatcher.start()?;
    Ok(dispatcher)
}

fn check(order: &Order) -> Result<(), &'static str> {
    if order.checksum == checksum(order) {
        Ok(())
    } else {
        Err("the order is not of one piece")
    }
}

/// The thread that calls from Rust.
#[derive(Debug)]
pub(crate) struct Callers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What it shares with whoever started it.
#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    calls: Mutex<Calls>,
    failure: Mutex<Option<Error>>,
}

impl Callers {
    pub(crate) fn start(place: &Place) -> std::io::Result<Callers> {
        let shared = Arc::new(Shared::default());
        let (mine, place) = (Arc::clone(&shared), place.clone());
        let thread = std::thread::Builder::new()
            .name("calls".to_owned())
            .spawn(move || {
                if let Err(error) = mine.call_on(&place) {
                    mine.note(error);
                }
            })?;
        Ok(Callers {
            shared,
            thread: Some(thread),
        })
    }

    /// What it has counted so far.
    pub(crate) fn calls(&self) -> Calls {
        *lock(&self.shared.calls)
    }

    /// The first error that a call brought.
    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.shared.failure).clone()
    }

    /// Ends it. `false` if it is in a call that does not end; it is left alone then.
    pub(crate) fn end(&mut self) -> bool {
        self.shared.ended.store(true, Relaxed);
        let Some(thread) = self.thread.take() else {
            return true;
        };
        let start = Instant::now();
        while !thread.is_finished() {
            if start.elapsed() > 2 * BOUND {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        thread.join().is_ok()
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn note(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
    }

    /// Calls in rounds until it is told to end.
    fn call_on(&self, place: &Place) -> Result<()> {
        type Orderly = TypedCaller<Raw<Order>, Raw<Done>>;
        let open = |name| -> Result<Orderly> { Ok(options(place).open(name)?.typed()) };
        let (move_to, stop) = (open("move_to")?, open("stop")?);
        let mut hand_at = None;
        let caller = u64::from(std::process::id());
        let mut number = 0;
        while !self.ended.load(Relaxed) {
            std::thread::sleep(PAUSE);
            number += 1;
            let order = Order::new(caller, number);
            let (function, called) = match number % ROUNDS_PER_STOP {
                0 => (STOP, &stop),
                _ => (MOVE_TO, &move_to),
            };
            self.measure(function, || {
                let done = called.call_within(&order, BOUND)?;
                Ok(done.is_some_and(|done| done.is_of(&order, function)))
            });
            if hand_at.is_none() && number % ROUNDS_PER_LOOK == 1 {
                hand_at = offered(place, "hand_at")?;
            }
            if let Some(hand_at) = &hand_at {
                self.measure(HAND_AT, || ask_where(hand_at, &order));
            }
        }
        Ok(())
    }

    /// Counts what becomes of a call that tells whether its answer was its own.
    fn measure(&self, function: usize, call: impl FnOnce() -> Result<bool>) {
        lock(&self.calls).0[function].begun += 1;
        let start = Instant::now();
        let called = call();
        let took = start.elapsed();
        let end = match called {
            Ok(true) => End::Answered,
            Ok(false) => End::Mixed,
            Err(error) => match error.reason() {
                Reason::CallTimedOut { .. } => End::Hung,
                Reason::Interrupted => End::GivenUp,
                _ => {
                    self.note(error);
                    End::Failed
                }
            },
        };
        lock(&self.calls).0[function].end(end, took);
    }
}

/// The function, if somebody has offered it.
fn offered(place: &Place, name: &str) -> Result<Option<HostFunctionCaller>> {
    let options = FunctionOptions::new().place(place.clone()).adopt_sizes();
    match options.open(name) {
        Err(error) if *error.reason() == Reason::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Asks Python where the hand is when the joints are so; whether the answer is right.
fn ask_where(hand_at: &HostFunctionCaller, order: &Order) -> Result<bool> {
    // What a Python caller sends: its positional arguments, and those by name.
    let by_name = BTreeMap::<String, ()>::new();
    let arguments = ((order.caller, order.number, order.centre), by_name);
    let Ok(pickle) = serde_pickle::to_vec(&arguments, serde_pickle::SerOptions::new()) else {
        return Ok(false);
    };
    let call = hand_at.call_encoded(&pickle, Encoding::PICKLE)?;
    let answer = call.wait(Some(BOUND)).inspect_err(|_| {
        call.cancel();
    })?;
    let hand = answer.filter(|answer| answer.encoding == Encoding::PICKLE);
    let hand = hand.and_then(|answer| {
        serde_pickle::from_slice::<Hand>(&answer.bytes, serde_pickle::DeOptions::new()).ok()
    });
    Ok(hand.is_some_and(|hand| hand.is_of(order)))
}
