//! Firmware that publishes from an interrupt and reads in its main program.
//!
//! `WHEELS` has one fixed writer, the timer's handler, and lies in a section of its own, at
//! an address that another processor would know. `ARM`, where the processor can
//! compare-and-swap, has two writers: the handler and the main program, which it interrupts
//! anywhere. The main program checks that all it reads is whole and never goes back, and
//! that no version of `ARM` was given twice or left out.
//!
//! `SETPOINT` has its one writer elsewhere: another processor that shares the memory, if the
//! program was started with the word `partner`. It then waits for the first setpoint, and
//! goes on until the last one.
//!
//! The timer is set anew at each interrupt, to another time, so that in the end it has
//! interrupted every instruction of a read. It ends with an exit status by semihosting.

#![no_std]
#![no_main]

use core::sync::atomic::Ordering::Relaxed;
use firmware::{Board, TICKS, Vectors, exit, next_tick_after, print, print_number};
use firmware::{start_timer, stop_timer, unexpected, was_started_with};
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::variable::{ExclusiveDetails, PlainStaticVariable, ReadError};

/// Bytes of a value.
const SIZE: usize = 40;
/// After so many interrupts it is done.
const ENOUGH: u32 = 20_000;

/// The setpoint that says that there will be no other one.
const LAST: u32 = u32::MAX;

#[unsafe(link_section = ".shared.1")]
static WHEELS: PlainStaticVariable<2, SIZE> = PlainStaticVariable::new();
#[unsafe(link_section = ".shared.2")]
static SETPOINT: PlainStaticVariable<2, SIZE> = PlainStaticVariable::new();

unsafe extern "C" {
    fn reset();
    /// An address of the linker's, and no function.
    fn stack_top();
}

#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: Vectors = Vectors {
    stack: stack_top,
    handlers: {
        let mut handlers = [unexpected as unsafe extern "C" fn(); 15];
        handlers[0] = reset;
        handlers[14] = timer;
        handlers
    },
};

/// A value that shows whether it is whole: one number, again and again.
fn value_of(number: u32) -> [u8; SIZE] {
    let number = number.to_ne_bytes();
    core::array::from_fn(|index| number[index % 4])
}

/// The number, if the value is whole.
fn number_of(value: &[u8; SIZE]) -> Option<u32> {
    let number = u32::from_ne_bytes(*value.first_chunk()?);
    (*value == value_of(number)).then_some(number)
}

/// What the timer interrupts with: in no order, so that it comes at every instruction.
extern "C" fn timer() {
    let tick = TICKS.load(Relaxed) + 1;
    TICKS.store(tick, Relaxed);
    let details = ExclusiveDetails {
        encoding: Encoding::RAW,
        has_time: true,
    };
    if WHEELS
        .variable()
        .write(&Board, &value_of(tick), details)
        .is_err()
    {
        exit(Err("the handler could not publish"));
    }
    #[cfg(target_has_atomic = "32")]
    arm::write(arm::HANDLER, tick);
    next_tick_after(CYCLES[tick as usize % CYCLES.len()]);
}

/// Cycles between interrupts: two of them short, so that a read is overtaken.
const CYCLES: [u32; 7] = [211, 487, 97, 103, 613, 331, 1009];

#[cfg(target_has_atomic = "32")]
mod arm {
    //! A variable with two writers.

    use super::*;
    use robot_ipc_core::participant::Participant;
    use robot_ipc_core::variable::{StaticVariable, Suspects};

    static ARM: StaticVariable<4, SIZE> = StaticVariable::new();
    static SUSPECTS: [Suspects; 2] = [const { Suspects::new() }; 2];
    pub(super) const HANDLER: u32 = 0;
    pub(super) const MAIN: u32 = 1;

    pub(super) fn write(who: u32, number: u32) {
        let Some((me, suspects)) = Participant::new(who).zip(SUSPECTS.get(who as usize)) else {
            exit(Err("no such writer"));
        };
        let value = value_of(number);
        let written = ARM
            .variable()
            .write(&Board, me, suspects, &value, Encoding::RAW);
        if written.is_err() {
            exit(Err("a writer found no slot"));
        }
    }

