//! What the kernel tells of processes: `/proc`, read as any user may read it. No process is traced or stopped for it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::Path,
    sync::LazyLock,
};

use kernel::shm::SharedMemory;
use nix::libc;
use procfs::process::{MMPermissions, MMapPath, Process};

use crate::model::ThreadRow;

/// A process, before anything is known of what it is for.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) session: u32,
    pub(crate) has_terminal: bool,
    pub(crate) cpu_ms: u64,
    pub(crate) age_ms: u64,
    pub(crate) start: u64,
}

/// All processes there are.
pub(crate) fn all() -> io::Result<BTreeMap<u32, Seen>> {
    let tick_ms = 1000 / procfs::ticks_per_second().max(1);
    let uptime_ms = fs::read_to_string("/proc/uptime")?
        .split(' ')
        .next()
        .and_then(|seconds| seconds.parse::<f64>().ok())
        .map_or(0, |seconds| (seconds * 1000.0) as u64);
    let processes = procfs::process::all_processes().map_err(io::Error::other)?;
    let seen = processes.flatten().filter_map(|process| {
        let stat = process.stat().ok()?;
        let seen = Seen {
            pid: u32::try_from(stat.pid).ok()?,
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            name: stat.comm,
            state: stat.state,
            session: u32::try_from(stat.session).unwrap_or(0),
            has_terminal: stat.tty_nr != 0,
            cpu_ms: (stat.utime + stat.stime) * tick_ms,
            age_ms: uptime_ms.saturating_sub(stat.starttime * tick_ms),
            start: stat.starttime,
        };
        Some((seen.pid, seen))
    });
    Ok(seen.collect())
}

/// The root, and all processes that descend from it, parents first; with how deep they are.
pub(crate) fn tree(all: &BTreeMap<u32, Seen>, root: u32) -> Vec<(u32, u16)> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for seen in all.values().filter(|seen| seen.pid != root) {
        children.entry(seen.parent).or_default().push(seen.pid);
    }
    let (mut found, mut next) = (Vec::new(), vec![(root, 0)]);
    while let Some((pid, depth)) = next.pop() {
        found.push((pid, depth));
        let below = children.remove(&pid).unwrap_or_default();
        next.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
    }
    found
}

/// A memory file that a process has a descriptor of.
#[derive(Clone, Debug)]
pub(crate) struct MemoryFile {
    pub(crate) inode: u64,
    pub(crate) name: String,
    pub(crate) path: String,
}

impl MemoryFile {
    /// Opens it, without the right to write.
    ///
    /// # Errors
    /// If it is gone, or may not be read.
    pub(crate) fn open(&self) -> io::Result<fs::File> {
        let file =
            fs::OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK).open(&self.path)?;
        let meta = file.metadata()?;
        // By now the number may be another file's.
        if meta.ino() == self.inode && meta.is_file() { Ok(file) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

/// The kernel's number of the mount that all memory files are on. The name of any other file may be like theirs, and to look
/// at it may take for ever: in a container any user may serve a file system.
fn mount_of_memory() -> Option<u64> {
    static MOUNT: LazyLock<Option<u64>> = LazyLock::new(|| {
        let memory = SharedMemory::new(1).ok()?;
        FdInfo::of("self", &memory.as_raw_fd().to_string())?.number("mnt_id:")
    });
    *MOUNT
}

/// What the kernel says of a descriptor, without asking the process that serves its file.
struct FdInfo(String);

impl FdInfo {
    fn of(pid: &str, fd: &str) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok().map(Self)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
    }
}

/// What a process has open that says something here.
#[derive(Debug, Default)]
pub(crate) struct Open {
    pub(crate) memory: Vec<MemoryFile>,
    /// The kernel's numbers of the event counters.
    pub(crate) events: Vec<u64>,
    /// The processes that it has a descriptor of.
    pub(crate) watched: Vec<u32>,
}

/// What a process has open.
///
/// # Errors
/// `PermissionDenied` for another user's.
pub(crate) fn open_files(pid: u32) -> io::Result<Open> {
    let mut open = Open::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        let path = entry.path();
        let Ok(target) = fs::read_link(&path) else { continue };
        let target = target.to_string_lossy();
        let info = || FdInfo::of(&pid.to_string(), &entry.file_name().to_string_lossy());
        if let Some(name) = target.strip_prefix("/memfd:") {
            let name = name.strip_suffix(" (deleted)").unwrap_or(name).to_owned();
            let Some(info) = info().filter(|info| info.number("mnt_id:") == mount_of_memory()) else { continue };
            // Kernels before 5.14 do not say it there.
            let inode = info.number("ino:").or_else(|| Some(fs::metadata(&path).ok()?.ino()));
            let Some(inode) = inode else { continue };
            open.memory.push(MemoryFile { inode, name, path: path.to_string_lossy().into_owned() });
        } else if target == "anon_inode:[eventfd]" {
            open.events.extend(info().and_then(|info| info.number("eventfd-id:")));
        } else if target == "anon_inode:[pidfd]" || target.starts_with("pidfd:") {
            open.watched.extend(info().and_then(|info| u32::try_from(info.number("Pid:")?).ok()));
        }
    }
    Ok(open)
}

