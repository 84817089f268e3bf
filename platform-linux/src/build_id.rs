//! Telling builds apart.
//!
//! `cargo run` and `cargo test` put a fresh library beside the program, but an
//! older one may lie elsewhere, and Python would load it without a word. So the
//! library carries an id made of its version, its sources and its profile, and
//! whoever needs this very build compares it.

use core::ffi::CStr;

// A test of the workspace checks that no file is missing here. A standard library that
// checks itself makes the hash slow, and it ends all the same; a static is not made again
// by each crate that uses it.
#[allow(long_running_const_eval)]
static SOURCES: u64 = robot_ipc_core::hash_of_sources!(
    "account.rs" "brief.rs" "build_id.rs" "clock.rs" "codec.rs" "error.rs" "error/text.rs" "ffi.rs" "ffi/caller.rs" "ffi/dispatcher.rs" "ffi/drop_in.rs"
    "ffi/drop_in/caller.rs" "ffi/drop_in/dispatcher.rs" "ffi/drop_in/handle.rs" "ffi/drop_in/variable.rs" "ffi/exclusive.rs" "ffi/in_place.rs" "ffi/prepared.rs" "ffi/status.rs" "ffi/variable.rs"
    "fork.rs" "function.rs" "function/at_work.rs" "function/at_work/tests.rs" "function/caller.rs" "function/dispatcher.rs"
    "function/doorbells.rs" "function/incoming.rs" "function/options.rs" "function/outstanding.rs" "function/receiving.rs" "function/rounds.rs"
    "function/sending.rs" "function/serving.rs"
    "function/status.rs" "function/typed.rs" "futex.rs" "guide.rs" "interrupt.rs" "lib.rs" "listing.rs" "lock.rs" "memory.rs" "opening.rs" "pickle.rs" "pickle/arguments.rs" "pickle/codec.rs"
    "pickle/decode.rs" "pickle/error.rs"
    "pickle/graph.rs" "pickle/opcode.rs" "pickle/text.rs" "segment.rs" "segment/layout.rs" "segment/participation.rs" "segment/removal.rs"
    "sharing.rs" "shm.rs" "spinning.rs" "steps.rs" "testing.rs"
    "truncation.rs" "truncation/mapping.rs" "variable.rs" "variable/borrow.rs" "variable/exclusive.rs"
    "variable/options.rs" "variable/typed.rs" "variable/waiting.rs"
) ^ robot_ipc_core::build_id::SOURCES;

const PROFILE: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

static TEXT: [u8; 64] = {
    let mut text = [0; 64];
    let mut end = 0;
    macro_rules! append {
        ($bytes:expr) => {
            let bytes: &[u8] = $bytes;
            let mut index = 0;
            while index < bytes.len() {
                text[end] = bytes[index];
                end += 1;
                index += 1;
            }
        };
    }
    append!(env!("CARGO_PKG_VERSION").as_bytes());
    append!(b"+");
    let mut digit = 0;
    while digit < 16 {
        let value = (SOURCES >> (60 - 4 * digit)) as usize % 16;
        append!(&[b"0123456789abcdef"[value]]);
        digit += 1;
    }
    append!(b".");
    append!(PROFILE.as_bytes());
    text
};

pub(crate) static BUILD_ID_C: &CStr = match CStr::from_bytes_until_nul(&TEXT) {
    Ok(text) => text,
    Err(_) => panic!("the version is too long"),
};

/// The id of this build, such as `0.1.0+0123456789abcdef.release`.
pub static BUILD_ID: &str = match BUILD_ID_C.to_str() {
    Ok(text) => text,
    Err(_) => panic!("the version is not text"),
};
