use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket},
};

/// A path that a socket of this process is bound to; removed when dropped.
#[derive(Debug)]
pub(super) struct Claimed {
    path: PathBuf,
    /// Device and inode, so that only our own is removed.
    file: (u64, u64),
    /// A forked child leaves the path alone.
    pid: u32,
}

impl Claimed {
    /// Binds `socket` to `path`, gives that its mode, and has the socket `listen`. A path that nobody listens at any more
    /// is taken over.
    pub(super) fn bind(
        socket: &OwnedFd,
        path: &Path,
        mode: u32,
        listen: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self> {
        let address = UnixAddr::new(path)?;
        // Until it is listened at, a path looks like one that a dead process left behind.
        let _one_at_a_time = lock_directory(path)?;
        match bind(socket.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) if is_abandoned(path, &address)? => {
                fs::remove_file(path)?;
                bind(socket.as_raw_fd(), &address)?;
            }
            result => result?,
        }
        let metadata = fs::symlink_metadata(path)?;
        let claimed = Self { path: path.into(), file: (metadata.dev(), metadata.ino()), pid: std::process::id() };
        claimed.set_mode(mode)?;
        listen()?;
        Ok(claimed)
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        let _one_at_a_time = lock_directory(&self.path);
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Keeps other listeners from claiming paths in the same directory meanwhile; leaves nothing behind.
fn lock_directory(path: &Path) -> io::Result<Flock<File>> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut directory = File::open(directory)?;
    loop {
        match Flock::lock(directory, FlockArg::LockExclusive) {
            Ok(lock) => return Ok(lock),
            Err((again, Errno::EINTR)) => directory = again,
            Err((_, e)) => return Err(e.into()),
        }
    }
}

/// Whether `path` is a socket that nobody listens at.
fn is_abandoned(path: &Path, address: &UnixAddr) -> io::Result<bool> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    // `EPROTOTYPE`: somebody listens there, with another kind of socket.
    Ok(connect(probe.as_raw_fd(), address) == Err(Errno::ECONNREFUSED))
}
