//! What a child has from its owner besides its function: as the owner has it when it starts the child.
//!
//! A process that is forked, or executed, has it by itself. The fork server was executed at some time before, and its
//! children have what it had then. So each start compares what the owner has now with that. What differs and can be given
//! along comes with the request ([`Inherited`]). What cannot is told to the fork server, or has it replaced ([`Fixed`]).
//!
//! This is done at each start, so it is made of cheap system calls. `/proc/self/status` tells most, but takes as long as
//! all of them; a process with one thread and without filters reads it again only when a [`Mark`] has changed.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd, RawFd},
        unix::fs::FileExt,
    },
    sync::{Mutex, OnceLock},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, open},
    sys::stat::{Mode, fstat},
    unistd::{self, AccessFlags, eaccess},
};

use crate::{lock::lock, options::Refusal, start::plain::plain};
use kernel::{
    fds::above_standard_streams,
    fork_local::ForkLocal,
    identity::PidNamespace,
    sys::{
        attributes::{self, CpuMask, Limit, N_LIMITS, Place},
        fds,
        mark::{self, Links, Mark},
        proc_fs::Threads,
    },
};

/// What the calling process has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) fixed: Fixed,
    /// If it is the same, so are the rights, and there are no filters; `None` if it is not known.
    pub(crate) mark: Option<Mark>,
    umask: Option<u32>,
    dir: Option<Place>,
    nice: i32,
    cpus: Option<CpuMask>,
    limits: [Limit; N_LIMITS],
    /// Device and inode of each standard stream that is open.
    streams: [Option<(u64, u64)>; 3],
}

/// What the children of a fork server cannot be given one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixed {
    /// Users, groups, capabilities and `no_new_privs`, as lines of `/proc/self/status`; empty without a `/proc`.
    pub(crate) rights: Vec<u8>,
    /// The root directory.
    pub(crate) root: Option<Place>,
    /// System call filters, and the namespaces of networks, users, and pids of children.
    pub(crate) sandbox: Sandbox,
}

/// What only a newly executed process gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sandbox {
    filters: Vec<u8>,
    /// Namespaces; `None` if it is not known which.
    network: Option<u64>,
    users: Option<u64>,
    pids: Option<u64>,
}

impl Sandbox {
    /// Whether the children that the calling process makes are in another pid namespace than itself.
    pub(crate) fn has_other_pids(&self) -> bool {
        let own = PidNamespace::current().map(|own| u64::from(own.inode()));
        self.pids.is_some() && own.is_some() && self.pids != own
    }

    /// Takes what is not known to be as it was before.
    pub(crate) fn assume_unknown(&mut self, before: &Self) {
        self.network = self.network.or(before.network);
        self.users = self.users.or(before.users);
        self.pids = self.pids.or(before.pids);
    }
}

/// `/proc/self/status`, kept open: it can be read in a chroot too.
#[derive(Default)]
struct Status(Mutex<Option<Opened>>);

struct Opened {
    file: File,
    /// Ids are told as they are in the user namespace of whoever opened it.
    users: Option<u64>,
}

static STATUS: ForkLocal<Status> = ForkLocal::new();

impl Status {
    fn read(&self) -> Vec<u8> {
        self.read_in(user_namespace())
    }

