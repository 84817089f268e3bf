//! Any bytes at all as the file of a segment, and somebody who uses it.
//!
//! Whatever the bytes are, opening gives an error or a handle, and everything that one
//! can do with the handle ends, with a value or an error. Never a signal, a panic or a
//! hang. And what this process itself writes and calls is right even then: nobody else
//! changes the memory meanwhile.
//!
//! An input is a byte, the [`Mode`], and the bytes of the file. Random bytes never have
//! a right checksum, so some modes repair the header: first what every header needs,
//! then the sizes. Other modes choose what is done with the file.

use crate::tally::{reached, reached_if};
use core::mem::offset_of;
use robot_ipc::function::{FunctionStatus, remove_function_if_unused};
use robot_ipc::{
    DispatcherOptions, Encoding, FunctionOptions, HostFunctionCaller, HostFunctionDispatcher,
    HostVariable, IncomingCall, Kind, Place, Reason, VariableOptions,
};
use robot_ipc_core::codec::{Postcard, Raw};
use robot_ipc_core::header::{BYTE_ORDER, Creator, FORMAT_VERSION, HEADER_SIZE, Header, MAGIC};
use robot_ipc_core::tunnel::TunnelGeometry;
use robot_ipc_core::variable::VariableGeometry;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::Duration;

/// What this target wants to reach.
pub const GOALS: &[&str] = &[
    "refused",
    "variable opened",
    "read",
    "read after a write",
    "written",
    "borrowed",
    "lent",
    "updated",
    "function opened",
    "called",
    "foreign call served",
    "own call answered",
    "raised",
    "too large",
    "function replaced",
    "removed",
];

/// What the first byte of an input says.
#[derive(Clone, Copy, Debug)]
pub struct Mode(pub u8);

impl Mode {
    /// The header gets its magic, its version and its checksum.
    pub const REPAIRS_SUM: u8 = 1;
    /// The header gets the sizes that follow from its first ones, and the file that size.
    pub const REPAIRS_SIZES: u8 = 2;
    /// The table of participants, 2 KB that matter little, is left out of the input.
    pub const LEAVES_OUT_TABLE: u8 = 4;
    /// The file gets the name of the other kind.
    const OTHER_KIND: u8 = 8;
    /// Variable: opened to read only. Function: opened with other sizes, to replace it.
    const OTHER_ACCESS: u8 = 16;
    /// Variable: typed values. Function: calls may not be old.
    const OTHER_USE: u8 = 32;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

const TABLE_SIZE: usize = 2048;
/// Larger files are not made: they would only take time.
const MAX_FILE_SIZE: u64 = 1 << 16;
/// What the object is called.
const NAME: &str = "fuzzed";

/// The input that stands for `file` in a mode without changes.
#[must_use]
pub fn input_of(mode: Mode, file: &[u8]) -> Vec<u8> {
    let mut input = vec![mode.0];
    if mode.has(Mode::LEAVES_OUT_TABLE) {
        input.extend(&file[..HEADER_SIZE]);
        input.extend(&file[HEADER_SIZE + TABLE_SIZE..]);
    } else {
        input.extend(file);
    }
    input
}

/// The file that an input stands for.
#[must_use]
pub fn file_of(mode: Mode, bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    if mode.has(Mode::LEAVES_OUT_TABLE) && file.len() > HEADER_SIZE {
        let table = [0; TABLE_SIZE];
        file.splice(HEADER_SIZE..HEADER_SIZE, table);
    }
    let repairs = mode.has(Mode::REPAIRS_SUM) || mode.has(Mode::REPAIRS_SIZES);
    if repairs && file.len() >= HEADER_SIZE {
        let mut header: Header = bytemuck::pod_read_unaligned(&file[..HEADER_SIZE]);
        if mode.has(Mode::REPAIRS_SIZES)
            && let Some(size) = repair_sizes(&mut header)
        {
            file.resize(size, 0);
        }
        if mode.has(Mode::REPAIRS_SUM) {
            header.magic = MAGIC;
            header.format_version = FORMAT_VERSION;
            header.byte_order = BYTE_ORDER;
            header.checksum = header.expected_checksum();
        }
        file[..HEADER_SIZE].copy_from_slice(bytemuck::bytes_of(&header));
    }
    file
}

/// Makes the sizes in a header agree; that of the file.
fn repair_sizes(header: &mut Header) -> Option<usize> {
    let [first, second, third, ..] = header.geometry;
    let creator = Creator::default();
    let (size, model) = match Kind::from_word(header.kind)? {
        Kind::Variable => {
            let geometry = VariableGeometry::new(first, second)?;
            (geometry.file_size(), geometry.header(&creator))
        }
        Kind::Function => {
            let geometry = TunnelGeometry::new(first, second, third)?;
            (geometry.file_size(), geometry.header(&creator))
        }
    };
    if size > MAX_FILE_SIZE {
        return None;
    }
    header.geometry = model.geometry;
    header.file_size = model.file_size;
    usize::try_from(size).ok()
}

/// Makes a file of an input, and uses it.
pub fn run(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else {
        return;
    };
    let mode = Mode(*mode);
    let file = file_of(mode, bytes);
    let kind_at = offset_of!(Header, kind);
    let is_function = file.get(kind_at) == Some(&(Kind::Function as u8));
    let kind = if is_function != mode.has(Mode::OTHER_KIND) {
        Kind::Function
    } else {
        Kind::Variable
    };
    let place = place();
    let subject = place.subject(kind, NAME.as_bytes());
    let path = subject.expect("a good name").path().to_owned();
    let _ = std::fs::remove_file(&path);
    let mut options = std::fs::OpenOptions::new();
    let new = options.write(true).create_new(true).mode(0o600).open(&path);
    let written = new.and_then(|mut new| new.write_all(&file));
    written.expect("room for a small file");
    match kind {
        Kind::Variable => use_variable(mode, place),
        Kind::Function => use_function(mode, place),
    }
    let _ = std::fs::remove_file(&path);
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = robot_ipc::testing::scratch_place();
        match std::env::var_os(robot_ipc::shm::DIRECTORY_VARIABLE) {
            Some(directory) => place.with_directory(directory.as_ref()),
            None => Ok(place),
        }
        .expect("an absolute path")
    })
}

