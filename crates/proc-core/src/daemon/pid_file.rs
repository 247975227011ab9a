//! The file that holds a daemon's pid.
//!
//! What counts is its lock, not what it says: a record lock of the daemon's, which the kernel releases when that
//! process ends in whatever way, and which tells everybody who asks whose it is. A copy of the descriptor in a forked
//! child of the daemon does not keep it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
};

use super::error::{DaemonError, Failure};
use crate::{
    fds::above_standard_streams,
    futex::Deadline,
    sys::{at_exit, pidfd, record_lock},
};

/// The calling process's own pid file. It must not be closed, nor opened a second time and then closed: the lock goes
/// with *any* descriptor of the file.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

struct Held {
    pid: u32,
    file: File,
    path: PathBuf,
    inode: (u64, u64),
}

/// Takes the file for the calling process, which is to be the daemon.
pub(super) fn claim(path: &Path) -> Result<(), Failure> {
    let failed =
        |what: &str, e: io::Error| Failure::system(format!("{what} the pid file {}", path.display()))(errno_of(&e));
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)
            .and_then(|file| Ok(above_standard_streams(file)?))
            .map_err(|e| failed("open", e))?;
        if !record_lock::try_lock(file.as_fd()).map_err(|e| failed("lock", e.into()))? {
            match holder(&file).map_err(|e| failed("lock", e.into()))? {
                Some(pid) => return Err(Failure::AlreadyRunning { pid, pid_file: path.to_owned() }),
                // Let go of in this moment.
                None => continue,
            }
        }
        let inode = inode(&file.metadata().map_err(|e| failed("read", e))?);
        // Whoever held it before may have removed it after we had opened it.
        if fs::metadata(path).is_ok_and(|there| self::inode(&there) == inode) {
            let pid = std::process::id();
            file.set_len(0).and_then(|()| writeln!(file, "{pid}")).map_err(|e| failed("write", e))?;
            *held() = Some(Held { pid, file, path: path.to_owned(), inode });
            at_exit::register(remove);
            return Ok(());
        }
    }
}

/// At the daemon's exit. One that is killed leaves the file to the next.
fn remove() {
    if let Some(held) = held().take_if(|held| held.pid == std::process::id())
        && fs::remove_file(&held.path).is_err()
    {
        // The user that the daemon became may not do that.
        let _ = held.file.set_len(0);
    }
}

/// The pid of the daemon that holds this pid file; `None` if there is no such daemon or no such file.
///
/// # Errors
/// If the file cannot be opened.
pub fn pid_of(pid_file: impl AsRef<Path>) -> io::Result<Option<u32>> {
    let pid_file = pid_file.as_ref();
    match fs::metadata(pid_file) {
        Ok(there) => {
            if let Some(held) = &*held()
                && held.inode == inode(&there)
            {
                return Ok(Some(held.pid));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    }
    match File::open(pid_file) {
        Ok(file) => Ok(holder(&file)?),
        // Its daemon has removed it in this moment.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Ends the daemon that holds this pid file: SIGTERM, ten seconds, SIGKILL. Returns once it has ended.
///
/// # Errors
/// [`DaemonError::NotRunning`] if no daemon holds the file, [`DaemonError::System`] for one of another user.
pub fn stop(pid_file: impl AsRef<Path>) -> Result<(), DaemonError> {
    stop_timeout(pid_file, Duration::from_secs(10))
}

/// [`stop`], with another time between SIGTERM and SIGKILL.
///
/// # Errors
/// As [`stop`].
pub fn stop_timeout(pid_file: impl AsRef<Path>, grace: Duration) -> Result<(), DaemonError> {
    let pid_file = pid_file.as_ref();
    let failed = |what: &str, source: io::Error| DaemonError::System {
        operation: format!("{what} the daemon of {}", pid_file.display()),
        source,
    };
    let find = || pid_of(pid_file).map_err(|e| failed("find", e));
    let not_running = || DaemonError::NotRunning { pid_file: pid_file.to_owned() };
    let pid = find()?.ok_or_else(not_running)?;
    let daemon = match pidfd::open(pid) {
        Ok(daemon) => daemon,
        Err(Errno::ESRCH) => return Err(not_running()),
        Err(e) => return Err(failed("find", e.into())),
    };
    // It held the file after the descriptor was opened, so that is what the descriptor names.
    if find()? != Some(pid) {
        return Err(not_running());
    }
    let signal = |signal| match pidfd::send_signal(daemon.as_fd(), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(failed("signal", e.into())),
    };
    signal(libc::SIGTERM)?;
    if !pidfd::wait_exit(daemon.as_fd(), Deadline::after(grace)).map_err(|e| failed("wait for", e.into()))? {
        signal(libc::SIGKILL)?;
        pidfd::wait_exit(daemon.as_fd(), None).map_err(|e| failed("wait for", e.into()))?;
    }
    Ok(())
}

/// Who has the lock; `None` if it is free.
fn holder(file: &File) -> nix::Result<Option<u32>> {
    let mut lock =
        libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid.cast_unsigned()))
}

fn inode(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn held() -> std::sync::MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
