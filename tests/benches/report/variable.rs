//! What a variable costs one process that has it for itself: beside a copy of the same
//! bytes, and beside the clock that a write reads.
//!
//! A plain copy of a small value goes to where the one before went, and so it stays in the
//! nearest cache; that is the least a copy can cost. A write goes to another slot each time,
//! by design: from some size on the least is a copy that goes round as many places as there
//! are slots. Both copies lie in memory of the same kind as the variable.

use crate::Context;
use crate::measuring::{Operation, Rows, interleave, interleave_on};
use crate::pace::now;
use crate::peers;
use crate::worker::Worker;
use robot_ipc::variable::ExclusiveWriter;
use robot_ipc::{Encoding, HostVariable, VariableOptions};
use robot_ipc_core::variable::{DEFAULT_SLOTS, VariableGeometry};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;
use support::system::shared_memory;

/// The sizes of values.
pub(crate) const SIZES: [usize; 6] = [64, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 8 << 20];
/// Up to this size the cost of everything but the copy is limited in nanoseconds; above it
/// hardly shows, and the limit is a ratio.
const LARGEST_SMALL: usize = 4 << 10;

const CLOCK: &str = "clock_gettime(BOOTTIME)";

/// A size as people write it.
pub(crate) fn text(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

/// Opens or creates a variable.
pub(crate) fn open(options: &VariableOptions, name: &str) -> HostVariable {
    options.open(name).unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes that start at a cache line, so that all copies have the same conditions.
#[derive(Debug)]
pub(crate) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Aligned {
    pub(crate) fn new(size: usize) -> Aligned {
        let memory = vec![1; size + 64];
        let start = memory.as_ptr().align_offset(64);
        Aligned {
            memory,
            start,
            size,
        }
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.size]
    }
}

/// All that the operations on values of one size need.
struct Alone {
    size: usize,
    variable: HostVariable,
    /// Of other variables: the only writers, that store the time and that do not.
    exclusive: [ExclusiveWriter; 2],
    /// Where a plain copy reads from, as a read does from its slot.
    source: &'static [u8],
    /// Where plain copies go to in turns, as writes do.
    places: &'static mut [u8],
    stride: usize,
    value: Aligned,
    found: [Aligned; 2],
}

impl Alone {
    fn new(context: &Context, size: usize) -> Alone {
        let options = context.scratch.options().max_size(size as u64);
        let geometry = VariableGeometry::new(DEFAULT_SLOTS, size as u32).expect("within limits");
        let stride = geometry.slot_stride() as usize;
        let memory = |size| shared_memory(context.scratch.place().directory(), size);
        let mut alone = Alone {
            size,
            variable: open(&options, &format!("alone-{size}")),
            exclusive: [true, false].map(|has_times| {
                let variable = open(&options, &format!("exclusive-{has_times}-{size}"));
                touch_all_slots(&variable, &vec![1; size]);
                let writer = variable.exclusive_writer();
                let writer = writer.unwrap_or_else(|error| panic!("{error}"));
                writer.timestamps(has_times)
            }),
            source: memory(size),
            places: memory(stride * DEFAULT_SLOTS as usize),
            stride,
            value: Aligned::new(size),
            found: [Aligned::new(size), Aligned::new(size)],
        };
        touch_all_slots(&alone.variable, alone.value.bytes());
        alone
    }

    fn operations(&mut self, length: Duration) -> Vec<Operation<'_>> {
        let Alone {
            size,
            ref variable,
            ref mut exclusive,
            source,
            ref mut places,
            stride,
            ref mut value,
            ref mut found,
        } = *self;
        // Of large values a turn has to have more than one.
        let length = if size < 1 << 20 { length } else { length * 2 };
        let named = |what: &str| format!("{what}, {}", text(size));
        let value: &[u8] = value.bytes();
        let [first, second] = found.each_mut().map(Aligned::bytes);
        let places: &mut [u8] = places;
        let [with_time, without] = exclusive;
        let mut place = 0;
        vec![
            Operation::timed(&named("memcpy"), length, move || {
                black_box(&mut *first).copy_from_slice(black_box(source));
            }),
            Operation::timed(&named("read"), length, || {
                let read = variable.read_into(black_box(&mut *second));
                read.expect("it is there");
            }),
            Operation::timed(&named("memcpy, 14 places"), length, move || {
                let target = &mut places[place..][..size];
                black_box(target).copy_from_slice(black_box(value));
                place = (place + stride) % places.len();
            }),
            Operation::timed(&named("write"), length, || {
                variable.write(black_box(value)).expect("it is there");
            }),
            Operation::timed(&named("exclusive write"), length, move || {
                with_time.write(black_box(value)).expect("it is there");
            }),
            Operation::timed(&named("exclusive write, no time"), length, move || {
                without.write(black_box(value)).expect("it is there");
            }),
            Operation::timed(&named("loan"), length, move || {
                let loan = variable.loan().expect("there is room");
                loan.publish(size, Encoding::RAW).expect("it is there");
            }),
            Operation::timed(&named("borrow"), length, || {
                black_box(variable.borrow().expect("it is there").as_ptr());
            }),
        ]
    }
}

