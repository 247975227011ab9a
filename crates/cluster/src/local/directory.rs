//! Where a server of a pool's own keeps its files.
//!
//! Each has a lock, which the kernel drops with the guard that holds it. The next server removes those that no guard holds.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::getuid,
};

const LOCK: &str = "lock";
/// A younger one may be about to be locked.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// A path for a new one, which cannot be guessed.
pub(super) fn path(secret: &str) -> PathBuf {
    env::temp_dir().join(format!("{}{secret}", prefix()))
}

fn prefix() -> String {
    format!("cluster-nats-{}-", getuid())
}

/// Makes it, unless it is there, and holds it until the lock is dropped.
pub(super) fn hold(path: &Path) -> io::Result<Flock<fs::File>> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    if !is_ours(path) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is somebody else's", path.display())));
    }
    lock(path, FlockArg::LockExclusive)
}

fn is_ours(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == getuid().as_raw())
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<fs::File>> {
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path.join(LOCK))?;
    Flock::lock(file, how).map_err(|(_, e): (_, Errno)| e.into())
}

/// Removes what killed guards have left.
pub(super) fn remove_abandoned() {
    let is_old = |path: &Path| {
        let changed = path.metadata().and_then(|metadata| metadata.modified());
        changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED_AFTER))
    };
    // What cannot be removed now is left to the next one.
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix()));
        if is_one && is_ours(&path) && is_old(&path) && lock(&path, FlockArg::LockExclusiveNonblock).is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}
