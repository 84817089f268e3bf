//! Copying bytes that somebody else may be changing.
//!
//! A reader of a slot may find, after its copy, that a writer was faster, and
//! throw the copy away. Until then both touch the same bytes at the same time.
//! With plain loads and stores (or `memcpy`, or volatile) that is a data race,
//! which the language gives no meaning to, and which has shown torn values on
//! weakly ordered processors. Here every access is a relaxed atomic of one
//! machine word: racing, but defined. Whether the copy is whole is then the
//! protocol's business, through its stamp and fences.
//!
//! Where the processor copies faster than by words, the module `vector` does it
//! in assembly, which the compiler takes for what it is: a copy it knows nothing
//! of. The words stay for what is left, for other processors, for programs that leave
//! the wide registers alone (as kernels and their like do on x86-64), and for tools that
//! have to see each access (`--cfg robot_ipc_word_copy`).

#![allow(unsafe_code)]
#![allow(clippy::disallowed_types)] // payload words are never wider than a native load

#[cfg(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, fuzzing, robot_ipc_word_copy))
))]
mod vector;
/// Where there is no faster way: it copies nothing, and words do it all.
#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "sse2",
    not(any(miri, fuzzing, robot_ipc_word_copy))
)))]
mod vector {
    pub(super) const LEAST: usize = usize::MAX;
    pub(super) unsafe fn copy(_from: *const u8, _to: *mut u8, _size: usize) {}
}

use core::marker::PhantomData;
use core::ptr::NonNull;

#[cfg(not(target_pointer_width = "64"))]
use core::sync::atomic::AtomicU32 as AtomicWord;
#[cfg(target_pointer_width = "64")]
use core::sync::atomic::AtomicU64 as AtomicWord;
use core::sync::atomic::Ordering::Relaxed;

#[cfg(not(target_pointer_width = "64"))]
type Word = u32;
#[cfg(target_pointer_width = "64")]
type Word = u64;

/// Bytes of one machine word.
const WORD_SIZE: usize = size_of::<Word>();

/// The alignment that payloads have, on every processor.
pub const PAYLOAD_ALIGNMENT: usize = 64;

/// A run of shared bytes that is only ever reached by whole atomic words.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    start: NonNull<AtomicWord>,
    /// In words.
    count: usize,
    memory: PhantomData<&'a AtomicWord>,
}

// SAFETY: all access through `Words` is atomic.
unsafe impl Send for Words<'_> {}
// SAFETY: as above.
unsafe impl Sync for Words<'_> {}

impl<'a> Words<'a> {
    /// The words of the `size` bytes at `start`.
    ///
    /// # Safety
    /// - `start` is aligned to [`PAYLOAD_ALIGNMENT`] and `size` is a multiple of it;
    /// - the bytes stay valid for reads and writes for `'a`;
    /// - all who touch them during `'a` do so atomically, in words of the same
    ///   size and alignment, or from outside this program.
    #[must_use]
    pub const unsafe fn new(start: NonNull<u8>, size: usize) -> Words<'a> {
        Words {
            start: start.cast(),
            count: size / WORD_SIZE,
            memory: PhantomData,
        }
    }

    /// Where the bytes start.
    #[must_use]
    pub const fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr().cast()
    }

    #[inline(always)]
    fn words(&self) -> &'a [AtomicWord] {
        // SAFETY: `new` was promised that many aligned words, valid for 'a and
        // only touched atomically; a shared slice of atomics asks no more.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }

    /// Copies `bytes` to `offset`; what would not fit is left out (callers
    /// have checked, and this never panics). Bytes around them keep their
    /// values, which asks that nobody else writes here meanwhile.
    #[inline(always)]
    pub fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let Some((words, lead)) = self.tail(offset) else {
            return;
        };
        let mut words = words.iter();
        let mut bytes = bytes;
        if lead != 0 {
            let (first, rest) = bytes.split_at(bytes.len().min(WORD_SIZE - lead));
            if let Some(word) = words.next() {
                merge(word, lead, first);
            }
            bytes = rest;
        }
        let words = words.as_slice();
        let (whole, last) = bytes.as_chunks::<WORD_SIZE>();
        let size = whole.len().min(words.len()) * WORD_SIZE;
        if size >= vector::LEAST {
            // SAFETY: `whole` is that long, and so are the words, which may be
            // written; a `&[u8]` does not overlap what others may change.
            unsafe {
                vector::copy(
                    whole.as_ptr().cast(),
                    words.as_ptr().cast_mut().cast(),
                    size,
                )
            };
        } else {
            for (word, bytes) in words.iter().zip(whole) {
                word.store(Word::from_ne_bytes(*bytes), Relaxed);
            }
        }
        if let Some(word) = words.get(whole.len()).filter(|_| !last.is_empty()) {
            merge(word, 0, last);
        }
    }

    /// Copies the bytes at `offset` out; what lies beyond the end is left as it
    /// was (callers have checked, and this never panics).
    #[inline(always)]
    pub fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        let Some((words, lead)) = self.tail(offset) else {
            return;
        };
        let mut words = words.iter();
        let mut bytes = bytes;
        if lead != 0 {
            let (first, rest) = bytes.split_at_mut(bytes.len().min(WORD_SIZE - lead));
            if let Some(word) = words.next() {
                let value = word.load(Relaxed).to_ne_bytes();
                for (byte, value) in first.iter_mut().zip(&value[lead..]) {
                    *byte = *value;
                }
            }
            bytes = rest;
        }
        let words = words.as_slice();
        let (whole, last) = bytes.as_chunks_mut::<WORD_SIZE>();
        let size = whole.len().min(words.len()) * WORD_SIZE;
        if size >= vector::LEAST {
            // SAFETY: the words are that long, and so is `whole`, which is ours to
            // write.
            unsafe { vector::copy(words.as_ptr().cast(), whole.as_mut_ptr().cast(), size) };
        } else {
            for (word, bytes) in words.iter().zip(&mut *whole) {
                *bytes = word.load(Relaxed).to_ne_bytes();
            }
        }
        if let Some(word) = words.get(whole.len()) {
            let value = word.load(Relaxed).to_ne_bytes();
            for (byte, value) in last.iter_mut().zip(&value) {
                *byte = *value;
            }
        }
    }

    /// The words from the one that holds `offset`, and where in it that is.
    #[inline(always)]
    fn tail(&self, offset: usize) -> Option<(&'a [AtomicWord], usize)> {
        Some((self.words().get(offset / WORD_SIZE..)?, offset % WORD_SIZE))
    }
}

