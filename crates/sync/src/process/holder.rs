//! Who holds a lock.

use std::fs;

use kernel::identity::PidNamespace;

/// The holder of a lock, for a message to a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Its thread.
    pub tid: u32,
    /// The name of its thread; of a process's first thread, that of the process.
    pub name: String,
}

impl Holder {
    /// The thread `tid` of this pid namespace, if there is one; reads `/proc`.
    pub(crate) fn of_thread(tid: u32) -> Option<Self> {
        if tid == 0 || !PidNamespace::is_that_of_proc() {
            return None;
        }
        let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self { pid: field("Tgid:")?.parse().ok()?, tid, name: field("Name:")?.to_owned() })
    }
}