    /// In the user namespace `users`, if that is known.
    fn read_in(&self, users: Option<u64>) -> Vec<u8> {
        let mut opened = lock(&self.0);
        if opened.as_ref().is_none_or(|opened| users.is_some() && opened.users != users)
            && let Ok(file) = File::open("/proc/self/status")
            && let Ok(file) = above_standard_streams(file)
        {
            *opened = Some(Opened { file, users });
        }
        let Some(Opened { file, .. }) = &*opened else { return Vec::new() };
        let mut text = vec![0; 4096];
        loop {
            match file.read_at(&mut text, 0) {
                // There may be more: a user can be in thousands of groups.
                Ok(len) if len == text.len() => text.resize(2 * len, 0),
                Ok(len) => {
                    text.truncate(len);
                    return text;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Vec::new(),
            }
        }
    }
}

/// The mount namespace; `None` if it is unknown.
pub(crate) fn mount_namespace() -> Option<u64> {
    attributes::namespace(AT_FDCWD, c"/proc/thread-self/ns/mnt")
}

fn user_namespace() -> Option<u64> {
    attributes::namespace(AT_FDCWD, c"/proc/thread-self/ns/user")
}

static LINKS: ForkLocal<OnceLock<Option<Links>>> = ForkLocal::new();

/// The user namespace, the pid namespace of children, and the network; `None` if they are unknown.
fn namespaces(is_single_threaded: bool) -> [Option<u64>; 3] {
    let open = || {
        // For a fork in a root directory without a `/proc`.
        threads();
        Links::open().ok()
    };
    let links = || LINKS.get().get_or_init(open).as_ref();
    let of_thread = |link| attributes::namespace(AT_FDCWD, link);
    let [users, pids, network] = match links().filter(|_| is_single_threaded) {
        Some(links) => links.read(),
        None => [
            user_namespace(),
            of_thread(c"/proc/thread-self/ns/pid_for_children"),
            of_thread(c"/proc/thread-self/ns/net"),
        ],
    };
    // If there is a `/proc`, there is nobody in it yet.
    [users, pids.or(users.map(|_| 0)), network]
}

static THREADS: ForkLocal<OnceLock<Option<Threads>>> = ForkLocal::new();

fn threads() -> Option<&'static Threads> {
    THREADS.get().get_or_init(|| Threads::open().ok()).as_ref()
}

/// How many threads the calling process has; `None` if it had no `/proc` when it started its first child.
pub(crate) fn n_threads() -> Option<usize> {
    threads()?.count().ok()
}

/// What the calling process may do, for [`Credentials`](kernel::sys::credentials::Credentials).
pub(crate) fn rights() -> Vec<u8> {
    let status = STATUS.get().read();
    status.split_inclusive(|byte| *byte == b'\n').filter(|line| is_right(line)).flatten().copied().collect()
}

fn is_right(line: &[u8]) -> bool {
    matches!(
        line,
        [b'U', b'i', b'd', b':', ..]
            | [b'G', b'i', b'd', b':', ..]
            | [b'G', b'r', b'o', b'u', b'p', b's', b':', ..]
            | [b'C', b'a', b'p', ..]
            | [b'N', b'o', b'N', b'e', b'w', ..]
    )
}

impl Conditions {
    /// Those of the calling thread. What a look at `before` tells at less
    /// cost is taken from there.
    pub(crate) fn now(before: Option<&Self>) -> Self {
        let is_single_threaded = mark::is_single_threaded();
        let mark = Mark::now().filter(|_| is_single_threaded);
        let [users, pids, network] = namespaces(is_single_threaded);
        let (umask, rights, filters) = match before.filter(|before| mark.is_some() && before.mark == mark) {
            Some(before) => (Some(mark::umask()), before.fixed.rights.clone(), before.fixed.sandbox.filters.clone()),
            None => Self::told_by_status(users),
        };
        Self {
            mark,
            fixed: Fixed { rights, root: attributes::root(), sandbox: Sandbox { filters, network, users, pids } },
            umask,
            dir: attributes::working_dir(),
            nice: attributes::nice(),
            cpus: attributes::cpus(),
            limits: attributes::limits(),
            streams: [0, 1, 2]
                .map(|number| fstat(fds::standard_stream(number)).ok().map(|stat| (stat.st_dev, stat.st_ino))),
        }
    }

    /// The umask, the rights, and the filters.
    fn told_by_status(users: Option<u64>) -> (Option<u32>, Vec<u8>, Vec<u8>) {
        let status = STATUS.get().read_in(users);
        let (mut umask, mut rights, mut filters) = (None, Vec::new(), Vec::new());
        for line in status.split_inclusive(|byte| *byte == b'\n') {
            match line {
                [b'U', b'm', b'a', b's', b'k', b':', value @ ..] => umask = parse_octal(value),
                line if is_right(line) => rights.extend_from_slice(line),
                [b'S', b'e', b'c', b'c', b'o', b'm', b'p', ..] => filters.extend_from_slice(line),
                _ => {}
            }
        }
        (umask, rights, filters)
    }

