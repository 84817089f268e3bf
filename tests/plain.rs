//! A variable with one fixed writer that only loads and stores, as a small processor beside
//! this one has it, and the Linux layer as its reader. The firmware that is that processor
//! stands in `firmware/`; here a process plays its part.

use robot_ipc::{HostVariable, Reason};
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::environment::SingleProcess;
use robot_ipc_core::header::{Creator, HeaderError};
use robot_ipc_core::variable::{
    ExclusiveDetails, MappedVariable, PlainVariable, VariableGeometry, initial_bytes,
};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use support::system::plain_variable;
use support::{Scratch, pattern, pattern_of};

const SIZE: usize = 1000;
const LONG: Duration = Duration::from_secs(30);

/// An empty variable under `name`, as the loader of firmware would put it into memory.
fn put(scratch: &Scratch, name: &str) -> PlainVariable<MappedVariable<'static>> {
    let geometry = VariableGeometry::new(3, SIZE as u32).expect("within the limits");
    let geometry = geometry.plain();
    let initial = initial_bytes(&geometry, &Creator::default());
    let mut bytes = vec![0; geometry.file_size() as usize];
    bytes[..initial.len()].copy_from_slice(&initial);
    let path = scratch.file(name);
    std::fs::write(&path, bytes).expect("room");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("ours");
    plain_variable(&path, 0).expect("it is one")
}

fn write(writer: &PlainVariable<MappedVariable<'_>>, number: u64) {
    let details = ExclusiveDetails {
        encoding: Encoding::RAW,
        has_time: false,
    };
    let written = writer.write(&SingleProcess, &pattern(SIZE, number), details);
    assert_eq!(written.expect("it is the one writer").version, number);
}

fn reader(scratch: &Scratch, name: &str) -> HostVariable {
    let opened = scratch
        .options()
        .max_size(SIZE as u64)
        .read_only(true)
        .open(name);
    opened.unwrap_or_else(|error| panic!("{error}"))
}

/// Against a handle that swaps, or marks, what the writer will overwrite by a store.
#[test]
fn it_is_opened_to_be_read_and_for_nothing_else() {
    let scratch = Scratch::new();
    let writer = put(&scratch, "wheels");
    write(&writer, 1);
    let before = std::fs::read(scratch.file("wheels")).expect("its file");
    let refused = scratch.options().open("wheels").expect_err("it is plain");
    assert_eq!(*refused.reason(), Reason::Header(HeaderError::Plain));
    assert!(refused.to_string().contains("read-only"), "{refused}");

    let reader = reader(&scratch, "wheels");
    assert_eq!(reader.sample().expect("a value").0, pattern(SIZE, 1));
    let refused = [
        reader.write(b"other").map(drop),
        reader.borrow().map(drop),
        reader.loan().map(drop),
        reader.exclusive_writer().map(drop),
        reader.remove(LONG),
    ];
    for refused in refused {
        let refused = refused.expect_err("it is not the writer");
        assert!(
            matches!(refused.reason(), Reason::ReadOnly { .. }),
            "{refused}"
        );
    }
    let wait = reader.wait_for_update(1, Some(Duration::from_millis(5)));
    assert!(matches!(
        wait.expect_err("nothing new").reason(),
        Reason::TimedOut { .. }
    ));
    let now = std::fs::read(scratch.file("wheels")).expect("its file");
    assert!(now == before, "somebody else than the writer changed it");
}

/// Against a value that is mixed, or a wait that misses it, while the writer writes.
#[test]
fn readers_see_whole_values_and_wait_for_them() {
    const WRITES: u64 = 5000;
    let scratch = Scratch::new();
    let writer = put(&scratch, "wheels");
    let reader = reader(&scratch, "wheels");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut last, mut value) = (0, vec![0; SIZE]);
            while last < WRITES {
                let waited = reader.wait_for_update(last, Some(LONG));
                waited.unwrap_or_else(|error| panic!("after {last}: {error}"));
                let sample = reader.read_into(&mut value).expect("a value");
                assert!(last < sample.version, "it goes back");
                last = sample.version;
                assert_eq!(pattern_of(&value), Some(last), "a mixed value");
            }
        });
        for number in 1..=WRITES {
            write(&writer, number);
            std::thread::sleep(Duration::from_micros(number % 8 * 10));
        }
    });
}
