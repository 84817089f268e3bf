//! The board: how a program starts on it, what time it is, and how it says how it ended.
//!
//! What is here is what every Cortex-M has, and semihosting, by which a debugger, or the
//! emulator, lends a program its console and its exit status.

#![no_std]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use robot_ipc_core::Environment;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::sync::AtomicU32 as SharedWord;

/// How many times the timer has interrupted. Only its handler writes it.
pub static TICKS: AtomicU32 = AtomicU32::new(0);

/// The firmware as the protocol's surroundings: a clock, nobody to wake and nobody who
/// could die alone.
#[derive(Clone, Copy)]
pub struct Board;

impl Environment for Board {
    type Recovery = ();

    fn now_ns(&self) -> u64 {
        u64::from(TICKS.load(Relaxed)) * 1000
    }

    fn wake_all(&self, _word: &SharedWord) {}

    fn try_take(&self, _participant: Participant) -> Option<()> {
        None
    }
}

const TIMER_CONTROL: *mut u32 = 0xE000_E010 as *mut u32;
const TIMER_RELOAD: *mut u32 = 0xE000_E014 as *mut u32;
const TIMER_VALUE: *mut u32 = 0xE000_E018 as *mut u32;

/// Lets the timer interrupt from now on, first after so many cycles.
pub fn start_timer(cycles: u32) {
    const ON_WITH_INTERRUPTS_BY_THE_PROCESSORS_CLOCK: u32 = 0b111;
    next_tick_after(cycles);
    // SAFETY: the timer's register, which every Cortex-M has there; as the next ones.
    unsafe {
        TIMER_VALUE.write_volatile(0);
        TIMER_CONTROL.write_volatile(ON_WITH_INTERRUPTS_BY_THE_PROCESSORS_CLOCK);
    }
}

/// How many cycles the timer counts the next time.
pub fn next_tick_after(cycles: u32) {
    // SAFETY: as above.
    unsafe { TIMER_RELOAD.write_volatile(cycles) };
}

/// No more interrupts.
pub fn stop_timer() {
    // SAFETY: as above.
    unsafe { TIMER_CONTROL.write_volatile(0) };
}

fn semihosting(operation: u32, argument: u32) {
    // SAFETY: a breakpoint with this number asks whoever debugs; nothing of this program
    // changes but the register with the answer.
    unsafe {
        asm!("bkpt #0xAB", inout("r0") operation => _, in("r1") argument, options(nostack));
    }
}

/// Writes `text` to the console.
pub fn print(text: &str) {
    for byte in text.bytes() {
        semihosting(0x03, (&raw const byte) as u32);
    }
}

/// Writes a number to the console.
pub fn print_number(number: u32) {
    if number > 9 {
        print_number(number / 10);
    }
    let digit = b'0' + (number % 10) as u8;
    semihosting(0x03, (&raw const digit) as u32);
}

/// Whether `word` is the last of those that the program was started with.
pub fn was_started_with(word: &[u8]) -> bool {
    let mut line = [0u8; 64];
    let mut block = [line.as_mut_ptr() as u32, line.len() as u32];
    semihosting(0x15, block.as_mut_ptr() as u32);
    let length = line.iter().position(|byte| *byte == 0);
    length
        .and_then(|length| line.get(..length))
        .is_some_and(|line| line.ends_with(word))
}

/// Ends the program: with success, or by saying what was wrong.
pub fn exit(outcome: Result<(), &str>) -> ! {
    const REPORT: u32 = 0x18;
    const DONE: u32 = 0x2_0026;
    const FAILED: u32 = 0x2_0023;
    if let Err(fault) = outcome {
        print("firmware: ");
        print(fault);
        print("\n");
    }
    semihosting(REPORT, if outcome.is_ok() { DONE } else { FAILED });
    loop {
        core::hint::spin_loop();
    }
}

/// The first instructions of a program: the variables get their first values.
///
/// ```text
/// data_start..data_end     from data_load on
/// bss_start..bss_end       zeros
/// ```
#[macro_export]
macro_rules! start_with {
    ($main:path) => {
        core::arch::global_asm!(
            ".section .text.reset, \"ax\"",
            ".global reset",
            ".thumb_func",
            "reset:",
            "ldr r0, =data_start",
            "ldr r1, =data_end",
            "ldr r2, =data_load",
            "b 3f",
            "2: ldr r3, [r2]",
            "str r3, [r0]",
            "adds r0, #4",
            "adds r2, #4",
            "3: cmp r0, r1",
            "blo 2b",
            "ldr r0, =bss_start",
            "ldr r1, =bss_end",
            "movs r2, #0",
            "b 5f",
            "4: str r2, [r0]",
            "adds r0, #4",
            "5: cmp r0, r1",
            "blo 4b",
            "bl {main}",
            ".pool",
            main = sym $main,
        );
    };
}

/// Where the processor finds its stack and whom to call: the first words of the image.
#[repr(C)]
pub struct Vectors {
    /// The end of the memory that the stack grows down in.
    pub stack: unsafe extern "C" fn(),
    /// Reset, ten faults and reserved words, and so on; the last one is the timer's.
    pub handlers: [unsafe extern "C" fn(); 15],
}

/// What every fault and every unexpected interrupt leads to.
pub unsafe extern "C" fn unexpected() {
    exit(Err("a fault, or an interrupt that nobody asked for"))
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(Err("it has panicked"))
}
