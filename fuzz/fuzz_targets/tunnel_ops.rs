//! Processes that call and serve a function, each stopped or killed at any step, against
//! a model of what its tunnel promises.
//!
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run tunnel_ops -- -max_total_time=60
#![no_main]

use libfuzzer_sys::fuzz_target;
use robot_ipc_fuzz::tally;
use robot_ipc_fuzz::tunnel_model::{Case, GOALS, run};

fuzz_target!(|case: Case| {
    tally::wanted(GOALS);
    run(&case);
    tally::input_done();
});
