//! What can go wrong with a call to a manager's object.

use std::{error::Error, fmt, io};

use kernel::handover;
use proc_core::{
    Panic, ProcessError,
    function::{CallError, ForeignCode},
};

use super::reply::Refusal;
use crate::{RecvError, SendError};

/// Why a call to a manager's object has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum ManagerError {
    /// The server is gone, and all objects with it. Whether it got to this call is not known.
    Closed,
    /// The method panicked. The object lives on as the panic left it.
    Panicked(Panic),
    /// The object is gone, or of another type.
    NoSuchObject,
    /// The arguments could not be serialised.
    Encode(handover::Error),
    /// The arguments arrived but are not what the method takes; or the result, what it returns. Said by the server.
    Refused(String),
    /// The result did not decode.
    Decode(handover::Error),
    /// The method is not part of the program itself, so that the server does not have it.
    Foreign(ForeignCode),
    /// The server could not be started.
    Process(ProcessError),
    /// The kernel refused.
    Io(io::Error),
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the manager's server is gone"),
            Self::Panicked(panic) => write!(f, "the method panicked: {}", panic.message),
            Self::NoSuchObject => f.write_str("the manager has no such object"),
            Self::Encode(e) => write!(f, "the arguments cannot be serialised: {e}"),
            Self::Refused(why) => f.write_str(why),
            Self::Decode(e) => write!(f, "the result does not decode: {e}"),
            Self::Foreign(e) => e.fmt(f),
            Self::Process(e) => write!(f, "cannot start the manager's server: {e}"),
            Self::Io(e) => write!(f, "cannot call the manager: {e}"),
        }
    }
}

impl Error for ManagerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(e) | Self::Decode(e) => Some(e),
            Self::Foreign(e) => Some(e),
            Self::Process(e) => Some(e),
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<SendError> for ManagerError {
    fn from(e: SendError) -> Self {
        match e {
            SendError::Encode(e) => Self::Encode(e),
            SendError::Io(e) => Self::Io(e),
            _ => Self::Closed,
        }
    }
}

impl From<RecvError> for ManagerError {
    fn from(e: RecvError) -> Self {
        match e {
            RecvError::Decode(e) => Self::Decode(e),
            RecvError::Io(e) => Self::Io(e),
            _ => Self::Closed,
        }
    }
}

impl From<CallError> for ManagerError {
    fn from(e: CallError) -> Self {
        match e {
            CallError::Panicked(panic) => Self::Panicked(panic),
            CallError::Arguments(why) => Self::Refused(format!("the server cannot decode the arguments: {why}")),
            CallError::Value(why) => Self::Refused(format!("the server cannot serialise the result: {why}")),
            CallError::Foreign(e) => Self::Foreign(e),
            CallError::Unlimited => Self::Refused("the server cannot limit its memory".into()),
        }
    }
}

impl From<Refusal> for ManagerError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchObject => Self::NoSuchObject,
            Refusal::Errno(errno) => Self::Io(io::Error::from_raw_os_error(errno)),
        }
    }
}
