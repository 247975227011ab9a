//! How system calls fail when the machine, the process or the user has run out of something, or a signal came: by their
//! manual pages, and only where a correct program can meet it.

use std::fs;

use libc::{MAP_ANONYMOUS, MAP_STACK};
use nix::errno::Errno::{self, *};
use test_support::step::Call;

/// A table is full.
const FULL: &[Errno] = &[EMFILE, ENFILE, ENOMEM];
const OPEN: &[Errno] = &[EMFILE, ENFILE, ENOMEM, EINTR];
const NAME: &[Errno] = &[ENOMEM, ENOSPC];
const POLL: &[Errno] = &[EINTR, ENOMEM];
const MEMORY: &[Errno] = &[ENOMEM];
const SIGNAL: &[Errno] = &[EINTR];
const WAIT: &[Errno] = &[EINTR, EAGAIN];
const STORE: &[Errno] = &[ENOSPC, EINTR, ENOMEM];
const START: &[Errno] = &[EAGAIN, ENOMEM];

/// The errors of each call, and its name. Not there: calls that do not fail, `close` and `munmap`, after whose errors
/// nothing can be done, and what ends or only looks at the process itself.
const CALLS: &[(i64, &str, &[Errno])] = &[
    (libc::SYS_memfd_create, "memfd_create", FULL),
    (libc::SYS_openat, "openat", OPEN),
    (libc::SYS_dup, "dup", &[EMFILE]),
    (libc::SYS_dup3, "dup3", &[EMFILE]),
    (libc::SYS_pipe2, "pipe2", &[EMFILE, ENFILE]),
    (libc::SYS_socket, "socket", FULL),
    (libc::SYS_socketpair, "socketpair", FULL),
    (libc::SYS_accept4, "accept4", &[EMFILE, ENFILE, ENOMEM, EINTR, ECONNABORTED]),
    (libc::SYS_eventfd2, "eventfd2", FULL),
    (libc::SYS_epoll_create1, "epoll_create1", FULL),
    (libc::SYS_timerfd_create, "timerfd_create", FULL),
    (libc::SYS_signalfd4, "signalfd4", FULL),
    (libc::SYS_inotify_init1, "inotify_init1", FULL),
    (libc::SYS_pidfd_open, "pidfd_open", FULL),
    (libc::SYS_pidfd_getfd, "pidfd_getfd", &[EMFILE]),
    (libc::SYS_fallocate, "fallocate", STORE),
    (libc::SYS_ftruncate, "ftruncate", SIGNAL),
    (libc::SYS_write, "write", &[ENOSPC, EINTR]),
    (libc::SYS_pwrite64, "pwrite64", STORE),
    (libc::SYS_writev, "writev", WAIT),
    (libc::SYS_read, "read", WAIT),
    (libc::SYS_readv, "readv", WAIT),
    (libc::SYS_pread64, "pread64", SIGNAL),
    (libc::SYS_sendmsg, "sendmsg", &[EINTR, EAGAIN, ENOMEM, ENOBUFS, ETOOMANYREFS]),
    // `EAGAIN` says that something is full, and nothing else does; whoever rings a bell relies on that, here and in
    // `write`.
    (libc::SYS_sendto, "sendto", &[EINTR, ENOMEM, ENOBUFS]),
    (libc::SYS_recvmsg, "recvmsg", &[EINTR, EAGAIN, ENOMEM]),
    (libc::SYS_recvfrom, "recvfrom", WAIT),
    (libc::SYS_connect, "connect", WAIT),
    (libc::SYS_bind, "bind", MEMORY),
    (libc::SYS_setsockopt, "setsockopt", MEMORY),
    (libc::SYS_ppoll, "ppoll", POLL),
    (libc::SYS_epoll_pwait, "epoll_pwait", SIGNAL),
    (libc::SYS_epoll_ctl, "epoll_ctl", &[ENOMEM, ENOSPC]),
    (libc::SYS_futex_waitv, "futex_waitv", WAIT),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", SIGNAL),
    (libc::SYS_waitid, "waitid", SIGNAL),
    (libc::SYS_wait4, "wait4", SIGNAL),
    (libc::SYS_clone, "clone", START),
    (libc::SYS_clone3, "clone3", START),
    (libc::SYS_execve, "execve", MEMORY),
    (libc::SYS_getrandom, "getrandom", SIGNAL),
    (libc::SYS_membarrier, "membarrier", MEMORY),
    (libc::SYS_madvise, "madvise", &[EAGAIN, ENOMEM]),
    (libc::SYS_mprotect, "mprotect", MEMORY),
    (libc::SYS_mremap, "mremap", MEMORY),
    (libc::SYS_statx, "statx", MEMORY),
    (libc::SYS_readlinkat, "readlinkat", MEMORY),
    (libc::SYS_newfstatat, "newfstatat", MEMORY),
    (libc::SYS_unlinkat, "unlinkat", MEMORY),
    (libc::SYS_linkat, "linkat", NAME),
    (libc::SYS_mkdirat, "mkdirat", NAME),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, "open", OPEN),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, "poll", POLL),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, "epoll_wait", SIGNAL),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_fork, "fork", START),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_vfork, "vfork", START),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_readlink, "readlink", MEMORY),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", MEMORY),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", NAME),
];