    /// Fails if the value is not whole, or older than `last`; its version.
    pub(super) fn read(last: u64) -> Result<u64, &'static str> {
        let mut value = [0; SIZE];
        let Ok(sample) = ARM.variable().read(&mut value) else {
            return Err("the arm could not be read");
        };
        if number_of(&value).is_none() {
            return Err("a value of the arm is mixed");
        }
        if sample.version < last {
            return Err("the arm goes back");
        }
        Ok(sample.version)
    }
}

/// The setpoints that have come so far.
#[derive(Default)]
struct Setpoints {
    version: u64,
    number: u32,
    count: u32,
}

impl Setpoints {
    /// Looks for another one; it must be whole, and not older.
    fn look(&mut self) -> Result<(), &'static str> {
        let mut value = [0; SIZE];
        let sample = match SETPOINT.variable().read(&mut value) {
            Ok(sample) => sample,
            Err(ReadError::NeverWritten) => return Ok(()),
            // The other processor is much faster than this one: next time.
            Err(ReadError::Contended) => return Ok(()),
            Err(_) => return Err("a setpoint could not be read"),
        };
        let Some(number) = number_of(&value) else {
            return Err("a setpoint is mixed");
        };
        if sample.version < self.version || number < self.number {
            return Err("the setpoints go back");
        }
        self.count += u32::from(sample.version > self.version);
        (self.version, self.number) = (sample.version, number);
        Ok(())
    }
}

/// Reads until the timer has interrupted often enough.
fn run() -> Result<(), &'static str> {
    let wheels = WHEELS.variable();
    if wheels.sample() != Err(ReadError::NeverWritten) {
        return Err("there is a value before the first one");
    }
    let mut setpoints = Setpoints::default();
    let has_partner = was_started_with(b"partner");
    while has_partner && setpoints.count == 0 {
        setpoints.look()?;
    }
    let (mut reads, mut interrupted, mut overtaken) = (0u32, 0u32, 0u32);
    let mut last = 0;
    #[cfg(target_has_atomic = "32")]
    let (mut arm_last, mut arm_writes) = (0, 0u32);
    start_timer(CYCLES[0]);
    while TICKS.load(Relaxed) < ENOUGH || (has_partner && setpoints.number != LAST) {
        let before = TICKS.load(Relaxed);
        let mut value = [0; SIZE];
        let read = wheels.read(&mut value);
        let between = TICKS.load(Relaxed) - before;
        interrupted += u32::from(between > 0);
        overtaken += u32::from(between > 1);
        match read {
            Ok(sample) => {
                reads += 1;
                let Some(number) = number_of(&value) else {
                    return Err("a value of the wheels is mixed");
                };
                if sample.version != u64::from(number) {
                    return Err("a version of the wheels is that of another value");
                }
                if sample.version < last {
                    return Err("the wheels go back");
                }
                last = sample.version;
            }
            Err(ReadError::NeverWritten) if before == 0 => {}
            Err(_) => return Err("the wheels could not be read"),
        }
        setpoints.look()?;
        #[cfg(target_has_atomic = "32")]
        {
            arm_writes += 1;
            arm::write(arm::MAIN, reads);
            arm_last = arm::read(arm_last)?;
        }
    }
    stop_timer();
    let ticks = TICKS.load(Relaxed);
    if wheels.version() != Ok(u64::from(ticks)) {
        return Err("a value of the wheels is missing");
    }
    #[cfg(target_has_atomic = "32")]
    if arm::read(arm_last)? != u64::from(ticks) + u64::from(arm_writes) {
        return Err("a version of the arm was given twice, or left out");
    }
    for (number, what) in [
        (ticks, " published, "),
        (reads, " reads, "),
        (interrupted, " interrupted, "),
        (overtaken, " overtaken, "),
        (setpoints.count, " setpoints\n"),
    ] {
        print_number(number);
        print(what);
    }
    if overtaken == 0 {
        return Err("no read was overtaken, so this shows nothing");
    }
    Ok(())
}

extern "C" fn main() -> ! {
    #[cfg(target_abi = "eabihf")]
    // SAFETY: the register that gives access to the registers for numbers with a fraction,
    // which the compiler may use for anything.
    unsafe {
        const ACCESS: *mut u32 = 0xE000_ED88 as *mut u32;
        ACCESS.write_volatile(ACCESS.read_volatile() | 0xF << 20);
        core::arch::asm!("dsb", "isb", options(nostack, preserves_flags));
    }
    exit(run())
}

firmware::start_with!(main);
