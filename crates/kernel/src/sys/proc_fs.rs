//! What `/proc` tells of processes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
};

use super::{fds::above_standard_streams, open_file};

/// How many threads the calling process has.
pub fn thread_count() -> io::Result<usize> {
    Threads::open()?.count()
}

/// The directory of the calling process's threads, kept open: it can be asked in a chroot too.
#[derive(Debug)]
pub struct Threads(File);

impl Threads {
    /// Fails without a `/proc`.
    pub fn open() -> io::Result<Self> {
        let dir = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/proc/self/task")?;
        Ok(Self(above_standard_streams(dir)?))
    }

    /// How many there are now.
    pub fn count(&self) -> io::Result<usize> {
        // The directory has a link for each, beside its own two.
        Ok(self.0.metadata()?.nlink().saturating_sub(2) as usize)
    }
}

/// The names of the calling process's threads beside the one that calls.
pub fn other_threads() -> Vec<String> {
    // By the number that this `/proc` knows it by, which is another one in a namespace that has none of its own.
    let own = fs::read_link("/proc/thread-self").unwrap_or_default();
    let is_other = |thread: &fs::DirEntry| Some(&*thread.file_name()) != own.file_name();
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten().filter(is_other);
    // One that has ended meanwhile has none.
    let name = |thread: fs::DirEntry| Some(fs::read_to_string(thread.path().join("comm")).ok()?.trim_end().to_owned());
    threads.filter_map(name).collect()
}

/// The pids of the calling process's children whose name in `/proc/PID/comm` is `name`, zombies included.
pub fn children_named(name: &str) -> io::Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|pid| is_child_named(*pid, name)).collect())
}

/// Whether the process is a child of the calling one, and bears that name.
pub fn is_child_named(pid: u32, name: &str) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.name == name && stat.parent == std::process::id())
}

/// Whether the process is stopped by a signal or a debugger.
pub fn is_stopped(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
}

/// What `/proc/PID/stat` says, as far as it is asked for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its pid, or that of the thread.
    pub pid: u32,
    /// The name of the program or of the thread, at most 15 bytes.
    pub name: String,
    /// A letter: `R` on its way, `S` asleep, `Z` a zombie; see proc_pid_stat(5).
    pub state: char,
    /// The parent's pid.
    pub parent: u32,
    /// The session's leader.
    pub session: u32,
    /// When it began, in clock ticks since boot.
    pub start_time: u64,
}

impl Stat {
    /// That of a process; `None` if it is not in `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        Self::read(&format!("/proc/{pid}/stat"))
    }

    /// That of the calling process, by whatever pid this `/proc` knows it.
    pub fn of_self() -> Option<Self> {
        Self::read("/proc/self/stat")
    }

    /// That of a thread of the calling process.
    pub fn of_thread(id: u32) -> Option<Self> {
        Self::read(&format!("/proc/self/task/{id}/stat"))
    }

    /// Whether it has ended, and waits to be reaped.
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }

    fn read(path: &str) -> Option<Self> {
        if open_file::is_given_up() {
            return None;
        }
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may itself hold spaces and parentheses.
        let (before, after) = text.rsplit_once(')')?;
        let (pid, name) = before.split_once('(')?;
        // From the third field on.
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        Some(Self {
            pid: pid.trim_end().parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_behind_it() {
        let text = "7 (a) Z 1 (b) S 5 6 8 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.pid, stat.name.as_str(), stat.state), (7, "a) Z 1 (b", 'S'));
        assert_eq!((stat.parent, stat.session, stat.start_time), (5, 8, 4711));
        assert_eq!(Stat::parse("7 (a) S 5 6"), None);
        // The state is that of the main thread, which may wake in between.
        let [own, also_own] = [Stat::of(std::process::id()), Stat::of_self()].map(|stat| {
            let stat = stat.unwrap();
            (stat.pid, stat.name, stat.parent, stat.session, stat.start_time)
        });
        assert_eq!(own, also_own);
    }
}
