//! A variable with one fixed writer that only loads and stores, as a small processor beside
//! this one has it, and Linux beside it. A process plays that processor's part; and, where
//! `firmware/check` has built one, an emulated Cortex-M4.

use robot_ipc::{HostVariable, Reason};
use robot_ipc_core::codec::Encoding;
use robot_ipc_core::environment::SingleProcess;
use robot_ipc_core::header::{Creator, HeaderError};
use robot_ipc_core::variable::{
    ExclusiveDetails, MappedVariable, PlainVariable, VariableGeometry, initial_bytes,
};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::system::plain_variable;
use support::{Kept, Scratch, eventually, pattern, pattern_of, skipped};

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

    let options = scratch.options().max_size(SIZE as u64);
    let refused = options.remove_if_unused("wheels");
    let refused = refused.expect_err("whether its writer is there is not seen");
    assert_eq!(*refused.reason(), Reason::Header(HeaderError::Plain));

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

/// The program `c/plain.c`, with that compiler; `None`, loudly, if there is none.
fn in_c(compiler: &str, standard: &str) -> Option<support::compiler::Program> {
    let source = support::workspace().join("tests/c/plain.c");
    support::compiler::compile_with(compiler, standard, &source, false)
}

/// A value of the program in C.
fn value_in_c(number: u32) -> Vec<u8> {
    number.to_ne_bytes().repeat(SIZE / 4)
}

/// Against a header for firmware that makes, or writes, other bytes than Rust does.
#[test]
fn what_c_writes_rust_reads() {
    const WRITES: u32 = 200_000;
    for (compiler, standard) in [("cc", "c11"), ("clang", "c11")] {
        let Some(program) = in_c(compiler, standard) else {
            continue;
        };
        let scratch = Scratch::new();
        // Of the same size and rights, and zeros.
        let _ = put(&scratch, "wheels");
        let path = scratch.file("wheels");
        let made_by_rust = std::fs::read(&path).expect("its file");
        std::fs::write(&path, vec![0; made_by_rust.len()]).expect("room");
        let words = ["write", path.to_str().expect("text"), &WRITES.to_string()];
        let mut writer = support::process::Partner::run(&mut program.command(&scratch, &words));
        writer.expect("made");
        let made_by_c = std::fs::read(&path).expect("its file");
        assert!(made_by_c == made_by_rust, "{compiler}: other bytes");
        let reader = reader(&scratch, "wheels");
        writer.say("write");
        let (mut last, mut value) = (0, vec![0; SIZE]);
        while last < WRITES {
            let waited = reader.wait_for_update(last.into(), Some(LONG));
            waited.unwrap_or_else(|error| panic!("after {last}: {error}"));
            let sample = reader.read_into(&mut value).expect("a value");
            let version = u32::try_from(sample.version).expect("not so many");
            assert!(last < version, "it goes back");
            last = version;
            assert!(value == value_in_c(last), "a mixed value: {last}");
            assert_eq!(
                (sample.time_ns, sample.encoding),
                (last.into(), Encoding::RAW)
            );
        }
        writer.finish();
    }
}

/// Against a header for firmware that reads other values than Rust has written, or mixed ones.
#[test]
fn what_rust_writes_c_reads() {
    const WRITES: u32 = 100_000;
    for (compiler, standard) in [("cc", "c11"), ("clang", "c11")] {
        let Some(program) = in_c(compiler, standard) else {
            continue;
        };
        let scratch = Scratch::new();
        let writer = put(&scratch, "wheels");
        let path = scratch.file("wheels");
        let words = ["read", path.to_str().expect("text"), &WRITES.to_string()];
        let mut reader = support::process::Partner::run(&mut program.command(&scratch, &words));
        reader.expect("open");
        let details = ExclusiveDetails {
            encoding: Encoding::RAW,
            has_time: false,
        };
        for number in 1..=WRITES {
            let written = writer.write(&SingleProcess, &value_in_c(number), details);
            written.expect("it is the one writer");
        }
        reader.finish();
    }
}

