//! The path that a listener is bound to, and its removal.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use kernel::place::{Found, Place};
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket},
        stat::{Mode, fchmod},
    },
    unistd::geteuid,
};

/// A path that a socket of this process is bound to; removed when dropped.
///
/// It is looked up once. From then on it is a name in that directory, and a file that a descriptor names: a user that may
/// write the directory can take the name away, but not have anything else changed or removed in its stead.
#[derive(Debug)]
pub(super) struct Claimed {
    place: Place,
    file: Found,
    /// A forked child leaves the path alone.
    pid: u32,
}

impl Claimed {
    /// Binds `socket` to `path`, gives that its mode, and has the socket `listen`. A path that no process is bound to any
    /// more is taken over.
    pub(super) fn bind(
        socket: &OwnedFd,
        path: &Path,
        mode: u32,
        listen: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self> {
        let address = UnixAddr::new(path)?;
        let place = Place::of(path)?;
        // Between finding out that a path is abandoned and removing it, no other process must do so and bind to it.
        let turn = place.take_turn()?;
        match place.find()? {
            None => {}
            Some(old) if is_abandoned(&old, &address)? => place.remove()?,
            Some(_) => return Err(Errno::EADDRINUSE.into()),
        }
        // What the path will have at most, from the moment that it exists.
        fchmod(socket, Mode::from_bits_truncate(mode))?;
        bind(socket.as_raw_fd(), &address)?;
        drop(turn);
        // Nothing was there before, so it is ours, or the path leads to another directory by now.
        let ours = place.find()?.filter(|file| file.is_socket() && file.uid() == geteuid().as_raw());
        let Some(file) = ours else { return Err(Errno::ENOENT.into()) };
        let wrong_mode = file.mode() != mode;
        let claimed = Self { place, file, pid: std::process::id() };
        if wrong_mode {
            claimed.set_mode(mode)?;
        }
        listen()?;
        Ok(claimed)
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_mode(mode)
    }
}

impl Drop for Claimed {
    /// While the socket is open: no process takes the path for abandoned, and so takes it over, before it is removed.
    fn drop(&mut self) {
        if self.pid == std::process::id() && self.place.holds(self.file.id()) {
            let _ = self.place.remove();
        }
    }
}

/// Whether it is a socket's path, and that socket is gone.
///
/// Asked with a socket of another type, which cannot connect. So one that is bound and does not listen yet is told from
/// none, and no listener hears of it.
fn is_abandoned(found: &Found, address: &UnixAddr) -> io::Result<bool> {
    if !found.is_socket() {
        return Ok(false);
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    // `EPROTOTYPE`: a process has it, with another kind of socket.
    Ok(connect(probe.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}
