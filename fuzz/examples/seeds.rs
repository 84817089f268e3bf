//! Makes the first inputs of `open_segment` and `codec` in two folders: real segments,
//! in each state that an object can be in.
//!
//!     cargo run --example seeds -- corpus/open_segment corpus/codec
//!
//! What tells one run from another is taken out: who made a segment and when, as if it
//! lay in static memory. Else it would be from before the last boot on every machine but
//! this one.

use robot_ipc::{
    Encoding, FunctionOptions, HostFunctionCaller, HostFunctionDispatcher, Kind, Place,
    VariableOptions,
};
use robot_ipc_core::codec::Postcard;
use robot_ipc_core::header::{HEADER_SIZE, Header};
use robot_ipc_fuzz::hostile_file::{Mode, input_of};
use std::path::PathBuf;
use std::time::Duration;

fn main() {
    let mut folders = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(segments), Some(codec)) = (folders.next(), folders.next()) else {
        panic!("two folders are needed: for open_segment, and for codec");
    };
    for folder in [&segments, &codec] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    let seeds = Seeds {
        place: robot_ipc::testing::scratch_place(),
        segments,
        codec,
    };
    seeds.variables();
    seeds.functions();
}

struct Seeds {
    place: Place,
    segments: PathBuf,
    codec: PathBuf,
}

impl Seeds {
    fn save(&self, kind: Kind, name: &str, modes: &[u8]) {
        let subject = self.place.subject(kind, name.as_bytes());
        let path = subject.expect("a good name").path().to_owned();
        let mut file = std::fs::read(&path).expect("a segment");
        let mut header: Header = bytemuck::pod_read_unaligned(&file[..HEADER_SIZE]);
        header.creator_pid = 0;
        header.creator_uid = 0;
        header.created_ns = [0; 2];
        header.boot_id = [0; 16];
        header.time_namespace = [0; 4];
        header.checksum = header.expected_checksum();
        file[..HEADER_SIZE].copy_from_slice(bytemuck::bytes_of(&header));
        for mode in modes {
            let input = input_of(Mode(*mode), &file);
            let seed = self.segments.join(format!("{kind}-{name}-{mode}"));
            std::fs::write(seed, input).expect("a seed");
        }
        if name == "new" {
            let seed = self.codec.join(format!("header-{kind}"));
            std::fs::write(seed, &file[..HEADER_SIZE]).expect("a seed");
        }
        std::fs::remove_file(path).expect("its name goes");
    }

    fn variables(&self) {
        let options = |slots| {
            let options = VariableOptions::new().place(self.place.clone());
            options.max_size(16).slots(slots)
        };
        options(2).open("new").expect("a variable");
        self.save(Kind::Variable, "new", &[0, 7]);

        let used = options(3).open("used").expect("a variable");
        for number in 0..5u8 {
            used.write(&[number; 9]).expect("written");
        }
        let borrow = used.borrow().expect("borrowed");
        let loan = used.loan();
        self.save(Kind::Variable, "used", &[0, 7, 7 | 16]);
        drop((borrow, loan));

        let typed = options(4).open_typed::<Postcard<(u32, bool)>>("typed");
        typed
            .expect("a variable")
            .write(&(7, true))
            .expect("written");
        self.save(Kind::Variable, "typed", &[7 | 32]);

        let pickled = options(2).open("pickled").expect("a variable");
        let pickle = b"\x80\x04K\x01.";
        let written = pickled.write_encoded(pickle, Encoding::PICKLE);
        written.expect("written");
        self.save(Kind::Variable, "pickled", &[7]);
    }

    fn function(&self, name: &str, response: u64) -> (HostFunctionCaller, HostFunctionDispatcher) {
        let options = FunctionOptions::new().place(self.place.clone());
        let options = options.max_argument_size(16).max_response_size(response);
        let options = options.cells(4);
        let caller = options.open(name).expect("a function");
        let dispatcher = HostFunctionDispatcher::new(1).expect("a dispatcher");
        let added = dispatcher.add_for_next_call(&options, name.as_bytes());
        added.expect("added");
        (caller, dispatcher)
    }

    fn functions(&self) {
        let soon = Some(Duration::from_secs(5));
        let kind = Kind::Function;
        let (caller, dispatcher) = self.function("new", 16);
        self.save(kind, "new", &[0, 7, 7 | 16]);
        drop((caller, dispatcher));

        let (caller, dispatcher) = self.function("queued", 16);
        caller.call(b"a call").expect("called");
        self.save(kind, "queued", &[0, 7, 7 | 32]);
        drop((caller, dispatcher));

        let (caller, dispatcher) = self.function("running", 16);
        caller.call(b"a call").expect("called");
        let running = dispatcher.next_call(soon);
        self.save(kind, "running", &[7]);
        drop((running, caller, dispatcher));

        let (caller, dispatcher) = self.function("done", 16);
        caller.call(b"a call").expect("called");
        let call = dispatcher.next_call(soon).expect("a call");
        call.reply(b"an answer", Encoding::RAW).expect("answered");
        self.save(kind, "done", &[7]);
        drop((caller, dispatcher));

        let (caller, dispatcher) = self.function("one-way", 0);
        caller.call(b"a call").expect("called");
        caller.call(b"another").expect("called");
        self.save(kind, "one-way", &[0, 7, 7 | 16]);
        drop((caller, dispatcher));
    }
}
