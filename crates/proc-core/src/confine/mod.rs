//! What a child may not do: [`Confinement`].
//!
//! Two facilities of the kernel do it, and neither needs a privilege: filters of system calls (seccomp, [`rules`]) and
//! Landlock ([`paths`]). The owner looks what this kernel has and says so ([`Confined`]). The child does exactly that
//! or ends with an error, so that what its owner says holds.

mod calls;
mod current;
mod names;
mod paths;
mod rules;

use std::path::PathBuf;

use nix::errno::Errno;

use crate::start::plain::{Plain, plain};
pub(crate) use current::{enter, enter_deferred, may_start_processes, prepare};
pub(crate) use names::name_of;

/// What a child may open, connect to and start: to be given to [`Builder::confine`](crate::Builder::confine).
///
/// There are two beginnings. [`compute`](Self::compute) allows what computing takes and nothing else; add paths and ports as
/// needed, or begin with [`read_only`](Self::read_only) or [`files`](Self::files), which do. [`new`](Self::new) allows
/// everything but what would lead around a fence; take away what is not needed.
///
/// It comes into force in the child after it has its handles and before its function is called, for all its threads and
/// all that it starts, and for good. Descriptors that it was handed, and its standard streams, stay usable: a file that is open
/// for writing can be written. `no_new_privs` is set: a program that it executes gets no rights by a setuid bit or file
/// capabilities.
///
/// A call that is refused fails with `EPERM`, or where Landlock refuses it with `EACCES`; or the
/// child ends ([`end_at_refusal`](Self::end_at_refusal)).
///
/// # What `compute` allows
/// * Memory, and memory files; threads of its own; time, timers and random numbers; its own limits on memory, as far as its rights go.
/// * Reading, writing, waiting for, closing and locking descriptors that it has, and receiving others over them.
/// * Pipes, and pairs of connected Unix sockets.
/// * Signals to itself. Asking whether a process lives.
/// * All of this workspace's queues, pipes, locks, values, pools' tasks and results; panics with backtraces and crash reports.
///   Not: to start processes ([`ProcessError::Confined`](crate::ProcessError::Confined)), listeners and clients, named memory, managers.
///
/// Everything else is refused: to open a file, whichever and however; to make, connect or bind a socket; to start a
/// process or a program; to signal or trace others; `io_uring`; namespaces; and calls that were not thought of. The filter
/// cannot see paths, and the calls that tell of a descriptor's file (`statx`, `newfstatat`) can be given one: so that a file exists,
/// its size and its times can be found out.
///
/// # Cost
/// A confined child starts about half a millisecond later (0.6 beside 0.08 ms, least of 1,000 starts with a value, 2 CPUs, Linux 6.18,
/// 2026-11-30, machine busy): the kernel goes through the filter for each call that there is. Others start as they did. A call that is
/// let through whatever its arguments costs what it did; others, a walk through the filter.
///
/// # Platform
/// Filters of calls for x86-64 and aarch64. Paths need Landlock of ABI 3 (Linux 6.2), ports ABI 4 (Linux 6.7), and whatever can open
/// files, so all but `compute` without paths, ABI 2 (Linux 5.19), for what `/proc` shows of other processes. A call by the 32-bit
/// interface ends the process with `SIGSYS`, without a report.
///
/// # Examples
/// ```
/// use proc_core::{Confinement, Process};
///
/// fn count_users() -> Option<usize> {
///     std::fs::read_to_string("/etc/passwd").ok().map(|text| text.lines().count())
/// }
/// let process = Process::builder().confine(Confinement::compute()).spawn(count_users, ())?;
/// assert_eq!(process.join()?, None);
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it does nothing until it is given to a builder"]
#[doc(alias = "sandbox")]
#[doc(alias = "seccomp")]
#[doc(alias = "landlock")]
pub struct Confinement {
    base: Base,
    /// All that may be opened; `None` if that is left to the base.
    paths: Option<paths::Paths>,
    /// All that may be connected to, or bound: the flag. `None` if the network is left to the base.
    ports: Option<Vec<(u16, bool)>>,
    no_processes: bool,
    ends: bool,
    best_effort: bool,
}
plain!(Confinement { base, paths, ports, no_processes, ends, best_effort });

/// What could not be done, and what the kernel said.
type Failed = (String, Errno);

/// What is allowed if nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Everything,
    Compute,
}

/// What a path may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Read,
    Write,
    Execute,
}

impl Confinement {
    /// Everything but what would lead around a fence: to trace or read other processes, `io_uring`, new namespaces and mounts,
    /// files by handle, loading code into the kernel, administration. Calls that this crate does not know fail with
    /// `ENOSYS`.
    ///
    /// All files can be opened, but for the memory, descriptors and directories of other processes in `/proc`. So what a file
    /// does when it is written, it does: the files of `/proc` and of control groups that say how processes of its user are
    /// treated (`oom_score_adj`, `cgroup.kill`), and for root `/proc/sys`. Name paths to keep it from them.
    #[allow(clippy::new_without_default, reason = "there are two beginnings, and neither is the default one")]
    pub fn new() -> Self {
        Self { base: Base::Everything, paths: None, ports: None, no_processes: false, ends: false, best_effort: false }
    }

