//! Values to bytes and back: one [`Codec`] for each way to write them.
//!
//! | codec | values | read and written by |
//! |---|---|---|
//! | [`Raw`] | plain structs | Rust, C, C++, and Python with a `ctypes.Structure` as `data_format` |
//! | [`Postcard`] | any serde type | Rust |
//! | `Pickle` (feature `pickle`) | any serde type | Rust and Python |
//! | `PythonArguments` (the same) | arguments of functions | Rust and Python |
//!
//! Beside its bytes each value carries an [`Encoding`] that says which codec made it. A
//! codec refuses another one's bytes, with an error that names both; bytes of which
//! nothing is said ([`Encoding::UNSPECIFIED`]) it tries.

#[cfg(feature = "pickle")]
pub use crate::pickle::{MixedArguments, Pickle, PythonArguments};
pub use robot_ipc_core::codec::*;
