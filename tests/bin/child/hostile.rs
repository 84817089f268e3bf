//! Roles that meet damaged, foreign or full folders and files.

use crate::{number, open_with};
use robot_ipc::function::{FunctionStatus, HostFunctionCaller};
use robot_ipc::{
    Encoding, FunctionOptions, HostFunctionDispatcher, HostVariable, Reason, VariableOptions,
};
use robot_ipc_core::header::{HEADER_SIZE, Header, Kind};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::Random;

/// Opens variables until there is no room, and uses those it got.
pub(crate) fn fill_directory() {
    let mut got = Vec::new();
    let error = loop {
        match VariableOptions::new().open(&format!("v{}", got.len())) {
            Ok(variable) => got.push(variable),
            Err(error) => break error,
        }
        assert!(got.len() < 1000, "the folder is not small");
    };
    assert!(matches!(error.reason(), Reason::NoSpace { .. }), "{error}");
    for variable in &got {
        for _ in 0..2 * variable.slots() {
            variable
                .write(&[7; crate::SIZE])
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let name = format!("v{}", got.len());
    let missing = VariableOptions::new()
        .adopt_size()
        .open(&name)
        .expect_err("nothing was left");
    assert!(matches!(missing.reason(), Reason::NotFound), "{missing}");
    println!("made {}", got.len());
}

fn path(name: &str) -> PathBuf {
    let place = robot_ipc::Place::from_environment().expect("a place");
    place
        .subject(Kind::Variable, name.as_bytes())
        .expect("a good name")
        .path()
        .to_owned()
}

fn small() -> VariableOptions {
    VariableOptions::new()
        .max_size(100)
        .slots(4)
        .write_timeout(Duration::from_millis(2))
}

/// `SEED COUNT any|checked`: opens variables whose header has random faults,
/// with a checksum that is right (`checked`) or not looked after (`any`).
pub(crate) fn open_mutated(arguments: &[&str]) {
    let (seed, count, checked) = (
        number(arguments[0]),
        number(arguments[1]),
        arguments[2] == "checked",
    );
    let good = {
        let variable = open_with(small(), "good");
        variable.write(b"value").expect("a first value");
        std::fs::read(path("good")).expect("its file")
    };
    // A file of its own that is written over: nothing has it mapped.
    let mut random = Random::new(seed);
    let mut opened = 0;
    for round in 0..count {
        let mut bytes = good.clone();
        for _ in 0..=random.below(8) {
            let position = random.below(HEADER_SIZE as u64) as usize;
            bytes[position] = match random.below(3) {
                0 => bytes[position] ^ (1 << random.below(8)),
                1 => 0xFF,
                _ => random.next() as u8,
            };
        }
        let mut header: Header = bytemuck::pod_read_unaligned(&bytes[..HEADER_SIZE]);
        // Two faults can cancel each other in the sum: it is 32 bits, and not for enemies.
        let by_chance = header.checksum == header.expected_checksum();
        if checked {
            header.checksum = header.expected_checksum();
            bytes[..HEADER_SIZE].copy_from_slice(bytemuck::bytes_of(&header));
        }
        if bytes == good {
            continue;
        }
        let _ = std::fs::remove_file(path("bad"));
        write_private(&path("bad"), &bytes);
        for read_only in [true, false] {
            match small().read_only(read_only).open("bad") {
                Ok(variable) if checked || by_chance => {
                    use_all(&variable, &mut random);
                    opened += u32::from(checked);
                }
                Ok(_) => panic!("seed {seed}, round {round}: it was opened"),
                Err(_) => {}
            }
        }
    }
    println!("opened {opened}");
}

fn write_private(path: &std::path::Path, bytes: &[u8]) {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.expect("a new file")
        .write_all_at(bytes, 0)
        .expect("room");
}

/// `SEED MILLISECONDS`: does everything there is to do with a variable while somebody
/// scribbles over it.
pub(crate) fn use_mutated(arguments: &[&str]) {
    let (seed, milliseconds) = (number(arguments[0]), number(arguments[1]));
    let variable = open_with(small(), "mutated");
    variable.write(b"value").expect("a first value");
    println!("{}", variable.subject().path().display());
    let rounds = again_and_again(milliseconds, seed, |random| use_all(&variable, random));
    println!("rounds {rounds}");
}

/// Does `use_it` for so many milliseconds; how often.
fn again_and_again(milliseconds: u64, seed: u64, use_it: impl Fn(&mut Random)) -> u64 {
    let mut random = Random::new(seed);
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < Duration::from_millis(milliseconds) {
        use_it(&mut random);
        rounds += 1;
    }
    rounds
}

/// `SEED MILLISECONDS`: calls and serves a function in every way, while somebody
/// scribbles over it.
pub(crate) fn call_mutated(arguments: &[&str]) {
    let (seed, milliseconds) = (number(arguments[0]), number(arguments[1]));
    let options = FunctionOptions::new()
        .max_argument_size(100)
        .max_response_size(100)
        .cells(4)
        .send_timeout(Duration::from_millis(2));
    let failure = |error: robot_ipc::Error| -> ! { panic!("{error}") };
    let caller = options
        .open("mutated")
        .unwrap_or_else(|error| failure(error));
    let serve = |_: &mut Random| {
        let dispatcher = HostFunctionDispatcher::new(1).expect("within the limits");
        let echo = |arguments: &[u8]| arguments.to_vec();
        if dispatcher.add_with(&options, "mutated", echo).is_ok() {
            let start = Instant::now();
            let _ = dispatcher.run(Some(Duration::from_millis(20)));
            assert!(start.elapsed() < Duration::from_secs(30), "it hangs");
        }
    };
    println!("{}", caller.subject().path().display());
    let rounds = std::thread::scope(|scope| {
        scope.spawn(|| again_and_again(milliseconds, seed, serve));
        again_and_again(milliseconds, seed, |random| {
            call_in_every_way(&options, &caller, random);
        })
    });
    println!("rounds {rounds}");
}

/// Every operation of a caller once; each may fail, in time.
pub(crate) fn call_in_every_way(
    options: &FunctionOptions,
    caller: &HostFunctionCaller,
    random: &mut Random,
) {
    let start = Instant::now();
    let size = random.below(101) as usize;
    let short = Some(Duration::from_millis(2));
    let _ = caller.call_within(&vec![7; size], Duration::from_millis(2));
    if let Ok(call) = caller.call(&[1; 10]) {
        let _ = call.progress();
        let _ = call.wait(short);
        if random.below(2) == 0 {
            call.cancel();
        }
    }
    let _ = caller.next_response(short);
    if let Ok(other) = options.open("mutated") {
        let _ = other.call(&[2; 10]);
        let _ = other.next_response(Some(Duration::ZERO));
    }
    if random.below(20) == 0 {
        caller.withdraw_all();
    }
    let place = robot_ipc::Place::from_environment().expect("a place");
    let _ = FunctionStatus::of(&place, "mutated");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "it took {:?}",
        start.elapsed()
    );
}

/// Every operation once; each may fail, in time.
pub(crate) fn use_all(variable: &HostVariable, random: &mut Random) {
    let start = Instant::now();
    let mut buffer = [0; 100];
    let size = random.below(101) as usize;
    let _ = variable.write(&buffer[..size]);
    let _ = variable.read_into(&mut buffer);
    let _ = variable.write_if(random.below(3), &buffer[..size], Encoding::POSTCARD);
    if let Ok(version) = variable.version() {
        let _ = variable.wait_for_update(version, Some(Duration::from_millis(2)));
    }
    if let Ok(borrow) = variable.borrow() {
        let mut copy = vec![0; borrow.size()];
        borrow.copy_to(0, &mut copy);
        if let Ok(second) = variable.borrow() {
            let _ = second.sample();
        }
    }
    if let Ok(mut loan) = variable.loan() {
        let _ = loan.write_at(size, &[1]);
        if random.below(2) == 0 {
            let _ = loan.publish(size, Encoding::RAW);
        }
    }
    match random.below(4) {
        0 => drop(variable.sample()),
        1 => drop(variable.age()),
        2 => drop(variable.census()),
        _ => drop(robot_ipc::testing::taken_slots(variable)),
    }
    // Reads look for a whole value for a second each.
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "it took {:?}",
        start.elapsed()
    );
}

/// `NAME MODE`: creates a variable with the mode (octal) under a umask that
/// would cut it.
pub(crate) fn open_shared(arguments: &[&str]) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mode = u32::from_str_radix(arguments[1], 8).expect("an octal number");
    let variable = open_with(VariableOptions::new().mode(mode), arguments[0]);
    variable
        .write(b"shared")
        .unwrap_or_else(|error| panic!("{error}"));
    println!("done");
}
