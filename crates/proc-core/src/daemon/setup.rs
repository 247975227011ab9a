//! What a daemon does to itself before the user's code goes on.
//!
//! # Safety
//! The daemon has one thread. It closes descriptors by number that no value of this program owns.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    sys::stat::{Mode, umask},
    unistd::{self, Gid, Uid},
};

use super::{
    Daemonize,
    error::{DaemonError, DaemonFailure},
    identity::Identity,
    inherited, pid_file,
};
use crate::start::stdio::{Stream, Streams};
use kernel::sys::fds;

/// All that can be found out before the fork.
pub(super) struct Plan {
    pid_file: Option<PathBuf>,
    working_dir: PathBuf,
    umask: Mode,
    streams: Vec<OwnedFd>,
    user: Option<User>,
    group: Option<Gid>,
    kept: Vec<RawFd>,
}

struct User {
    id: Uid,
    /// Unknown for a user without a name.
    account: Option<(CString, Gid)>,
}

impl Plan {
    pub(super) fn of(wanted: Daemonize) -> Result<Self, DaemonError> {
        let failed = |operation: &str| {
            let operation = operation.to_owned();
            move |source| DaemonError::System { operation, source }
        };
        let asked = wanted.streams.map(|stream| Some(Stream::Asked(stream)));
        let streams = Streams::open(asked).map_err(failed("open its streams"))?;
        Ok(Self {
            // The daemon's working directory is another one.
            pid_file: wanted.pid_file.map(std::path::absolute).transpose().map_err(failed("find the pid file"))?,
            working_dir: wanted.working_dir,
            umask: Mode::from_bits_truncate(wanted.umask),
            streams: streams.theirs,
            user: wanted.user.as_ref().map(User::find).transpose()?,
            group: wanted.group.as_ref().map(find_group).transpose()?,
            kept: wanted.kept,
        })
    }

    /// Makes a daemon of the calling process.
    pub(super) fn apply(self) -> Result<(), DaemonFailure> {
        umask(self.umask);
        unistd::chdir(&self.working_dir)
            .map_err(DaemonFailure::system(format!("enter the directory {}", self.working_dir.display())))?;
        // Before the privileges that it may take are gone.
        if let Some(path) = &self.pid_file {
            pid_file::claim(path, self.umask)?;
        }
        for (number, stream) in (0..).zip(&self.streams) {
            fds::replace_standard_stream(stream.as_fd(), number)
                .map_err(DaemonFailure::system(format!("redirect standard stream {number}")))?;
        }
        close_inherited(&self.kept);
        become_user(self.user.as_ref(), self.group)
    }
}

impl User {
    fn find(user: &Identity) -> Result<Self, DaemonError> {
        let found = match user {
            Identity::Name(name) => unistd::User::from_name(name),
            Identity::Id(id) => unistd::User::from_uid(Uid::from_raw(*id)),
        };
        let found = found.map_err(|e| unknown("user", user, e))?;
        match (found, user) {
            (Some(found), _) => {
                let name = CString::new(found.name).map_err(|_| unknown("user", user, Errno::EINVAL))?;
                Ok(Self { id: found.uid, account: Some((name, found.gid)) })
            }
            (None, Identity::Id(id)) => Ok(Self { id: Uid::from_raw(*id), account: None }),
            (None, Identity::Name(_)) => Err(unknown("user", user, Errno::ENOENT)),
        }
    }
}

fn find_group(group: &Identity) -> Result<Gid, DaemonError> {
    match group {
        Identity::Id(id) => Ok(Gid::from_raw(*id)),
        Identity::Name(name) => match unistd::Group::from_name(name) {
            Ok(Some(found)) => Ok(found.gid),
            Ok(None) => Err(unknown("group", group, Errno::ENOENT)),
            Err(e) => Err(unknown("group", group, e)),
        },
    }
}

fn unknown(kind: &str, who: &Identity, errno: Errno) -> DaemonError {
    DaemonError::System { operation: format!("find the {kind} {who:?}"), source: errno.into() }
}

/// Groups first: the right to change them goes with the user.
fn become_user(user: Option<&User>, group: Option<Gid>) -> Result<(), DaemonFailure> {
    let account = user.and_then(|user| user.account.as_ref());
    if let Some(group) = group.or(account.map(|(_, group)| *group)) {
        unistd::setgid(group).map_err(DaemonFailure::system(format!("become a member of group {group}")))?;
    }
    let Some(user) = user else { return Ok(()) };
    let groups = match account {
        Some((name, own)) => unistd::initgroups(name, group.unwrap_or(*own)),
        None => unistd::setgroups(&[]),
    };
    groups.map_err(DaemonFailure::system("join the user's groups"))?;
    unistd::setuid(user.id).map_err(DaemonFailure::system(format!("become user {}", user.id)))
}

/// Closes what this program was started with, unless it has taken charge of it: marked it close-on-exec.
fn close_inherited(kept: &[RawFd]) {
    let open = inherited::open_now().unwrap_or_default();
    for fd in open.into_iter().filter(|fd| !kept.contains(fd) && inherited::is_inherited(*fd)) {
        // SAFETY: asks for the flags of a number; one that is not open is an error.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: nothing in this program has opened it.
            unsafe { libc::close(fd) };
        }
    }
}
