//! The latest value of a key: iceoryx2's blackboard, alone and across processors.
//!
//! As in the report's own processes, a value carries a number at its start, in its middle and
//! at its end, and a reader that finds different ones has been given a torn value.

use crate::pace::{now, repeat, spin_until};
use crate::place::{Failure, Kind, Place};
use iceoryx2::port::reader::EntryHandle;
use iceoryx2::port::writer::EntryHandleMut;
use std::hint::black_box;

/// The only key of each blackboard here.
const KEY: u64 = 0;

/// A value of so many words.
type Value<const WORDS: usize> = [u64; WORDS];
type Reader<const WORDS: usize> = EntryHandle<Kind, u64, Value<WORDS>>;
type Writer<const WORDS: usize> = EntryHandleMut<Kind, u64, Value<WORDS>>;

/// Whatever is measured in one process.
pub(crate) trait Alone {
    /// Nanoseconds of a write that copies, a write into a loan, a loan as it is, and a read,
    /// each measured for so many.
    fn each(&mut self, duration: u64) -> [f64; 4];
}

/// The reader's side of two.
pub(crate) trait Reading {
    /// Nanoseconds of a read.
    fn reads(&mut self, start: u64, end: u64) -> Result<f64, Failure>;
    /// How old each new value was when it had been read.
    fn ages(&mut self, start: u64, end: u64) -> Vec<u64>;
}

/// The writer's side of two.
pub(crate) trait Writing {
    /// Nanoseconds of a write that copies.
    fn writes(&mut self, start: u64, end: u64) -> f64;
    /// Nanoseconds of a write into a loan.
    fn fills(&mut self, start: u64, end: u64) -> f64;
    /// Writes what time it is, with so many nanoseconds in between; how often.
    fn publishes(&mut self, start: u64, end: u64, gap: u64) -> f64;
}

/// iceoryx2 knows the size of a value by its type.
macro_rules! of_size {
    ($size:expr, $words:ident => $make:expr) => {
        match $size {
            64 => of_size!(8, $words, $make),
            1024 => of_size!(128, $words, $make),
            4096 => of_size!(512, $words, $make),
            65_536 => of_size!(8192, $words, $make),
            1_048_576 => of_size!(131_072, $words, $make),
            8_388_608 => of_size!(1_048_576, $words, $make),
            size => Err(format!("no values of {size} bytes are built in").into()),
        }
    };
    ($count:expr, $words:ident, $make:expr) => {{
        const $words: usize = $count;
        $make
    }};
}

pub(crate) fn alone(place: &Place, size: u64) -> Result<Box<dyn Alone>, Failure> {
    of_size!(size, WORDS => {
        // Whoever creates it has to come first.
        let reader = reader::<WORDS>(place, "alone")?;
        let writes = Writes::open(place, "alone")?;
        Ok(Box::new(Both { reader, writes }))
    })
}

pub(crate) fn reading(place: &Place, size: u64) -> Result<Box<dyn Reading>, Failure> {
    of_size!(size, WORDS => Ok(Box::new(reader::<WORDS>(place, "shared")?)))
}

pub(crate) fn writing(place: &Place, size: u64) -> Result<Box<dyn Writing>, Failure> {
    of_size!(size, WORDS => Ok(Box::new(Writes::<WORDS>::open(place, "shared")?)))
}

/// Creates the blackboard: whoever creates it has to come first.
fn reader<const WORDS: usize>(place: &Place, name: &str) -> Result<Reader<WORDS>, Failure> {
    let service = place.service(&format!("{name}-{WORDS}"))?;
    let service = service.blackboard_creator::<u64>();
    let service = service.add::<Value<WORDS>>(KEY, [0; WORDS]).create()?;
    Ok(service.reader_builder().create()?.entry(&KEY)?)
}

fn writer<const WORDS: usize>(place: &Place, name: &str) -> Result<Writer<WORDS>, Failure> {
    let service = place.service(&format!("{name}-{WORDS}"))?;
    let service = service.blackboard_opener::<u64>().open()?;
    Ok(service.writer_builder().create()?.entry(&KEY)?)
}

fn value<const WORDS: usize>() -> Box<Value<WORDS>> {
    vec![1; WORDS].try_into().expect("so many words")
}

fn mark<const WORDS: usize>(value: &mut Value<WORDS>, number: u64) {
    for place in [0, WORDS / 2, WORDS - 1] {
        value[place] = number;
    }
}

