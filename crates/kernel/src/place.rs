//! A name in a directory of the file system, used where strangers may write too.
//!
//! A path is looked up once, to open its directory. Everything after that goes by the directory's descriptor and the
//! last name: no other user can lead it elsewhere by a symbolic link or by moving directories about.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    sys::stat::{Mode, SFlag, fstat, fstatat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

pub use crate::sys::open_file::FileId;
use crate::{
    futex::Deadline,
    sys::{fds, mode, ofd_lock},
};

/// How long to wait for another process's [turn](Place::take_turn), which takes microseconds.
const LONGEST_TURN: Duration = Duration::from_secs(5);
/// How often to look whether that turn is over.
const LOOK: Duration = Duration::from_millis(1);

/// A name in a directory. Holds one descriptor.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// A file that was found at a place. While its descriptor is open, no other file gets its number.
#[derive(Debug)]
pub struct Found {
    file: OwnedFd,
    id: FileId,
    kind: SFlag,
    mode: u32,
    uid: u32,
}

impl Place {
    /// The place that `path` leads to now. There may be nothing there yet.
    ///
    /// # Errors
    /// `EINVAL` for a path without a last name; `ENOENT`, `ENOTDIR`, `EACCES` if its directory cannot be used; `EMFILE`,
    /// `ENFILE` if descriptors are short.
    pub fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().filter(|_| !path.as_os_str().as_bytes().ends_with(b"/")).ok_or(Errno::EINVAL)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        Ok(Self { dir: fds::above_standard_streams(dir)?, name: name.into(), path: path.into() })
    }

    /// The path that it was found by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What lies there: the file itself, also if it is a symbolic link. `None` if there is nothing.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn find(&self) -> io::Result<Option<Found>> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match openat(&self.dir, self.name.as_os_str(), flags, Mode::empty()) {
            Ok(file) => fds::above_standard_streams(file)?,
            Err(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let stat = fstat(&file)?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        Ok(Some(Found { id: FileId::from(&stat), file, kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid }))
    }

    /// Whether that very file lies there.
    pub fn holds(&self, id: FileId) -> bool {
        fstatat(&self.dir, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileId::from(&stat) == id)
    }

    /// Opens what lies there. Never follows a symbolic link (`ELOOP`), never waits for the other end of a named pipe.
    pub fn open(&self, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        open_in(&self.dir, &self.name, flags, mode)
    }

    /// Removes the name.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Until dropped, no other process of this user takes over what lies there.
    ///
    /// The lock is on a file beside it, `.NAME.turn`, that no other user can open and that is removed in the end. It is not
    /// on the directory or the file: any user that can read those can lock them, and hold all others up. A process that is
    /// killed in its turn may leave the file behind; the next turn takes that.
    ///
    /// # Errors
    /// `EPERM` if that file is another user's; `EBUSY` if another process does not end its turn in five seconds; what
    /// the file system reports.
    pub fn take_turn(&self) -> io::Result<Turn<'_>> {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".turn");
        let deadline = Deadline::after(LONGEST_TURN);
        loop {
            let file = open_in(&self.dir, &name, OFlag::O_RDWR | OFlag::O_CREAT, Mode::S_IRUSR | Mode::S_IWUSR)?;
            let stat = fstat(&file)?;
            if stat.st_uid != geteuid().as_raw() {
                let text = format!("{} beside it belongs to user {}", name.display(), stat.st_uid);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            if ofd_lock::try_exclude(file.as_fd(), 1)? {
                let there = fstatat(&self.dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
                // Its former holder has removed it.
                if there.is_ok_and(|there| FileId::from(&there) == FileId::from(&stat)) {
                    return Ok(Turn { place: self, name, _locked: file });
                }
            } else if deadline.is_some_and(|deadline| deadline.has_passed()) {
                return Err(Errno::EBUSY.into());
            } else {
                std::thread::sleep(LOOK);
            }
        }
    }
}

fn open_in(dir: &OwnedFd, name: &OsStr, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
    let careful = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    fds::above_standard_streams(openat(dir, name, flags | careful, mode)?)
}

impl Found {
    /// Which file it is.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Whether it is a socket.
    pub fn is_socket(&self) -> bool {
        self.kind == SFlag::S_IFSOCK
    }

    /// The permission bits that it was found with.
    pub fn mode(&self) -> u32 {
        self.mode
    }

    /// Whose it is: a user's id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Sets the permission bits of this very file.
    ///
    /// # Errors
    /// What the file system reports. Before Linux 6.6, `ENOENT` where the process cannot see itself in `/proc`.
    pub fn set_mode(&self, bits: u32) -> io::Result<()> {
        Ok(mode::set(self.file.as_fd(), Mode::from_bits_truncate(bits))?)
    }
}

/// The right to take over what lies at a [`Place`], which one process at a time has.
#[derive(Debug)]
#[must_use = "the turn is over when this is dropped"]
pub struct Turn<'a> {
    place: &'a Place,
    name: OsString,
    _locked: OwnedFd,
}

impl Drop for Turn<'_> {
    /// Removed while it is locked, so that only our own file is removed.
    fn drop(&mut self) {
        let _ = unlinkat(&self.place.dir, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, sync::atomic::AtomicU32, sync::atomic::Ordering::SeqCst};

    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(what: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("proc-core-place-{what}-{}", std::process::id()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode_of(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn paths_without_a_last_name_are_refused() {
        for path in ["", "/", "..", "/tmp/..", "/tmp/x/"] {
            assert_eq!(Place::of(Path::new(path)).unwrap_err().raw_os_error(), Some(libc::EINVAL), "{path:?}");
        }
        assert_eq!(Place::of(Path::new("/no/such/name")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn a_link_is_not_followed_and_a_moved_directory_is_no_other() {
        let dir = Dir::new("link");
        let (here, there) = (dir.0.join("here"), dir.0.join("there"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&there).unwrap();
        fs::write(there.join("name"), "precious").unwrap();
        fs::write(here.join("name"), "ours").unwrap();
        let place = Place::of(&here.join("name")).unwrap();
        let found = place.find().unwrap().unwrap();
        // Another process moves the directory away, and puts a link to another one there.
        fs::rename(&here, dir.0.join("moved")).unwrap();
        symlink(&there, &here).unwrap();
        assert!(place.holds(found.id()));
        found.set_mode(0o640).unwrap();
        assert_eq!((mode_of(&dir.0.join("moved/name")), mode_of(&there.join("name"))), (0o640, 0o644));
        // And now the file itself.
        fs::remove_file(dir.0.join("moved/name")).unwrap();
        symlink(there.join("name"), dir.0.join("moved/name")).unwrap();
        assert!(!place.holds(found.id()));
        assert_eq!(place.open(OFlag::O_RDWR, Mode::empty()).unwrap_err(), Errno::ELOOP);
        found.set_mode(0o666).unwrap();
        assert_eq!(mode_of(&there.join("name")), 0o644);
        place.remove().unwrap();
        assert_eq!(fs::read(there.join("name")).unwrap(), b"precious");
    }

    #[test]
    fn turns_are_taken_one_at_a_time_and_leave_nothing() {
        let dir = Dir::new("turns");
        let path = dir.0.join("name");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let place = Place::of(&path).unwrap();
                        let _turn = place.take_turn().unwrap();
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
        // The next turn takes over what a killed process leaves.
        fs::write(dir.0.join(".name.turn"), "").unwrap();
        drop(Place::of(&path).unwrap().take_turn().unwrap());
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
    }
}
