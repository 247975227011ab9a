//! Where this library's own descriptors lie: above the three standard streams, always.
//!
//! A program may close its standard input, output or error. The kernel gives each new descriptor the lowest free number, so
//! the next thing that is opened would become the program's standard output, and a `println!` would write into it. Whatever
//! this library opens and keeps goes through [`above_standard_streams`] at once.

use std::io::{self, PipeReader, PipeWriter};

pub use crate::sys::fds::above_standard_streams;

/// A pipe: where to read, and where to write.
///
/// # Errors
/// `EMFILE` or `ENFILE` if descriptors are short.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((above_standard_streams(reader)?, above_standard_streams(writer)?))
}
