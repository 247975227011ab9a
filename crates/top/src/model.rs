//! What is known of a program at one moment: what all screens, `--json` and recordings are made from.

use serde::{Deserialize, Serialize};

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// It has started others.
    Owner,
    ForkServer,
    /// A process that was forked ahead, for the next start.
    Spare,
    Worker,
    Manager,
    Daemon,
    Process,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::ForkServer => "fork server",
            Self::Spare => "spare",
            Self::Worker => "worker",
            Self::Manager => "manager",
            Self::Daemon => "daemon",
            Self::Process => "process",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) root: u32,
    pub(crate) command: String,
    pub(crate) processes: Vec<ProcessRow>,
    pub(crate) pools: Vec<PoolRow>,
    pub(crate) queues: Vec<QueueRow>,
    pub(crate) pipes: Vec<PipeRow>,
    pub(crate) locks: Vec<LockRow>,
    /// Memory that is none of these, or cannot be read as what it should be.
    pub(crate) others: Vec<OtherRow>,
    pub(crate) waits: Vec<WaitRow>,
    pub(crate) findings: Vec<Finding>,
    /// What could not be seen, and why.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessRow {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// How deep it is in the tree.
    pub(crate) depth: u16,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// As in `/proc/PID/stat`: R, S, D, T, t, Z, …
    pub(crate) state: char,
    pub(crate) cpu_ms: u64,
    /// Of one CPU, since the snapshot before.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) private_bytes: u64,
    pub(crate) shared_bytes: u64,
    pub(crate) age_ms: u64,
    pub(crate) threads: Vec<ThreadRow>,
    /// Why its memory cannot be seen.
    pub(crate) hidden: Option<String>,
}

impl ProcessRow {
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ThreadRow {
    pub(crate) tid: u32,
    pub(crate) name: String,
    pub(crate) state: char,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PoolRow {
    pub(crate) owner: u32,
    pub(crate) name: String,
    pub(crate) workers: Vec<WorkerRow>,
    /// Tasks that workers have been given and not begun.
    pub(crate) n_given: u64,
    pub(crate) done_per_second: Option<f64>,
    /// What the pool shows of itself; absent if its owner is out of sight.
    pub(crate) board: Option<BoardRow>,
    /// Workers that went and came since this program looks.
    pub(crate) n_gone: u64,
    pub(crate) n_come: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BoardRow {
    /// Tasks that no worker has.
    pub(crate) n_waiting: u64,
    pub(crate) n_done: u64,
    pub(crate) n_failed: u64,
    pub(crate) retried: u64,
    pub(crate) restarts: u64,
    pub(crate) n_wanted: u64,
    pub(crate) n_deaths: u64,
    /// Pids, and what they died of; the latest first.
    pub(crate) deaths: Vec<(u32, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerRow {
    pub(crate) pid: u32,
    pub(crate) lane: u64,
    pub(crate) name: String,
    pub(crate) is_asleep: bool,
    pub(crate) n_ready: u32,
    /// Tasks that have ended or were taken back, ever.
    pub(crate) n_over: u64,
    pub(crate) task: Option<TaskRow>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaskRow {
    pub(crate) number: u64,
    pub(crate) function: String,
    /// Of a task on many items: results that are published.
    pub(crate) n_items: Option<u32>,
    pub(crate) seen: Seen,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QueueRow {
    pub(crate) id: u64,
    pub(crate) depth: u64,
    pub(crate) capacity: Option<u64>,
    pub(crate) is_closed: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) n_put: u64,
    pub(crate) n_taken: u64,
    pub(crate) put_per_second: Option<f64>,
    pub(crate) taken_per_second: Option<f64>,
    pub(crate) leases: bool,
    /// Pids, and how many items they have.
    pub(crate) leased: Vec<(u32, u64)>,
    pub(crate) n_orphans: u64,
    pub(crate) n_dead_letters: u64,
    /// Whether there may be sleepers that wait for a message, for room.
    pub(crate) sleeps: [bool; 2],
    pub(crate) holders: Vec<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PipeRow {
    pub(crate) id: u64,
    /// Which of its two directions, if it has two.
    pub(crate) direction: usize,
    pub(crate) n_bytes: u64,
    pub(crate) tail: u64,
    pub(crate) head: u64,
    pub(crate) in_per_second: Option<f64>,
    pub(crate) out_per_second: Option<f64>,
    pub(crate) reader: Option<u32>,
    pub(crate) writer: Option<u32>,
    pub(crate) sleeping_reader: Option<u32>,
    pub(crate) has_sleeping_writer: bool,
    pub(crate) holders: Vec<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LockRow {
    pub(crate) id: u64,
    pub(crate) kind: String,
    /// Of its memory: for values of the program's own types.
    pub(crate) label: String,
    pub(crate) holders: Vec<HolderRow>,
    pub(crate) is_inconsistent: bool,
    pub(crate) has_waiters: bool,
    /// What is to be said of its kind: permits, whether it is set.
    pub(crate) detail: String,
    pub(crate) n_turns: u64,
    pub(crate) turns_per_second: Option<f64>,
    pub(crate) users: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderRow {
    pub(crate) tid: u32,
    /// `None` if there is no such thread in sight.
    pub(crate) pid: Option<u32>,
    pub(crate) name: String,
    pub(crate) seen: Seen,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OtherRow {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) memory_bytes: u64,
    pub(crate) is_garbled: bool,
    pub(crate) holders: Vec<u32>,
}

/// For how long something has been as it is. No kernel and no segment says when it began, for that would cost each operation
/// a look at the clock: what is known is what the looks have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Since the first look that saw it: it began up to one look earlier.
    pub(crate) ms: u64,
    /// That was the very first look: it may have begun long before.
    pub(crate) is_older: bool,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum For {
    Lock,
    Message,
    Room,
    ItemDone,
    PipeMessage,
    PipeRoom,
    Task,
    Event,
    Notification,
    Permit,
    Parties,
    Word,
    End,
}

impl For {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Lock => "for",
            Self::Message => "for a message in",
            Self::Room => "for room in",
            Self::ItemDone => "for items to be done of",
            Self::PipeMessage => "for a message in",
            Self::PipeRoom => "for room in",
            Self::Task => "for a task in",
            Self::Event => "for",
            Self::Notification => "for a notification by",
            Self::Permit => "for a permit of",
            Self::Parties => "for the others at",
            Self::Word => "at a word of",
            Self::End => "for the end of",
        }
    }
}

/// A thread that waits, and the threads and processes that could end that.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WaitRow {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) name: String,
    pub(crate) r#for: For,
    /// The memory's id and the word's place there.
    pub(crate) id: u64,
    pub(crate) offset: u64,
    /// What it is: `queue:17`.
    pub(crate) what: String,
    /// The one thread that can end the wait: the holder of a lock.
    pub(crate) holder: Option<HolderRow>,
    /// Processes of which any may end it.
    pub(crate) any: Vec<u32>,
    /// It was seen in the look before, and nothing says that it has ended: waiters of a queue look around now and then.
    pub(crate) is_assumed: bool,
    pub(crate) seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FindingKind {
    /// Those named wait for each other.
    Deadlock,
    /// The chain ends in a process that is stopped.
    Stopped,
    /// The chain ends in one that has ended.
    Dead,
    /// No process in sight can end the wait.
    Stuck,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: FindingKind,
    pub(crate) text: String,
    pub(crate) pids: Vec<u32>,
}