    /// Whether a child of a fork server that has what was there at the time of `before` could go to the working directory.
    pub(crate) fn can_hand_down_dir(&self, before: &Self) -> bool {
        self.dir == before.dir || eaccess(".", AccessFlags::X_OK).is_ok()
    }

    /// Notes that whoever has these has the rights of `now`, and its root directory.
    pub(crate) fn take_over(&mut self, now: &Self) {
        self.fixed = now.fixed.clone();
        self.mark = now.mark.clone();
    }

    /// Notes that whoever has these has the root directory of `now`, and is in it.
    pub(crate) fn enter_root(&mut self, now: &Self) {
        self.dir = now.fixed.root;
    }

    /// What a child that has what was there at the time of `before` is to be given; `None` if it has it all.
    pub(crate) fn since(&self, before: &Self) -> nix::Result<Option<(Inherited, Vec<OwnedFd>)>> {
        if self == before {
            return Ok(None);
        }
        let mut fds = Vec::new();
        let has_dir = self.dir != before.dir;
        if has_dir {
            fds.push(above_standard_streams(open(
                ".",
                OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?)?);
        }
        let mut streams = [false; 3];
        for (number, given) in (0..).zip(&mut streams) {
            *given = self.streams[number] != before.streams[number];
            if *given {
                let stream = fds::standard_stream(number as RawFd);
                fds.push(match fds::duplicate(stream) {
                    // It has been closed, and nothing else is to come to lie there.
                    Err(Errno::EBADF) => above_standard_streams(fds::open_nothing(OFlag::O_CLOEXEC)?)?,
                    duplicate => duplicate?,
                });
            }
        }
        let limits = (0..N_LIMITS).filter(|at| self.limits[*at] != before.limits[*at]);
        let inherited = Inherited {
            has_dir,
            streams,
            umask: self.umask.filter(|_| self.umask != before.umask),
            nice: Some(self.nice).filter(|_| self.nice != before.nice),
            cpus: self.cpus.filter(|_| self.cpus != before.cpus),
            limits: limits.map(|at| (at as u8, self.limits[at])).collect(),
        };
        Ok(Some((inherited, fds)))
    }
}

fn parse_octal(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(text).ok()?.trim(), 8).ok()
}

/// `None::<Inherited>`, as it is written.
pub(crate) const INHERITS_NOTHING: &[u8] = &[0];

/// What comes with a request, for a child of a fork server whose owner has changed it since. The descriptors that belong to
/// it come first.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    has_dir: bool,
    streams: [bool; 3],
    umask: Option<u32>,
    nice: Option<i32>,
    cpus: Option<CpuMask>,
    limits: Vec<(u8, Limit)>,
}
plain!(Inherited { has_dir, streams, umask, nice, cpus, limits });

impl Inherited {
    /// How many descriptors belong to it.
    pub(crate) fn n_fds(&self) -> usize {
        usize::from(self.has_dir) + self.streams.iter().filter(|given| **given).count()
    }

    /// Gives them to the calling process.
    pub(crate) fn apply(&self, fds: Vec<OwnedFd>) -> Result<(), Refusal> {
        let mut fds = fds.into_iter();
        let what = |what: &str| format!("take over the owner's {what}");
        if self.has_dir
            && let Some(dir) = fds.next()
        {
            unistd::fchdir(dir).map_err(|e| (what("working directory"), e))?;
        }
        for (number, fd) in (0..).zip(self.streams).filter(|(_, given)| *given).map(|(n, _)| n).zip(fds) {
            fds::replace_standard_stream(fd.as_fd(), number).map_err(|e| (what("standard streams"), e))?;
        }
        if let Some(umask) = self.umask {
            nix::sys::stat::umask(Mode::from_bits_truncate(umask));
        }
        if let Some(nice) = self.nice {
            attributes::set_nice(nice).map_err(|e| (what("nice value"), e))?;
        }
        if let Some(cpus) = &self.cpus {
            attributes::set_cpus(cpus).map_err(|e| (what("CPUs"), e))?;
        }
        for (at, limit) in &self.limits {
            attributes::set_limit(*at, *limit).map_err(|e| (what("limits"), e))?;
        }
        Ok(())
    }
}
