//! Pipes with two ends, each of which sends and receives.

use std::{
    fmt, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

use kernel::handover::{self, Packed, Parcel};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};

use super::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
    biased::WaitLimit,
    end::{self, EndKind, Incoming, Outgoing, Parts},
    simplex::{Receiver, Sender},
    stream::{StreamReader, StreamWriter},
};

/// Makes a pipe: two connected ends, each of which sends and receives.
///
/// Takes one memory file and two sockets; 128 KiB of memory.
///
/// # Errors
/// `EMFILE`/`ENFILE` if descriptors are short, `ENOMEM`/`ENOSPC` if memory is.
///
/// # Examples
/// ```
/// let (a, b) = ipc::pipe::<(u32, String)>()?;
/// a.send(&(1, "hello".into()))?;
/// assert_eq!(b.recv()?, (1, "hello".into()));
/// drop(b);
/// assert!(matches!(a.recv(), Err(ipc::RecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "Pipe")]
pub fn pipe<T>() -> io::Result<(Connection<T>, Connection<T>)> {
    let (a, b) = end::pair(EndKind::A, EndKind::B)?;
    Ok((Connection::new(a.duplex()?), Connection::new(b.duplex()?)))
}

/// One end of a [`pipe`]: sends values to the other end and receives what that one sends.
///
/// Messages arrive whole, once, in order. A message may be as large as memory allows; what is larger than the 64 KiB
/// of a direction goes through in pieces, so that the sender waits for the receiver. Values may hold handles: other
/// connections, queues, locks, descriptors.
///
/// Several threads may use an end at once. So may its clones, which are the same end, and other processes that an end was
/// handed over to: each message goes to one of them, whole (Python's may be corrupted). Best is **one process at a
/// time**, which is fast: those that share an end take turns, all but one look for news once a millisecond when they
/// wait, and a message with handles may fail to decode because they went to another process. Passing an end by value, as
/// an argument of a process, leaves no copy behind that would hide the end of file.
///
/// The descriptor ([`AsFd`]) is readable while there may be something to receive, and when the other end is closed; it
/// stops being so when a `try_recv` says `Empty` (not where a filter refuses `membarrier(2)`). The first use takes two more
/// descriptors. It tells one process only.
///
/// # Crash safety
/// If a process that has an end is killed at any instruction, then
/// - what it had sent (`send` had returned) is received; what it was sending is received whole or not at all;
/// - at most the one message that it was receiving is gone with it;
/// - other processes that use the same end carry on;
/// - the other end sees [`Closed`](RecvError::Closed) once it has received everything, as soon as the kernel has closed
///   the dead process's descriptors, also if it sleeps in `send` or `recv`; unless a copy of the end lives elsewhere.
pub struct Connection<T> {
    pub(super) sender: Sender<T>,
    pub(super) receiver: Receiver<T>,
}

impl<T> Connection<T> {
    pub(crate) fn new((outgoing, incoming): (Outgoing, Incoming)) -> Self {
        Self { sender: Sender::new(outgoing), receiver: Receiver::new(incoming) }
    }

    #[cfg(test)]
    pub(super) fn end_socket(&self) -> &super::socket::Socket {
        self.receiver.end.socket()
    }

    /// Sends what is packed already.
    pub(crate) fn send_parcel(&self, parcel: &Parcel<'_>) -> Result<(), SendError> {
        Ok(self.sender.end.send_parcel(parcel)?)
    }

    /// Sends what is packed already, and need not be sent again.
    pub(crate) fn send_packed(&self, packed: &Packed) -> Result<(), SendError> {
        Ok(self.sender.end.send_packed(packed, WaitLimit::FOREVER)?)
    }

    /// Receives a message as it came, and hands it to `f`.
    pub(crate) fn receive_with<R>(
        &self,
        f: impl FnOnce(&[u8], Vec<OwnedFd>) -> Result<R, RecvError>,
    ) -> Result<R, RecvError> {
        self.receiver.end.receive(WaitLimit::FOREVER, f)
    }

    /// Sends the bytes as a message, without serialising them. Waits while there is no room.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.sender.send_bytes(bytes)
    }

    /// Receives a message as bytes, as sent by [`send_bytes`](Self::send_bytes). Waits until there is one.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), but for `Decode`.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.receiver.recv_bytes()
    }

    /// Waits until there is something to receive, or the other end is closed, for at most `timeout`; `None` waits for
    /// ever. False if the time was over first.
    ///
    /// # Errors
    /// `Damaged` and `Io`, as [`recv`](Self::recv).
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool, RecvError> {
        self.receiver.poll(timeout)
    }

    /// The messages' bytes as a stream. What one message leaves over is kept for the next read of the same adaptor.
    pub fn reader(&self) -> StreamReader {
        self.receiver.reader()
    }

    /// A stream whose every write is a message of bytes.
    pub fn writer(&self) -> StreamWriter {
        self.sender.writer()
    }
}

impl<T: Serialize + DeserializeOwned> Connection<T> {
    /// Sends a value. Waits while there is no room.
    ///
    /// # Errors
    /// [`Closed`](SendError::Closed) if the other end is gone; `Encode` if the value does not serialise or would not arrive
    /// equal; `Damaged` if another process has overwritten the pipe's memory; `Io` if the kernel refuses to pass a
    /// descriptor on, or, with `PermissionDenied`, if a filter refuses `membarrier(2)` to this thread while another thread
    /// or process that is not refused it keeps this end to itself: nothing was sent then.
    ///
    /// # Panics
    /// If the value's own `Serialize` sends through the same end.
    #[inline]
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.sender.send(value)
    }

    /// Sends a value if there is room now. A message that is larger than the pipe never has.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full); else as [`send`](Self::send).
    pub fn try_send(&self, value: &T) -> Result<(), TrySendError> {
        self.sender.try_send(value)
    }

    /// Sends a value, waiting at most `timeout` for room. If the time is over amid a message, it is not delivered.
    ///
    /// # Errors
    /// [`TimedOut`](SendTimeoutError::TimedOut); else as [`send`](Self::send).
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendTimeoutError> {
        self.sender.send_timeout(value, timeout)
    }
}

impl<T: DeserializeOwned> Connection<T> {
    /// Receives a value. Waits until there is one.
    ///
    /// # Errors
    /// [`Closed`](RecvError::Closed) if the other end is gone and all it sent has been received; `Decode` if the message
    /// is not a `T`; `Damaged` if another process has overwritten the pipe's memory; `Io` if the kernel refuses, also
    /// `membarrier(2)`, as in [`send`](Self::send): nothing was received then.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receiver.recv()
    }

    /// Receives a value if there is one now.
    ///
    /// # Errors
    /// [`Empty`](TryRecvError::Empty); else as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Receives a value, waiting at most `timeout` for one.
    ///
    /// # Errors
    /// [`TimedOut`](RecvTimeoutError::TimedOut); else as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }
}

impl<T> Clone for Connection<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), receiver: self.receiver.clone() }
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("fd", &self.receiver.end.socket().as_fd()).finish_non_exhaustive()
    }
}

impl<T> AsFd for Connection<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl<T> AsRawFd for Connection<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T> Serialize for Connection<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handover::check_sending::<Self, S>()?;
        self.receiver.end.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Connection<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Parts::deserialize(deserializer)?.duplex().map(Self::new).map_err(de::Error::custom)
    }
}
