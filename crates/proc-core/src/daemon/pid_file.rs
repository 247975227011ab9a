//! The file that holds a daemon's pid.
//!
//! What counts is its lock, not what it says. The daemon locks the first bytes of the file exclusively. The number of bytes
//! identifies it: it is its pid and its pid namespace, in one number. The kernel keeps that lock for as long as the
//! daemon has its memory ([`Kept`]): nothing that the daemon opens or closes drops it, a forked child has no part in it,
//! and the daemon's end in whatever way releases it. Only a process that may write the file can have such a lock, so the
//! file must belong to root or to the calling user.
//!
//! A file that no daemon holds is never written to: it is removed and made anew, in one [turn](Place::take_turn). So no
//! lock that a stranger has on the old one matters.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{Mode, SFlag, fchmod, fstat},
    unistd::geteuid,
};

use super::error::{DaemonError, DaemonFailure};
use kernel::{
    futex::Deadline,
    identity::PidNamespace,
    place::{FileId, Place},
    sys::{at_exit, ofd_lock, open_file::Kept, pidfd},
};

/// The calling process's own pid file.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

struct Held {
    pid: u32,
    place: Place,
    id: FileId,
    /// Of another opening, for writing: forked children have it too.
    file: File,
    _lock: Kept,
}

/// The holder of a pid file, as the length of the lock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    /// The inode of its pid namespace, 0 if that was unknown.
    namespace: u32,
}

/// Pids have at most 22 bits (`PID_MAX_LIMIT`).
const PID_BITS: u32 = 22;
/// More than any pid file is long.
const LONGEST: usize = 32;

impl Holder {
    fn me() -> Self {
        let namespace = PidNamespace::current().map_or(0, PidNamespace::inode);
        Self { pid: std::process::id(), namespace }
    }

    fn to_len(self) -> i64 {
        i64::from(self.namespace) << PID_BITS | i64::from(self.pid)
    }

    fn from_len(len: i64) -> Self {
        let pid = len & ((1 << PID_BITS) - 1);
        Self { pid: pid as u32, namespace: (len >> PID_BITS) as u32 }
    }

    fn of(file: &impl AsFd) -> nix::Result<Option<Self>> {
        Ok(ofd_lock::excluded(file.as_fd())?.map(Self::from_len))
    }
}

/// Takes the file for the calling process, which is to be the daemon and has one thread.
pub(super) fn claim(path: &Path, umask: Mode) -> Result<(), DaemonFailure> {
    let failed = |what: &str, e: io::Error| {
        DaemonFailure::system(format!("{what} the pid file {}", path.display()))(errno_of(&e))
    };
    let place = Place::of(path).map_err(|e| failed("reach", e))?;
    let _turn = place.take_turn().map_err(|e| failed("take over", e))?;
    if let Some(old) = open(&place).map_err(|refused| refused.into_failure(path))? {
        if let Some(Holder { pid, .. }) = Holder::of(&old).map_err(|e| failed("lock", e.into()))? {
            return Err(DaemonFailure::AlreadyRunning { pid, pid_file: path.to_owned() });
        }
        if !says_a_pid(old).map_err(|e| failed("read", e))? {
            return Err(Refused::NoPidFile.into_failure(path));
        }
        place.remove().map_err(|e| failed("replace", e))?;
    }
    // Until it is locked, no other user can open it.
    let private = Mode::S_IRUSR | Mode::S_IWUSR;
    let locked = place.open(OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL, private);
    let locked = locked.map_err(|e| failed("make", e.into()))?;
    let me = Holder::me();
    let is_ours = ofd_lock::try_exclude(locked.as_fd(), me.to_len()).map_err(|e| failed("lock", e.into()))?;
    let lock = Kept::new(locked.as_fd()).map_err(|e| failed("lock", e.into()))?;
    let id = FileId::of(locked.as_fd()).map_err(|e| failed("lock", e.into()))?;
    let mut file = File::from(place.open(OFlag::O_RDWR, Mode::empty()).map_err(|e| failed("open", e.into()))?);
    if !is_ours || FileId::of(file.as_fd()) != Ok(id) {
        return Err(failed("lock", Errno::EBUSY.into()));
    }
    let readable = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
    let written = file.write_all(format!("{}\n", me.pid).as_bytes());
    written.and_then(|()| Ok(fchmod(&file, readable.difference(umask))?)).map_err(|e| failed("write", e))?;
    drop((locked, _turn));
    *held() = Some(Held { pid: me.pid, place, id, file, _lock: lock });
    at_exit::register(remove);
    Ok(())
}

/// At the daemon's exit. One that is killed leaves the file to the next.
fn remove() {
    let held = held();
    if let Some(held) = held.as_ref().filter(|held| held.pid == std::process::id())
        && (!held.place.holds(held.id) || held.place.remove().is_err())
    {
        // The user that the daemon became may not do that.
        let _ = held.file.set_len(0);
    }
}

