//! The forms of sending and receiving that only differ in how long they wait.

use std::time::{Duration, Instant};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Connection, Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, biased::WaitLimit,
};
use crate::time::remaining;

macro_rules! sending {
    ($End:ident, $self:ident, $outgoing:expr) => {
        impl<T: Serialize + DeserializeOwned> $End<T> {
            /// Sends a value, waiting for room until `deadline`. If the time is over amid a message, it is not delivered.
            ///
            /// # Errors
            /// As [`send_timeout`](Self::send_timeout).
            pub fn send_deadline(&self, value: &T, deadline: Instant) -> Result<(), SendTimeoutError> {
                self.send_timeout(value, remaining(deadline))
            }
        }

        impl<T> $End<T> {
            /// Sends the bytes as a message if there is room now; see [`send_bytes`](Self::send_bytes).
            ///
            /// # Errors
            /// As [`try_send`](Self::try_send), but for `Encode`.
            pub fn try_send_bytes(&$self, bytes: &[u8]) -> Result<(), TrySendError> {
                Ok($outgoing.send_bytes(bytes, WaitLimit::None)?)
            }

            /// Sends the bytes as a message, waiting at most `timeout` for room; see [`send_bytes`](Self::send_bytes).
            ///
            /// # Errors
            /// As [`send_timeout`](Self::send_timeout), but for `Encode`.
            pub fn send_bytes_timeout(&$self, bytes: &[u8], timeout: Duration) -> Result<(), SendTimeoutError> {
                Ok($outgoing.send_bytes(bytes, WaitLimit::of(Some(timeout)))?)
            }

            /// Sends the bytes as a message, waiting for room until `deadline`; see [`send_bytes`](Self::send_bytes).
            ///
            /// # Errors
            /// As [`send_timeout`](Self::send_timeout), but for `Encode`.
            pub fn send_bytes_deadline(&self, bytes: &[u8], deadline: Instant) -> Result<(), SendTimeoutError> {
                self.send_bytes_timeout(bytes, remaining(deadline))
            }
        }
    };
}

macro_rules! receiving {
    ($End:ident, $self:ident, $incoming:expr) => {
        impl<T: DeserializeOwned> $End<T> {
            /// Receives a value, waiting for one until `deadline`.
            ///
            /// # Errors
            /// As [`recv_timeout`](Self::recv_timeout).
            pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
                self.recv_timeout(remaining(deadline))
            }
        }

        impl<T> $End<T> {
            /// Receives a message as bytes if there is one now; see [`recv_bytes`](Self::recv_bytes).
            ///
            /// # Errors
            /// As [`try_recv`](Self::try_recv), but for `Decode`.
            pub fn try_recv_bytes(&$self) -> Result<Vec<u8>, TryRecvError> {
                Ok($incoming.receive_bytes(WaitLimit::None)?)
            }

            /// Receives a message as bytes, waiting at most `timeout` for one; see [`recv_bytes`](Self::recv_bytes).
            ///
            /// # Errors
            /// As [`recv_timeout`](Self::recv_timeout), but for `Decode`.
            pub fn recv_bytes_timeout(&$self, timeout: Duration) -> Result<Vec<u8>, RecvTimeoutError> {
                Ok($incoming.receive_bytes(WaitLimit::of(Some(timeout)))?)
            }

            /// Receives a message as bytes, waiting for one until `deadline`; see [`recv_bytes`](Self::recv_bytes).
            ///
            /// # Errors
            /// As [`recv_timeout`](Self::recv_timeout), but for `Decode`.
            pub fn recv_bytes_deadline(&self, deadline: Instant) -> Result<Vec<u8>, RecvTimeoutError> {
                self.recv_bytes_timeout(remaining(deadline))
            }
        }
    };
}

sending!(Sender, self, self.end);
sending!(Connection, self, self.sender.end);
receiving!(Receiver, self, self.end);
receiving!(Connection, self, self.receiver.end);
