//! Hashes of the sources, to tell builds of the library apart.

/// FNV-1a over words of 8 bytes, and over the last few bytes one by one.
#[must_use]
pub const fn hash_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut rest = bytes;
    while let Some((word, next)) = rest.split_first_chunk::<8>() {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x0000_0100_0000_01B3);
        rest = next;
    }
    let mut index = 0;
    while index < rest.len() {
        hash = (hash ^ rest[index] as u64).wrapping_mul(0x0000_0100_0000_01B3);
        index += 1;
    }
    hash
}

/// Hashes files when the crate is compiled.
#[macro_export]
#[doc(hidden)]
macro_rules! hash_of_sources {
    ($($path:literal)*) => {{
        let mut hash = 0xCBF2_9CE4_8422_2325u64;
        $(hash = $crate::build_id::hash_bytes(hash, include_bytes!($path));)*
        hash
    }};
}

/// The hash of this crate; a test of the workspace checks that no file is missing.
pub const SOURCES: u64 = hash_of_sources!(
    "build_id.rs" "codec.rs" "codec/encoding.rs" "codec/explanation.rs" "environment.rs" "header.rs" "lib.rs" "name.rs"
    "participant.rs" "recovery.rs" "sync.rs" "tunnel.rs" "tunnel/call.rs" "tunnel/layout.rs" "tunnel/recover.rs"
    "tunnel/serve.rs" "tunnel/word.rs" "variable.rs" "variable/exclusive.rs" "variable/layout.rs" "variable/pins.rs"
    "variable/plain.rs" "variable/read.rs" "variable/recover.rs" "variable/suspects.rs" "variable/word.rs"
    "variable/write.rs" "words.rs" "words/vector.rs"
);