/// Replaces the bytes of `word` from `lead` on.
fn merge(word: &AtomicWord, lead: usize, bytes: &[u8]) {
    let mut value = word.load(Relaxed).to_ne_bytes();
    for (value, byte) in value[lead..].iter_mut().zip(bytes) {
        *value = *byte;
    }
    word.store(Word::from_ne_bytes(value), Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C, align(64))]
    struct Aligned([u8; 128]);

    fn words(memory: &mut Aligned) -> Words<'_> {
        // SAFETY: aligned, 128 bytes, and borrowed for as long as the words.
        unsafe { Words::new(NonNull::from(&mut memory.0).cast(), 128) }
    }

    /// Against a copy that is right for whole words only: every offset and
    /// length of the first words, compared with plain slices.
    #[test]
    fn every_offset_and_length() {
        for offset in 0..20 {
            for length in 0..40 {
                let mut expected = [0x55u8; 128];
                let mut memory = Aligned(expected);
                let mut bytes = [0u8; 40];
                for (index, byte) in bytes[..length].iter_mut().enumerate() {
                    *byte = index as u8 + 1;
                }
                expected[offset..offset + length].copy_from_slice(&bytes[..length]);
                words(&mut memory).copy_in(offset, &bytes[..length]);
                assert_eq!(memory.0, expected, "in: offset {offset}, length {length}");
                let mut copy = [0u8; 40];
                words(&mut memory).copy_out(offset, &mut copy[..length]);
                assert_eq!(
                    copy[..length],
                    bytes[..length],
                    "out: offset {offset}, length {length}"
                );
            }
        }
    }

    /// Against a fast way that leaves out, or runs over, some bytes: sizes around
    /// those at which another way is taken, at odd places on the other side.
    #[test]
    fn sizes_at_which_another_way_is_taken() {
        const SIZE: usize = 1 << 14;
        #[repr(C, align(64))]
        struct Large([u8; SIZE]);
        let pattern: [u8; SIZE + 64] =
            core::array::from_fn(|index| (index * 7 + index / 251) as u8);
        let sizes = (0..300).chain([511, 512, 513, 1000, 1023, 1024, 1025, 1031, 1032]);
        for size in sizes.chain([2047, 2048, 2049, 4096, 4111, 8191, SIZE - 64, SIZE]) {
            for shift in [0, 1, 8, 17] {
                let mut memory = Large([0x55; SIZE]);
                // SAFETY: aligned, of that size, and borrowed for as long as the words.
                let words = unsafe { Words::new(NonNull::from(&mut memory.0).cast(), SIZE) };
                words.copy_in(0, &pattern[shift..shift + size]);
                let mut copy = [0xAA; SIZE + 64];
                words.copy_out(0, &mut copy[shift..shift + size]);
                assert_eq!(copy[shift..shift + size], pattern[shift..shift + size]);
                assert!(copy[..shift].iter().all(|byte| *byte == 0xAA));
                assert!(copy[shift + size..].iter().all(|byte| *byte == 0xAA));
                assert_eq!(memory.0[..size], pattern[shift..shift + size]);
                assert!(memory.0[size..].iter().all(|byte| *byte == 0x55));
            }
        }
    }

    /// Against a length from a hostile header that leads past the end, by a few words and
    /// by more than is copied in one piece.
    #[test]
    fn past_the_end_nothing_is_touched() {
        #[repr(C, align(64))]
        struct Guarded([u8; 128], [u8; 256]);
        let mut memory = Guarded([7; 128], [8; 256]);
        let start = NonNull::from_mut(&mut memory).cast();
        // SAFETY: aligned, at least 128 bytes, and borrowed for as long as the words.
        let words = unsafe { Words::new(start, 128) };
        words.copy_in(120, &[1; 100]);
        words.copy_in(16, &[2; 200]);
        words.copy_in(usize::MAX, &[1; 100]);
        let mut bytes = [9; 16];
        words.copy_out(120, &mut bytes);
        let mut many = [9; 200];
        words.copy_out(16, &mut many);
        assert_eq!(memory.0[..16], [7; 16]);
        assert_eq!(memory.0[16..], [2; 112]);
        assert_eq!(memory.1, [8; 256], "behind it");
        assert_eq!(bytes, [2, 2, 2, 2, 2, 2, 2, 2, 9, 9, 9, 9, 9, 9, 9, 9]);
        assert_eq!(many[..112], [2; 112]);
        assert_eq!(many[112..], [9; 88]);
    }
}
