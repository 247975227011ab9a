//! Connecting to a listener.

use std::{io, os::fd::AsRawFd, time::Duration};

use kernel::{fds::above_standard_streams, futex::Deadline};
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, connect, setsockopt, socket, sockopt::SendTimeout},
        time::TimeVal,
    },
};

use super::{Address, Peers};
use crate::{Connection, pipe::handshake};

/// Connects to a [`Listener`](super::Listener).
///
/// # Examples
/// ```
/// use std::{io::ErrorKind, time::Duration};
/// use ipc::Client;
///
/// // Nobody listens there.
/// let refused = Client::to("/run/no-such-service").timeout(Duration::from_secs(1)).open::<String>();
/// assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    peers: Peers,
    max_descriptors: Option<usize>,
    timeout: Option<Duration>,
}

impl Client {
    /// Connects to the process that listens at `address`, which must belong to the same user. Waits until it accepts.
    ///
    /// # Errors
    /// `ENOENT`, `ECONNREFUSED` if no process listens there; `PermissionDenied` if a process of another user does;
    /// `EMFILE`/`ENFILE` if descriptors are short.
    pub fn connect<T>(address: impl Into<Address>) -> io::Result<Connection<T>> {
        Self::to(address).open()
    }

    /// As [`connect`](Self::connect), waiting at most `timeout`.
    ///
    /// # Errors
    /// `TimedOut`; else as [`connect`](Self::connect).
    pub fn connect_timeout<T>(address: impl Into<Address>, timeout: Duration) -> io::Result<Connection<T>> {
        Self::to(address).timeout(timeout).open()
    }

    /// Begins to say how to connect to `address`; [`open`](Self::open) does.
    pub fn to(address: impl Into<Address>) -> Self {
        Self { address: address.into(), peers: Peers::SameUser, max_descriptors: None, timeout: None }
    }

    /// Who may listen there.
    pub fn allow(mut self, peers: Peers) -> Self {
        self.peers = peers;
        self
    }

    /// How many descriptors a message to this process may bring; as [`Listener::max_descriptors`].
    ///
    /// [`Listener::max_descriptors`]: super::Listener::max_descriptors
    pub fn max_descriptors(mut self, n: usize) -> Self {
        self.max_descriptors = Some(n);
        self
    }

    /// How long to wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and `TimedOut`.
    pub fn open<T>(&self) -> io::Result<Connection<T>> {
        let deadline = self.timeout.and_then(Deadline::after);
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        let socket = above_standard_streams(socket)?;
        let address = self.address.to_unix()?;
        loop {
            if let Some(deadline) = deadline {
                // The wait for a place in the listener's backlog. 0 would be without limit.
                let micros = i64::try_from(deadline.remaining().as_micros()).unwrap_or(i64::MAX).max(1);
                setsockopt(&socket, SendTimeout, &TimeVal::new(micros / 1_000_000, micros % 1_000_000))?;
            }
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{} is too busy", self.address)));
                }
                Err(e) => {
                    let e = io::Error::from(e);
                    return Err(io::Error::new(e.kind(), format!("cannot connect to {}: {e}", self.address)));
                }
            }
        }
        self.peers.check(&socket)?;
        let max_fds = self.max_descriptors.unwrap_or_else(|| self.peers.max_descriptors());
        handshake::accept(socket, deadline, max_fds.max(1)).map(Connection::new)
    }
}