/// Private and shared memory in use, in bytes.
pub(crate) fn memory(pid: u32) -> Option<(u64, u64)> {
    let pages = Process::new(i32::try_from(pid).ok()?).ok()?.statm().ok()?;
    let bytes = |n_pages: u64| n_pages.saturating_mul(procfs::page_size());
    Some((bytes(pages.resident.saturating_sub(pages.shared)), bytes(pages.shared)))
}

/// A file that has a name in it: a name is any bytes.
fn text_of(path: impl AsRef<Path>) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The kernel's number of a process's pid namespace.
pub(crate) fn pid_namespace(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|meta| meta.ino())
}

/// What a thread is called in its own pid namespace.
pub(crate) fn id_in_namespace(pid: u32, tid: u32) -> Option<u32> {
    let status = text_of(format!("/proc/{pid}/task/{tid}/status"))?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_ascii_whitespace().last()?.parse().ok()
}

/// Where a thread is in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Asleep at a word that processes share: its address.
    Futex(u64),
    /// Waiting, without a limit, for one descriptor, or for a child.
    Descriptor,
    /// Waiting, without a limit, for a packet of a socket.
    Packet,
    Elsewhere,
    /// The kernel does not say.
    Unknown,
}

/// The threads of a process, and where they are.
pub(crate) fn threads(pid: u32) -> Vec<(ThreadRow, Place)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let thread = |entry: fs::DirEntry| {
        let tid = entry.file_name().to_str()?.parse().ok()?;
        let stat = text_of(entry.path().join("stat"))?;
        let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
        let state = stat.get(end + 2..)?.chars().next()?;
        let name = printable(stat.get(begin + 1..end)?);
        let place = match fs::read_to_string(entry.path().join("syscall")) {
            Ok(text) => place(&text),
            Err(_) => Place::Unknown,
        };
        Some((ThreadRow { tid, name, state }, place))
    };
    entries.flatten().filter_map(thread).collect()
}

/// What `/proc/PID/task/TID/syscall` says: the number of the call, and its arguments.
fn place(text: &str) -> Place {
    let mut words = text.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|number| number.parse::<i64>().ok()) else { return Place::Elsewhere };
    let mut argument = || words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let (Some(first), Some(second), Some(third)) = (argument(), argument(), argument()) else {
        return Place::Elsewhere;
    };
    // Among threads of one process the flag "private" is set.
    let is_shared_wait = matches!(second as i32, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET)
        || second as i32 == libc::FUTEX_WAIT_BITSET | libc::FUTEX_CLOCK_REALTIME;
    match number {
        libc::SYS_futex if is_shared_wait => Place::Futex(first),
        // Third is the time: none at all.
        libc::SYS_ppoll if second == 1 && third == 0 => Place::Descriptor,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll if second == 1 && third as i32 == -1 => Place::Descriptor,
        libc::SYS_waitid | libc::SYS_wait4 => Place::Descriptor,
        libc::SYS_recvmsg if third as i32 & libc::MSG_DONTWAIT == 0 => Place::Packet,
        _ => Place::Elsewhere,
    }
}

/// Which words of which memory files are mapped where.
#[derive(Debug, Default)]
pub(crate) struct Mapped(Vec<(u64, u64, u64, u64)>);

impl Mapped {
    pub(crate) fn of(pid: u32) -> Self {
        let maps = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()?.maps().ok());
        let shared = maps.into_iter().flatten().filter(|map| {
            let is_memory = match &map.pathname {
                MMapPath::Path(path) => path.to_string_lossy().starts_with("/memfd:"),
                _ => false,
            };
            is_memory && map.perms.contains(MMPermissions::SHARED)
        });
        Self(shared.map(|map| (map.address.0, map.address.1, map.inode, map.offset)).collect())
    }

    /// The memory file's inode and the place in it.
    pub(crate) fn find(&self, address: u64) -> Option<(u64, u64)> {
        let (start, _, inode, offset) = self.0.iter().find(|(start, end, ..)| (*start..*end).contains(&address))?;
        Some((*inode, address - start + offset))
    }
}

