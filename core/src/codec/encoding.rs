//! The tag that says how the bytes of a value were made.

use core::fmt;

/// How the bytes of a value were made. Numbers are part of the format and
/// never change their meaning; those that are not named here can be carried,
/// but nobody here can decode them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Encoding(pub u32);

impl Encoding {
    /// The writer did not say. Typed readers try their own codec.
    pub const UNSPECIFIED: Encoding = Encoding(0);
    /// Bytes as they are: a C struct, or anything the users agree on.
    pub const RAW: Encoding = Encoding(1);
    /// A Python pickle.
    pub const PICKLE: Encoding = Encoding(2);
    /// The postcard format of a serde value.
    pub const POSTCARD: Encoding = Encoding(3);

    /// Its name, if it has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Encoding::UNSPECIFIED => Some("unspecified"),
            Encoding::RAW => Some("raw"),
            Encoding::PICKLE => Some("pickle"),
            Encoding::POSTCARD => Some("postcard"),
            Encoding(_) => None,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "number {}", self.0),
        }
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;
    extern crate std;
    use std::string::ToString;

    /// Against tags that people cannot tell apart.
    #[test]
    fn each_encoding_has_its_name() {
        let named = [
            (Encoding::UNSPECIFIED, "unspecified"),
            (Encoding::RAW, "raw"),
            (Encoding::PICKLE, "pickle"),
            (Encoding::POSTCARD, "postcard"),
        ];
        for (encoding, name) in named {
            assert_eq!(encoding.name(), Some(name));
            assert_eq!(encoding.to_string(), name);
        }
        assert_eq!(Encoding(77).name(), None);
        assert_eq!(Encoding(77).to_string(), "number 77");
    }
}
