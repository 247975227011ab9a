//! A worker that crashes says where: the function, the file and the line, looked up by its owner.
//!
//! (A stack that is used up also has the line on standard error that every Rust program writes then.)

use std::hint::black_box;

use pool::{ProcessPool, TaskError};
use proc_core::CrashReport;

/// Stands for a parser in C with an error in it.
fn parse(input: Vec<u8>) -> usize {
    match input.first() {
        Some(b'(') => nested(&input, 0),
        Some(b'!') => std::process::abort(),
        Some(b'*') => read_at(black_box(0x10)),
        _ => input.len(),
    }
}

fn nested(input: &[u8], depth: usize) -> usize {
    // It goes round and round for a closing bracket, by a call for each step, and there is none.
    let copy = black_box([0_u8; 256]);
    match input[depth % input.len()] {
        b')' => depth,
        _ => nested(input, depth + 1) + usize::from(copy[depth % 256]),
    }
}

fn read_at(address: usize) -> usize {
    #[allow(unsafe_code, reason = "a crash on purpose")]
    // SAFETY: none; this is what an error in a library of C does.
    unsafe {
        std::ptr::with_exposed_provenance::<usize>(address).read_volatile()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::new(2)?;
    for input in ["good", "((((", "!", "*"] {
        match pool.apply(parse, (input.into(),)) {
            Ok(n) => println!("{input:?}: {n} bytes"),
            Err(TaskError::WorkerDied { crash: Some(crash), .. }) => println!("{input:?}: {}", place(&crash)),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// The cause, and the innermost function of this program's own.
fn place(crash: &CrashReport) -> String {
    let own = |frame: &&proc_core::Frame| frame.function().is_some_and(|name| name.starts_with("crash_report::"));
    match crash.frames().iter().find(own) {
        Some(frame) => {
            let file = frame.file().and_then(|file| file.file_name()).unwrap_or_default();
            let line = frame.line().unwrap_or_default();
            let function = frame.function().unwrap_or_default();
            format!("{} in {function}, {}:{line}", crash.cause(), file.display())
        }
        None => crash.to_string(),
    }
}
