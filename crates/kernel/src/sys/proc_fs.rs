//! What `/proc` tells of processes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
};

use super::fds::above_standard_streams;

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

/// The pids of the calling process's children whose name in `/proc/PID/comm` is `name`, zombies included.
pub fn children_named(name: &str) -> io::Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|pid| is_child_named(*pid, name)).collect())
}

/// Whether the process is a child of the calling one, and bears that name.
pub fn is_child_named(pid: u32, name: &str) -> bool {
    stat(pid).is_some_and(|stat| stat.name == name && stat.parent == std::process::id())
}

/// Whether the process is stopped by a signal or a debugger.
pub fn is_stopped(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
}

struct Stat {
    name: String,
    state: char,
    parent: u32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may itself hold spaces and parentheses.
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    Some(Stat { name: name.to_owned(), state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
}
