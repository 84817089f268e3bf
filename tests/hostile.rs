//! Files and folders that are damaged, foreign, full or something else.

use robot_ipc::{Reason, VariableOptions};
use robot_ipc_core::header::HeaderError;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use support::process::Partner;
use support::segment_file::SegmentFile;
use support::{Scratch, child_words, open, seed, skipped};

const CHILD: &str = env!("CARGO_BIN_EXE_child");

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Why `name` cannot be opened, by a handle that writes and by one that reads.
fn refusal(scratch: &Scratch, name: &str) -> Reason {
    let writing = scratch
        .options()
        .open(name)
        .map(drop)
        .expect_err("it was opened to write");
    let reading = scratch.options().read_only(true).open(name);
    let reading = reading.map(drop).expect_err("it was opened to read");
    assert_eq!(writing.reason(), reading.reason());
    writing.reason().clone()
}

/// Against a fatal signal at the first write, because the memory is not there.
#[test]
fn a_full_file_system_is_an_error() {
    let may = is_root()
        && Command::new("unshare")
            .args(["-m", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success());
    if !may {
        return skipped("a full /dev/shm", "only root can mount a small one");
    }
    let folder = support::folder::Folder::new();
    for (size, expected) in [("16k", "made 0"), ("64k", "made 1"), ("160k", "made 2")] {
        let scratch = Scratch::in_directory(folder.path());
        let mount = format!(
            "mount -t tmpfs -o size={size} robot-ipc-test {} && exec {} fill-directory",
            folder.path().display(),
            child_words(CHILD).join(" ")
        );
        let mut command = Command::new("unshare");
        let mut child = Partner::run(scratch.enter(command.args(["-m", "sh", "-c", &mount])));
        child.expect(expected);
        child.finish();
    }
}

/// Against waiting for, following or mapping what is no file.
#[test]
fn what_is_not_a_file_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("odd");
    let refused = |what: &'static str| {
        assert_eq!(refusal(&scratch, "odd"), Reason::NotAFile { what });
        assert!(std::fs::symlink_metadata(&path).is_ok(), "it was removed");
    };

    std::fs::create_dir(&path).expect("a directory");
    let both = ["writing", "reading"].map(|access| {
        let options = scratch.options().read_only(access == "reading");
        options
            .open("odd")
            .map(drop)
            .expect_err("a directory")
            .reason()
            .clone()
    });
    assert_eq!(
        both,
        [const {
            Reason::NotAFile {
                what: "a directory",
            }
        }; 2]
    );
    std::fs::remove_dir(&path).expect("ours");

    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    refused("a FIFO");
    std::fs::remove_file(&path).expect("ours");

    let socket = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    refused("a device or socket");
    drop(socket);
    std::fs::remove_file(&path).expect("ours");

    if is_root() {
        let null = rustix::fs::makedev(1, 3);
        let made = mknodat(
            CWD,
            &path,
            FileType::CharacterDevice,
            Mode::RUSR | Mode::WUSR,
            null,
        );
        if made.is_ok() {
            let reason = refusal(&scratch, "odd");
            assert!(
                matches!(
                    reason,
                    Reason::NotAFile { .. } | Reason::PermissionDenied { .. }
                ),
                "{reason:?}"
            );
            std::fs::remove_file(&path).expect("ours");
        }
    } else {
        skipped("a device under the name", "only root can make one");
    }

    let real = open(&scratch, "real");
    real.write(b"value").expect("a value");
    symlink(scratch.file("real"), &path).expect("a link");
    refused("a symbolic link");
    std::fs::remove_file(&path).expect("ours");

    symlink(scratch.file("nowhere"), &path).expect("a link");
    refused("a symbolic link");
    assert!(!scratch.file("nowhere").exists(), "created through a link");
    std::fs::remove_file(&path).expect("ours");

    // Another name of the same file is the same variable.
    std::fs::hard_link(scratch.file("real"), &path).expect("a link");
    let twin = open(&scratch, "odd");
    assert_eq!(twin.sample().expect("a value").0, b"value");
    twin.write(b"other").expect("it is the same");
    assert_eq!(real.sample().expect("a value").0, b"other");
}

/// Against reading past the end of a file, and against blaming the wrong thing.
#[test]
fn a_file_that_is_no_segment_of_ours_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("bad");
    let good = {
        let variable = open(&scratch, "good");
        variable.write(b"value").expect("a value");
        std::fs::read(scratch.file("good")).expect("its file")
    };
    let put = |bytes: &[u8]| {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, bytes).expect("room");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("ours");
    };
    for size in [0, 1, 8, 255] {
        put(&good[..size]);
        let expected = HeaderError::TooShort { size: size as u64 };
        assert_eq!(refusal(&scratch, "bad"), Reason::Header(expected));
    }
    for size in [256, 2304, good.len() - 1] {
        put(&good[..size]);
        let expected = HeaderError::WrongFileSize {
            told: good.len() as u64,
            found: size as u64,
        };
        assert_eq!(refusal(&scratch, "bad"), Reason::Header(expected));
    }
    let longer = [&good[..], &[0]].concat();
    put(&longer);
    let expected = HeaderError::WrongFileSize {
        told: good.len() as u64,
        found: longer.len() as u64,
    };
    assert_eq!(refusal(&scratch, "bad"), Reason::Header(expected));

    put(&vec![0; good.len()]);
    assert_eq!(
        refusal(&scratch, "bad"),
        Reason::Header(HeaderError::NotASegment)
    );

    let changed = |change: &dyn Fn(&mut robot_ipc_core::header::Header)| {
        put(&good);
        SegmentFile::open(&scratch, "bad", 4096).change_header(change);
        refusal(&scratch, "bad")
    };
    assert_eq!(
        changed(&|header| header.magic[7] ^= 1),
        Reason::Header(HeaderError::NotASegment)
    );
    assert_eq!(
        changed(&|header| header.format_version += 1),
        Reason::Header(HeaderError::OtherFormat {
            theirs: robot_ipc_core::header::FORMAT_VERSION + 1
        })
    );
    assert_eq!(
        changed(&|header| header.byte_order = header.byte_order.swap_bytes()),
        Reason::Header(HeaderError::ForeignByteOrder)
    );
    assert_eq!(
        changed(&|header| header.kind = 2),
        Reason::Header(HeaderError::OtherKind { found: 2 })
    );
    assert_eq!(
        changed(&|header| header.kind = 77),
        Reason::Header(HeaderError::OtherKind { found: 77 })
    );
    assert_eq!(
        changed(&|header| header.flags = 2),
        Reason::Header(HeaderError::UnknownFlags { flags: 2 })
    );
    // Numbers that fit the file, but not each other.
    for word in 0..8 {
        for wrong in [0, 1, 63, u32::MAX] {
            let reason =
                changed(&|header| header.geometry[word] = wrong ^ header.geometry[word] | 1 << 20);
            assert_eq!(
                reason,
                Reason::Header(HeaderError::BadGeometry),
                "word {word}"
            );
        }
    }
    // Nothing was taken away, and what is good works.
    put(&good);
    assert_eq!(open(&scratch, "bad").sample().expect("a value").0, b"value");
}

