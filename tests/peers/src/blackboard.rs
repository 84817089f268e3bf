//! The latest value of a key: iceoryx2's blackboard, alone and across processors.

use crate::place::{Failure, Kind, Place, each, now};
use iceoryx2::port::reader::EntryHandle;
use iceoryx2::port::writer::EntryHandleMut;
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

/// The only key of each blackboard here.
const KEY: u64 = 0;

/// A value of so many words.
type Value<const WORDS: usize> = [u64; WORDS];
type Reader<const WORDS: usize> = EntryHandle<Kind, u64, Value<WORDS>>;
type Writer<const WORDS: usize> = EntryHandleMut<Kind, u64, Value<WORDS>>;

/// Whatever is measured in one process.
pub(crate) trait Alone {
    fn write(&mut self, milliseconds: u64) -> f64;
    fn write_loaned(&mut self, milliseconds: u64) -> f64;
    fn loan(&mut self, milliseconds: u64) -> f64;
    fn read(&mut self, milliseconds: u64) -> f64;
}

/// The reader's side of two.
pub(crate) trait Reading {
    /// Nanoseconds of a read.
    fn flat_out(&mut self, milliseconds: u64) -> f64;
    /// How old each new value was when it had been read.
    fn ages(&mut self, milliseconds: u64) -> Vec<u64>;
}

/// The writer's side of two.
pub(crate) trait Writing {
    /// Nanoseconds of a write; if there is a pause of so many between two, even of none, the
    /// time is written with each.
    fn writes(&mut self, milliseconds: u64, pause: Option<u64>) -> f64;
}

/// The size that a type knows and the one that was asked for are the same.
macro_rules! of_size {
    ($size:expr, $words:ident => $make:expr) => {
        match $size {
            64 => {
                const $words: usize = 8;
                $make
            }
            1024 => {
                const $words: usize = 128;
                $make
            }
            4096 => {
                const $words: usize = 512;
                $make
            }
            65536 => {
                const $words: usize = 8192;
                $make
            }
            1048576 => {
                const $words: usize = 131_072;
                $make
            }
            size => Err(format!("no values of {size} bytes are built in").into()),
        }
    };
}

pub(crate) fn alone(place: &Place, size: u64) -> Result<Box<dyn Alone>, Failure> {
    of_size!(size, WORDS => Ok(Box::new(Both::<WORDS>::new(place)?)))
}

pub(crate) fn reading(place: &Place, size: u64) -> Result<Box<dyn Reading>, Failure> {
    of_size!(size, WORDS => Ok(Box::new(reader::<WORDS>(place, "shared")?)))
}

pub(crate) fn writing(place: &Place, size: u64) -> Result<Box<dyn Writing>, Failure> {
    of_size!(size, WORDS => Ok(Box::new(writer::<WORDS>(place, "shared")?)))
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

/// How many operations on a value go between two looks at the clock.
fn batch<const WORDS: usize>() -> u64 {
    (16384 / WORDS as u64).clamp(1, 256)
}

struct Both<const WORDS: usize> {
    // None only within a loan, which takes it away for that time.
    writer: Option<Writer<WORDS>>,
    reader: Reader<WORDS>,
    value: Box<Value<WORDS>>,
}

impl<const WORDS: usize> Both<WORDS> {
    fn new(place: &Place) -> Result<Both<WORDS>, Failure> {
        let reader = reader(place, "alone")?;
        let value: Box<Value<WORDS>> = vec![7; WORDS].try_into().expect("so many words");
        let writer = Some(writer(place, "alone")?);
        let mut both = Both {
            writer,
            reader,
            value,
        };
        // Both places of the value have been written then: loans are published as they are.
        both.write(0);
        both.write(0);
        Ok(both)
    }

    /// Loans of a value, which `fill` has filled or left as it was.
    #[allow(unsafe_code)]
    fn loans(&mut self, milliseconds: u64, fill: impl Fn(&mut Value<WORDS>, &Value<WORDS>)) -> f64 {
        each(milliseconds, batch::<WORDS>(), || {
            let writer = self.writer.take().expect("given back by the last loan");
            let mut loan = writer.loan_uninit();
            // SAFETY: `new` has written the value at least twice, so both of its places hold
            // whole values of integers.
            let place = unsafe { loan.value_mut().assume_init_mut() };
            fill(black_box(place), black_box(&self.value));
            // SAFETY: as above.
            self.writer = Some(unsafe { loan.assume_init_and_update() });
        })
    }
}

impl<const WORDS: usize> Alone for Both<WORDS> {
    fn write(&mut self, milliseconds: u64) -> f64 {
        let writer = self.writer.as_ref().expect("there is no loan");
        each(milliseconds, batch::<WORDS>(), || {
            writer.update_with_copy(*black_box(&*self.value));
        })
    }

    fn write_loaned(&mut self, milliseconds: u64) -> f64 {
        self.loans(milliseconds, |place, value| place.copy_from_slice(value))
    }

    fn loan(&mut self, milliseconds: u64) -> f64 {
        self.loans(milliseconds, |_, _| ())
    }

    fn read(&mut self, milliseconds: u64) -> f64 {
        each(milliseconds, batch::<WORDS>(), || {
            black_box(&*self.reader.get());
        })
    }
}

impl<const WORDS: usize> Reading for Reader<WORDS> {
    fn flat_out(&mut self, milliseconds: u64) -> f64 {
        each(milliseconds, batch::<WORDS>(), || {
            black_box(&*self.get());
        })
    }

    fn ages(&mut self, milliseconds: u64) -> Vec<u64> {
        let mut ages = Vec::with_capacity(1 << 20);
        let end = Instant::now() + Duration::from_millis(milliseconds);
        let mut last = self.get();
        while Instant::now() < end {
            for _ in 0..64 {
                if self.is_up_to_date(&last) {
                    spin_loop();
                    continue;
                }
                let before = last[0];
                last = self.get();
                // The same value may look new twice.
                if black_box(&*last)[0] != before {
                    ages.push(now().saturating_sub(last[0]));
                }
            }
        }
        ages
    }
}

impl<const WORDS: usize> Writing for Writer<WORDS> {
    fn writes(&mut self, milliseconds: u64, pause: Option<u64>) -> f64 {
        let mut value: Box<Value<WORDS>> = vec![7; WORDS].try_into().expect("so many words");
        let Some(pause) = pause else {
            return each(milliseconds, batch::<WORDS>(), || {
                self.update_with_copy(*black_box(&*value));
            });
        };
        each(milliseconds, 1, || {
            value[0] = now();
            self.update_with_copy(*black_box(&*value));
            while now() < value[0] + pause {
                spin_loop();
            }
        })
    }
}
