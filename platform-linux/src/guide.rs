//! Guides: how to take robot-ipc along to where there is little.
//!
//! | guide | for |
//! |---|---|
//! | [`controller`] | a controller in Rust: features, sizes, a loop that is in time |
//! | [`firmware`] | a microcontroller that shares memory with Linux |
//! | [`image`] | an image for a board: offline, small, for another processor |
//! | [`kernels`] | which kernels, and what falls back on older ones |
//! | [`real_time`] | what an operation takes at worst |

#[doc = include_str!("../guide/controller.md")]
pub mod controller {}

#[doc = include_str!("../guide/firmware.md")]
pub mod firmware {}

#[doc = include_str!("../guide/image.md")]
pub mod image {}

#[doc = include_str!("../guide/kernels.md")]
pub mod kernels {}

#[doc = include_str!("../guide/real_time.md")]
pub mod real_time {}
