//! One look at a program: its processes, their memory files, and which thread waits for which.

mod waits;
mod workers;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use sync::process::inspect::Kind;

use crate::{
    ids::Ids,
    model::{LockRow, OtherRow, PipeRow, ProcessRow, QueueRow, Role, Snapshot},
    pools,
    process::{self, MemoryFile, Open, Place, Seen, printable},
    segment::{self, Content, Segment},
    symbols::Programs,
};

/// Why there is nothing to show.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// There is no such process, or it has ended.
    Gone,
    /// The kernel does not let this user see its memory.
    Refused {
        pid: u32,
        user: Option<u32>,
    },
    Io(io::Error),
}

impl std::fmt::Display for ScanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gone => f.write_str("the process has ended"),
            Self::Refused { pid, user: Some(user) } => write!(
                f,
                "process {pid} belongs to user {user}, or has more rights: the kernel refuses to show its memory to user {}",
                nix::unistd::geteuid()
            ),
            Self::Refused { pid, user: None } => write!(f, "the kernel refuses to show process {pid}"),
            Self::Io(e) => write!(f, "cannot read /proc: {e}"),
        }
    }
}

impl std::error::Error for ScanError {}

impl From<io::Error> for ScanError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// The process that a program began with. Another one may have its pid later, but not its start time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    pub(crate) pid: u32,
    pub(crate) start: u64,
}

/// A process of the program, as far as it can be seen.
struct Member {
    row: ProcessRow,
    open: Open,
    places: Vec<Place>,
}

/// What the program's processes share: each memory file by its inode, what is in it, and who has it.
type Segments = BTreeMap<u64, (MemoryFile, Segment, Vec<u32>)>;

/// Looks at the program once. Durations and rates are 0 or absent: `history` adds them. Without `programs`, functions have
/// no names, which take a moment to look up.
///
/// # Errors
/// If there is no such process, or it is another user's.
pub(crate) fn scan(root: Root, programs: Option<&mut Programs>) -> Result<Snapshot, ScanError> {
    let all = process::all()?;
    let is_it = |seen: &&Seen| seen.state != 'Z' && seen.start == root.start;
    let seen = all.get(&root.pid).filter(is_it).ok_or(ScanError::Gone)?;
    let root = root.pid;
    if let Err(e) = process::open_files(root) {
        return Err(match e.kind() {
            io::ErrorKind::PermissionDenied => ScanError::Refused { pid: root, user: process::user_of(root) },
            io::ErrorKind::NotFound => ScanError::Gone,
            _ => ScanError::Io(e),
        });
    }
    let mut members: Vec<Member> =
        process::tree(&all, root).into_iter().filter_map(|(pid, depth)| Some(member(all.get(&pid)?, depth))).collect();
    let mut segments = Segments::new();
    for member in &members {
        for memory in &member.open.memory {
            if let Some((.., holders)) = segments.get_mut(&memory.inode) {
                if !holders.contains(&member.row.pid) {
                    holders.push(member.row.pid);
                }
            } else if let Ok(segment) = segment::read(memory) {
                segments.insert(memory.inode, (memory.clone(), segment, vec![member.row.pid]));
            }
        }
    }
    let workers = workers::workers(&members, &segments, programs);
    assign_roles(&mut members, &all, &workers.iter().map(|(worker, _)| worker.pid).collect());
    let ids = Ids::of(members.iter().map(|member| &member.row));
    let mut snapshot = Snapshot {
        at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64),
        root,
        command: Some(process::command_of(root))
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| printable(&seen.name)),
        processes: Vec::new(),
        pools: pools::group(workers, |pid| members.iter().find(|m| m.row.pid == pid).map_or(&[], |m| &m.open.events)),
        queues: Vec::new(),
        pipes: Vec::new(),
        locks: Vec::new(),
        others: Vec::new(),
        waits: waits::waits(&members, &segments, &ids),
        findings: Vec::new(),
        notes: notes(&members),
    };
    pools::add_boards(&mut snapshot.pools, |owner| {
        let boards = segments.values().filter(|(_, _, holders)| holders.contains(&owner));
        let board = |(_, it, holders): &(MemoryFile, Segment, Vec<u32>)| {
            let Content::Board(board) = &it.content else { return None };
            let pids = board.pids.iter().filter_map(|pid| ids.outer(*pid, holders)).collect();
            Some((board.clone(), pids))
        };
        boards.filter_map(board).collect()
    });
    for (id, (memory, segment, holders)) in &segments {
        add_segment(&mut snapshot, *id, memory, segment, holders, &ids);
    }
    snapshot.processes = members.into_iter().map(|member| member.row).collect();
    Ok(snapshot)
}

fn member(seen: &Seen, depth: u16) -> Member {
    let (private_bytes, shared_bytes) = process::memory(seen.pid).unwrap_or_default();
    let (open, hidden) = match process::open_files(seen.pid) {
        Ok(open) => (open, None),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let user = process::user_of(seen.pid).map_or("another user".into(), |user| format!("user {user}"));
            (Open::default(), Some(format!("its memory is hidden: it belongs to {user}, or has more rights")))
        }
        Err(_) => (Open::default(), None),
    };
    let (threads, places) = process::threads(seen.pid).into_iter().unzip();
    let row = ProcessRow {
        pid: seen.pid,
        parent: seen.parent,
        depth,
        name: printable(&seen.name),
        role: Role::Process,
        state: seen.state,
        cpu_ms: seen.cpu_ms,
        cpu_percent: None,
        private_bytes,
        shared_bytes,
        age_ms: seen.age_ms,
        threads,
        hidden,
    };
    Member { row, open, places }
}

