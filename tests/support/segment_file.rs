//! Looking at, and changing, the bytes of a segment behind the library's back.

use crate::Scratch;
use robot_ipc_core::header::{HEADER_SIZE, Header};
use robot_ipc_core::variable::SLOTS_OFFSET;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// Where the word `latest` lies.
pub const LATEST_OFFSET: u64 = 2304;
/// Where the owner words start.
pub const OWNERS_OFFSET: u64 = 2368;
/// In `latest`: somebody sleeps.
pub const WAITING_BIT: u32 = 1 << 6;

/// The file of a variable.
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    /// From one slot to the next.
    stride: u64,
}

impl SegmentFile {
    /// The file of the variable `name`, which has values of up to `max_size`
    /// bytes.
    ///
    /// # Panics
    /// It cannot be opened.
    #[must_use]
    pub fn open(scratch: &Scratch, name: &str, max_size: u64) -> SegmentFile {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(scratch.file(name));
        SegmentFile {
            file: file.unwrap_or_else(|error| panic!("{name}: {error}")),
            stride: 64 + max_size.next_multiple_of(64),
        }
    }

    /// The word at `offset`.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn word(&self, offset: u64) -> u32 {
        let mut word = [0; 4];
        self.file
            .read_exact_at(&mut word, offset)
            .expect("inside the file");
        u32::from_ne_bytes(word)
    }

    /// Changes the word at `offset`.
    ///
    /// # Panics
    /// There is none.
    pub fn set_word(&self, offset: u64, word: u32) {
        self.file
            .write_all_at(&word.to_ne_bytes(), offset)
            .expect("inside the file");
    }

    /// The word `latest`.
    #[must_use]
    pub fn latest(&self) -> u32 {
        self.word(LATEST_OFFSET)
    }

    /// The owner word of `slot`.
    #[must_use]
    pub fn owner(&self, slot: u64) -> u32 {
        self.word(OWNERS_OFFSET + 4 * slot)
    }

    /// Head and payload of `slot`.
    ///
    /// # Panics
    /// There is no such slot.
    #[must_use]
    pub fn slot(&self, slot: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.stride as usize];
        self.file
            .read_exact_at(&mut bytes, self.slot_offset(slot))
            .expect("inside the file");
        bytes
    }

    /// Where `slot` starts.
    #[must_use]
    pub fn slot_offset(&self, slot: u64) -> u64 {
        SLOTS_OFFSET as u64 + slot * self.stride
    }

    /// The version of the latest value becomes `version`, as if so many had
    /// been written. There has to be one already.
    ///
    /// # Panics
    /// Nothing was written.
    pub fn set_version(&self, version: u64) {
        let latest = self.latest();
        let slot = u64::from(latest & 63);
        assert_ne!(slot, 63, "nothing was written");
        self.set_word(self.slot_offset(slot), (version as u32) << 1);
        self.set_word(self.slot_offset(slot) + 4, (version >> 31) as u32);
        self.set_word(LATEST_OFFSET, (version as u32) << 8 | latest & 0xFF);
    }

    /// Changes the header, and corrects its checksum.
    ///
    /// # Panics
    /// There is none.
    pub fn change_header(&self, change: impl FnOnce(&mut Header)) {
        let mut bytes = [0; HEADER_SIZE];
        self.file.read_exact_at(&mut bytes, 0).expect("a header");
        let mut header: Header = bytemuck::pod_read_unaligned(&bytes);
        change(&mut header);
        header.checksum = header.expected_checksum();
        self.file
            .write_all_at(bytemuck::bytes_of(&header), 0)
            .expect("a header");
    }
}
