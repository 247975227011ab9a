//! What can go wrong with a queue: one small enum an operation, the same for both scopes.
//!
//! A queue between threads only ever reports `Closed`, `Full`, `Empty` and `TimedOut`; the other variants are for what
//! can only happen between processes. Whatever was not put comes back with the error.

use std::{error::Error, fmt, io};

use kernel::handover;

/// Why [`put`](crate::thread::Queue::put) failed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue has been closed.
    Closed(T),
    /// The value could not be serialised.
    Encode(T, handover::Error),
    /// The value is larger than the queue can carry.
    TooLarge(T),
    /// Another process has overwritten the queue's memory.
    Damaged(T),
    /// The system refused what the message needs, memory above all.
    System(T, io::ErrorKind),
}

/// Why [`try_put`](crate::thread::Queue::try_put) failed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryPutError<T> {
    /// There is no room now.
    Full(T),
    /// The queue has been closed.
    Closed(T),
    /// The value could not be serialised.
    Encode(T, handover::Error),
    /// The value is larger than the queue can carry.
    TooLarge(T),
    /// Another process has overwritten the queue's memory.
    Damaged(T),
    /// The system refused what the message needs, memory above all.
    System(T, io::ErrorKind),
}

/// Why [`put_timeout`](crate::thread::Queue::put_timeout) failed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutTimeoutError<T> {
    /// There was no room all the while.
    TimedOut(T),
    /// The queue has been closed.
    Closed(T),
    /// The value could not be serialised.
    Encode(T, handover::Error),
    /// The value is larger than the queue can carry.
    TooLarge(T),
    /// Another process has overwritten the queue's memory.
    Damaged(T),
    /// The system refused what the message needs, memory above all.
    System(T, io::ErrorKind),
}

/// Why [`get`](crate::thread::Queue::get) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// The queue has been closed and is empty.
    Closed,
    /// The message is not a value of this queue's type. It is gone; the next one is not affected.
    Decode(handover::Error),
    /// Another process has overwritten the queue's memory.
    Damaged,
    /// The system refused what the operation needs, memory above all.
    System(io::ErrorKind),
}

/// Why [`try_get`](crate::thread::Queue::try_get) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TryGetError {
    /// There is nothing now.
    Empty,
    /// The queue has been closed and is empty.
    Closed,
    /// The message is not a value of this queue's type. It is gone; the next one is not affected.
    Decode(handover::Error),
    /// Another process has overwritten the queue's memory.
    Damaged,
    /// The system refused what the operation needs, memory above all.
    System(io::ErrorKind),
}

/// Why [`get_timeout`](crate::thread::Queue::get_timeout) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetTimeoutError {
    /// There was nothing all the while.
    TimedOut,
    /// The queue has been closed and is empty.
    Closed,
    /// The message is not a value of this queue's type. It is gone; the next one is not affected.
    Decode(handover::Error),
    /// Another process has overwritten the queue's memory.
    Damaged,
    /// The system refused what the operation needs, memory above all.
    System(io::ErrorKind),
}

const CLOSED: &str = "the queue is closed";
const DAMAGED: &str = "the queue's memory has been overwritten by another process";

/// `Debug`, `Display`, `Error` and `into_inner` of the enums that carry the value back; none asks anything of `T`.
macro_rules! put_error {
    ($name:ident $(, $extra:ident: $text:literal)?) => {
        impl<T> $name<T> {
            /// The value that was not put.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$extra(value) => value,)?
                    Self::Closed(value) | Self::Encode(value, _) | Self::TooLarge(value) | Self::Damaged(value) => value,
                    Self::System(value, _) => value,
                }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$extra(_) => f.write_str(concat!(stringify!($extra), "(..)")),)?
                    Self::Closed(_) => f.write_str("Closed(..)"),
                    Self::Encode(_, e) => write!(f, "Encode(.., {e:?})"),
                    Self::TooLarge(_) => f.write_str("TooLarge(..)"),
                    Self::Damaged(_) => f.write_str("Damaged(..)"),
                    Self::System(_, kind) => write!(f, "System(.., {kind:?})"),
                }
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$extra(_) => f.write_str($text),)?
                    Self::Closed(_) => f.write_str(CLOSED),
                    Self::Encode(_, e) => write!(f, "the value cannot be serialised: {e}"),
                    Self::TooLarge(_) => f.write_str("the value is larger than the queue can carry"),
                    Self::Damaged(_) => f.write_str(DAMAGED),
                    Self::System(_, kind) => write!(f, "the queue cannot take the value: {kind}"),
                }
            }
        }

        impl<T> Error for $name<T> {}

    };
}

put_error!(PutError);
put_error!(TryPutError, Full: "the queue is full");
put_error!(PutTimeoutError, TimedOut: "the queue stayed full until the timeout");

macro_rules! from_put_error {
    ($name:ident) => {
        impl<T> From<PutError<T>> for $name<T> {
            fn from(e: PutError<T>) -> Self {
                match e {
                    PutError::Closed(value) => Self::Closed(value),
                    PutError::Encode(value, e) => Self::Encode(value, e),
                    PutError::TooLarge(value) => Self::TooLarge(value),
                    PutError::Damaged(value) => Self::Damaged(value),
                    PutError::System(value, kind) => Self::System(value, kind),
                }
            }
        }
    };
}

from_put_error!(TryPutError);
from_put_error!(PutTimeoutError);

/// `Display` and `Error` of the enums without a value.
macro_rules! get_error {
    ($name:ident $(, $extra:ident: $text:literal)?) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$extra => f.write_str($text),)?
                    Self::Closed => f.write_str(CLOSED),
                    Self::Decode(e) => write!(f, "the message is not a value of the queue's type: {e}"),
                    Self::Damaged => f.write_str(DAMAGED),
                    Self::System(kind) => write!(f, "the queue cannot be read: {kind}"),
                }
            }
        }

        impl Error for $name {}

    };
}

get_error!(GetError);
get_error!(TryGetError, Empty: "the queue is empty");
get_error!(GetTimeoutError, TimedOut: "the queue stayed empty until the timeout");

macro_rules! from_get_error {
    ($name:ident) => {
        impl From<GetError> for $name {
            fn from(e: GetError) -> Self {
                match e {
                    GetError::Closed => Self::Closed,
                    GetError::Decode(e) => Self::Decode(e),
                    GetError::Damaged => Self::Damaged,
                    GetError::System(kind) => Self::System(kind),
                }
            }
        }
    };
}

from_get_error!(TryGetError);
from_get_error!(GetTimeoutError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_give_the_value_back_and_ask_nothing_of_it() {
        struct Plain(u8);
        let error: TryPutError<Plain> = PutError::Closed(Plain(7)).into();
        let boxed: &dyn Error = &error;
        assert_eq!(boxed.to_string(), "the queue is closed");
        assert_eq!(format!("{error:?}"), "Closed(..)");
        assert_eq!(error.into_inner().0, 7);
        assert_eq!(GetTimeoutError::from(GetError::Damaged), GetTimeoutError::Damaged);
    }
}