fn assign_roles(members: &mut [Member], all: &BTreeMap<u32, Seen>, workers: &HashSet<u32>) {
    // The helper was there before its spares.
    let mut helpers: HashMap<&str, (u64, u32)> = HashMap::new();
    for seen in members.iter().filter_map(|member| all.get(&member.row.pid)) {
        if seen.name.starts_with("forkserver-") {
            let first = helpers.entry(&seen.name).or_insert((seen.start, seen.pid));
            *first = (*first).min((seen.start, seen.pid));
        }
    }
    let parents: HashSet<u32> = members.iter().map(|member| member.row.parent).collect();
    for member in members {
        let Some(seen) = all.get(&member.row.pid) else { continue };
        let is_daemon = seen.parent <= 1 && seen.session == seen.pid && !seen.has_terminal;
        member.row.role = match () {
            () if workers.contains(&seen.pid) => Role::Worker,
            () if seen.name.starts_with("forkserver-") => {
                let is_helper = helpers.get(seen.name.as_str()).is_some_and(|(_, pid)| *pid == seen.pid);
                if is_helper { Role::ForkServer } else { Role::Spare }
            }
            () if seen.name == "Manager" => Role::Manager,
            () if is_daemon => Role::Daemon,
            () if parents.contains(&seen.pid) => Role::Owner,
            () => Role::Process,
        };
    }
}

fn notes(members: &[Member]) -> Vec<String> {
    let mut notes = Vec::new();
    let n_hidden = members.iter().filter(|member| member.row.hidden.is_some()).count();
    if n_hidden > 0 {
        let what = if n_hidden == 1 { "1 process is" } else { &format!("{n_hidden} processes are") };
        notes.push(format!("{what} hidden from this user by the kernel"));
    }
    if members.iter().flat_map(|member| &member.places).any(|place| *place == Place::Unknown) {
        notes
            .push("the kernel does not say where threads sleep (ptrace_scope): who waits is known only in part".into());
    }
    notes
}

fn add_segment(snapshot: &mut Snapshot, id: u64, memory: &MemoryFile, segment: &Segment, holders: &[u32], ids: &Ids) {
    let outer = |pid: u32| ids.outer(pid, holders);
    let other = |what: String, is_garbled| OtherRow {
        id,
        name: printable(&memory.name),
        what,
        memory_bytes: segment.memory_bytes,
        is_garbled,
        holders: holders.to_vec(),
    };
    match &segment.content {
        Content::Queue(view) => snapshot.queues.push(QueueRow {
            id,
            depth: view.depth,
            capacity: view.capacity,
            is_closed: view.is_closed,
            memory_bytes: segment.memory_bytes,
            n_put: view.n_put,
            n_taken: view.n_taken,
            put_per_second: None,
            taken_per_second: None,
            leases: view.leases,
            // 0 is no known process.
            leased: view.leased.iter().map(|(pid, n)| (outer(*pid).unwrap_or(0), *n)).collect(),
            n_orphans: view.n_orphans,
            n_dead_letters: view.n_dead_letters,
            sleeps: [view.sleeps[0], view.sleeps[1]],
            holders: holders.to_vec(),
        }),
        Content::Pipe(rings) => {
            snapshot.pipes.extend(rings.iter().enumerate().map(|(direction, ring)| PipeRow {
                id,
                direction,
                n_bytes: ring.n_bytes,
                tail: ring.tail,
                head: ring.head,
                in_per_second: None,
                out_per_second: None,
                reader: ring.reader.and_then(outer),
                writer: ring.writer.and_then(outer),
                sleeping_reader: ring.sleeping_reader.and_then(outer),
                has_sleeping_writer: ring.has_sleeping_writer,
                holders: holders.to_vec(),
            }));
        }
        Content::Lock(kind, view) => {
            let detail = match kind {
                Kind::RLock if view.again > 0 => format!("held {} times", u64::from(view.again) + 1),
                Kind::RwLock if view.is_writing => "writing".into(),
                Kind::RwLock if !view.holders.is_empty() => format!("{} read", view.holders.len()),
                Kind::Semaphore => match view.permits {
                    Some((permits, u32::MAX)) => format!("{permits} permits"),
                    Some((permits, limit)) => format!("{permits} of {limit} permits"),
                    None => String::new(),
                },
                Kind::Event => if view.is_set == Some(true) { "set" } else { "not set" }.into(),
                Kind::Barrier => format!("{} of {} have come", view.holders.len(), view.parties.unwrap_or(0)),
                _ => String::new(),
            };
            let holders_of_it = view.holders.iter().map(|tid| ids.holder(*tid, holders)).collect();
            snapshot.locks.push(LockRow {
                id,
                kind: format!("{kind:?}"),
                label: String::new(),
                holders: holders_of_it,
                is_inconsistent: view.is_inconsistent,
                has_waiters: view.has_waiters,
                detail,
                n_turns: view.n_turns,
                turns_per_second: None,
                users: holders.to_vec(),
            });
        }
        Content::Lane(_) | Content::Board(_) => {}
        Content::Value(shared) => snapshot.others.push(other(shared.label.clone(), false)),
        Content::Named(what) => snapshot.others.push(other((*what).into(), false)),
        Content::Unknown => snapshot.others.push(other("memory without a header".into(), false)),
        Content::Garbled(why) => snapshot.others.push(other(why.clone(), true)),
    }
}
