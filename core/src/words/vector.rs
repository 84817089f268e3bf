//! Copies in assembly, for x86-64.
//!
//! Three ways: sixteen bytes at a time, which every processor of the family can;
//! thirty-two at a time where it can that; and for more than [`STRING_LEAST`] its own
//! string copy, which is the fastest there is where the processor says so (*enhanced rep
//! movsb*: all but old ones).
//!
//! To the compiler an assembly block is like a function in another language: it
//! may read and write that memory in whichever pieces it likes, so bytes that race
//! are no undefined behaviour. On x86-64 its loads and stores are also kept in
//! order with those around them, as those of relaxed atomics under the same
//! fences are.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Fewer bytes are not worth it.
pub(super) const LEAST: usize = 64;
/// From so many bytes on wide registers are faster, and are there where it was asked.
const WIDE_LEAST: usize = 256;
/// From so many bytes on the string copy is faster.
const STRING_LEAST: usize = 2048;

/// Copies `size` bytes.
///
/// # Safety
/// - `from` can be read and `to` written for `size` bytes, at least [`LEAST`];
/// - they do not overlap;
/// - who else touches them meanwhile does so atomically, in assembly, or from
///   outside this program.
#[inline(always)]
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, size: usize) {
    if size >= STRING_LEAST && can(FAST_STRINGS) {
        // SAFETY: as the caller promises; the direction flag is clear wherever Rust
        // code runs.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") size => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags),
            );
        }
    } else if size >= WIDE_LEAST && can(WIDE_REGISTERS) {
        // SAFETY: as the caller promises; the registers are there. The first 32 bytes,
        // then blocks of 128 from the next place on that is aligned in `to`, then the last
        // 128 bytes; some of them twice. `size` is at least 256.
        unsafe {
            asm!(
                "vmovdqu ymm0, [{from}]",
                "vmovdqu [{to}], ymm0",
                "mov {step}, {to}",
                "and {step}, 31",
                "sub {step}, 32",
                "sub {from}, {step}",
                "sub {to}, {step}",
                "lea {left}, [{left} + {step} - 128]",
                "2:",
                "vmovdqu ymm0, [{from}]",
                "vmovdqu ymm1, [{from} + 32]",
                "vmovdqu ymm2, [{from} + 64]",
                "vmovdqu ymm3, [{from} + 96]",
                "vmovdqa [{to}], ymm0",
                "vmovdqa [{to} + 32], ymm1",
                "vmovdqa [{to} + 64], ymm2",
                "vmovdqa [{to} + 96], ymm3",
                "sub {from}, -128",
                "sub {to}, -128",
                "sub {left}, 128",
                "ja 2b",
                "vmovdqu ymm0, [{from} + {left}]",
                "vmovdqu ymm1, [{from} + {left} + 32]",
                "vmovdqu ymm2, [{from} + {left} + 64]",
                "vmovdqu ymm3, [{from} + {left} + 96]",
                "vmovdqu [{to} + {left}], ymm0",
                "vmovdqu [{to} + {left} + 32], ymm1",
                "vmovdqu [{to} + {left} + 64], ymm2",
                "vmovdqu [{to} + {left} + 96], ymm3",
                "vzeroupper",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                left = inout(reg) size => _,
                step = out(reg) _,
                out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                options(nostack),
            );
        }
    } else {
        // SAFETY: as the caller promises. Blocks of 64 bytes as long as more than one
        // is left, then the last 64 bytes, some of them a second time.
        unsafe {
            asm!(
                "test {left}, {left}",
                "jz 3f",
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "movups [{to}], {a}",
                "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}",
                "movups [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "sub {left}, 64",
                "ja 2b",
                "3:",
                "movups {a}, [{from} + {left}]",
                "movups {b}, [{from} + {left} + 16]",
                "movups {c}, [{from} + {left} + 32]",
                "movups {d}, [{from} + {left} + 48]",
                "movups [{to} + {left}], {a}",
                "movups [{to} + {left} + 16], {b}",
                "movups [{to} + {left} + 32], {c}",
                "movups [{to} + {left} + 48], {d}",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                left = inout(reg) size - LEAST => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
}

/// What the processor can do: bits, and 0 until somebody asks. Not from `crate::sync`: it
/// is no protocol, only a note that every thread may make.
static ABILITIES: AtomicU32 = AtomicU32::new(0);
const KNOWN: u32 = 1;
/// It says that its string copies are fast.
const FAST_STRINGS: u32 = 2;
/// It has registers of 32 bytes, and the system keeps them.
const WIDE_REGISTERS: u32 = 4;

#[inline(always)]
fn can(ability: u32) -> bool {
    let known = match ABILITIES.load(Relaxed) {
        0 => ask(),
        known => known,
    };
    known & ability != 0
}

#[cold]
#[inline(never)]
fn ask() -> u32 {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    const ENHANCED_STRINGS: u32 = 1 << 9;
    const SAVED_BY_SYSTEM: u32 = 1 << 27;
    const WIDE: u32 = 1 << 28;
    /// Both halves of the registers.
    const BOTH: u32 = 0b110;
    let mut abilities = KNOWN;
    if __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & ENHANCED_STRINGS != 0 {
        abilities |= FAST_STRINGS;
    }
    if __cpuid(1).ecx & (SAVED_BY_SYSTEM | WIDE) == SAVED_BY_SYSTEM | WIDE {
        let saved: u32;
        // SAFETY: the bit says that there is this instruction, which only reads.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _,
                options(nomem, nostack, preserves_flags));
        }
        if saved & BOTH == BOTH {
            abilities |= WIDE_REGISTERS;
        }
    }
    ABILITIES.store(abilities, Relaxed);
    abilities
}
