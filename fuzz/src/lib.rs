//! What the fuzz targets run: models of the protocols, and users of hostile bytes.
//!
//! | target | what it does | module |
//! |---|---|---|
//! | `open_segment` | any bytes as a segment's file | [`hostile_file`] |
//! | `variable_ops` | participants of a variable act, stop and die, against a model | [`variable_model`] |
//! | `tunnel_ops` | the same for a function's tunnel | [`tunnel_model`] |
//! | `codec` | any bytes to everything that reads foreign bytes | [`decoders`] |
//!
//! `./run` builds them, replays the corpus, fuzzes each for a while, and checks that
//! bugs that are planted on purpose are found. By hand, in this folder:
//!
//! ```sh
//! RUSTC_BOOTSTRAP=1 cargo fuzz run open_segment   # any toolchain
//! cargo +nightly fuzz run open_segment            # a nightly one
//! ```
//!
//! `cargo fuzz` asks for a sanitizer, which only nightly compilers admit to have; with
//! `RUSTC_BOOTSTRAP=1` a stable one admits it, too. What a target finds is written to
//! `artifacts/`, and shown again by `cargo fuzz run TARGET FILE`.

pub mod decoders;
pub mod hostile_file;
pub mod life;
pub mod tally;
pub mod tunnel_model;
pub mod variable_model;