/// Why what lies there is not taken for a pid file.
enum Refused {
    Io(io::Error),
    Link,
    NoPidFile,
    OfUser(u32),
    Writable,
}

impl Refused {
    fn into_failure(self, path: &Path) -> DaemonFailure {
        let path = path.display();
        match self {
            Self::Io(e) => DaemonFailure::system(format!("open the pid file {path}"))(errno_of(&e)),
            Self::Link => DaemonFailure::system(format!("use {path} as pid file: it is a symbolic link"))(Errno::ELOOP),
            Self::NoPidFile => {
                DaemonFailure::system(format!("use {path} as pid file: it is something else"))(Errno::EEXIST)
            }
            Self::OfUser(uid) => {
                DaemonFailure::system(format!("trust the pid file {path}: it belongs to user {uid}"))(Errno::EPERM)
            }
            Self::Writable => {
                DaemonFailure::system(format!("trust the pid file {path}: other users may write it"))(Errno::EPERM)
            }
        }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Io(e) => e,
            Refused::Link => Self::new(io::ErrorKind::InvalidInput, "the pid file is a symbolic link"),
            Refused::NoPidFile => Self::new(io::ErrorKind::InvalidInput, "that is no pid file"),
            Refused::OfUser(uid) => {
                Self::new(io::ErrorKind::PermissionDenied, format!("the pid file belongs to user {uid}"))
            }
            Refused::Writable => Self::new(io::ErrorKind::PermissionDenied, "other users may write the pid file"),
        }
    }
}

/// Opens the file to look at; `None` if there is none.
fn open(place: &Place) -> Result<Option<OwnedFd>, Refused> {
    let file = match place.open(OFlag::O_RDONLY, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::ELOOP) => return Err(Refused::Link),
        // A socket, or a device without a driver.
        Err(Errno::ENXIO) => return Err(Refused::NoPidFile),
        Err(e) => return Err(Refused::Io(e.into())),
    };
    let stat = fstat(&file).map_err(|e| Refused::Io(e.into()))?;
    if stat.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
        return Err(Refused::NoPidFile);
    }
    if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
        return Err(Refused::OfUser(stat.st_uid));
    }
    if stat.st_mode & (Mode::S_IWGRP | Mode::S_IWOTH).bits() != 0 {
        return Err(Refused::Writable);
    }
    Ok(Some(file))
}

/// Whether the file says what a pid file does, or nothing: then it may be removed.
fn says_a_pid(file: OwnedFd) -> io::Result<bool> {
    let mut text = Vec::new();
    File::from(file).take(LONGEST as u64).read_to_end(&mut text)?;
    Ok(text.len() < LONGEST && text.trim_ascii().iter().all(u8::is_ascii_digit))
}

/// The holder of the file, and which file that is.
fn find(pid_file: &Path) -> io::Result<Option<(Holder, FileId)>> {
    let place = match Place::of(pid_file) {
        Ok(place) => place,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let Some(file) = open(&place)? else { return Ok(None) };
    let Some(holder) = Holder::of(&file)? else { return Ok(None) };
    if holder.namespace != Holder::me().namespace {
        let text = format!("process {} of another pid namespace holds the pid file", holder.pid);
        return Err(io::Error::other(text));
    }
    Ok(Some((holder, FileId::of(file.as_fd())?)))
}

/// The pid of the daemon that holds this pid file; `None` if there is no such daemon or no such file.
///
/// # Errors
/// If the file cannot be opened, is a symbolic link or no regular file, belongs to neither root nor the calling user, or
/// may be written by others; if the daemon is one of another pid namespace, where its pid means another process.
pub fn pid_of(pid_file: impl AsRef<Path>) -> io::Result<Option<u32>> {
    Ok(find(pid_file.as_ref())?.map(|(holder, _)| holder.pid))
}

/// Ends the daemon that holds this pid file: SIGTERM, ten seconds, SIGKILL. Returns once it has ended.
///
/// # Errors
/// [`DaemonError::NotRunning`] if no daemon holds the file, [`DaemonError::System`] for one of another user and for what
/// [`pid_of`] does not believe: no process is signalled then.
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
    let find = || find(pid_file).map_err(|e| failed("find", e));
    let not_running = || DaemonError::NotRunning { pid_file: pid_file.to_owned() };
    let found = find()?.ok_or_else(not_running)?;
    let daemon = match pidfd::open(found.0.pid) {
        Ok(daemon) => daemon,
        Err(Errno::ESRCH) => return Err(not_running()),
        Err(e) => return Err(failed("find", e.into())),
    };
    // It held the file after the descriptor was opened, so that is what the descriptor names.
    if find()? != Some(found) {
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

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn held() -> std::sync::MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
