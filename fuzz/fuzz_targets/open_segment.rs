//! Any bytes at all as the file of a variable: opening it gives an error or a
//! variable, and every operation on that ends. Never a signal, a panic or a hang.
//!
//!     cargo +nightly fuzz run open_segment -- -max_total_time=60
#![no_main]

use libfuzzer_sys::fuzz_target;
use robot_ipc::{Place, VariableOptions};
use std::sync::OnceLock;
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    static PLACE: OnceLock<Place> = OnceLock::new();
    let place = PLACE.get_or_init(robot_ipc::testing::scratch_place);
    let subject = place
        .subject(robot_ipc::Kind::Variable, b"fuzzed")
        .expect("a good name");
    std::fs::write(subject.path(), bytes).expect("room for a small file");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(subject.path(), permissions).expect("it is ours");

    let options = VariableOptions::new()
        .place(place.clone())
        .adopt_size()
        .write_timeout(Duration::ZERO);
    for read_only in [true, false] {
        let Ok(variable) = options.clone().read_only(read_only).open("fuzzed") else {
            continue;
        };
        let _ = variable.sample();
        let _ = variable.version();
        let _ = variable.age();
        let _ = variable.wait_for_update(0, Some(Duration::ZERO));
        let _ = variable.census();
        let _ = variable
            .borrow()
            .map(|borrow| borrow.copy_to(0, &mut [0; 64]));
        let _ = variable
            .loan()
            .and_then(|loan| loan.publish(1, robot_ipc::Encoding::RAW));
        let _ = variable.write(b"after all");
        let _ = variable.update(|old| old.map_or_else(Vec::new, <[u8]>::to_vec));
        let _ = variable.sample();
        let _ = robot_ipc::listing::list(place);
        let _ = variable.remove(Duration::ZERO);
    }
    let _ = std::fs::remove_file(subject.path());
});