// ------------------------------------------------------------------- variable

fn use_variable(mode: Mode, place: &Place) {
    let options = VariableOptions::new()
        .place(place.clone())
        .adopt_size()
        .write_timeout(Duration::ZERO)
        .read_only(mode.has(Mode::OTHER_ACCESS));
    let listed = robot_ipc::listing::list(place).expect("the folder can be read");
    let variable = match options.open(NAME) {
        Ok(variable) => variable,
        Err(error) => {
            reached("refused");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    reached("variable opened");
    assert!(listed.iter().all(|entry| entry.error.is_none()));
    look_at(&variable);
    if mode.has(Mode::OTHER_USE) {
        use_typed(&options);
    }
    write_to(&variable);
    drop(variable);
    let is_removed = options.remove_if_unused(NAME).unwrap_or_default();
    if is_removed {
        reached("removed");
    }
}

fn look_at(variable: &HostVariable) {
    if let Some((value, sample)) = reached_if("read", variable.sample()) {
        assert_eq!(value.len(), sample.length as usize);
        assert!(value.len() <= variable.max_size() as usize);
        let _ = variable.age_of(&sample);
        let _ = variable.check_age(&sample, Duration::from_secs(1));
        let _ = robot_ipc::pickle::text(&value);
    }
    let version = variable.version().unwrap_or_default();
    let _ = variable.wait_for_update(version, Some(Duration::ZERO));
    let _ = variable.wait_for_update(!version, Some(Duration::ZERO));
    let _ = variable.age();
    let _ = variable.census();
}

fn write_to(variable: &HostVariable) {
    let borrow = reached_if("borrowed", variable.borrow());
    let mut before = vec![0; borrow.as_ref().map_or(0, robot_ipc::Borrow::size)];
    if let Some(borrow) = &borrow {
        borrow.copy_to(0, &mut before);
        borrow.copy_to(1, &mut [0; 64]);
    }
    if let Ok(mut loan) = variable.loan() {
        let _ = loan.write_at(0, b"l");
        let _ = loan.write_at(loan.capacity(), b"past the end");
        reached_if("lent", loan.publish(1, Encoding::RAW));
    }
    let _ = variable.write(&vec![1; variable.max_size() as usize + 1]);
    for value in [&b"a"[..], b"after all"] {
        let written = variable.write_encoded(value, Encoding(77));
        if let Some(written) = reached_if("written", written) {
            let (read, sample) = variable.sample().expect("nobody else is here");
            assert_eq!((&read[..], sample), (value, written));
            reached("read after a write");
            let again = variable.write_if(written.version, b"2", Encoding::RAW);
            let stale = variable.write_if(written.version, b"3", Encoding::RAW);
            if again.is_ok()
                && let Err(error) = stale
            {
                let is_told = matches!(
                    error.reason(),
                    Reason::Changed { .. } | Reason::NoFreeSlot { .. }
                );
                assert!(is_told, "{error}");
            }
        }
    }
    reached_if(
        "updated",
        variable.update(|old| old.map_or_else(Vec::new, <[u8]>::to_vec)),
    );
    if let Some(borrow) = borrow {
        let mut after = vec![0; before.len()];
        borrow.copy_to(0, &mut after);
        assert_eq!(before, after, "a borrowed value has changed");
    }
}

fn use_typed(options: &VariableOptions) {
    if let Ok(typed) = options.open_typed::<Postcard<(u32, bool)>>(NAME) {
        let _ = typed.sample();
        let _ = typed.update(|old| old.map_or((1, true), |(count, is)| (count ^ 1, !is)));
        if typed.write(&(300, true)).is_ok() {
            assert_eq!(typed.read().expect("just written"), (300, true));
        }
    }
    if let Ok(typed) = options.open_typed::<Raw<[u16; 3]>>(NAME) {
        let _ = typed.read();
        let _ = typed.write(&[1, 2, 3]);
        let _ = typed.wait(0, Some(Duration::ZERO));
    }
}

// ------------------------------------------------------------------- function

fn use_function(mode: Mode, place: &Place) {
    let mut options = FunctionOptions::new()
        .place(place.clone())
        .send_timeout(Duration::ZERO)
        .spin(Duration::ZERO);
    options = if mode.has(Mode::OTHER_ACCESS) {
        options.max_argument_size(9).max_response_size(9)
    } else {
        options.adopt_sizes()
    };
    if mode.has(Mode::OTHER_USE) {
        options = options.max_age(Duration::from_secs(1));
    }
    let _ = FunctionStatus::of(place, NAME);
    let caller = match options.open(NAME) {
        Ok(caller) => caller,
        Err(error) => {
            reached("refused");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    reached(if mode.has(Mode::OTHER_ACCESS) {
        "function replaced"
    } else {
        "function opened"
    });
    let dispatcher = DispatcherOptions::new()
        .max_functions(1)
        .spin(Duration::ZERO)
        .build();
    let dispatcher = dispatcher.expect("good options");
    if dispatcher
        .add_for_next_call(&options, NAME.as_bytes())
        .is_ok()
    {
        serve_all(&caller, &dispatcher);
        for kind in 0..5 {
            call(&caller, &dispatcher, kind);
        }
    }
    let _ = caller.call_within(b"nobody answers", Duration::ZERO);
    let _ = caller.next_response(Some(Duration::ZERO));
    caller.withdraw_all();
    let _ = FunctionStatus::of(place, NAME);
    drop(dispatcher);
    if mode.has(Mode::OTHER_USE) {
        reached_if("removed", caller.remove(Duration::ZERO));
        assert!(caller.call(b"").is_err());
    } else {
        drop(caller);
        let _ = remove_function_if_unused(place, NAME.as_bytes());
    }
}

/// Serves what the file says was called.
fn serve_all(caller: &HostFunctionCaller, dispatcher: &HostFunctionDispatcher) {
    for number in 0..caller.cells() {
        let Ok(call) = dispatcher.next_call(Some(Duration::ZERO)) else {
            return;
        };
        check_arguments(caller, &call);
        reached("foreign call served");
        let arguments = call.arguments().to_vec();
        let text = String::from_utf8_lossy(&arguments).into_owned();
        let _ = match number % 5 {
            0 => call.reply(&arguments, Encoding::RAW),
            1 => call.reply_nothing(),
            2 => call.reply_error(&text),
            3 => call.reply_error_encoded(&arguments, Encoding::PICKLE),
            _ => call.reply_value::<Postcard<(u32, bool)>>(&(7, true)),
        };
    }
}

fn check_arguments(caller: &HostFunctionCaller, call: &IncomingCall) {
    assert!(call.arguments().len() <= caller.sizes().max_argument_size as usize);
    let _ = (call.encoding(), call.time_ns(), call.is_unwanted());
}

/// Makes a call, serves until it is served, and fetches what it came to.
fn call(caller: &HostFunctionCaller, dispatcher: &HostFunctionDispatcher, kind: u32) {
    let argument = [kind as u8 ^ 0x5A];
    let Some(pending) = reached_if("called", caller.call_encoded(&argument, Encoding(78))) else {
        return;
    };
    let _ = pending.progress();
    let mut is_answered = false;
    for _ in 0..=caller.cells() {
        let Ok(call) = dispatcher.next_call(Some(Duration::ZERO)) else {
            break;
        };
        check_arguments(caller, &call);
        if call.arguments() != argument || call.encoding() != Encoding(78) {
            let _ = call.reply_nothing();
            continue;
        }
        let too_large = vec![0; caller.sizes().max_response_size as usize + 1];
        is_answered = match kind {
            0 | 1 => call.reply(&argument, Encoding::RAW).is_ok(),
            2 => call.reply_error("\0no text").is_ok(),
            3 => call.reply(&too_large, Encoding::RAW).is_ok(),
            _ => {
                drop(call);
                true
            }
        };
        break;
    }
    if caller.is_one_way() {
        return;
    }
    let ended = pending.wait(Some(Duration::ZERO));
    match (kind, ended) {
        (0 | 1, ended) if is_answered => {
            let response = ended.expect("it was answered").expect("with a value");
            assert_eq!(response.bytes, argument, "somebody else's answer");
            reached("own call answered");
        }
        (2, Err(error)) if is_answered => {
            assert!(matches!(error.reason(), Reason::Raised { .. }), "{error}");
            reached("raised");
        }
        (3, Err(error)) if matches!(error.reason(), Reason::ResponseTooLarge { .. }) => {
            reached("too large");
        }
        (_, Err(error)) => assert!(!error.to_string().is_empty()),
        (_, Ok(_)) => assert!(!is_answered, "it came to something else"),
    }
}
