//! External programs: run one, talk to one, join several in a pipeline.
//!
//! ```
//! use proc_core::command::{Popen, call, run};
//! use std::{process::Stdio, time::Duration};
//!
//! assert!(call(["true"])?.success());
//! assert_eq!(run(["echo", "hello"])?.stdout, b"hello\n");
//!
//! let tr = Popen::builder(["tr", "a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! assert_eq!(tr.communicate("hello", Duration::from_secs(10))?.stdout, b"HELLO");
//! # Ok::<(), proc_core::command::CommandError>(())
//! ```
//!
//! Starting is std's business (`std::process::Command`). What is added: programs die with this process, whole groups
//! can be killed, handles are shared and never reach another process, and exchanging data neither deadlocks nor hangs
//! on a grandchild that kept the pipe.

mod builder;
mod communicate;
mod error;
mod introduction;
mod link;
mod pipeline;
mod popen;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    process::{ExitStatus, Output, Stdio},
};

pub use self::{
    builder::PopenBuilder,
    communicate::Input,
    error::{CommandError, Partial},
    pipeline::Pipeline,
    popen::Popen,
};

/// Runs a program and waits until it has ended. Its standard streams are this process's own.
///
/// # Errors
/// If it cannot be started. A status other than success is not an error here; see [`run`].
///
/// # Examples
/// ```
/// # use proc_core::command::call;
/// let status = call(["ls", "-l"])?;
/// assert!(status.success());
/// # Ok::<(), proc_core::command::CommandError>(())
/// ```
pub fn call<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<ExitStatus, CommandError> {
    Ok(Popen::new(args)?.wait()?)
}

/// Runs a program, waits until it has ended, and returns what it wrote. Its standard input is empty.
///
/// # Errors
/// If it cannot be started, and [`CommandError::Failed`] for any status but success.
///
/// # Examples
/// ```
/// # use proc_core::command::{CommandError, run};
/// assert_eq!(run(["echo", "hello"])?.stdout, b"hello\n");
/// let failed = run(["sh", "-c", "echo sorry >&2; exit 3"]).unwrap_err();
/// assert_eq!(failed.to_string(), "sh: exit status: 3: sorry");
/// # Ok::<(), CommandError>(())
/// ```
#[doc(alias = "check_output")]
#[doc(alias = "check_call")]
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<Output, CommandError> {
    let builder = Popen::builder(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = builder.spawn()?;
    let output = program.communicate(None, None)?;
    if output.status.success() { Ok(output) } else { Err(CommandError::failed(program.name(), output)) }
}
