//! Which users a listener or a client talks to.

use std::{io, os::fd::AsFd};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::pipe::socket::MAX_FDS;

/// With whom to talk. The kernel vouches for who the other process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Peers {
    /// Processes of this process's user.
    #[default]
    SameUser,
    /// Processes of the user with this id, and of this process's own.
    User(u32),
    /// All that can reach the address.
    Anyone,
}

impl Peers {
    /// Fails unless the process at the other end of `socket` is one of them.
    pub(super) fn check(self, socket: &impl AsFd) -> io::Result<()> {
        let uid = getsockopt(&socket, PeerCredentials)?.uid();
        let is_mine = uid == nix::unistd::geteuid().as_raw();
        let is_fine = match self {
            Self::SameUser => is_mine,
            Self::User(id) => is_mine || uid == id,
            Self::Anyone => true,
        };
        if is_fine {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("the other process belongs to user {uid}")))
    }

    /// How many descriptors they may have waiting for their message, unless told otherwise: as many as one packet brings,
    /// or few, if they are strangers.
    pub(super) fn max_descriptors(self) -> usize {
        if self == Self::SameUser { MAX_FDS } else { 16 }
    }

    /// The mode of the path to listen at.
    pub(super) fn mode(self) -> u32 {
        if self == Self::SameUser { 0o600 } else { 0o666 }
    }
}