/// Writes to every slot, so that its memory is mapped into this process.
pub(crate) fn touch_all_slots(variable: &HostVariable, value: &[u8]) {
    for _ in 0..2 * variable.slots() {
        let written = variable.write(value);
        written.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// One process, nobody else.
pub(crate) fn alone(context: &mut Context) {
    let sizes = context.scale.pick(&SIZES[..1], &SIZES, &SIZES);
    let length = context.scale.turn();
    let peer = peers::start(context, context.cores[0]);
    let mut all: Vec<Alone> = sizes
        .iter()
        .map(|size| Alone::new(context, *size))
        .collect();
    let mut operations = vec![Operation::timed(CLOCK, length, || {
        black_box(clock_gettime(ClockId::Boottime));
    })];
    for alone in &mut all {
        let size = alone.size;
        operations.extend(alone.operations(length));
        operations.extend(peer.as_ref().map(|peer| iceoryx2(peer, size, length)));
    }
    let mut rows = interleave_on(context.cores[0], context.scale.rounds(), operations);
    for size in sizes {
        compare(&mut rows, *size);
    }
    context.report(rows);
}

/// What iceoryx2's blackboard takes for the same: it has one writer, and stores no time.
fn iceoryx2(peer: &Worker, size: usize, length: Duration) -> Operation<'_> {
    let names = ["write", "write into a loan", "loan", "read"];
    let names = names.map(|what| format!("iceoryx2 {what}, {}", text(size)));
    Operation::several(&names, "ns", move || {
        peer.ask(&format!("alone {size} {}", length.as_nanos()))
    })
}

fn compare(rows: &mut Rows, size: usize) {
    let named = |what: &str| format!("{what}, {}", text(size));
    let memcpy = rows.median(&named("memcpy"));
    let places = rows.median(&named("memcpy, 14 places"));
    let clock = rows.median(CLOCK);
    let is_small = size <= LARGEST_SMALL;
    let read = rows.row(&named("read")).beside("memcpy", memcpy);
    if is_small {
        read.at_most(memcpy + 10.0, "≤ memcpy + 10 ns");
    } else {
        read.at_most(1.1 * memcpy, "≤ 1.1 × memcpy");
    }
    for (what, of, least, margin) in [
        ("write", "memcpy + clock", memcpy + clock, Some(15.0)),
        ("exclusive write", "memcpy + clock", memcpy + clock, None),
        ("exclusive write, no time", "memcpy", memcpy, Some(6.0)),
    ] {
        let row = rows.row(&named(what));
        if is_small {
            row.beside(of, least);
        } else {
            row.beside("memcpy, 14 places", places);
        }
        match margin {
            Some(margin) if is_small => {
                row.at_most(least + margin, &format!("≤ {of} + {margin} ns"));
            }
            Some(_) => {
                row.at_most(1.1 * places, "≤ 1.1 × memcpy, 14 places");
            }
            None => {}
        }
    }
    for what in ["loan", "borrow"] {
        rows.row(&named(what))
            .at_most(40.0, "≤ 40 ns, whatever the size");
    }
}

/// Opening and creating: what a program does before its loop.
pub(crate) fn opening(context: &mut Context) {
    let options = context.scratch.options();
    let (turns, count) = context.scale.pick((1, 2), (5, 20), (15, 50));
    for name in ["existing", "open already"] {
        open(&options, name).write(b"here").expect("there is room");
    }
    let already = open(&options, "open already");
    let mut made = 0;
    let each = |start: u64| (now() - start) as f64 / 1000.0 / f64::from(count);
    let again = |name: &'static str, writes: bool| {
        let options = &options;
        move || {
            let start = now();
            for _ in 0..count {
                let variable = open(options, name);
                if writes {
                    variable.write(b"here").expect("there is room");
                }
            }
            each(start)
        }
    };
    let rows = interleave(
        turns,
        vec![
            Operation::new("open, close", "µs", again("existing", false)),
            Operation::new("open, first write, close", "µs", again("existing", true)),
            Operation::new(
                "open, close, open elsewhere in the process",
                "µs",
                again("open already", false),
            ),
            Operation::new("create", "µs", || {
                let names: Vec<String> =
                    (0..count).map(|index| format!("{made}-{index}")).collect();
                made += 1;
                let start = now();
                let variables: Vec<HostVariable> =
                    names.iter().map(|name| open(&options, name)).collect();
                let took = each(start);
                for variable in variables {
                    let removed = variable.remove(Duration::from_secs(1));
                    removed.unwrap_or_else(|error| panic!("{error}"));
                }
                took
            }),
        ],
    );
    drop(already);
    context.report(rows);
}
