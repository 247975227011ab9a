//! The calling process: its identity, its parent, and how many CPUs it may use.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::sys::signal::Signal;

use crate::start::plain::plain;
use kernel::{
    fork_local::{ChildPlace, ForkLocal},
    sys::{attributes, cpus, signals},
};

/// What a child is told about itself and its parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessIdentity {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pub(crate) parent_name: String,
    pub(crate) parent_pid: u32,
}
plain!(ProcessIdentity { name, daemon, parent_name, parent_pid });

static SELF: ForkLocal<Mutex<Option<ProcessIdentity>>> = ForkLocal::new();
static CHILDREN_NAMED: ForkLocal<AtomicU64> = ForkLocal::new();

impl ProcessIdentity {
    /// The identity of a child that the calling process is about to start.
    pub(crate) fn of_child(name: Option<String>, daemon: bool) -> Self {
        let CurrentProcess { name: parent_name, pid: parent_pid, .. } = current_process();
        let name = name.unwrap_or_else(|| {
            let number = CHILDREN_NAMED.get().fetch_add(1, Relaxed) + 1;
            // A grandchild of the main process is called Process-1:2, as in Python.
            match parent_name.strip_prefix("Process-") {
                Some(path) => format!("Process-{path}:{number}"),
                None => format!("Process-{number}"),
            }
        });
        Self { name, daemon, parent_name, parent_pid }
    }

    /// Makes it the calling process's own, and shows the name in `/proc/PID/comm` (cut to 15 bytes by the kernel).
    pub(crate) fn assume(self) {
        attributes::set_name(&self.name);
        *SELF.get().lock().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }

    /// Makes the place for an identity, in a fork server, where its children will find it.
    pub(crate) fn warm_up() {
        SELF.get();
    }

    /// Where a child that the calling process is about to fork has its identity.
    pub(crate) fn place_for_child() -> ChildPlace<Mutex<Option<Self>>> {
        SELF.place_for_child()
    }

    fn current() -> Option<Self> {
        SELF.get().lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The calling process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentProcess {
    /// Its name: `MainProcess`, unless this crate started it.
    pub name: String,
    /// Its pid.
    pub pid: u32,
    /// Whether it was started as a daemon.
    pub daemon: bool,
}

impl CurrentProcess {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it was started as a daemon.
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// Makes the calling process go on when it gets `signal`, as if nothing had happened; but a system call that the signal
    /// interrupts may fail with `EINTR`. Programs that it executes get the signal's default.
    ///
    /// For children that their owner ends: a service manager or a terminal sends its signal to all processes of a service at
    /// once, and the owner may want to finish first. A worker of a pool disregards SIGTERM, SIGINT and SIGHUP. The children
    /// still die with their owner.
    ///
    /// # Errors
    /// `EINVAL` for SIGKILL and SIGSTOP.
    pub fn disregard(&self, signal: Signal) -> io::Result<()> {
        Ok(signals::disregard(signal)?)
    }
}

/// The calling process. Never blocks.
///
/// # Examples
/// ```
/// assert_eq!(proc_core::current_process().name(), "MainProcess");
/// ```
pub fn current_process() -> CurrentProcess {
    let (name, daemon) =
        ProcessIdentity::current().map_or(("MainProcess".to_owned(), false), |me| (me.name, me.daemon));
    CurrentProcess { name, pid: std::process::id(), daemon }
}

/// The process that started the calling one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParentProcess {
    /// Its name.
    pub name: String,
    pid: u32,
}

impl ParentProcess {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid, or what was its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs; only ever false for children that were allowed to outlive it. Always true where it is in
    /// another pid namespace, from which nothing can be seen of it.
    pub fn is_alive(&self) -> bool {
        // The kernel gives a child another parent when its own ends: one that lived beside that, under another pid; or
        // none, as far as can be seen, if the parent is outside of the child's pid namespace.
        [self.pid, 0].contains(&std::os::unix::process::parent_id())
    }
}

/// The process that started the calling one with this crate; `None` in the main process.
pub fn parent_process() -> Option<ParentProcess> {
    let me = ProcessIdentity::current()?;
    Some(ParentProcess { name: me.parent_name, pid: me.parent_pid })
}

/// How many CPUs the calling process may use: what its affinity mask and its cgroup's quota allow, at least 1.
#[doc(alias = "process_cpu_count")]
pub fn cpu_count() -> usize {
    cpus::available()
}