/// The number that a value carries; `None` if it is torn.
fn marked<const WORDS: usize>(value: &Value<WORDS>) -> Option<u64> {
    let [first, middle, last] = [value[0], value[WORDS / 2], value[WORDS - 1]];
    (first == middle && first == last).then_some(first)
}

/// Who writes.
struct Writes<const WORDS: usize> {
    // None only within a loan, which takes it away for that time.
    handle: Option<Writer<WORDS>>,
    value: Box<Value<WORDS>>,
}

impl<const WORDS: usize> Writes<WORDS> {
    fn open(place: &Place, name: &str) -> Result<Self, Failure> {
        let (handle, value) = (writer(place, name)?, value());
        // Both places of the value are written: `loan` needs that.
        handle.update_with_copy(*value);
        handle.update_with_copy(*value);
        let handle = Some(handle);
        Ok(Writes { handle, value })
    }

    /// Writes a value, which is copied.
    fn write(&self) {
        let handle = self.handle.as_ref().expect("there is no loan");
        handle.update_with_copy(*black_box(&*self.value));
    }

    /// Loans a value, which `fill` fills or leaves as it was.
    #[allow(unsafe_code)]
    fn loan(&mut self, fill: impl Fn(&mut Value<WORDS>, &Value<WORDS>)) {
        let handle = self.handle.take().expect("given back by the last loan");
        let mut loan = handle.loan_uninit();
        // SAFETY: `open` has written the value twice, so both of its places hold whole values
        // of integers.
        let place = unsafe { loan.value_mut().assume_init_mut() };
        fill(black_box(place), black_box(&self.value));
        // SAFETY: as above.
        self.handle = Some(unsafe { loan.assume_init_and_update() });
    }

    /// Writes a value into a loan: of large ones that is one copy less.
    fn fill(&mut self) {
        self.loan(|place, value| place.copy_from_slice(value));
    }

    /// Nanoseconds of writing, by either way, a value that carries another number each time.
    fn numbered(&mut self, start: u64, end: u64, write: impl Fn(&mut Self)) -> f64 {
        let mut number = 0;
        repeat(8 * WORDS, start, end, || {
            number += 1;
            mark(&mut self.value, number);
            write(self);
        })
    }
}

struct Both<const WORDS: usize> {
    reader: Reader<WORDS>,
    writes: Writes<WORDS>,
}

impl<const WORDS: usize> Alone for Both<WORDS> {
    fn each(&mut self, duration: u64) -> [f64; 4] {
        let mut each = |once: &dyn Fn(&mut Self)| {
            let start = now();
            repeat(8 * WORDS, start, start + duration, || once(self))
        };
        [
            each(&|both| both.writes.write()),
            each(&|both| both.writes.fill()),
            each(&|both| both.writes.loan(|_, _| ())),
            each(&|both| {
                black_box(&*both.reader.get());
            }),
        ]
    }
}

impl<const WORDS: usize> Reading for Reader<WORDS> {
    fn reads(&mut self, start: u64, end: u64) -> Result<f64, Failure> {
        let mut torn = false;
        let each = repeat(8 * WORDS, start, end, || {
            torn |= marked(black_box(&*self.get())).is_none();
        });
        match torn {
            false => Ok(each),
            true => Err("a torn value".into()),
        }
    }

    fn ages(&mut self, start: u64, end: u64) -> Vec<u64> {
        spin_until(start);
        let mut ages = Vec::with_capacity(1 << 16);
        let mut last = self.get();
        while now() < end {
            // What it offers for this: a counter is all that is looked at meanwhile.
            if self.is_up_to_date(&last) {
                continue;
            }
            let before = last[0];
            last = self.get();
            let time = now();
            // The same value can look new twice.
            if black_box(&*last)[0] != before {
                ages.push(time.saturating_sub(last[0]));
            }
        }
        ages
    }
}

impl<const WORDS: usize> Writing for Writes<WORDS> {
    fn writes(&mut self, start: u64, end: u64) -> f64 {
        self.numbered(start, end, |writes| writes.write())
    }

    fn fills(&mut self, start: u64, end: u64) -> f64 {
        self.numbered(start, end, Writes::fill)
    }

    fn publishes(&mut self, start: u64, end: u64, gap: u64) -> f64 {
        let (mut next, mut count) = (start, 0.0);
        while next < end {
            spin_until(next);
            mark(&mut self.value, now());
            self.fill();
            count += 1.0;
            next = now() + gap;
        }
        count
    }
}
