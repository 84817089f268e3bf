//! A program without std, without an allocator and without libc that keeps a
//! variable in a static, as firmware would. It exits with 0 if what it reads is
//! what it wrote, and with 1 otherwise.
//!
//! Against a dependency on std or on a system library creeping into core: then
//! this does not link any more.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use robot_ipc_core::codec::{Codec, Encoding, Full, Postcard, Raw, Sink};
use robot_ipc_core::environment::SingleProcess;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::variable::{
    Claim, Details, MappedVariable, StaticVariable, Suspects, Variable,
};

/// How many turns so far, positions if they are known, and whether the motors
/// are on.
type Joints = (u32, Option<[i16; 3]>, bool);

static JOINTS: StaticVariable<4, 64> = StaticVariable::new();
static SUSPECTS: Suspects = Suspects::new();

/// Encodes straight into a claimed slot.
struct IntoSlot<'a> {
    variable: Variable<MappedVariable<'static>>,
    claim: &'a Claim,
    length: usize,
}

impl Sink for IntoSlot<'_> {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.variable
            .fill(self.claim, self.length, bytes)
            .map_err(|_| Full)?;
        self.length += bytes.len();
        Ok(())
    }
}

/// Writes `value` as codec `C` makes bytes of it, and reads it back.
fn comes_back<C: Codec>(value: &C::Value, version: u64) -> Option<bool>
where
    C::Value: PartialEq,
{
    let variable = JOINTS.variable();
    let me = Participant::new(0)?;
    let claim = variable.claim(&SingleProcess, me, &SUSPECTS).ok()?;
    let mut sink = IntoSlot {
        variable,
        claim: &claim,
        length: 0,
    };
    C::encode(value, &mut sink).ok()?;
    let details = Details {
        length: u32::try_from(sink.length).ok()?,
        encoding: C::ENCODING,
        replaces: Some(version - 1),
    };
    variable.publish(&SingleProcess, me, claim, &details).ok()?;

    let (bytes, sample) = variable.read_vec::<64>().ok()?;
    C::check_encoding(sample.encoding).ok()?;
    Some(C::decode(&bytes).ok()? == *value && sample.version == version)
}

/// Bytes as they are, through the short way.
fn bytes_come_back(bytes: &[u8], version: u64) -> Option<bool> {
    let variable = JOINTS.variable();
    let me = Participant::new(0)?;
    variable
        .write(&SingleProcess, me, &SUSPECTS, bytes, Encoding::RAW)
        .ok()?;
    let (read, sample) = variable.read_vec::<64>().ok()?;
    Some(read == bytes && sample.version == version && sample.encoding == Encoding::RAW)
}

extern "C" fn run() -> ! {
    let joints: Joints = (40_000, Some([-1, 0, 30_000]), true);
    let agree = [
        comes_back::<Postcard<Joints>>(&joints, 1),
        comes_back::<Raw<[u64; 2]>>(&[u64::MAX, 7], 2),
        bytes_come_back(b"1.5 2.5", 3),
        comes_back::<Postcard<Joints>>(&(1, None, false), 4),
    ];
    exit(i32::from(agree != [Some(true); 4]))
}

// The kernel enters a program with an aligned stack and no return address; a
// function expects to have been called.
global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "call {run}",
    run = sym run,
);

/// Ends the program.
fn exit(code: i32) -> ! {
    const EXIT_GROUP: usize = 231;
    // SAFETY: the system call takes one number, touches no memory of this
    // program and does not return.
    unsafe {
        asm!("syscall", in("rax") EXIT_GROUP, in("rdi") code, options(noreturn, nostack));
    }
}

/// What the compiler itself calls to move bytes, and a C library would give.
/// Written with the string instructions: a loop would be turned into a call of
/// the very function that it is in.
mod memory {
    use core::arch::asm;

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: the caller promises `count` bytes at both, not overlapping;
        // the direction flag is clear on entry to every function.
        unsafe {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _,
                 inout("rsi") from => _, options(nostack, preserves_flags));
        }
        to
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
        // SAFETY: the caller promises `count` bytes; the direction flag is clear.
        unsafe {
            asm!("rep stosb", inout("rcx") count => _, inout("rdi") to => _,
                 in("al") byte as u8, options(nostack, preserves_flags));
        }
        to
    }

    /// Equal or not is all that is asked of `bcmp`.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
        let differ: u8;
        // SAFETY: the caller promises `count` readable bytes at both; the
        // direction flag is clear. `cmp` sets "equal" for a count of zero.
        unsafe {
            asm!("cmp al, al", "repe cmpsb", "setne al", out("al") differ,
                 inout("rcx") count => _, inout("rdi") one => _, inout("rsi") other => _,
                 options(nostack, readonly));
        }
        i32::from(differ)
    }
}

/// Named by the unwind tables of the compiled `core`. Nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(1)
}
