//! What went wrong in a worker or on the way from it, as the error of a task.

use std::fmt;

use proc_core::{Panic, function::CallError};

use super::memory;
use crate::TaskError;

/// Decodes with its panic caught: it is the user's code, on a thread that waits for something else.
pub(super) fn caught<T>(decode: impl FnOnce() -> Result<T, TaskError>) -> Result<T, TaskError> {
    Panic::catch(decode).unwrap_or_else(|panic| Err(undecodable(format!("panicked: {}", panic.message))))
}

pub(super) fn undecodable(why: impl fmt::Display) -> TaskError {
    TaskError::Decode(why.to_string())
}

/// The error that a worker packed.
pub(super) fn failure(bytes: &[u8]) -> TaskError {
    match wire::decode::<CallError>(bytes) {
        Ok(error) => error.into(),
        Err(e) => undecodable(e),
    }
}

impl From<CallError> for TaskError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Panicked(panic) => panic.into(),
            CallError::Value(why) | CallError::Arguments(why) => Self::Encode(why),
            CallError::Foreign(_) => Self::ForeignCode,
            CallError::Unlimited => Self::Broken(memory::unknown("memory_limit")),
        }
    }
}
