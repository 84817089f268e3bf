//! Any bytes at all as the file of a variable or a function: opening it gives an error
//! or a handle, and every operation on that ends. Never a signal, a panic or a hang.
//!
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run open_segment -- -max_total_time=60 -detect_leaks=0
//!
//! Looking for leaks takes longer than the rest: the table of mapped segments keeps a
//! little for each, and so makes the fuzzer look.
#![no_main]

use libfuzzer_sys::fuzz_target;
use robot_ipc_fuzz::hostile_file::{GOALS, run};
use robot_ipc_fuzz::tally;

fuzz_target!(|input: &[u8]| {
    tally::wanted(GOALS);
    run(input);
    tally::input_done();
});
