//! Which words the kernel would mark if a thread died now: its list of robust futexes, read as the kernel reads it.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::sys;

/// The kernel walks no further (`ROBUST_LIST_LIMIT`).
const LIMIT: usize = 2048;

/// A thread's list of robust futexes.
#[derive(Debug)]
pub struct RobustList {
    head: u64,
    memory: File,
}

impl RobustList {
    /// The list of a thread of another process; `None` if it registered none.
    pub fn of(tid: i32) -> Option<Self> {
        Some(Self { head: sys::robust_list_head(tid)?, memory: File::open(format!("/proc/{tid}/mem")).ok()? })
    }

    /// The addresses, in the thread's own memory, of the futex words on its list and of the one that it is just about
    /// to put there or take away. Those that hold its id would be marked with `FUTEX_OWNER_DIED`.
    pub fn words(&self) -> Vec<u64> {
        // struct robust_list_head { struct robust_list *next; long futex_offset; struct robust_list *list_op_pending; }
        let Some([mut entry, offset, pending]) = self.read(self.head) else { return Vec::new() };
        // The lowest bit of an entry says that its futex is of the kind with priority inheritance.
        let futex = |entry: u64| (entry & !1).wrapping_add(offset);
        let mut words = Vec::new();
        while entry & !1 != self.head && words.len() < LIMIT {
            words.push(futex(entry));
            match self.read::<1>(entry & !1) {
                Some([next]) => entry = next,
                None => break,
            }
        }
        if pending != 0 {
            words.push(futex(pending));
        }
        words
    }

    fn read<const N: usize>(&self, address: u64) -> Option<[u64; N]> {
        let mut words = [[0; 8]; N];
        self.memory.read_exact_at(words.as_flattened_mut(), address).ok()?;
        Some(words.map(u64::from_ne_bytes))
    }
}
