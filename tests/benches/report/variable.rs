//! What a variable costs: beside a copy of the same bytes, and beside the clock that a
//! write reads.

use crate::Context;
use crate::measuring::{Operation, interleave};
use robot_ipc::{Encoding, HostVariable};
use std::hint::black_box;

/// The sizes of values.
const SIZES: [usize; 6] = [64, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 8 << 20];

/// One process, nobody else.
pub(crate) fn alone(context: &mut Context) {
    let sizes = context.scale.pick(&SIZES[..1], &SIZES, &SIZES);
    for size in sizes {
        alone_with(context, *size);
    }
}

fn alone_with(context: &mut Context, size: usize) {
    let options = context.scratch.options().max_size(size as u64);
    let open = |name: &str| -> HostVariable {
        options.open(name).unwrap_or_else(|error| panic!("{error}"))
    };
    let variable = open(&format!("alone-{size}"));
    let value = vec![7u8; size];
    let (mut copy, mut read) = (vec![0u8; size], vec![0u8; size]);
    let length = context.scale.turn();
    let named = |what: &str| format!("{what}, {size} B");
    let mut rows = interleave(
        context.scale.rounds(),
        vec![
            Operation::timed(&named("memcpy"), length, || {
                black_box(&mut copy[..]).copy_from_slice(black_box(&value));
            }),
            Operation::timed(&named("write"), length, || {
                variable.write(black_box(&value)).expect("it is there");
            }),
            Operation::timed(&named("read"), length, || {
                variable
                    .read_into(black_box(&mut read))
                    .expect("it is there");
            }),
            Operation::timed(&named("loan"), length, || {
                let loan = variable.loan().expect("there is room");
                loan.publish(size, Encoding::RAW).expect("it is there");
            }),
            Operation::timed(&named("borrow"), length, || {
                black_box(variable.borrow().expect("it is there").as_ptr());
            }),
        ],
    );
    let memcpy = rows.median(&named("memcpy"));
    for what in ["write", "read"] {
        rows.row(&named(what)).beside("memcpy", memcpy);
    }
    context.report(rows);
}
