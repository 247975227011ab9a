//! One kernel facility a file, with safe signatures on owned and borrowed descriptors.
//!
//! What a child does at its start is done by the kernel's calls themselves (`libc::syscall`) where the C library's function
//! would add nothing: that function lies on a page that a child needs for nothing else, and to touch a page costs more than the
//! call.

pub mod at_exit;
pub mod attributes;
pub mod clone;
pub mod constructors;
pub mod cpus;
pub mod credentials;
pub mod death_signal;
pub mod exec;
pub mod fds;
pub mod mark;
pub mod membarrier;
pub mod memfd;
pub mod mode;
pub mod ofd_lock;
pub mod oom;
pub mod open_file;
pub mod page;
pub mod pid;
pub mod pid_namespace;
pub mod pidfd;
pub mod proc_fs;
pub mod profile;
pub mod reap;
pub mod scm_rights;
pub mod seccomp;
pub mod seqpacket;
pub mod shared_heap;
pub mod signals;
pub mod sigpipe;
pub mod soft_limits;
pub mod ticks;
pub mod topology;
pub mod unwind;
