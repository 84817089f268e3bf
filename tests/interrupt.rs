//! SIGINT in the middle of a write.

use support::Scratch;
use support::process::Partner;

const CHILD: &str = env!("CARGO_BIN_EXE_child");

/// Against Ctrl-C inside the critical section of a debug build, and against one
/// that gets lost there.
#[test]
fn an_interrupt_waits_for_the_end_of_a_write_in_debug_builds() {
    let scratch = Scratch::new();
    let mut child = Partner::start(&scratch, CHILD, &["interrupt-in-write"]);
    // How often it was delivered at once, at the end of the section, after it.
    child.expect(if cfg!(debug_assertions) {
        "0 0 1"
    } else {
        "1 1 1"
    });
    child.finish();
}
