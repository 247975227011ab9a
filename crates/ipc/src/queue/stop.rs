//! Why an operation on values stopped, before it is the error of one of the methods.

use std::io;

use proc_core::handover;

use super::ring::Stop;
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

/// Why a message was not put.
pub(crate) enum PutStop {
    Full,
    Closed,
    Damaged,
    TooLarge,
    Encode(handover::Error),
    System(io::ErrorKind),
}

impl From<Stop> for PutStop {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::WouldBlock => Self::Full,
            Stop::Closed => Self::Closed,
            Stop::Damaged => Self::Damaged,
            Stop::System(io::ErrorKind::FileTooLarge) => Self::TooLarge,
            Stop::System(kind) => Self::System(kind),
        }
    }
}

impl PutStop {
    pub(crate) fn into_put_error<T>(self, value: T) -> PutError<T> {
        match self {
            Self::Closed => PutError::Closed(value),
            Self::Damaged => PutError::Damaged(value),
            Self::TooLarge => PutError::TooLarge(value),
            Self::Encode(e) => PutError::Encode(value, e),
            Self::System(kind) => PutError::System(value, kind),
            Self::Full => unreachable!("`put` waits, the others have an error of their own for it"),
        }
    }

    pub(crate) fn into_try_put_error<T>(self, value: T) -> TryPutError<T> {
        match self {
            Self::Full => TryPutError::Full(value),
            stop => stop.into_put_error(value).into(),
        }
    }

    pub(crate) fn into_put_timeout_error<T>(self, value: T) -> PutTimeoutError<T> {
        match self {
            Self::Full => PutTimeoutError::TimedOut(value),
            stop => stop.into_put_error(value).into(),
        }
    }
}

/// Why no message was got.
pub(crate) enum GetStop {
    Empty,
    Closed,
    Damaged,
    Decode(handover::Error),
    System(io::ErrorKind),
}

impl From<Stop> for GetStop {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::WouldBlock => Self::Empty,
            Stop::Closed => Self::Closed,
            Stop::Damaged => Self::Damaged,
            Stop::System(kind) => Self::System(kind),
        }
    }
}

impl From<handover::Error> for GetStop {
    fn from(e: handover::Error) -> Self {
        Self::Decode(e)
    }
}

impl GetStop {
    #[cold]
    #[inline(never)]
    pub(crate) fn undecodable(e: wire::Error) -> Self {
        Self::Decode(e.into())
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn into_get_error(self) -> GetError {
        match self {
            Self::Closed => GetError::Closed,
            Self::Damaged => GetError::Damaged,
            Self::Decode(e) => GetError::Decode(e),
            Self::System(kind) => GetError::System(kind),
            Self::Empty => unreachable!("`get` waits, the others have an error of their own for it"),
        }
    }

    pub(crate) fn into_try_get_error(self) -> TryGetError {
        match self {
            Self::Empty => TryGetError::Empty,
            stop => stop.into_get_error().into(),
        }
    }

    pub(crate) fn into_get_timeout_error(self) -> GetTimeoutError {
        match self {
            Self::Empty => GetTimeoutError::TimedOut,
            stop => stop.into_get_error().into(),
        }
    }
}
