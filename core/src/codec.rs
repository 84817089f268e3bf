//! Values to bytes and back.
//!
//! A variable holds bytes and, beside them, a tag that says how they were made.
//! A [`Codec`] turns values of one type into such bytes and refuses bytes that
//! another one made. Encoding goes straight to where the bytes will lie, piece
//! by piece through a [`Sink`], so nothing is allocated.

mod encoding;
mod explanation;
pub use encoding::Encoding;
pub use explanation::Explanation;

use bytemuck::NoUninit;
use bytemuck::checked::{CheckedBitPattern, CheckedCastError};
use core::fmt;
use core::marker::PhantomData;

/// Takes the bytes of a value in order.
pub trait Sink {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// They do not fit any more.
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full>;
}

/// A sink has no room for the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Why a value could not be turned into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// They do not fit.
    Full,
    /// The codec, or the value itself, refused, and says why.
    Refused(Explanation),
}

impl From<Full> for EncodeError {
    fn from(_: Full) -> Self {
        EncodeError::Full
    }
}

/// Why bytes are not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Another codec made them.
    WrongEncoding {
        /// The tag they carry.
        found: Encoding,
        /// The codec's own.
        expected: Encoding,
    },
    /// The value has a fixed size, and it is not theirs.
    WrongSize {
        /// How many bytes there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// They are not what the codec makes of a value of this type.
    Malformed,
    /// As `Malformed`, of a codec that can say what it found.
    Unreadable(Explanation),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::WrongEncoding { found, expected } => {
                write!(
                    f,
                    "the value is encoded as {found}, and {expected} is what this reads"
                )
            }
            DecodeError::WrongSize { found, expected } => {
                write!(
                    f,
                    "the value has {found} bytes, and the type that reads it has {expected}"
                )
            }
            DecodeError::Malformed => {
                f.write_str("the bytes are not a value of the type asked for")
            }
            DecodeError::Unreadable(explanation) => {
                write!(f, "the value cannot be read here: {explanation}")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// One way to write the values of a type as bytes.
pub trait Codec {
    /// The values.
    type Value;
    /// The tag that the bytes carry.
    const ENCODING: Encoding;

    /// Writes `value` into `sink`.
    ///
    /// # Errors
    /// It does not fit, or cannot be encoded at all.
    fn encode(value: &Self::Value, sink: &mut impl Sink) -> Result<(), EncodeError>;

    /// The value that `bytes` are.
    ///
    /// # Errors
    /// They are not one.
    fn decode(bytes: &[u8]) -> Result<Self::Value, DecodeError>;

    /// Refuses bytes that carry another codec's tag. Bytes without one
    /// ([`Encoding::UNSPECIFIED`]) are tried.
    ///
    /// # Errors
    /// [`DecodeError::WrongEncoding`].
    fn check_encoding(found: Encoding) -> Result<(), DecodeError> {
        if found == Self::ENCODING || found == Encoding::UNSPECIFIED {
            Ok(())
        } else {
            Err(DecodeError::WrongEncoding {
                found,
                expected: Self::ENCODING,
            })
        }
    }
}

/// The bytes of a plain struct as it lies in memory, shared with C and with Python's
/// `ctypes.Structure`.
///
/// The type is checked when this is compiled, by `bytemuck`: its layout is fixed
/// (`#[repr(C)]`), there is no pointer in it, and **no padding**, whose bytes would be
/// what happened to lie there. Where C has padding the struct names it, as a field of
/// `u8`s: then these bytes are written, read and compared like all others. A packed
/// struct is `#[repr(C, packed)]`.
///
/// What is read is checked, too: it has to have the size of the struct, and where not
/// every pattern of bits is a value, as for `bool`, has to be one.
///
/// ```
/// use robot_ipc_core::codec::{Codec, Raw};
///
/// #[repr(C)]
/// #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
/// struct Pose { x: f64, y: f64 }
///
/// let bytes = bytemuck::bytes_of(&Pose { x: 1.0, y: 2.0 }).to_vec();
/// assert_eq!(Raw::<Pose>::decode(&bytes), Ok(Pose { x: 1.0, y: 2.0 }));
/// assert!(Raw::<bool>::decode(&[2]).is_err());
/// ```
///
/// A struct with a hole in it is no such type:
///
/// ```compile_fail
/// #[repr(C)]
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// struct Flagged { flag: u8, x: f64 }     // `padding: [u8; 7]` is missing between them
/// ```
#[derive(Debug)]
pub struct Raw<T>(PhantomData<fn() -> T>);

impl<T: CheckedBitPattern + NoUninit> Codec for Raw<T> {
    type Value = T;
    const ENCODING: Encoding = Encoding::RAW;

    fn encode(value: &T, sink: &mut impl Sink) -> Result<(), EncodeError> {
        Ok(sink.extend(bytemuck::bytes_of(value))?)
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        bytemuck::checked::try_pod_read_unaligned(bytes).map_err(|error| match error {
            CheckedCastError::PodCastError(_) => DecodeError::WrongSize {
                found: bytes.len(),
                expected: size_of::<T>(),
            },
            CheckedCastError::InvalidBitPattern => DecodeError::Malformed,
        })
    }
}

/// A serde value in the postcard format: compact, and any shape.
///
/// ```
/// use robot_ipc_core::codec::{Codec, DecodeError, Postcard};
///
/// assert_eq!(Postcard::<(u8, bool)>::decode(&[7, 1]), Ok((7, true)));
/// assert_eq!(Postcard::<(u8, bool)>::decode(&[7]), Err(DecodeError::Malformed));
/// ```
#[cfg(feature = "postcard")]
#[derive(Debug)]
pub struct Postcard<T>(PhantomData<fn() -> T>);

#[cfg(feature = "postcard")]
impl<T: serde::Serialize + serde::de::DeserializeOwned> Codec for Postcard<T> {
    type Value = T;
    const ENCODING: Encoding = Encoding::POSTCARD;

    fn encode(value: &T, sink: &mut impl Sink) -> Result<(), EncodeError> {
        struct Flavor<'a, S>(&'a mut S);
        impl<S: Sink> postcard::ser_flavors::Flavor for Flavor<'_, S> {
            type Output = ();
            fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
                self.try_extend(&[byte])
            }
            fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
                self.0
                    .extend(bytes)
                    .map_err(|Full| postcard::Error::SerializeBufferFull)
            }
            fn finalize(self) -> postcard::Result<()> {
                Ok(())
            }
        }
        postcard::serialize_with_flavor(value, Flavor(sink)).map_err(|error| match error {
            postcard::Error::SerializeBufferFull => EncodeError::Full,
            error => EncodeError::Refused(Explanation::of(&error)),
        })
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            _ => Err(DecodeError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Buffer(heapless::Vec<u8, 16>);
    impl Sink for Buffer {
        fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
            self.0.extend_from_slice(bytes).map_err(|_| Full)
        }
    }

    /// Against a value that is cut instead of refused.
    #[test]
    fn values_that_fit_and_values_that_do_not() {
        let mut buffer = Buffer(heapless::Vec::new());
        Raw::<[u64; 2]>::encode(&[1, 2], &mut buffer).unwrap();
        assert_eq!(Raw::<[u64; 2]>::decode(&buffer.0), Ok([1, 2]));
        assert_eq!(
            Raw::<[u64; 1]>::decode(&buffer.0),
            Err(DecodeError::WrongSize {
                found: 16,
                expected: 8
            })
        );
        assert_eq!(Raw::<u8>::encode(&1, &mut buffer), Err(EncodeError::Full));
    }

    /// Against bits that are no value of their type, which the compiler relies on.
    #[test]
    fn bits_that_are_no_value_are_refused() {
        assert_eq!(Raw::<bool>::decode(&[1]), Ok(true));
        assert_eq!(Raw::<bool>::decode(&[2]), Err(DecodeError::Malformed));
        let surrogate = 0xD800u32.to_ne_bytes();
        assert_eq!(Raw::<char>::decode(&surrogate), Err(DecodeError::Malformed));
        assert_eq!(
            Raw::<char>::decode(&surrogate[..3]),
            Err(DecodeError::WrongSize {
                found: 3,
                expected: 4
            })
        );
    }

    /// Against bytes of another codec read as one's own.
    #[test]
    fn foreign_encodings_are_refused() {
        assert_eq!(
            Raw::<u8>::check_encoding(Encoding::PICKLE),
            Err(DecodeError::WrongEncoding {
                found: Encoding::PICKLE,
                expected: Encoding::RAW
            })
        );
        assert!(Raw::<u8>::check_encoding(Encoding::UNSPECIFIED).is_ok());
    }

    #[cfg(feature = "postcard")]
    #[test]
    fn postcard_round_trip_and_trailing_bytes() {
        let mut buffer = Buffer(heapless::Vec::new());
        Postcard::<(u32, bool)>::encode(&(300, true), &mut buffer).unwrap();
        assert_eq!(Postcard::<(u32, bool)>::decode(&buffer.0), Ok((300, true)));
        buffer.0.push(0).unwrap();
        assert_eq!(
            Postcard::<(u32, bool)>::decode(&buffer.0),
            Err(DecodeError::Malformed)
        );
        assert_eq!(
            Postcard::<[u64; 4]>::encode(&[u64::MAX; 4], &mut buffer),
            Err(EncodeError::Full)
        );
    }

    /// Against a value that refuses to be written, and an error that does not say so.
    #[cfg(feature = "postcard")]
    #[test]
    fn a_value_that_refuses_says_why() {
        #[derive(serde::Deserialize)]
        struct Endless;
        impl serde::Serialize for Endless {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serializer::serialize_seq(serializer, None).map(|_| unreachable!())
            }
        }
        let mut buffer = Buffer(heapless::Vec::new());
        let refused = Postcard::<Endless>::encode(&Endless, &mut buffer);
        let Err(EncodeError::Refused(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.as_str().contains("length of a sequence"), "{why}");
    }

    /// Against an error that does not say which of two things is the wrong one.
    #[test]
    fn each_error_says_what_is_wrong() {
        extern crate std;
        use std::string::ToString;
        let wrong = DecodeError::WrongEncoding {
            found: Encoding::PICKLE,
            expected: Encoding::RAW,
        };
        let said = wrong.to_string();
        assert!(said.contains("as pickle, and raw is"), "{said}");
        let wrong = DecodeError::WrongSize {
            found: 3,
            expected: 4,
        };
        let said = wrong.to_string();
        assert!(
            said.contains("has 3 bytes") && said.contains("it has 4"),
            "{said}"
        );
        assert!(DecodeError::Malformed.to_string().contains("not a value"));
        let said = DecodeError::Unreadable(Explanation::of(&"a hat")).to_string();
        assert!(said.ends_with(": a hat"), "{said}");
    }
}
