//! Nothing but the reading and the writing of a variable with one fixed writer, to be
//! weighed.

#![no_std]
#![no_main]

use firmware::Board;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::variable::{ExclusiveDetails, MappedVariable, PlainVariable, Sample};

/// So that the linker keeps the two.
#[used]
#[unsafe(link_section = ".vectors")]
static ENTRIES: (
    fn(&PlainVariable<MappedVariable<'_>>, &[u8]) -> bool,
    fn(&PlainVariable<MappedVariable<'_>>, &mut [u8], &mut Sample) -> bool,
) = (write, read);

#[unsafe(no_mangle)]
fn write(variable: &PlainVariable<MappedVariable<'_>>, bytes: &[u8]) -> bool {
    let details = ExclusiveDetails {
        encoding: Encoding::RAW,
        has_time: true,
    };
    variable.write(&Board, bytes, details).is_ok()
}

#[unsafe(no_mangle)]
fn read(
    variable: &PlainVariable<MappedVariable<'_>>,
    bytes: &mut [u8],
    sample: &mut Sample,
) -> bool {
    match variable.read(bytes) {
        Ok(read) => {
            *sample = read;
            true
        }
        Err(_) => false,
    }
}