    /// What computing takes, and nothing that opens, connects or starts: see the list [above](Self#what-compute-allows).
    pub fn compute() -> Self {
        Self { base: Base::Compute, no_processes: true, ..Self::new() }
    }

    /// What [`compute`](Self::compute) allows, and to read every file that its user may read.
    pub fn read_only() -> Self {
        Self::compute().read("/")
    }

    /// What [`compute`](Self::compute) allows, and to read, write, make and remove files below `dir`.
    pub fn files(dir: impl Into<PathBuf>) -> Self {
        Self::compute().write(dir)
    }

    /// Allows reading the file, or all below the directory. Whatever is not named by this, [`write`](Self::write) or
    /// [`execute`](Self::execute) can then not be opened. Modes, owners, times and attributes of files can then not be changed
    /// anywhere, as Landlock does not watch over them; [`std::fs::copy`] fails for that reason.
    ///
    /// A relative path begins at the child's directory. One that is not there is an error of the child's `join`.
    pub fn read(self, path: impl Into<PathBuf>) -> Self {
        self.path(path, Use::Read)
    }

    /// Allows reading, writing, making and removing the file, or all below the directory; no devices.
    pub fn write(self, path: impl Into<PathBuf>) -> Self {
        self.path(path, Use::Write)
    }

    /// Allows reading, and executing programs. (Libraries are only read.)
    pub fn execute(self, path: impl Into<PathBuf>) -> Self {
        self.path(path, Use::Execute)
    }

    fn path(mut self, path: impl Into<PathBuf>, usage: Use) -> Self {
        self.paths.get_or_insert_default().push((path.into(), usage));
        self
    }

    /// No sockets are made, bound or connected, Unix sockets included, but connected pairs of them. Sockets that it was handed work.
    pub fn no_network(mut self) -> Self {
        self.ports.get_or_insert_default();
        self
    }

    /// Allows TCP connections to a port of any host, and no network beside such ports: no Unix sockets, and no UDP, so that names of
    /// hosts are for its owner to look up.
    pub fn connect_tcp(mut self, port: u16) -> Self {
        self.ports.get_or_insert_default().push((port, false));
        self
    }

    /// Allows listening on a TCP port, and no network beside such ports.
    pub fn bind_tcp(mut self, port: u16) -> Self {
        self.ports.get_or_insert_default().push((port, true));
        self
    }

    /// No processes and programs are started, and none but itself is signalled, limited, moved to other memory or given another
    /// priority, policy or other CPUs. Threads are started.
    ///
    /// A filter cannot tell a thread's number from another process's. So what sets a priority, policy or CPUs takes 0 (the calling
    /// thread) or the process's pid (its main thread); with the number of another thread, as `pthread_setaffinity_np` makes it, it
    /// fails.
    pub fn no_new_processes(mut self) -> Self {
        self.no_processes = true;
        self
    }

    /// A system call that the filter refuses ends the child with `SIGSYS`, and its [`CrashReport`](crate::CrashReport) names the
    /// call. (What Landlock refuses, a path or a port, fails with `EACCES` as always. A child that handles `SIGSYS` itself goes
    /// on, without the call having been made.)
    pub fn end_at_refusal(mut self) -> Self {
        self.ends = true;
        self
    }

    /// What this kernel cannot do is left out, instead of being an error: [`confinement`](crate::ProcessHandle::confinement) says what holds.
    pub fn best_effort(mut self) -> Self {
        self.best_effort = true;
        self
    }

    fn has_files(&self) -> bool {
        self.base == Base::Everything || self.paths.is_some()
    }

    fn has_writing(&self) -> bool {
        self.paths.iter().flatten().any(|(_, usage)| *usage == Use::Write)
    }

    /// What it takes.
    fn fences(&self) -> impl Iterator<Item = Fence> {
        let paths = self.paths.is_some().then_some(Fence::Paths);
        let ports = self.ports.as_ref().is_some_and(|ports| !ports.is_empty()).then_some(Fence::Ports);
        // Without files, the filter refuses all that leads into other processes.
        let processes = self.has_files().then_some(Fence::Processes);
        [Some(Fence::Calls), paths, ports, processes].into_iter().flatten()
    }

    /// What will hold, or what is missing.
    fn check_against(&self, can: impl Fn(Fence) -> bool) -> Result<Confined, Vec<Fence>> {
        let mut confined = Confined { asked: 0, held: 0 };
        for fence in self.fences() {
            confined.asked |= fence.bit();
            confined.held |= if can(fence) { fence.bit() } else { 0 };
        }
        let missing: Vec<Fence> = confined.missing().collect();
        if missing.is_empty() || self.best_effort { Ok(confined) } else { Err(missing) }
    }

