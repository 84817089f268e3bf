//! One side of each pair in `tests/pairs.rs`, in Rust.

use bytemuck::{Pod, Zeroable};
use robot_ipc::codec::Raw;
use robot_ipc::{FunctionOptions, HostFunctionDispatcher, TypedCaller, VariableOptions};
use std::time::Duration;
use support::system;

/// Needs more than 53 bits.
const LARGE: i64 = -4_611_686_018_427_387_903;
const SIZE: u64 = size_of::<Reading>() as u64;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Reading {
    kind: i8,
    hole: [u8; 7],
    grid: [[f64; 2]; 2],
    count: i64,
    text: [u8; 5],
    end: [u8; 3],
}

fn reading_of(count: i64) -> Reading {
    Reading {
        kind: -7,
        hole: [0; 7],
        grid: [[1.5, -0.0], [f64::NAN, f64::INFINITY]],
        count,
        text: *b"gr\xC3\xB6t",
        end: [0; 3],
    }
}

fn check(it: &Reading, count: i64) {
    let [[one, zero], [nan, infinity]] = it.grid;
    assert!(one == 1.5 && zero == 0.0 && zero.is_sign_negative());
    assert!(nan.is_nan() && infinity == f64::INFINITY);
    assert_eq!((it.kind, it.count), (-7, count));
    assert_eq!(core::str::from_utf8(&it.text), Ok("gröt"));
}

/// `write|read|serve|call NAME`.
pub(crate) fn pair(arguments: &[&str]) {
    let (role, name) = (arguments[0], arguments[1]);
    let options = FunctionOptions::new()
        .max_argument_size(SIZE)
        .max_response_size(SIZE);
    match role {
        "write" | "read" => {
            let options = VariableOptions::new().max_size(SIZE);
            let variable = options.open_typed::<Raw<Reading>>(name);
            let variable = variable.unwrap_or_else(|error| panic!("{error}"));
            if role == "write" {
                let written = variable.write(&reading_of(LARGE));
                written.unwrap_or_else(|error| panic!("{error}"));
            } else {
                let it = variable.read().unwrap_or_else(|error| panic!("{error}"));
                check(&it, LARGE);
            }
        }
        "serve" => {
            let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
            let next = |asked: Reading| {
                check(&asked, LARGE);
                Ok::<_, String>(Some(reading_of(asked.count + 1)))
            };
            dispatcher
                .add_typed::<Raw<Reading>, Raw<Reading>, _, _>(&options, name, next)
                .unwrap_or_else(|error| panic!("{error}"));
            dispatcher.start().unwrap_or_else(|error| panic!("{error}"));
            println!("ready");
            system::wait_for_end_of_input();
        }
        _ => {
            let caller = options.open(name).unwrap_or_else(|error| panic!("{error}"));
            let caller: TypedCaller<Raw<Reading>, Raw<Reading>> = caller.typed();
            let answer = caller.call_within(&reading_of(LARGE), Duration::from_secs(60));
            let answer = answer.unwrap_or_else(|error| panic!("{error}"));
            check(&answer.expect("it returns something"), LARGE + 1);
        }
    }
}
