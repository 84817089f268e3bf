//! What asks the allocator for memory, and when.

use robot_ipc::codec::{Pickle, Postcard, PythonArguments, Raw};
use robot_ipc::{Encoding, FunctionOptions, HostFunctionDispatcher};
use std::time::Duration;
use support::system::{Counting, allocations};
use support::{Scratch, open, pattern};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Against an allocation in a control loop, long after opening.
#[test]
fn nothing_is_allocated_after_opening() {
    let scratch = Scratch::new();
    let variable = open(&scratch, "bytes");
    let read_only = scratch
        .options()
        .read_only(true)
        .open("bytes")
        .expect("it exists");
    let raw = scratch
        .options()
        .max_size(64)
        .open_typed::<Raw<[u32; 16]>>("raw")
        .expect("new");
    let postcard = scratch
        .options()
        .max_size(64)
        .open_typed::<Postcard<(u64, f32)>>("postcard")
        .expect("new");
    let pickle = scratch
        .options()
        .open_typed::<Pickle<(u64, f64, Option<u8>)>>("pickle")
        .expect("new");
    let arguments = scratch
        .options()
        .open_typed::<PythonArguments<(u64, f64)>>("arguments")
        .expect("new");
    let value = pattern(4096, 1);
    let mut buffer = vec![0; 4096];
    let mut small = [0; 16];
    let mut round = || {
        for _ in 0..100 {
            let written = variable.write(&value).expect("a slot");
            variable.read_into(&mut buffer).expect("a value");
            read_only.read_into(&mut buffer).expect("a value");
            variable
                .write_if(written.version, &value, Encoding::RAW)
                .expect("nobody else writes");
            variable
                .write_if(1, &value, Encoding::RAW)
                .expect_err("an older version");
            variable.write(&[0; 4097]).expect_err("too large");
            variable.read_into(&mut small).expect_err("too small");
            variable.version().expect("a version");
            variable.latest().expect("a sample");
            variable.age().expect("an age");
            let since = variable.version().expect("a version") + 1;
            variable
                .wait_for_update(since, Some(Duration::ZERO))
                .expect("it is another one");
            let borrow = variable.borrow().expect("a borrow");
            borrow.copy_to(0, &mut buffer);
            let mut loan = variable.loan().expect("a loan");
            loan.write_at(0, &value).expect("it fits");
            loan.publish(4096, Encoding::RAW)
                .expect("nobody else writes");
            drop(variable.loan().expect("a loan"));
            drop(borrow);
            drop(variable.clone());
            raw.write(&[7; 16]).expect("a slot");
            raw.read().expect("a value");
            postcard.write(&(7, 0.5)).expect("a slot");
            postcard.read().expect("a value");
            // Reading these allocates.
            pickle.write(&(u64::MAX, 0.5, None)).expect("a slot");
            arguments.write(&(7, 0.5)).expect("a slot");
        }
    };
    // The first operation registers this process.
    round();
    let before = allocations();
    round();
    assert_eq!(allocations() - before, 0);
    drop(vec![1u8; 10]);
    assert_eq!(allocations() - before, 1, "allocations are not counted");
}

/// Against an allocation in a control loop that calls and serves.
#[test]
fn nothing_is_allocated_by_a_call() {
    let scratch = Scratch::new();
    let dispatcher = HostFunctionDispatcher::new(2).expect("within the limits");
    let options = FunctionOptions::new().place(scratch.place().clone());
    dispatcher
        .add_raw(&options, b"echo", |call| {
            let mut copy = [0; 64];
            copy.copy_from_slice(call.arguments());
            call.reply(&copy, Encoding::RAW)
        })
        .expect("new");
    dispatcher
        .add_typed::<Postcard<u64>, Postcard<u64>, _, &str>(&options, "next", |n| Ok(Some(n + 1)))
        .expect("new");
    let echo = options.open("echo").expect("it exists");
    let next = options.open("next").expect("it exists");
    let mut buffer = [0; 64];
    let at_once = Some(Duration::ZERO);
    let serve = || assert!(dispatcher.run(Some(Duration::ZERO)).is_err(), "time is up");
    let mut round = || {
        for _ in 0..100 {
            let call = echo.call(&[7; 64]).expect("a cell");
            call.wait_into(&mut buffer, at_once).expect_err("not yet");
            serve();
            let part = call.wait_into(&mut buffer, at_once).expect("an answer");
            assert_eq!(part.map(|part| part.length), Some(64));
            echo.call(&[8; 64]).expect("a cell");
            serve();
            echo.next_response_into(&mut buffer, at_once)
                .expect("an answer");
            echo.next_response_into(&mut buffer, at_once)
                .expect_err("no call");
            echo.call(&[9; 64]).expect("a cell").cancel();
            next.call_encoded(&[1], Encoding::POSTCARD).expect("a cell");
            serve();
            next.next_response_into(&mut buffer, at_once)
                .expect("an answer");
            assert_eq!(buffer[0], 2);
        }
    };
    // The first operation registers this process.
    round();
    let before = allocations();
    round();
    assert_eq!(allocations() - before, 0);
}
