//! As little as a controller needs: a loop that writes a variable.
//!
//! ```sh
//! cargo run --example writer -- 1000
//! ```
//!
//! writes the variable `counter` so many times, once in a millisecond. For a small program
//! take nothing else along, and the profile that is made for it:
//!
//! ```sh
//! cargo build -p robot-ipc --no-default-features --profile embedded --example writer
//! ```

use robot_ipc::VariableOptions;
use std::time::Duration;

fn main() -> robot_ipc::Result<()> {
    let count = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let counter = VariableOptions::new().max_size(8).open("counter")?;
    for number in 1..=count.unwrap_or(1000u64) {
        counter.write(&number.to_ne_bytes())?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
