//! Connections between processes that are no relatives: one listens at an address, the others connect to it.
//!
//! # Safety
//! The descriptor that `accept4` returns is taken charge of, once.
#![allow(unsafe_code)]

mod address;
mod client;
mod path;
mod peers;

use std::{
    fmt, io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

use kernel::{fds::above_standard_streams, futex::Deadline};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::socket::{AddressFamily, Backlog, SockFlag, SockType, accept4, bind, listen, socket},
};

use self::path::Claimed;
pub use self::{address::Address, client::Client, peers::Peers};
use crate::{Connection, pipe::handshake};

/// How many clients that may not connect are turned away after the deadline, before it counts.
const MAX_TURNED_AWAY: usize = 64;

/// Listens at an address for [`Client`]s, and makes a [`Connection`] with each.
///
/// The kernel says which user a client belongs to; without [`allow`](Self::allow), those of other users are turned away
/// unheard.
///
/// A path may lie in a directory that strangers can write: they can take the name away, and nothing else. Whatever they
/// put there instead is neither followed nor changed; no lock that they hold delays [`bind`](Self::bind) or the drop. A
/// listener at a path takes three descriptors, another one takes one.
///
/// # Crash safety
/// A path is removed when the listener is dropped. One that a killed listener left behind is taken over by the next; one
/// that another process listens at is an error. Clients that wait to be accepted when the listener dies get an error. A
/// client that dies at any moment, or says nothing, does not delay the others.
///
/// # Examples
/// ```
/// use ipc::{Client, Listener};
///
/// let path = std::env::temp_dir().join(format!("example-{}", std::process::id()));
/// let listener = Listener::<String>::bind(&path)?;
/// let stranger = std::thread::spawn({
///     let path = path.clone();
///     move || Client::connect::<String>(&path).unwrap().send(&"hello".into()).unwrap()
/// });
/// assert_eq!(listener.accept()?.recv()?, "hello");
/// # stranger.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Listener<T> {
    // Dropped, and so removed, before the socket is closed.
    claimed: Option<Claimed>,
    socket: OwnedFd,
    address: Address,
    peers: Peers,
    max_descriptors: Option<usize>,
    messages: PhantomData<fn(T) -> T>,
}

impl<T> Listener<T> {
    /// Begins to listen at `address`.
    ///
    /// # Errors
    /// `EADDRINUSE` if another process listens there, or the path is no socket's; `ENAMETOOLONG`/`EINVAL` for an address
    /// that is too long; else what the file system reports, and `EMFILE`/`ENFILE` if descriptors are short.
    pub fn bind(address: impl Into<Address>) -> io::Result<Self> {
        let address = address.into();
        let name = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen at {address}: {e}"));
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = above_standard_streams(socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)?;
        let begin = || listen(&socket, Backlog::MAXCONN).map_err(io::Error::from);
        let claimed = match &address {
            Address::Path(path) => Some(Claimed::bind(&socket, path, Peers::SameUser.mode(), begin).map_err(name)?),
            Address::Abstract(_) => {
                bind(socket.as_raw_fd(), &address.to_unix()?)
                    .map_err(io::Error::from)
                    .and_then(|()| begin())
                    .map_err(name)?;
                None
            }
        };
        Ok(Self { claimed, socket, address, peers: Peers::SameUser, max_descriptors: None, messages: PhantomData })
    }

    /// Sets who may connect. The path becomes open to them too.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn allow(mut self, peers: Peers) -> io::Result<Self> {
        if let Some(claimed) = &self.claimed {
            claimed.set_mode(peers.mode())?;
        }
        self.peers = peers;
        Ok(self)
    }

    /// Sets how many descriptors a message of a client may bring: 253 unless set, and 16 where other users may connect.
    ///
    /// A message that brings more fails to decode. Those that belong to no message are closed: a client can have this
    /// process hold at most about twice as many, however many it sends.
    pub fn max_descriptors(mut self, n: usize) -> Self {
        self.max_descriptors = Some(n);
        self
    }

    /// Waits for a client.
    ///
    /// # Errors
    /// `EMFILE`/`ENFILE` if descriptors are short, `ENOMEM`/`ENOSPC` if memory is.
    pub fn accept(&self) -> io::Result<Connection<T>> {
        loop {
            if let Some(connection) = self.accept_until(None)? {
                return Ok(connection);
            }
        }
    }

    /// Waits for a client, at most for `timeout`; `None` if none came. Those that may not connect do not prolong it, as
    /// many as they are.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<Option<Connection<T>>> {
        self.accept_until(Deadline::after(timeout))
    }

    /// Takes a client that is waiting; `None` if none is, or 64 before it may not connect: those are turned away, and the
    /// descriptor stays readable.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn try_accept(&self) -> io::Result<Option<Connection<T>>> {
        self.accept_until(Deadline::after(Duration::ZERO))
    }

    /// Waits for one client after the other.
    pub fn incoming(&self) -> impl Iterator<Item = io::Result<Connection<T>>> {
        std::iter::repeat_with(|| self.accept())
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn accept_until(&self, deadline: Option<Deadline>) -> io::Result<Option<Connection<T>>> {
        let max_fds = self.max_descriptors.unwrap_or_else(|| self.peers.max_descriptors());
        let mut n_turned_away = 0;
        let mut turned_away = || {
            n_turned_away += 1;
            n_turned_away >= MAX_TURNED_AWAY && deadline.is_some_and(|deadline| deadline.has_passed())
        };
        loop {
            match accept4(self.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
                Ok(fd) => {
                    // SAFETY: the kernel just made this descriptor for us.
                    let socket = above_standard_streams(unsafe { OwnedFd::from_raw_fd(fd) })?;
                    if self.peers.check(&socket).is_err() {
                        if turned_away() {
                            return Ok(None);
                        }
                        continue;
                    }
                    match handshake::offer(socket, max_fds.max(1)) {
                        Ok(end) => return Ok(Some(Connection::new(end))),
                        // It has gone away already.
                        Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {
                            if turned_away() {
                                return Ok(None);
                            }
                        }
                        Err(e) => return Err(e),
                    }
                }
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(Errno::EAGAIN) => {
                    let mut poll = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                    match ppoll(&mut poll, deadline.map(|d| d.remaining().into()), None) {
                        Ok(0) => return Ok(None),
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Readable when a client is waiting.
impl<T> AsFd for Listener<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<T> AsRawFd for Listener<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<T> fmt::Debug for Listener<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).field("peers", &self.peers).finish_non_exhaustive()
    }
}
