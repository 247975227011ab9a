//! A parser in C with an overflow in it, on input from strangers: its workers may do nothing but compute. A crash is told with
//! function, file and line; a call that an intruder makes ends the worker before it is made; and the next input is served.

use pool::{ProcessPool, TaskError};
use proc_core::{Confinement, CrashReport, Process};

/// Compiled by `build.rs`.
mod parser {
    #![allow(unsafe_code, reason = "a library of C")]

    unsafe extern "C" {
        fn count_fields(input: *const u8, length: usize) -> std::ffi::c_long;
    }

    pub(super) fn n_fields(input: Vec<u8>) -> i64 {
        // SAFETY: the input is as long as it is said to be. (What C makes of it is what the worker is for.)
        unsafe { count_fields(input.as_ptr(), input.len()) }
    }
}

fn fields(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| [&(text.len() as u32).to_ne_bytes(), text.as_bytes()].concat()).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let worker = Process::builder().confine(Confinement::compute().end_at_refusal());
    let pool = ProcessPool::builder().workers(1).worker(worker).build()?;
    let inputs = [
        ("good", fields(&["a", "b", "c"])),
        ("with a length that is not true", u32::MAX.to_ne_bytes().to_vec()),
        ("with orders", fields(&["/etc/passwd"])),
        ("the next one", fields(&["x", "y"])),
    ];
    for (name, input) in inputs {
        match pool.apply(parser::n_fields, (input,)) {
            Ok(n) => println!("{name}: {n} fields"),
            Err(TaskError::WorkerDied { crash: Some(crash), .. }) => println!("{name}: {}", place(&crash)),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// The cause, and the innermost function of the parser.
fn place(crash: &CrashReport) -> String {
    let is_the_parsers =
        |frame: &&proc_core::Frame| frame.file().is_some_and(|file| file.ends_with("untrusted_parser.c"));
    match crash.frames().iter().find(is_the_parsers) {
        Some(frame) => {
            let (function, line) = (frame.function().unwrap_or_default(), frame.line().unwrap_or_default());
            format!("{} in {function}, untrusted_parser.c:{line}", crash.summary())
        }
        None => crash.to_string(),
    }
}
