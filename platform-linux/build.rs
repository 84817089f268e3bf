//! Gives the shared library its SONAME, so that a program linked to it finds it
//! by name wherever it is installed. Nothing else can say so to the linker for
//! this one artefact alone.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,librobot_ipc.so");
}
