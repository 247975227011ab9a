//! Boost's `message_queue`, where its headers are installed: a program that is compiled at run time.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// How many seconds `n` messages of `len` bytes take with so many processes on each side.
///
/// # Errors
/// If it cannot be compiled, or fails.
pub fn messages(len: usize, n_each_side: u64, n: u64) -> io::Result<f64> {
    let missing = || {
        io::Error::other(
            "not installed: apt-get install g++ libboost-dev, or what your system calls its headers and a compiler",
        )
    };
    let program = program().ok_or_else(missing)?;
    let args = [len as u64, n_each_side, n / n_each_side].map(|number| number.to_string());
    let output = Command::new(program).args(args).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (source, program) = (here.join("cpp/boost_queue.cpp"), here.join("../target/bench/boost_queue"));
        std::fs::create_dir_all(program.parent()?).ok()?;
        let mut compile = Command::new("c++");
        compile.args(["-O2", "-pthread", "-o"]).arg(&program).arg(source).arg("-lrt").stderr(Stdio::null());
        let is_compiled = program.exists() || compile.status().is_ok_and(|status| status.success());
        is_compiled.then_some(program)
    });
    program.as_deref()
}