/// Against a header for firmware that a small processor's compiler refuses, or that calls
/// functions which only a system has.
#[test]
fn the_header_for_firmware_needs_no_system() {
    let source = support::workspace().join("tests/c/plain_firmware.c");
    for target in [
        "thumbv6m-none-eabi",
        "thumbv7em-none-eabihf",
        "riscv32-unknown-elf",
    ] {
        let mut command = support::compiler::strict("clang", "c11");
        command
            .arg(format!("--target={target}"))
            .args(["-ffreestanding", "-Os", "-S", "-o", "-"])
            .arg(&source);
        if target.starts_with("riscv") {
            command.arg("-march=rv32imc");
        }
        let Some(output) = support::compiler::output(&mut command, target) else {
            return;
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{target}: {errors}");
        let assembly = String::from_utf8_lossy(&output.stdout);
        assert!(assembly.contains("publish"), "{target}: {assembly}");
        assert!(!assembly.contains("__atomic"), "{target}: {assembly}");
    }
}

/// The image of the firmware, if `firmware/check` has built one.
const FIRMWARE: &str = "ROBOT_IPC_FIRMWARE";

/// Against a layout, a byte order or a fence that differs between an emulated Cortex-M4 and
/// this processor, which share memory and write one variable each.
#[test]
fn firmware_and_linux_share_memory() {
    const MEMORY: u64 = 16 << 20;
    const SIZE: usize = 40;
    const LAST: u32 = u32::MAX;
    let Some(image) = std::env::var_os(FIRMWARE) else {
        let why = format!("no {FIRMWARE}; tests/firmware/check sets it");
        return skipped("memory that firmware and Linux share", &why);
    };
    let value_of = |number: u32| number.to_ne_bytes().repeat(SIZE / 4);
    let scratch = Scratch::new();
    let path = scratch.file("memory");
    let memory = std::fs::File::create_new(&path).expect("room");
    memory.set_len(MEMORY).expect("room");
    let backend = format!(
        "memory-backend-file,id=mps.ram,size={MEMORY},mem-path={},share=on",
        path.display()
    );
    let semihosting = "enable=on,target=native,arg=firmware,arg=partner";
    let mut command = Command::new("qemu-system-arm");
    // Its clock counts instructions, or a slow machine would do nothing but interrupts.
    command
        .args(["-icount", "shift=4"])
        .args(["-nographic", "-monitor", "none", "-serial", "none"])
        .args(["-object", &backend])
        .args(["-M", "mps2-an386,memory-backend=mps.ram"])
        .args(["-semihosting-config", semihosting, "-kernel"])
        .arg(image)
        .stdin(Stdio::null());
    let mut firmware = Kept::start(&mut command);
    let mut found = None;
    eventually("the firmware is loaded", || {
        let start = std::fs::read(&path).expect("its memory");
        if start.starts_with(b"ROBOTIPC") {
            found = plain_variable(&path, 0);
        }
        found.is_some()
    });
    let wheels = found.expect("it is there");
    let behind = wheels.memory().geometry().file_size() as usize;
    let mut setpoint = None;
    eventually("so is the other variable", || {
        setpoint = plain_variable(&path, behind);
        setpoint.is_some()
    });
    let setpoint = setpoint.expect("it is there");
    let details = ExclusiveDetails {
        encoding: Encoding::RAW,
        has_time: false,
    };
    let send = |number| {
        let sent = setpoint.write(&SingleProcess, &value_of(number), details);
        sent.expect("it is the one writer");
    };
    let (mut last, mut seen) = (0, 0u32);
    let mut number = 0;
    let start = Instant::now();
    while last < 10_000 || seen < 10 {
        assert!(start.elapsed() < LONG, "nothing comes after {last}");
        assert!(
            firmware.0.try_wait().expect("a child").is_none(),
            "it has ended"
        );
        number += 1;
        send(number);
        let mut value = [0; SIZE];
        let Ok(sample) = wheels.read(&mut value) else {
            continue;
        };
        if sample.version == 0 {
            continue; // the loader was at it
        }
        assert!(sample.version >= last, "it goes back");
        seen += u32::from(sample.version > last);
        last = sample.version;
        assert_eq!(value[..], value_of(last as u32), "version {last}");
    }
    send(LAST);
    assert!(firmware.succeeds(), "the firmware says what was wrong");
    println!("{seen} different values seen, {number} setpoints sent");
    assert!(number < LAST);
}
