//! Child processes of the tests.
fn main() {}
