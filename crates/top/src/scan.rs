//! One look at a program: its processes, their memory files, and which thread waits for which.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use ipc::inspect::Bed;
use lane::inspect::RunningView;
use sync::process::inspect::Kind;

use crate::{
    ids::Ids,
    model::{
        For, LockRow, OtherRow, PipeRow, ProcessRow, QueueRow, Role, Seen as SeenFor, Snapshot, TaskRow, WaitRow,
        WorkerRow,
    },
    pools,
    process::{self, Mapped, MemoryFile, Open, Place, Seen, printable},
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
    let mut segments: BTreeMap<u64, (MemoryFile, Segment, Vec<u32>)> = BTreeMap::new();
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
    let workers = workers(&members, &segments, programs);
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
        waits: waits(&members, &segments, &ids),
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

type Segments = BTreeMap<u64, (MemoryFile, Segment, Vec<u32>)>;

/// The workers of all pools, and the event counters that they have: those of a pool share one with its owner.
fn workers(
    members: &[Member],
    segments: &Segments,
    mut programs: Option<&mut Programs>,
) -> Vec<(WorkerRow, (u32, Vec<u64>))> {
    let mut workers = Vec::new();
    for (id, (_, segment, holders)) in segments {
        let Content::Lane(lane) = &segment.content else { continue };
        // The owner has it, too; and so have children that the owner forked, with all else that it has.
        let both = members.iter().filter(|it| holders.contains(&it.row.pid) && holders.contains(&it.row.parent));
        let worker = both.min_by_key(|member| {
            let n_lanes = member.open.memory.iter().filter(|memory| is_lane(segments, memory)).count();
            (n_lanes, member.open.memory.len())
        });
        let Some(worker) = worker else { continue };
        let pid = worker.row.pid;
        let task = lane.running.as_ref().map(|running| {
            let name = |programs: &mut &mut Programs| task_name(worker, running, programs);
            let function = programs.as_mut().map(name).unwrap_or_default();
            TaskRow { number: running.number, function, n_items: running.n_items, seen: SeenFor::default() }
        });
        let row = WorkerRow {
            pid,
            lane: *id,
            name: worker.row.name.clone(),
            is_asleep: lane.is_asleep,
            n_ready: lane.n_ready,
            n_over: lane.n_over.wrapping_add(lane.n_done.into()),
            task,
        };
        workers.push((row, (worker.row.parent, worker.open.events.clone())));
    }
    workers
}

/// What a worker's task calls.
fn task_name(worker: &Member, running: &RunningView, programs: &mut Programs) -> String {
    let begin = match running.spilled_at {
        None => Some(running.begin),
        Some(at) => {
            let spill = worker.open.memory.iter().find(|memory| memory.name == "lane-spill");
            spill.and_then(|memory| lane::inspect::spilled(&memory.open().ok()?, at).ok())
        }
    };
    let Some(begin) = begin else { return "(its arguments cannot be read)".into() };
    let (offset, is_initializer) = pool::inspect::function_of(running.tag, begin);
    let name = programs.of(worker.row.pid).map(|symbols| symbols.name(offset)).unwrap_or_default();
    if is_initializer { format!("initializer {name}") } else { name }
}

fn is_lane(segments: &Segments, memory: &MemoryFile) -> bool {
    segments.get(&memory.inode).is_some_and(|(_, segment, _)| matches!(segment.content, Content::Lane(_)))
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

fn waits(members: &[Member], segments: &Segments, ids: &Ids) -> Vec<WaitRow> {
    let mut waits = Vec::new();
    for member in members {
        let is_asleep = member.places.iter().any(|place| matches!(place, Place::Futex(_)));
        let mapped = if is_asleep { Mapped::of(member.row.pid) } else { Mapped::default() };
        for (thread, place) in member.row.threads.iter().zip(&member.places) {
            let row = |r#for, id, offset, what: String, any| WaitRow {
                pid: member.row.pid,
                tid: thread.tid,
                name: ids.name(thread.tid).unwrap_or_default().into(),
                r#for,
                id,
                offset,
                what,
                holder: None,
                any,
                is_assumed: false,
                seen: SeenFor::default(),
            };
            match place {
                Place::Futex(address) => {
                    let Some((id, offset)) = mapped.find(*address) else { continue };
                    let Some((memory, segment, holders)) = segments.get(&id) else { continue };
                    let (r#for, what, holder) = meaning(id, offset, memory, segment);
                    let others = holders.iter().copied().filter(|pid| *pid != member.row.pid).collect();
                    let mut row = row(r#for, id, offset, what, others);
                    row.holder = holder.map(|tid| ids.holder(tid, holders));
                    waits.push(row);
                }
                Place::Descriptor | Place::Packet => {
                    let ends: Vec<u32> = if member.open.watched.is_empty() {
                        let children = members.iter().filter(|other| other.row.parent == member.row.pid);
                        children.map(|child| child.row.pid).collect()
                    } else {
                        member.open.watched.clone()
                    };
                    if let Some((r#for, id, holders)) = pipe_of(member.row.pid, segments, ids) {
                        let others = holders.iter().copied().filter(|pid| *pid != member.row.pid).collect();
                        waits.push(row(r#for, id, 0, format!("pipe:{id}"), others));
                    } else if *place == Place::Descriptor
                        && thread.tid == member.row.pid
                        && !ends.is_empty()
                        && member.row.role != Role::Spare
                    {
                        let ends: Vec<u32> = ends.into_iter().filter(|pid| !is_helper(members, *pid)).collect();
                        if !ends.is_empty() {
                            waits.push(row(For::End, 0, u64::from(thread.tid), "one of its children".into(), ends));
                        }
                    }
                }
                Place::Elsewhere | Place::Unknown => {}
            }
        }
    }
    waits
}

/// The pipe at which a process sleeps, and what for.
fn pipe_of<'a>(pid: u32, segments: &'a Segments, ids: &Ids) -> Option<(For, u64, &'a [u32])> {
    segments.iter().find_map(|(id, (_, segment, holders))| {
        let Content::Pipe(rings) = &segment.content else { return None };
        let is_me = |of: Option<u32>| of.and_then(|of| ids.outer(of, holders)) == Some(pid);
        let r#for = rings.iter().find_map(|ring| match () {
            () if is_me(ring.sleeping_reader) => Some(For::PipeMessage),
            () if ring.has_sleeping_writer && is_me(ring.writer) => Some(For::PipeRoom),
            () => None,
        })?;
        Some((r#for, *id, holders.as_slice()))
    })
}

fn is_helper(members: &[Member], pid: u32) -> bool {
    members.iter().any(|member| member.row.pid == pid && matches!(member.row.role, Role::ForkServer | Role::Spare))
}

/// What it means to sleep at a word of some memory; and the thread that holds it, if it is a lock.
fn meaning(id: u64, offset: u64, memory: &MemoryFile, segment: &Segment) -> (For, String, Option<u32>) {
    let holder = || sync::process::inspect::holder_at(&memory.open().ok()?, offset);
    match &segment.content {
        Content::Queue(_) => {
            let r#for = match ipc::inspect::bed_at(offset) {
                Some(Bed::Items) => For::Message,
                Some(Bed::Space) => For::Room,
                Some(Bed::Done) => For::ItemDone,
                None => For::Word,
            };
            (r#for, format!("queue:{id}"), None)
        }
        Content::Lane(_) if offset == lane::inspect::ASLEEP_AT => (For::Task, format!("lane:{id}"), None),
        Content::Lock(kind, _) => {
            let (r#for, name) = match kind {
                Kind::Lock => (For::Lock, "lock"),
                Kind::RLock => (For::Lock, "rlock"),
                Kind::RwLock => (For::Lock, "rwlock"),
                Kind::Semaphore => (For::Permit, "semaphore"),
                Kind::Event => (For::Event, "event"),
                Kind::Condvar => (For::Notification, "condvar"),
                Kind::Barrier => (For::Parties, "barrier"),
            };
            let holder = if r#for == For::Lock { holder() } else { None };
            (r#for, format!("{name}:{id}"), holder)
        }
        Content::Value(shared) => {
            let holder = holder();
            let r#for = if holder.is_some() { For::Lock } else { For::Word };
            (r#for, format!("{} in {}:{id}", if holder.is_some() { "a lock" } else { "a word" }, shared.label), holder)
        }
        _ => {
            let holder = holder();
            (if holder.is_some() { For::Lock } else { For::Word }, format!("memory:{id}+{offset}"), holder)
        }
    }
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