/// Against any byte of the header that is trusted, or not looked at.
#[test]
fn a_thousand_damaged_headers_are_a_thousand_errors() {
    let seed = seed("headers").to_string();
    let scratch = Scratch::new();
    let mut child = Partner::start(&scratch, CHILD, &["open-mutated", &seed, "1000", "any"]);
    child.expect("opened 0");
    child.finish();
}

/// Against a fatal signal, a panic or a hang when somebody means harm, and gets
/// the checksum right.
#[test]
fn forged_headers_do_no_harm() {
    let seed = seed("forged headers").to_string();
    let scratch = Scratch::new();
    let mut child = Partner::start(&scratch, CHILD, &["open-mutated", &seed, "500", "checked"]);
    let opened = child.number("opened");
    println!("{opened} of 1000 could be opened");
    child.finish();
}

/// Against trusting any word of a segment in use, while another process stores
/// whatever it likes into it.
#[test]
fn who_scribbles_over_a_segment_in_use_does_no_harm() {
    let seed = seed("live words");
    let children: Vec<_> = (0..8)
        .map(|number| {
            let scratch = Scratch::new();
            let seed = (seed ^ number << 8).to_string();
            let (role, kind) = if number < 5 {
                ("use-mutated", "variable")
            } else {
                ("call-mutated", "function")
            };
            let mut child = Partner::start(&scratch, CHILD, &[role, &seed, "4000"]);
            let path = child.hear();
            let scribbling = ["scribble", kind, &path, &seed];
            let mut scribbler = Partner::start(&scratch, CHILD, &scribbling);
            scribbler.expect("scribbling");
            (child, scribbler, scratch)
        })
        .collect();
    for (mut child, _scribbler, _scratch) in children {
        assert!(child.number("rounds") > 0);
        child.finish();
    }
}

/// Against an open that trusts what it checked under another name.
#[test]
fn a_file_that_changes_its_size_after_opening_is_noticed_by_the_next() {
    let scratch = Scratch::new();
    let variable: robot_ipc::HostVariable = VariableOptions::new()
        .place(scratch.place().clone())
        .max_size(64)
        .open("grown")
        .expect("new");
    variable.write(b"value").expect("a value");
    let file = OpenOptions::new()
        .write(true)
        .open(scratch.file("grown"))
        .expect("ours");
    let size = file.metadata().expect("ours").len();
    file.set_len(size + 4096).expect("room");
    // Those who have it keep what they have mapped.
    assert_eq!(variable.sample().expect("a value").0, b"value");
    variable.write(b"other").expect("still whole");
    let expected = HeaderError::WrongFileSize {
        told: size,
        found: size + 4096,
    };
    assert_eq!(refusal(&scratch, "grown"), Reason::Header(expected));
    file.set_len(size).expect("ours");
    let read_only = scratch
        .options()
        .max_size(64)
        .read_only(true)
        .open("grown")
        .expect("whole again");
    assert_eq!(read_only.sample().expect("a value").0, b"other");
}

/// Against a variable that only processes with larger addresses can map, and that is told to
/// be damaged, or mapped in part.
#[test]
fn what_cannot_be_addressed_is_refused_as_too_large() {
    let scratch = Scratch::new();
    drop(open(&scratch, "large"));
    // Half of all addresses of 32 bits; a file full of holes, which takes no memory.
    let (slots, max_size) = (4, 1 << 29);
    let size = 2624 + u64::from(slots) * (64 + u64::from(max_size));
    SegmentFile::open(&scratch, "large", 4096).change_header(|header| {
        header.geometry[..3].copy_from_slice(&[slots, max_size, 64 + max_size]);
        header.file_size = robot_ipc_core::header::halves(size);
    });
    let file = OpenOptions::new().write(true).open(scratch.file("large"));
    file.and_then(|file| file.set_len(size)).expect("a file");
    if cfg!(target_pointer_width = "32") {
        let expected = HeaderError::TooLarge { size };
        assert_eq!(refusal(&scratch, "large"), Reason::Header(expected));
    } else {
        let opened = VariableOptions::new().place(scratch.place().clone());
        let opened = opened.max_size(u64::from(max_size)).open("large");
        assert!(opened.is_ok(), "{opened:?}");
    }
}
