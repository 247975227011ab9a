//! Which system calls a confinement lets through: the filters that the kernel runs before each call.
//!
//! A filter sees a call's number and the values of its arguments, never what they point at. So paths and addresses are
//! Landlock's business, or a call that takes them is refused as a whole. What would leave the filter without being seen
//! (`clone3`, whose flags lie in memory, and `io_uring`, which makes other calls) is refused, too.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp::{self, Eq, MaskedEq, Ne},
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use super::{
    Base, Confinement,
    calls::{
        ADDRESSING, ALWAYS_REFUSED, ALWAYS_REFUSED_NEW, COMPUTE, FILES, GOVERNING, LAST_KNOWN, PAST_PATHS,
        PAST_PATHS_NEW, STARTING, WRITING,
    },
};

/// Of `clone`: makes a thread of the calling process.
const THREAD: u64 = libc::CLONE_THREAD as u64;
/// Of `clone`: makes a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
/// Bits of a socket's type that are not flags.
const TYPE_MASK: u64 = 0xf;
/// Of what is sent: connects on the way.
const FASTOPEN: u64 = libc::MSG_FASTOPEN as u64;
/// That, and out of band, which no program needs, and in which kernels had errors.
const UNUSUAL: u64 = FASTOPEN | libc::MSG_OOB as u64;
/// Of `fcntl`, as `F_SETOWN`. Not in `libc`.
const F_SETOWN_EX: i32 = 15;
/// Of `ioctl`: which process is signalled of a descriptor's events. Not in `libc`.
const FIOSETOWN: u64 = 0x8901;
const SIOCSPGRP: u64 = 0x8902;
/// Of `ioctl`: signals the terminal's processes, as setting its size does. Not in `libc` for all.
const TIOCSIG: u64 = 0x4004_5436;
const TIOCVHANGUP: u64 = 0x5437;
/// Of `ioprio_set`: the second argument is a thread. Not in `libc`.
const IOPRIO_WHO_PROCESS: u64 = 1;
/// Of `prctl`: names a mapping. Not in `libc` for all.
const PR_SET_VMA: u64 = 0x5356_4d41;

/// What may be done with descriptors that one has.
const FCNTL: [i32; 16] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_ADD_SEALS,
    libc::F_GET_SEALS,
    libc::F_GETPIPE_SZ,
    libc::F_SETPIPE_SZ,
];
/// Whether it is a terminal, how much is there, whether to block.
const IOCTL: [libc::Ioctl; 7] =
    [libc::TCGETS, libc::TIOCGWINSZ, libc::FIONREAD, libc::TIOCOUTQ, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX];

/// How long to wait, how much to keep, who the peer is.
const SOCKOPT: [(i32, i32); 7] = [
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_RCVBUF),
    (libc::SOL_SOCKET, libc::SO_SNDBUF),
    (libc::SOL_SOCKET, libc::SO_PEEK_OFF),
    (libc::SOL_SOCKET, libc::SO_PASSCRED),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
];
/// The kinds of `ioctl` that change attributes of a file, also one that is open for reading alone: those of all file systems,
/// of ext4 and XFS, and of btrfs.
const OF_FILES: [u64; 4] = [0x6600, 0x7600, 0x5800, 0x9400];
const KIND_MASK: u64 = 0xff00;

/// Calls by number, each with the rules of which one must fit; without rules, whatever the arguments.
#[derive(Default)]
struct Rules(BTreeMap<i64, Vec<SeccompRule>>);

/// What an argument must be: its number, how much of it counts, and the comparison.
type Argument = (u8, seccompiler::SeccompCmpArgLen, SeccompCmpOp, u64);

/// An argument that the kernel takes as an `int`.
fn int(index: u8, op: SeccompCmpOp, value: u64) -> Argument {
    (index, Dword, op, value & u64::from(u32::MAX))
}

impl Rules {
    fn calls(&mut self, numbers: &[i64]) {
        self.0.extend(numbers.iter().map(|number| (*number, Vec::new())));
    }

    /// With these arguments, beside what has been said of the call before. All must be so.
    fn when(&mut self, number: i64, arguments: impl IntoIterator<Item = Argument>) {
        let condition = |(index, length, op, value)| {
            SeccompCondition::new(index, length, op, value).expect("no call has more than six arguments")
        };
        let conditions = arguments.into_iter().map(condition).collect();
        let rule = SeccompRule::new(conditions).expect("there is a condition");
        self.0.entry(number).or_default().push(rule);
    }

    fn compile(self, others: SeccompAction, these: SeccompAction) -> Result<BpfProgram, BackendError> {
        let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
        SeccompFilter::new(self.0, others, these, architecture)?.try_into()
    }
}

