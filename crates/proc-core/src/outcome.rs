//! The value, or the error, of a process: by how it ended and what it left.

use std::{io, os::unix::process::ExitStatusExt, process::ExitStatus};

use crate::{
    child::REFUSED,
    error::{PreloadError, ProcessError},
    function::CallError,
    report::{Failure, Found, Left},
    start::spawn,
};
use kernel::handover::Packed;

/// The value of a process that has ended with `status` and left `left`.
pub(crate) fn value_of(name: &str, pid: u32, status: ExitStatus, left: Left) -> Result<Packed, ProcessError> {
    let Left { found, crash } = left;
    let name = name.to_owned();
    // A program that is built to abort at a panic has reported it before.
    let has_panicked = matches!(found, Ok(Found::Failure(Failure::Call(CallError::Panicked(_)))));
    if let Some(signal) = status.signal()
        && !(has_panicked && signal == libc::SIGABRT)
    {
        return Err(ProcessError::Signaled { name, pid, signal, core_dumped: status.core_dumped(), crash });
    }
    let decode = |message| ProcessError::Decode { name: name.clone(), pid, message };
    match found.map_err(|e| decode(format!("its report cannot be read: {e}")))? {
        Found::Value(value) => Ok(value),
        // It was not killed: that was dealt with above. The program that was executed does not contain this library.
        Found::Unread if status.code() != Some(REFUSED) => {
            let operation = format!("run process {name} ({pid})");
            Err(ProcessError::Start { operation, source: io::Error::other(spawn::NotThisProgram(status)) })
        }
        Found::Nothing | Found::Unread => {
            Err(ProcessError::Exited { code: status.code().unwrap_or_default(), name, pid })
        }
        Found::Failure(Failure::Setup(operation, errno)) => {
            let source = io::Error::from_raw_os_error(errno);
            Err(ProcessError::Setup { name, pid, operation, source })
        }
        Found::Failure(Failure::Threads(names)) => Err(PreloadError::Threads { names }.into()),
        Found::Failure(Failure::Call(error)) => Err(match error {
            CallError::Panicked(p) => ProcessError::Panicked {
                name,
                pid,
                message: p.message,
                location: p.location,
                backtrace: p.backtrace,
                thread: p.thread,
            },
            CallError::Arguments(e) => decode(format!("its arguments do not decode: {e}")),
            CallError::Value(e) => decode(format!("its value cannot be returned: {e}")),
            CallError::Foreign(e) => ProcessError::ForeignCode(e),
            CallError::Unlimited => decode("its memory cannot be limited".into()),
        }),
    }
}