    /// Confines the calling process, with all its threads.
    fn apply(&self, held: Confined) -> Result<(), Failed> {
        let filters = held.holds(Fence::Calls).then(|| rules::programs(self, std::process::id())).transpose();
        let filters = filters.map_err(|e| (format!("make filters of system calls: {e}"), Errno::ENOSYS))?;
        paths::apply(self, held)?;
        for filter in filters.iter().flatten() {
            seccompiler::apply_filter_all_threads(filter).map_err(|e| {
                let errno = match &e {
                    seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e) => e.raw_os_error(),
                    _ => None,
                };
                (format!("set a filter of system calls: {e}"), errno.map_or(Errno::EINVAL, Errno::from_raw))
            })?;
        }
        Ok(())
    }
}

/// A part of a [`Confinement`] that a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fence {
    /// System calls: seccomp. All but what the others are for.
    Calls,
    /// Paths: Landlock, ABI 3 (Linux 6.2).
    Paths,
    /// TCP ports: Landlock, ABI 4 (Linux 6.7).
    Ports,
    /// The memory, descriptors and directories of other processes, which `/proc` shows as files: Landlock, ABI 2 (Linux 5.19).
    Processes,
}

impl Fence {
    const ALL: [Self; 4] = [Self::Calls, Self::Paths, Self::Ports, Self::Processes];
    const OF_LANDLOCK: [Self; 3] = [Self::Paths, Self::Ports, Self::Processes];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What of a [`Confinement`] holds for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    asked: u8,
    held: u8,
}
plain!(Confined { asked, held });

impl Confined {
    /// Whether that was asked for, and holds.
    pub fn holds(&self, fence: Fence) -> bool {
        self.held & fence.bit() != 0
    }

    /// Landlock has a part in it.
    fn has_landlock(&self) -> bool {
        Fence::OF_LANDLOCK.into_iter().any(|fence| self.holds(fence))
    }

    /// What was asked for and does not hold; nothing but with [`best_effort`](Confinement::best_effort).
    pub fn missing(&self) -> impl Iterator<Item = Fence> {
        let missing = self.asked & !self.held;
        Fence::ALL.into_iter().filter(move |fence| missing & fence.bit() != 0)
    }
}

/// What comes with a request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) confinement: Confinement,
    pub(crate) held: Confined,
    /// The function says when.
    pub(crate) is_deferred: bool,
}
plain!(Asked { confinement, held, is_deferred });

impl Asked {
    pub(crate) fn new(confinement: Confinement) -> Self {
        Self { confinement, held: Confined { asked: 0, held: 0 }, is_deferred: false }
    }

    /// In the owner, before the start: finds out what will hold, or what this kernel lacks.
    pub(crate) fn check(&mut self) -> Result<Confined, Vec<Fence>> {
        self.held = self.confinement.check_against(paths::can)?;
        Ok(self.held)
    }

    /// No call that opens a file comes through.
    pub(crate) fn opens_nothing(&self) -> bool {
        let Self { confinement, held, .. } = self;
        confinement.base == Base::Compute && confinement.paths.is_none() && held.holds(Fence::Calls)
    }
}

impl Plain for Base {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u8).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        [Self::Everything, Self::Compute].get(usize::from(u8::take(from)?)).copied()
    }
}

impl Plain for Use {
    fn put(&self, to: &mut Vec<u8>) {
        (*self as u8).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        [Self::Read, Self::Write, Self::Execute].get(usize::from(u8::take(from)?)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_travels() {
        let all = Confinement::new().read("/usr").write("a").execute("/bin").connect_tcp(443).bind_tcp(80);
        for confinement in [all.best_effort(), Confinement::compute().end_at_refusal(), Confinement::read_only()] {
            let mut bytes = Vec::new();
            confinement.put(&mut bytes);
            assert_eq!(Confinement::take(&mut &bytes[..]), Some(confinement));
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_an_error_or_said() {
        let all = Confinement::compute().read("/usr").connect_tcp(443);
        let without_landlock = |fence| fence == Fence::Calls;
        assert_eq!(all.check_against(without_landlock), Err(vec![Fence::Paths, Fence::Ports, Fence::Processes]));
        let confined = all.best_effort().check_against(without_landlock).unwrap();
        assert_eq!(confined.missing().collect::<Vec<_>>(), [Fence::Paths, Fence::Ports, Fence::Processes]);
        assert!(confined.holds(Fence::Calls) && !confined.holds(Fence::Paths));
        let everything = Confinement::new().no_network();
        assert_eq!(everything.check_against(without_landlock), Err(vec![Fence::Processes]));
        // What was not asked for is not missing.
        let confined = Confinement::compute().check_against(without_landlock).unwrap();
        assert_eq!(confined.missing().count(), 0);
    }
}
