//! A program that is killed: ours or a peer's, with workers that do the same.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use proc_core::Process;
use serde::{Deserialize, Serialize};
use test_support::processes;

use crate::{
    ours,
    words::{PIDS, Words, waits},
};

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Multiprocessing,
    Executor,
    Loky,
    Pebble,
}

impl Side {
    pub(crate) const PEERS: [Self; 4] = [Self::Multiprocessing, Self::Executor, Self::Loky, Self::Pebble];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Multiprocessing => "multiprocessing",
            Self::Executor => "executor",
            Self::Loky => "loky",
            Self::Pebble => "pebble",
        }
    }

    pub(crate) fn is_only_pool(self) -> bool {
        !matches!(self, Self::Ours | Self::Multiprocessing)
    }
}

/// What the workers do, and what the driver orders.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Scenario {
    /// Two workers lock and unlock.
    Lock,
    /// Two workers put, a third takes.
    Producers,
    /// Two workers take, a third puts.
    Consumers,
    /// A worker takes an item and keeps it; the subject joins once that is dead.
    Join,
    /// Each order gives a pool of two workers forty tasks.
    Pool,
    /// As that, but an order says whether the pool has two workers again, then whether four tasks have results.
    IdlePool,
    /// A pool of four, and processes beside it.
    Owner,
    /// Three workers use everything; each order has the subject make timed calls beside them.
    Stopped,
    /// An order says how many descriptors a hundred queues take, and how many queues a process can have.
    Queues,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Producers => "producers",
            Self::Consumers => "consumers",
            Self::Join => "join",
            Self::Pool => "pool",
            Self::IdlePool => "idle_pool",
            Self::Owner => "owner",
            Self::Stopped => "stopped",
            Self::Queues => "queues",
        }
    }
}

/// A subject at work; killed with its workers when it is dropped.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) words: Words,
    life: Life,
}

#[derive(Debug)]
enum Life {
    Ours(Process<()>),
    Python(Child, #[allow(dead_code, reason = "open as long as the program may open it")] OwnedFd),
}

/// How long it may take to begin, or to carry out an order that nothing hinders.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

impl Subject {
    pub(crate) fn start(side: Side, scenario: Scenario) -> io::Result<Self> {
        let words = Words::new()?;
        let life = if side == Side::Ours {
            let process = Process::builder().spawn(ours::subject, (words.clone(), scenario));
            Life::Ours(process.map_err(io::Error::other)?)
        } else {
            use std::os::unix::process::CommandExt;
            let (fd, path) = words.path()?;
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/peers.py");
            let python = std::env::var_os("SCORE_PYTHON").unwrap_or_else(|| "python3".into());
            let mut command = Command::new(python);
            command.arg(script).args([scenario.name(), side.name(), &path]).process_group(0);
            Life::Python(command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).spawn()?, fd)
        };
        let subject = Self { words, life };
        if subject.words.is_done_within(PATIENCE) {
            Ok(subject)
        } else {
            Err(io::Error::other(format!("{} does not begin with {}", side.name(), scenario.name())))
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        match &self.life {
            Life::Ours(process) => process.pid().cast_signed(),
            Life::Python(child, _) => child.id().cast_signed(),
        }
    }

    /// SIGKILL for itself alone; returns when it has ended.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        match &mut self.life {
            Life::Ours(process) => {
                process.kill().map_err(io::Error::other)?;
                process.wait().map_err(io::Error::other)?;
            }
            Life::Python(child, _) => {
                child.kill()?;
                child.wait()?;
            }
        }
        Ok(())
    }

    /// SIGKILL for a worker; returns when it has ended.
    pub(crate) fn kill_worker(&self, number: usize) -> bool {
        let pid = self.words.get(PIDS + number) as i32;
        pid > 0 && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() && waits(PATIENCE, || !is_alive(pid))
    }

    /// All that descend from it.
    pub(crate) fn family(&self) -> Vec<i32> {
        let mut family = vec![self.pid()];
        let mut next = 0;
        while let Some(pid) = family.get(next) {
            family.extend(processes::all_children(*pid));
            next += 1;
        }
        family.remove(0);
        family
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let family = self.family();
        let _ = self.kill();
        if let Life::Python(..) = self.life {
            let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            for pid in family {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// Whether there is such a process, and it has not ended.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
