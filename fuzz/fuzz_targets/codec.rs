//! Any bytes to everything that reads bytes of somebody else: codecs, pickles, names,
//! headers, and what is typed at the command.
//!
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run codec -- -max_total_time=60
#![no_main]

use libfuzzer_sys::fuzz_target;
use robot_ipc_fuzz::decoders::{GOALS, run};
use robot_ipc_fuzz::tally;

fuzz_target!(|bytes: &[u8]| {
    tally::wanted(GOALS);
    run(bytes);
    tally::input_done();
});
