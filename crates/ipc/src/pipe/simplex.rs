//! One-way pipes.

use std::{
    fmt, io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
    time::Duration,
};

use kernel::handover;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned};

use super::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
    biased::WaitLimit,
    end::{self, EndKind, Incoming, Outgoing, Parts},
    stop::RecvStop,
    stream::{StreamReader, StreamWriter},
};

/// Makes a one-way pipe: an end that sends and an end that receives.
///
/// # Errors
/// As [`pipe`](super::pipe()).
///
/// # Examples
/// ```
/// let (tx, rx) = ipc::channel::<u32>()?;
/// std::thread::spawn(move || (0..1000).for_each(|n| tx.send(&n).unwrap()));
/// assert_eq!(rx.iter().sum::<u32>(), 499_500);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel<T>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = end::pair(EndKind::Sender, EndKind::Receiver)?;
    Ok((Sender::new(sender.outgoing()?), Receiver::new(receiver.incoming()?)))
}

/// The sending end of a [`channel`]. All that is said of [`Connection`](super::Connection) holds.
pub struct Sender<T> {
    pub(super) end: Arc<Outgoing>,
    messages: PhantomData<fn(T)>,
}

/// The receiving end of a [`channel`]. All that is said of [`Connection`](super::Connection) holds.
pub struct Receiver<T> {
    pub(super) end: Arc<Incoming>,
    messages: PhantomData<fn() -> T>,
}

impl<T> Sender<T> {
    pub(super) fn new(end: Outgoing) -> Self {
        Self { end: Arc::new(end), messages: PhantomData }
    }

    /// Sends the bytes as a message, without serialising them. Waits while there is no room.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        Ok(self.end.send_bytes(bytes, WaitLimit::FOREVER)?)
    }

    /// A stream whose every write is a message of bytes.
    pub fn writer(&self) -> StreamWriter {
        StreamWriter::new(Arc::clone(&self.end))
    }
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// Sends a value. Waits while there is no room.
    ///
    /// # Errors
    /// As [`Connection::send`](super::Connection::send).
    ///
    /// # Panics
    /// If the value's own `Serialize` sends through the same end.
    #[inline]
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        Ok(self.end.send(value, WaitLimit::FOREVER)?)
    }

    /// Sends a value if there is room now. A message that is larger than the pipe never has.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full); else as [`send`](Self::send).
    pub fn try_send(&self, value: &T) -> Result<(), TrySendError> {
        Ok(self.end.send(value, WaitLimit::None)?)
    }

    /// Sends a value, waiting at most `timeout` for room. If the time is over amid a message, it is not delivered.
    ///
    /// # Errors
    /// [`TimedOut`](SendTimeoutError::TimedOut); else as [`send`](Self::send).
    pub fn send_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendTimeoutError> {
        Ok(self.end.send(value, WaitLimit::of(Some(timeout)))?)
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(end: Incoming) -> Self {
        Self { end: Arc::new(end), messages: PhantomData }
    }

    /// Receives a message as bytes. Waits until there is one.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), but for `Decode`.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        Ok(self.end.receive_bytes(WaitLimit::FOREVER)?)
    }

    /// Waits until there is something to receive, or the other end is closed, for at most `timeout`; `None` waits for
    /// ever. False if the time was over first.
    ///
    /// # Errors
    /// `Damaged` and `Io`, as [`recv`](Self::recv).
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool, RecvError> {
        self.end.poll(WaitLimit::of(timeout))
    }

    /// The messages' bytes as a stream. What one message leaves over is kept for the next read of the same adaptor.
    pub fn reader(&self) -> StreamReader {
        StreamReader::new(Arc::clone(&self.end))
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives a value. Waits until there is one.
    ///
    /// # Errors
    /// As [`Connection::recv`](super::Connection::recv).
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.end.receive(WaitLimit::FOREVER, decode)
    }

    /// Receives a value if there is one now.
    ///
    /// # Errors
    /// [`Empty`](TryRecvError::Empty); else as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.end.receive(WaitLimit::None, decode)
    }

    /// Receives a value, waiting at most `timeout` for one.
    ///
    /// # Errors
    /// [`TimedOut`](RecvTimeoutError::TimedOut); else as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.end.receive(WaitLimit::of(Some(timeout)), decode)
    }
}

#[inline(always)]
pub(super) fn decode<T: DeserializeOwned, E: From<RecvStop>>(bytes: &[u8], fds: Vec<OwnedFd>) -> Result<T, E> {
    // Only what was sent with descriptors needs the hand-over's context.
    if fds.is_empty()
        && let Ok(value) = wire::decode(bytes)
    {
        return Ok(value);
    }
    handover::unpack(bytes, fds).map_err(|e| RecvStop::Failed(RecvError::Decode(e)).into())
}

/// What handles have in common that are one direction of an end.
macro_rules! handle {
    ($name:ident, $direction:ident) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { end: Arc::clone(&self.end), messages: PhantomData }
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("fd", &self.end.socket().as_fd()).finish_non_exhaustive()
            }
        }

        impl<T> AsFd for $name<T> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.end.as_fd()
            }
        }

        impl<T> AsRawFd for $name<T> {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl<T> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                handover::check_sending::<Self, S>()?;
                self.end.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Parts::deserialize(deserializer)?.$direction().map(Self::new).map_err(de::Error::custom)
            }
        }
    };
}

handle!(Sender, outgoing);
handle!(Receiver, incoming);
