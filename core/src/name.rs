//! What a variable, a function or a namespace may be called.
//!
//! Names become file names, so they follow the rules of one path component:
//! UTF-8, no `/`, no NUL, not starting with a dot. The limits leave room for
//! both in the 255 bytes of a file name.

use core::fmt;
use heapless::String;

/// The longest name of a variable or function, in bytes.
pub const MAX_NAME_SIZE: usize = 200;
/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_SIZE: usize = 32;

/// A name that follows the rules, at most `SIZE` bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedName<const SIZE: usize>(String<SIZE>);

/// The name of a variable or function: 1 to [`MAX_NAME_SIZE`] bytes.
///
/// ```
/// use robot_ipc_core::name::{Name, NameError};
/// assert_eq!(Name::new("arm/left"), Err(NameError::Slash));
/// assert_eq!(Name::new("arm.left").unwrap().as_str(), "arm.left");
/// ```
pub type Name = CheckedName<MAX_NAME_SIZE>;
/// The name of a namespace: 1 to [`MAX_NAMESPACE_SIZE`] bytes.
pub type Namespace = CheckedName<MAX_NAMESPACE_SIZE>;

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// It has no bytes.
    Empty,
    /// It is longer than the limit.
    TooLong {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It has a `/` in it.
    Slash,
    /// It has a NUL byte in it.
    Nul,
    /// It starts with a dot.
    LeadingDot,
    /// Its bytes are not UTF-8.
    NotUtf8,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("it is empty"),
            NameError::TooLong { size, limit } => {
                write!(f, "it has {size} bytes, and {limit} is the limit")
            }
            NameError::Slash => f.write_str("it contains '/'"),
            NameError::Nul => f.write_str("it contains a NUL byte"),
            NameError::LeadingDot => f.write_str("it starts with a dot"),
            NameError::NotUtf8 => f.write_str("it is not UTF-8"),
        }
    }
}

impl core::error::Error for NameError {}

impl<const SIZE: usize> CheckedName<SIZE> {
    /// Checks `name` against the rules.
    ///
    /// # Errors
    /// Which rule it breaks; the length is looked at first.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let Ok(checked) = String::try_from(name) else {
            return Err(NameError::TooLong {
                size: name.len(),
                limit: SIZE,
            });
        };
        if name.starts_with('.') {
            return Err(NameError::LeadingDot);
        }
        if name.contains('/') {
            return Err(NameError::Slash);
        }
        if name.contains('\0') {
            return Err(NameError::Nul);
        }
        Ok(CheckedName(checked))
    }

    /// Checks bytes that may not even be text.
    ///
    /// # Errors
    /// Which rule they break.
    pub fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        if name.len() > SIZE {
            return Err(NameError::TooLong {
                size: name.len(),
                limit: SIZE,
            });
        }
        Self::new(core::str::from_utf8(name).map_err(|_| NameError::NotUtf8)?)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const SIZE: usize> fmt::Display for CheckedName<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(all(test, not(robot_ipc_loom)))]
mod tests {
    use super::*;

    /// Against an off-by-one that lets a name outgrow its file name.
    #[test]
    fn names_at_and_past_each_limit() {
        let long = [b'n'; MAX_NAME_SIZE + 1];
        let long = core::str::from_utf8(&long).unwrap();
        assert!(Name::new(&long[..MAX_NAME_SIZE]).is_ok());
        assert_eq!(
            Name::new(long),
            Err(NameError::TooLong {
                size: 201,
                limit: 200
            })
        );
        assert!(Namespace::new(&long[..32]).is_ok());
        assert_eq!(
            Namespace::new(&long[..33]),
            Err(NameError::TooLong {
                size: 33,
                limit: 32
            })
        );
        // 100 characters of two bytes are the limit, 101 are past it.
        let wide = core::str::from_utf8(&[0xC3; 0]).unwrap();
        assert_eq!(Name::new(wide), Err(NameError::Empty));
        assert!(Name::new("größe").is_ok());
    }

    /// Against names that would leave the folder or hide the file.
    #[test]
    fn names_that_are_no_path_component() {
        assert_eq!(Name::new(".."), Err(NameError::LeadingDot));
        assert_eq!(Name::new("a/b"), Err(NameError::Slash));
        assert_eq!(Name::new("a\0b"), Err(NameError::Nul));
        assert_eq!(Name::from_bytes(b"\xff"), Err(NameError::NotUtf8));
        assert!(Name::new("a.b").is_ok());
    }

    /// Against a name that is told otherwise than it was given, and an error without
    /// a reason.
    #[test]
    fn names_and_their_errors_can_be_read() {
        extern crate std;
        use std::string::ToString;
        let name = Name::new("größe").unwrap();
        assert_eq!(
            (name.as_str(), name.to_string().as_str()),
            ("größe", "größe")
        );
        let bytes = [b'n'; MAX_NAME_SIZE + 1];
        assert!(Name::from_bytes(&bytes[1..]).is_ok());
        let too_long = Name::from_bytes(&bytes).unwrap_err();
        assert_eq!(
            too_long.to_string(),
            "it has 201 bytes, and 200 is the limit"
        );
        for (name, said) in [("", "empty"), (".a", "dot"), ("a/b", "'/'"), ("\0", "NUL")] {
            let error = Name::new(name).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(NameError::NotUtf8.to_string().contains("UTF-8"));
    }
}