/// The name of a call that the process `pid` is about to make, and the errors that it may end with; none for those that
/// are not to fail.
pub(crate) fn of(pid: i32, call: Call) -> (&'static str, Vec<Errno>) {
    let (name, errors) = match call.number {
        libc::SYS_futex => ("futex", of_futex(call.args[1])),
        libc::SYS_fcntl => ("fcntl", of_fcntl(call.args[1])),
        libc::SYS_mmap => ("mmap", of_mmap(call.args[3])),
        libc::SYS_flock => ("flock", of_flock(call.args[1])),
        number => {
            let known = CALLS.iter().find(|(known, ..)| *known == number);
            known.map_or(("?", [].as_slice()), |(_, name, errors)| (name, errors))
        }
    };
    let mut errors = errors.to_vec();
    if let Some(flags) = flags_of_transfer(call) {
        // Only who may sleep is interrupted, and only who may not is told to try again.
        let sleeps = flags & libc::MSG_DONTWAIT == 0 && !is_nonblocking(pid, call.args[0]);
        errors.retain(|error| *error != if sleeps { EAGAIN } else { EINTR });
        let is_file = fs::read_link(format!("/proc/{pid}/fd/{}", call.args[0])).is_ok_and(|file| file.has_root());
        errors.retain(|error| is_file || *error != ENOSPC);
    }
    (name, errors)
}

/// The flags of a call that reads or writes, or accepts.
fn flags_of_transfer(call: Call) -> Option<i32> {
    match call.number {
        libc::SYS_sendmsg | libc::SYS_recvmsg => Some(call.args[2] as i32),
        libc::SYS_sendto | libc::SYS_recvfrom => Some(call.args[3] as i32),
        libc::SYS_read | libc::SYS_readv | libc::SYS_pread64 => Some(0),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 | libc::SYS_accept4 => Some(0),
        _ => None,
    }
}

fn is_nonblocking(pid: i32, fd: u64) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
}

/// Whether this is a want that lasts, and not a moment's.
pub(crate) fn lasts(error: Errno) -> bool {
    matches!(error, EMFILE | ENFILE | ENOMEM | ENOSPC | ENOBUFS)
}

fn of_futex(operation: u64) -> &'static [Errno] {
    let operation = operation as i32 & libc::FUTEX_CMD_MASK;
    if matches!(operation, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) { WAIT } else { &[] }
}

fn of_fcntl(command: u64) -> &'static [Errno] {
    match command as i32 {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => &[EMFILE],
        libc::F_SETLKW | libc::F_OFD_SETLKW => &[EINTR, ENOLCK],
        libc::F_SETLK | libc::F_OFD_SETLK => &[ENOLCK],
        _ => &[],
    }
}

fn of_flock(operation: u64) -> &'static [Errno] {
    if operation as i32 & libc::LOCK_UN == 0 { &[EINTR, ENOLCK] } else { &[] }
}

/// Not the heap: where that has no memory, a Rust program ends.
fn of_mmap(flags: u64) -> &'static [Errno] {
    let flags = flags as i32;
    if flags & MAP_ANONYMOUS == 0 || flags & MAP_STACK != 0 { MEMORY } else { &[] }
}
