//! Why an operation stopped, before it is the error of one of the methods.

use std::io;

use super::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, biased::Blocked,
    ring::Damaged,
};

/// Why nothing was sent.
#[derive(Debug)]
pub(crate) enum SendStop {
    /// There was no room, or no turn to send, for as long as there was patience.
    WouldBlock,
    Failed(SendError),
}

/// Why nothing was received.
#[derive(Debug)]
pub(crate) enum RecvStop {
    /// There was no message, or no turn to receive, for as long as there was patience.
    WouldBlock,
    Failed(RecvError),
}

/// What an operation fails with in a process that is refused `membarrier(2)`, while another one uses the same end and needs
/// no turns for that.
fn no_turns() -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        "a filter refuses membarrier(2) to this thread, and another thread or process keeps this end to itself",
    )
}

/// The errors of one direction: of the operation that waits, of the one that does not, and of the one that does for a time.
macro_rules! stop {
    ($Stop:ident: $waits:literal, $Patient:ident, $Try:ident::$Now:ident, $Timeout:ident) => {
        impl From<$Patient> for $Stop {
            #[inline(always)]
            fn from(e: $Patient) -> Self {
                Self::Failed(e)
            }
        }

        impl From<Damaged> for $Stop {
            #[inline(always)]
            fn from(Damaged: Damaged) -> Self {
                Self::Failed($Patient::Damaged)
            }
        }

        impl From<Blocked> for $Stop {
            fn from(blocked: Blocked) -> Self {
                match blocked {
                    Blocked::TimedOut => Self::WouldBlock,
                    Blocked::Refused => Self::Failed($Patient::Io(no_turns())),
                }
            }
        }

        impl From<$Stop> for $Patient {
            fn from(stop: $Stop) -> Self {
                match stop {
                    $Stop::Failed(e) => e,
                    $Stop::WouldBlock => unreachable!($waits),
                }
            }
        }

        impl From<$Stop> for $Try {
            fn from(stop: $Stop) -> Self {
                match stop {
                    $Stop::Failed(e) => e.into(),
                    $Stop::WouldBlock => Self::$Now,
                }
            }
        }

        impl From<$Stop> for $Timeout {
            fn from(stop: $Stop) -> Self {
                match stop {
                    $Stop::Failed(e) => e.into(),
                    $Stop::WouldBlock => Self::TimedOut,
                }
            }
        }
    };
}

stop!(SendStop: "`send` waits without a deadline", SendError, TrySendError::Full, SendTimeoutError);
stop!(RecvStop: "`recv` waits without a deadline", RecvError, TryRecvError::Empty, RecvTimeoutError);
