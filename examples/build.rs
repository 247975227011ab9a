//! Compiles the parser in C of the example `untrusted_parser`, by what links Rust's programs.
#![allow(clippy::unwrap_used, reason = "a build that cannot go on fails")]

use std::{env, path::PathBuf, process::Command};

const SOURCE: &str = "untrusted_parser.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let object = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("untrusted_parser.o");
    let compiler = env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(&compiler);
    compile.args(["-c", "-g", "-O1", "-fPIC", "-fno-inline", "-o"]).arg(&object).arg(SOURCE);
    assert!(compile.status().is_ok_and(|status| status.success()), "{} cannot compile {SOURCE}", compiler.display());
    // All of the package's examples are linked with it: it is small.
    println!("cargo::rustc-link-arg-examples={}", object.display());
}