/// The filters, in the order in which they are to be set: the last one may refuse to set another. `pid` is that of the
/// process that is to be confined.
pub(super) fn programs(confinement: &Confinement, pid: u32) -> Result<Vec<BpfProgram>, BackendError> {
    let refuse = if confinement.ends { SeccompAction::Trap } else { SeccompAction::Errno(libc::EPERM as u32) };
    // The C library takes `clone` then, whose flags can be seen.
    let mut unseen = Rules::default();
    unseen.calls(&[libc::SYS_clone3]);
    let unseen = unseen.compile(SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    Ok(match confinement.base {
        Base::Compute => vec![unseen, allowed(confinement, pid).compile(refuse, SeccompAction::Allow)?],
        Base::Everything => {
            vec![unseen, unknown(), refused(confinement, pid).compile(SeccompAction::Allow, refuse)?]
        }
    })
}

/// Answers calls that the lists here do not know with `ENOSYS`, those of the ABI "x32" among them: they have a bit of
/// their own in their numbers.
fn unknown() -> BpfProgram {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| sock_filter { code: code as u16, jt, jf, k };
    vec![
        // The number comes first in `seccomp_data`. The other filters look at the architecture.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, LAST_KNOWN),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// What may be called, and nothing else.
fn allowed(confinement: &Confinement, pid: u32) -> Rules {
    let mut rules = Rules::default();
    rules.calls(COMPUTE);
    #[cfg(target_arch = "x86_64")]
    rules.when(libc::SYS_arch_prctl, [int(0, Eq, 0x1003)]); // ARCH_GET_FS
    // The answer to it is another filter's.
    rules.calls(&[libc::SYS_clone3]);
    let kinds = NAMESPACES.iter().fold(THREAD, |all, kind| all | *kind as u32 as u64);
    rules.when(libc::SYS_clone, [int(0, MaskedEq(kinds), THREAD)]);

    let pid = u64::from(pid);
    for call in [libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo, libc::SYS_kill] {
        rules.when(call, [int(0, Eq, pid)]);
    }
    // Asks whether it lives, and signals no process.
    for call in [libc::SYS_kill, libc::SYS_tkill] {
        rules.when(call, [int(1, Eq, 0)]);
    }
    for own in [0, pid] {
        rules.when(libc::SYS_prlimit64, [int(0, Eq, own), (2, Qword, Eq, 0)]);
        for memory in [libc::RLIMIT_DATA, libc::RLIMIT_AS] {
            rules.when(libc::SYS_prlimit64, [int(0, Eq, own), int(1, Eq, memory.into())]);
        }
        rules.when(libc::SYS_get_robust_list, [int(0, Eq, own)]);
    }
    for option in [libc::PR_SET_NAME as u64, libc::PR_GET_NAME as u64, PR_SET_VMA] {
        rules.when(libc::SYS_prctl, [int(0, Eq, option)]);
    }
    FCNTL.iter().for_each(|command| rules.when(libc::SYS_fcntl, [int(1, Eq, *command as u64)]));
    IOCTL.iter().for_each(|command| rules.when(libc::SYS_ioctl, [int(1, Eq, *command)]));

    // A socket of datagrams can send to any address, and the address lies in memory.
    for kind in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let is_kind = int(1, MaskedEq(TYPE_MASK), kind as u64);
        rules.when(libc::SYS_socketpair, [int(0, Eq, libc::AF_UNIX as u64), is_kind]);
    }
    rules.when(libc::SYS_sendto, [(4, Qword, Eq, 0), int(3, MaskedEq(UNUSUAL), 0)]);
    rules.when(libc::SYS_sendmsg, [int(2, MaskedEq(UNUSUAL), 0)]);
    for (level, option) in SOCKOPT {
        rules.when(libc::SYS_setsockopt, [int(1, Eq, level as u64), int(2, Eq, option as u64)]);
    }

    if confinement.has_files() {
        rules.calls(FILES);
        if confinement.has_writing() {
            rules.calls(WRITING);
        }
    } else {
        // Of a descriptor; but whether there is a path beside it cannot be seen.
        rules.when(libc::SYS_newfstatat, [int(3, Eq, libc::AT_EMPTY_PATH as u64)]);
        let empty_path = libc::AT_EMPTY_PATH as u64;
        rules.when(libc::SYS_statx, [int(2, MaskedEq(empty_path), empty_path)]);
    }
    if let Some(ports) = confinement.ports.as_ref().filter(|ports| !ports.is_empty()) {
        for domain in [libc::AF_INET, libc::AF_INET6] {
            for protocol in [0, libc::IPPROTO_TCP] {
                let is_stream = int(1, MaskedEq(TYPE_MASK), libc::SOCK_STREAM as u64);
                let domain = int(0, Eq, domain as u64);
                rules.when(libc::SYS_socket, [domain, is_stream, int(2, Eq, protocol as u64)]);
            }
        }
        rules.calls(&[libc::SYS_getpeername]);
        if ports.iter().any(|(_, to_bind)| *to_bind) {
            rules.calls(&[libc::SYS_bind, libc::SYS_listen, libc::SYS_accept4, libc::SYS_accept]);
        }
        if ports.iter().any(|(_, to_bind)| !*to_bind) {
            rules.calls(&[libc::SYS_connect]);
        }
    }
    rules
}

/// What may not be called, of all calls that were known when this was written.
fn refused(confinement: &Confinement, pid: u32) -> Rules {
    let mut rules = Rules::default();
    rules.calls(ALWAYS_REFUSED);
    rules.calls(ALWAYS_REFUSED_NEW);
    for kind in NAMESPACES {
        let kind = u64::from(kind as u32);
        rules.when(libc::SYS_clone, [int(0, MaskedEq(kind), kind)]);
    }
    // Types for the terminal that it is connected to.
    for command in [libc::TIOCSTI, libc::TIOCLINUX] {
        rules.when(libc::SYS_ioctl, [int(1, Eq, command)]);
    }
    if confinement.paths.is_some() {
        rules.calls(PAST_PATHS);
        rules.calls(PAST_PATHS_NEW);
        OF_FILES.iter().for_each(|kind| rules.when(libc::SYS_ioctl, [int(1, MaskedEq(KIND_MASK), *kind)]));
    }
    if confinement.no_processes {
        rules.calls(STARTING);
        rules.when(libc::SYS_clone, [int(0, MaskedEq(THREAD), 0)]);
        refuse_signals(&mut rules, u64::from(pid));
        refuse_governing(&mut rules, u64::from(pid));
    }
    if let Some(ports) = &confinement.ports {
        refuse_network(&mut rules, ports);
    }
    rules
}

/// But those to the process itself.
fn refuse_signals(rules: &mut Rules, pid: u64) {
    rules.when(libc::SYS_kill, [int(0, Ne, pid), int(1, Ne, 0)]);
    for call in [libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        rules.when(call, [int(0, Ne, pid)]);
    }
    rules.when(libc::SYS_tkill, [int(1, Ne, 0)]);
    rules.calls(&[libc::SYS_pidfd_send_signal]);
    for command in [libc::F_SETOWN, F_SETOWN_EX] {
        rules.when(libc::SYS_fcntl, [int(1, Eq, command as u64)]);
    }
    for command in [FIOSETOWN, SIOCSPGRP, TIOCSIG, TIOCVHANGUP, libc::TIOCSWINSZ] {
        rules.when(libc::SYS_ioctl, [int(1, Eq, command)]);
    }
}

/// Limits, priorities, CPUs and memory, but those of the calling thread and of the process's main one.
fn refuse_governing(rules: &mut Rules, pid: u64) {
    for call in GOVERNING {
        rules.when(*call, [int(0, Ne, 0), int(0, Ne, pid)]);
    }
    let of_process = [(libc::SYS_setpriority, libc::PRIO_PROCESS as u64), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)];
    for (call, kind) in of_process {
        // Of a group, or of a user.
        rules.when(call, [int(0, Ne, kind)]);
        rules.when(call, [int(1, Ne, 0), int(1, Ne, pid)]);
    }
}

fn refuse_network(rules: &mut Rules, ports: &[(u16, bool)]) {
    rules.when(libc::SYS_sendto, [(4, Qword, Ne, 0)]);
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2)] {
        rules.when(call, [int(flags, MaskedEq(FASTOPEN), FASTOPEN)]);
    }
    rules.when(libc::SYS_socketpair, [int(0, Ne, libc::AF_UNIX as u64)]);
    let is_other = |kind: &u64| ![libc::SOCK_STREAM as u64, libc::SOCK_SEQPACKET as u64].contains(kind);
    for kind in (0..=TYPE_MASK).filter(is_other) {
        rules.when(libc::SYS_socketpair, [int(1, MaskedEq(TYPE_MASK), kind)]);
    }
    if ports.is_empty() {
        rules.calls(ADDRESSING);
        rules.calls(&[libc::SYS_socket]);
        return;
    }
    rules.calls(&[libc::SYS_sendmmsg]);
    if !ports.iter().any(|(_, to_bind)| *to_bind) {
        rules.calls(&[libc::SYS_bind, libc::SYS_listen]);
    }
    if ports.iter().all(|(_, to_bind)| *to_bind) {
        rules.calls(&[libc::SYS_connect]);
    }
    // Landlock knows of TCP alone.
    rules.when(libc::SYS_socket, [int(0, Ne, libc::AF_INET as u64), int(0, Ne, libc::AF_INET6 as u64)]);
    for kind in (0..=TYPE_MASK).filter(|kind| *kind != libc::SOCK_STREAM as u64) {
        rules.when(libc::SYS_socket, [int(1, MaskedEq(TYPE_MASK), kind)]);
    }
    rules.when(libc::SYS_socket, [int(2, Ne, 0), int(2, Ne, libc::IPPROTO_TCP as u64)]);
}
