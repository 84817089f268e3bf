//! Copies in assembly, for x86-64.
//!
//! Two ways: sixteen bytes at a time, and for more than [`STRING_LEAST`] the
//! processor's own string copy, which is the fastest there is where the processor
//! says so (*enhanced rep movsb*: all but old ones). Neither needs a feature that
//! some processor of the family lacks.
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
    if size >= STRING_LEAST && has_fast_strings() {
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

/// Not from `crate::sync`: it is no protocol, only a note that every thread may make.
static STRINGS: AtomicU32 = AtomicU32::new(UNKNOWN);
const UNKNOWN: u32 = 0;
const SLOW: u32 = 1;
const FAST: u32 = 2;

/// Whether the processor says that its string copies are fast.
#[inline(always)]
fn has_fast_strings() -> bool {
    match STRINGS.load(Relaxed) {
        UNKNOWN => ask(),
        known => known == FAST,
    }
}

#[cold]
fn ask() -> bool {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    const ENHANCED_STRINGS: u32 = 1 << 9;
    let is_fast = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & ENHANCED_STRINGS != 0;
    STRINGS.store(if is_fast { FAST } else { SLOW }, Relaxed);
    is_fast
}
