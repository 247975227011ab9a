//! Compares what the compiler says about each of `cases/` with what is kept beside it. `TRYBUILD=overwrite` keeps anew.

use std::process::Command;

/// Whose words are kept: others have other ones.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn misuse_is_refused_in_words_that_help() {
    let rustc = Command::new("rustc").arg("--version").output().expect("a compiler");
    let rustc = String::from_utf8_lossy(&rustc.stdout);
    if !rustc.starts_with(COMPILER) {
        println!("(left out: the texts are those of {COMPILER}*, and this is {rustc})");
        return;
    }
    let cases = trybuild::TestCases::new();
    for part in ["sync", "ipc", "proc-core"] {
        cases.compile_fail(format!("cases/{part}/*.rs"));
    }
}
