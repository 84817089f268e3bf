//! Processes that share a variable, each stopped or killed at any step, against a model
//! of what the variable promises.
//!
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run variable_ops -- -max_total_time=60
#![no_main]

use libfuzzer_sys::fuzz_target;
use robot_ipc_fuzz::tally;
use robot_ipc_fuzz::variable_model::{Case, GOALS, run};

fuzz_target!(|case: Case| {
    tally::wanted(GOALS);
    run(&case);
    tally::input_done();
});
