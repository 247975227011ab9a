//! The conditions, and what is expected not to work there.

use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};

use nix::{
    sys::{
        resource::Resource,
        signal::{SigHandler, Signal, signal},
    },
    unistd::{Uid, close, seteuid},
};
use test_support::{hosts, sandbox};

use crate::{WORKS, operations::Operation, resources};

pub(crate) const NOBODY: u32 = 65534;

pub(crate) struct Condition {
    pub(crate) name: &'static str,
    pub(crate) needs_root: bool,
    /// Whether the program is one with a file capability. It is executed after the condition was entered.
    pub(crate) is_installed: bool,
    /// Whether a process is started before.
    pub(crate) starts_before: bool,
    pub(crate) enter: fn(),
    /// The controller of the control group that it makes.
    pub(crate) group: Option<&'static str>,
    /// What is tried only there.
    pub(crate) more: &'static [(&'static str, Operation)],
    /// What does not work: a part of its error.
    errors: &'static [(&'static str, &'static str)],
}

impl Condition {
    const fn new(name: &'static str, needs_root: bool, enter: fn()) -> Self {
        Self { name, needs_root, is_installed: false, starts_before: false, enter, group: None, more: &[], errors: &[] }
    }

    pub(crate) fn expected(&self, operation: &str) -> &'static str {
        self.errors.iter().find(|(name, _)| *name == operation).map_or(WORKS, |(_, error)| error)
    }
}

/// Nor a `/proc`.
const NOTHING_TO_EXECUTE: &[(&str, &str)] = &[
    ("start by Spawn", "cannot execute this program"),
    ("memory limit", "a worker cannot be given memory_limit: without a /proc"),
    ("preload", "cannot execute this program"),
];

pub(crate) const CONDITIONS: &[Condition] = &[
    Condition::new("none", false, || {}),
    Condition {
        starts_before: true,
        errors: NOTHING_TO_EXECUTE,
        ..Condition::new("an empty root", true, hosts::empty_root)
    },
    Condition {
        starts_before: true,
        errors: NOTHING_TO_EXECUTE,
        ..Condition::new("an empty root, as nobody", true, || {
            hosts::empty_root();
            hosts::become_nobody();
        })
    },
    Condition::new("a pid namespace without its /proc", true, hosts::new_pid_namespace),
    Condition::new("hidepid=2, as nobody", true, hosts::hide_others),
    Condition { starts_before: true, ..Condition::new("nobody, after root", true, hosts::become_nobody) },
    Condition {
        starts_before: true,
        ..Condition::new("after seteuid", true, || seteuid(Uid::from_raw(NOBODY)).unwrap())
    },
    Condition { is_installed: true, ..Condition::new("a file capability", true, hosts::become_nobody) },
    Condition { is_installed: true, ..Condition::new("a file capability, hidepid=2", true, hosts::hide_others) },
    Condition::new("descriptors 0, 1, 2 closed", false, || {
        for number in 0..3 {
            close(number).unwrap();
        }
    }),
    Condition::new("SIGCHLD ignored", false, || {
        // SAFETY: installs no handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
    }),
    Condition {
        starts_before: true,
        ..Condition::new("no_new_privs", false, || nix::sys::prctl::set_no_new_privs().unwrap())
    },
    Condition {
        starts_before: true,
        ..Condition::new("a filter of system calls", false, || sandbox::deny(&[libc_mkdirat()]))
    },
    Condition::new("Docker's filter", false, resources::docker),
    Condition::new("full /dev/shm and /tmp", true, resources::full_files),
    Condition::new("read-only file systems", true, resources::read_only_files),
    Condition::new("64 descriptors", false, || resources::limit(Resource::RLIMIT_NOFILE, 64)),
    Condition::new("4 GiB of address space", false, || resources::limit(Resource::RLIMIT_AS, 4 << 30)),
    Condition {
        errors: &[
            ("queue, kills", "File too large"),
            ("joinable, kills", "File too large"),
            ("pool tasks, kills", "File too large"),
            ("memory limit", "File too large"),
        ],
        ..Condition::new("files of 8 MiB at most", false, || resources::limit(Resource::RLIMIT_FSIZE, 8 << 20))
    },
    Condition::new("40 processes of its user", true, || resources::few_processes(40)),
    Condition { group: Some("pids"), ..Condition::new("40 processes in its group", true, resources::few_in_group) },
    Condition {
        group: Some("memory"),
        more: &[("out of memory", resources::out_of_memory)],
        ..Condition::new("96 MiB in its group", true, resources::little_memory)
    },
    Condition {
        group: Some("freezer"),
        more: &[("frozen holder", resources::frozen)],
        ..Condition::new("a group that is frozen", true, || {})
    },
    Condition::new("a time namespace", true, resources::other_time),
    Condition::new("one processor", false, resources::one_processor),
];

fn libc_mkdirat() -> i64 {
    nix::libc::SYS_mkdirat
}

/// Lets the program use ports below 1024.
pub(crate) fn give_capability(program: &Path) {
    let (revision_2, effective, bind) = (0x0200_0000_u32, 1, 1_u32 << 10);
    let value: Vec<u8> = [revision_2 | effective, bind, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    let path = CString::new(program.as_os_str().as_bytes()).unwrap();
    let name = c"security.capability";
    // SAFETY: C strings and bytes that outlive the call.
    let set = unsafe { nix::libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if set != 0 {
        println!("(this file system has no capabilities: without one)");
    }
}
