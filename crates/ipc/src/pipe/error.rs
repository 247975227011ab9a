//! What can go wrong with a pipe: one small enum an operation.
//!
//! A value is only lent to `send` and its like, so it is still the caller's after every error.

use std::{error::Error, fmt, io};

use kernel::handover;

/// Why [`send`](super::Sender::send) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is gone, in every process that had it: closed, exited or killed.
    Closed,
    /// The value could not be serialised.
    Encode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused, such as to pass on so many descriptors.
    Io(io::Error),
}

/// Why [`try_send`](super::Sender::try_send) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now.
    Full,
    /// The other end is gone, in every process that had it: closed, exited or killed.
    Closed,
    /// The value could not be serialised.
    Encode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused, such as to pass on so many descriptors.
    Io(io::Error),
}

/// Why [`send_timeout`](super::Sender::send_timeout) or [`send_deadline`](super::Sender::send_deadline) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendTimeoutError {
    /// There was not room enough all the while.
    TimedOut,
    /// The other end is gone, in every process that had it: closed, exited or killed.
    Closed,
    /// The value could not be serialised.
    Encode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused, such as to pass on so many descriptors.
    Io(io::Error),
}

/// Why [`recv`](super::Receiver::recv) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The other end is gone, in every process that had it: closed, exited or killed. Everything that it had sent has
    /// been received.
    Closed,
    /// The message is not a value of this pipe's type, or its descriptors could not all be taken in. It is gone; the
    /// next one is not affected.
    Decode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused.
    Io(io::Error),
}

/// Why [`try_recv`](super::Receiver::try_recv) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is nothing now.
    Empty,
    /// The other end is gone, in every process that had it: closed, exited or killed. Everything that it had sent has
    /// been received.
    Closed,
    /// The message is not a value of this pipe's type, or its descriptors could not all be taken in. It is gone; the
    /// next one is not affected.
    Decode(handover::Error),
    /// Another process has overwritten the pipe's memory.
    Damaged,
    /// The kernel refused.
    Io(io::Error),
}

/// Why [`recv_timeout`](super::Receiver::recv_timeout) or [`recv_deadline`](super::Receiver::recv_deadline) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// There was nothing all the while.
    TimedOut,
    /// The other end is gone, in every process that had it: closed, exited or killed. Everything that it had sent has
    /// been received.
    Closed,
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

/// `Display` and `Error` of an enum, and the same as an error of `std::io`.
macro_rules! error {
    ($name:ident: $verb:literal, $Codec:ident: $codec:literal, closed: $closed:ident $(, $Extra:ident: $text:literal, $kind:ident)?) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$Extra => f.write_str($text),)?
                    Self::Closed => f.write_str(CLOSED),
                    Self::$Codec(e) => write!(f, concat!($codec, ": {}"), e),
                    Self::Damaged => f.write_str(DAMAGED),
                    Self::Io(e) => write!(f, concat!("cannot ", $verb, ": {}"), e),
                }
            }
        }

        impl Error for $name {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::$Codec(e) => Some(e),
                    Self::Io(e) => Some(e),
                    _ => None,
                }
            }
        }

        /// For streams: a closed pipe is a broken one to write to, and the end of one to read from.
        impl From<$name> for io::Error {
            fn from(e: $name) -> Self {
                let kind = match e {
                    $name::Io(e) => return e,
                    $($name::$Extra => io::ErrorKind::$kind,)?
                    $name::Closed => io::ErrorKind::$closed,
                    $name::$Codec(_) | $name::Damaged => io::ErrorKind::InvalidData,
                };
                Self::new(kind, e)
            }
        }
    };
}

error!(SendError: "send", Encode: "the value cannot be serialised", closed: BrokenPipe);
error!(TrySendError: "send", Encode: "the value cannot be serialised", closed: BrokenPipe,
    Full: "the pipe is full", WouldBlock);
error!(SendTimeoutError: "send", Encode: "the value cannot be serialised", closed: BrokenPipe,
    TimedOut: "the pipe stayed full until the timeout", TimedOut);
error!(RecvError: "receive", Decode: "the message is not a value of the pipe's type", closed: UnexpectedEof);
error!(TryRecvError: "receive", Decode: "the message is not a value of the pipe's type", closed: UnexpectedEof,
    Empty: "the pipe is empty", WouldBlock);
error!(RecvTimeoutError: "receive", Decode: "the message is not a value of the pipe's type", closed: UnexpectedEof,
    TimedOut: "the pipe stayed empty until the timeout", TimedOut);

/// What an operation that waits fails with, as the error of one that waits less long.
macro_rules! from_patient {
    ($Patient:ident, $Codec:ident => $($name:ident),*) => {
        $(
            impl From<$Patient> for $name {
                fn from(e: $Patient) -> Self {
                    match e {
                        $Patient::Closed => Self::Closed,
                        $Patient::$Codec(e) => Self::$Codec(e),
                        $Patient::Damaged => Self::Damaged,
                        $Patient::Io(e) => Self::Io(e),
                    }
                }
            }
        )*
    };
}

from_patient!(SendError, Encode => TrySendError, SendTimeoutError);
from_patient!(RecvError, Decode => TryRecvError, RecvTimeoutError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_says_only_what_can_happen_to_it() {
        // Without a `_`: a variant too many does not compile.
        let ends = |e: RecvError| match e {
            RecvError::Closed | RecvError::Decode(_) | RecvError::Damaged | RecvError::Io(_) => TryRecvError::from(e),
        };
        assert!(matches!(ends(RecvError::Closed), TryRecvError::Closed));
        let sent = |e: SendError| match e {
            SendError::Closed | SendError::Encode(_) | SendError::Damaged | SendError::Io(_) => {
                SendTimeoutError::from(e)
            }
        };
        assert!(matches!(sent(SendError::Damaged), SendTimeoutError::Damaged));
        assert_eq!(io::Error::from(TrySendError::Full).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(io::Error::from(RecvTimeoutError::TimedOut).kind(), io::ErrorKind::TimedOut);
        assert_eq!(io::Error::from(RecvError::Closed).kind(), io::ErrorKind::UnexpectedEof);
    }
}