/// The processes that a name or a number means.
pub(crate) fn named(all: &BTreeMap<u32, Seen>, target: &str) -> Vec<u32> {
    if let Ok(pid) = target.parse() {
        return if all.contains_key(&pid) { vec![pid] } else { Vec::new() };
    }
    // The kernel cuts names to 15 bytes.
    let is_it = |name: &str| name == target || name.len() == 15 && target.starts_with(name);
    let found: Vec<u32> = all.values().filter(|seen| is_it(&seen.name)).map(|seen| seen.pid).collect();
    // Of a program and its children, the program.
    let is_child = |pid: &u32| all.get(pid).is_some_and(|seen| found.contains(&seen.parent));
    found.iter().copied().filter(|pid| !is_child(pid) && *pid != std::process::id()).collect()
}

/// The user that a process belongs to.
pub(crate) fn user_of(pid: u32) -> Option<u32> {
    fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid())
}

/// The command that a process was started with.
pub(crate) fn command_of(pid: u32) -> String {
    let mut bytes = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/cmdline"));
    let _ = file.and_then(|file| file.take(MAX_COMMAND_BYTES).read_to_end(&mut bytes));
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    printable(words.join(" ").trim())
}

/// More of a command is not shown.
const MAX_COMMAND_BYTES: u64 = 4096;

/// A text without what moves a cursor or turns the direction of writing: names of processes and their commands are whatever
/// they say.
pub(crate) fn printable(text: &str) -> String {
    let is_unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if is_unseen(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_says_where_a_thread_is() {
        let futex = |op: &str| format!("{} 0x7f0012345640 {op} 0x2 0x0 0x0 0x0 0x7ffd 0x7f00\n", libc::SYS_futex);
        assert_eq!(place(&futex("0x0")), Place::Futex(0x7f00_1234_5640));
        assert_eq!(place(&futex("0x9")), Place::Futex(0x7f00_1234_5640));
        assert_eq!(place(&futex("0x189")), Place::Elsewhere, "private");
        assert_eq!(place(&futex("0x1")), Place::Elsewhere, "a wake-up");
        let ppoll = |n: &str, time: &str| format!("{} 0x7ffd {n} {time} 0x0 0x8 0x0 0x1 0x2", libc::SYS_ppoll);
        assert_eq!(place(&ppoll("0x1", "0x0")), Place::Descriptor);
        assert_eq!(place(&ppoll("0x2", "0x0")), Place::Elsewhere);
        assert_eq!(place(&ppoll("0x1", "0x7ffd")), Place::Elsewhere);
        let recvmsg = |flags: &str| format!("{} 0x4 0x7ffd {flags} 0x0 0x0 0x0 0x1 0x2", libc::SYS_recvmsg);
        assert_eq!(place(&recvmsg("0x40000000")), Place::Packet);
        assert_eq!(place(&recvmsg("0x40000040")), Place::Elsewhere, "it does not wait");
        assert_eq!(place("running\n"), Place::Elsewhere);
        assert_eq!(place("-1 0x0 0x0"), Place::Elsewhere);
        assert_eq!(place(""), Place::Elsewhere);
    }

    #[test]
    fn a_name_is_any_bytes() {
        let (named, name) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let own = format!("/proc/self/task/{}/comm", nix::unistd::gettid());
            fs::write(own, b"\x1b[2J\xe2\x80").unwrap();
            named.send(nix::unistd::gettid().as_raw().cast_unsigned()).unwrap();
            let _ = wait.recv();
        });
        let tid = name.recv().unwrap();
        let threads = threads(std::process::id());
        let (thread_row, _) = threads.iter().find(|(row, _)| row.tid == tid).unwrap();
        assert_eq!(thread_row.name, "?[2J\u{fffd}");
        drop(done);
        thread.join().unwrap();
    }

    #[test]
    fn this_process_is_there() {
        let all = all().unwrap();
        let me = std::process::id();
        assert_eq!(named(&all, &me.to_string()), [me]);
        assert!(tree(&all, all[&me].parent).iter().any(|(pid, depth)| *pid == me && *depth == 1));
        assert!(threads(me).iter().any(|(thread, _)| thread.tid == me));
        assert!(memory(me).unwrap().0 > 0 && open_files(me).is_ok());
    }
}
