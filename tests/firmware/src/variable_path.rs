//! Nothing but the reading and the writing of a variable with many writers, to be weighed.

#![no_std]
#![no_main]

use firmware::Board;
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::participant::Participant;
use robot_ipc_core::variable::{MappedVariable, Sample, Suspects, Variable};

/// So that the linker keeps the two.
#[used]
#[unsafe(link_section = ".vectors")]
static ENTRIES: (
    fn(&Variable<MappedVariable<'_>>, &Suspects, &[u8]) -> bool,
    fn(&Variable<MappedVariable<'_>>, &mut [u8], &mut Sample) -> bool,
) = (write, read);

#[unsafe(no_mangle)]
fn write(variable: &Variable<MappedVariable<'_>>, suspects: &Suspects, bytes: &[u8]) -> bool {
    let Some(me) = Participant::new(0) else {
        return false;
    };
    let written = variable.write(&Board, me, suspects, bytes, Encoding::RAW);
    written.is_ok()
}

#[unsafe(no_mangle)]
fn read(variable: &Variable<MappedVariable<'_>>, bytes: &mut [u8], sample: &mut Sample) -> bool {
    match variable.read(bytes) {
        Ok(read) => {
            *sample = read;
            true
        }
        Err(_) => false,
    }
}
