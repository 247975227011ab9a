use std::{error::Error, fmt, io};

use kernel::handover;

/// Why a message could not be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is gone, in every process that had it: closed, exited or killed.
    Closed,
    /// There is no room now (only from `try_send`).
    Full,
    /// There was not room enough all the while (only from `send_timeout`).
    TimedOut,
    /// The value could not be serialised.
    Encode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused, such as to pass on so many descriptors.
    Io(io::Error),
}

/// Why a message could not be received.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is gone, in every process that had it: closed, exited or killed. Everything that it had sent has
    /// been received.
    Closed,
    /// There is nothing now (only from `try_recv`).
    Empty,
    /// There was nothing all the while (only from `recv_timeout`).
    TimedOut,
    /// The message is not a value of this pipe's type, or its descriptors could not all be taken in. It is gone; the
    /// next one is not affected.
    Decode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused.
    Io(io::Error),
}

const CLOSED: &str = "the other end of the pipe is closed";
const DAMAGED: &str = "the pipe's memory has been overwritten by another process";

/// What an operation fails with in a process that is refused `membarrier(2)`, while another one uses the same end and needs
/// no turns for that.
pub(super) fn no_turns() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "a filter refuses membarrier(2) to this thread, and another thread or process keeps this end to itself",
    )
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Full => f.write_str("the pipe is full"),
            Self::TimedOut => f.write_str("the pipe stayed full until the timeout"),
            Self::Encode(e) => write!(f, "the value cannot be serialised: {e}"),
            Self::Damaged => f.write_str(DAMAGED),
            Self::Io(e) => write!(f, "cannot send: {e}"),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Empty => f.write_str("the pipe is empty"),
            Self::TimedOut => f.write_str("the pipe stayed empty until the timeout"),
            Self::Decode(e) => write!(f, "the message is not a value of the pipe's type: {e}"),
            Self::Damaged => f.write_str(DAMAGED),
            Self::Io(e) => write!(f, "cannot receive: {e}"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode(e) => Some(e),
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl Error for RecvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Decode(e) => Some(e),
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

/// For streams: a closed pipe is a broken one to write to.
impl From<SendError> for io::Error {
    fn from(e: SendError) -> Self {
        let kind = match e {
            SendError::Io(e) => return e,
            SendError::Closed => io::ErrorKind::BrokenPipe,
            SendError::Full => io::ErrorKind::WouldBlock,
            SendError::TimedOut => io::ErrorKind::TimedOut,
            SendError::Encode(_) | SendError::Damaged => io::ErrorKind::InvalidData,
        };
        Self::new(kind, e)
    }
}

impl From<RecvError> for io::Error {
    fn from(e: RecvError) -> Self {
        let kind = match e {
            RecvError::Io(e) => return e,
            RecvError::Closed => io::ErrorKind::UnexpectedEof,
            RecvError::Empty => io::ErrorKind::WouldBlock,
            RecvError::TimedOut => io::ErrorKind::TimedOut,
            RecvError::Decode(_) | RecvError::Damaged => io::ErrorKind::InvalidData,
        };
        Self::new(kind, e)
    }
}
