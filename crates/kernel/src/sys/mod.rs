//! One kernel facility a file, with safe signatures on owned and borrowed descriptors.

pub mod at_exit;
pub mod attributes;
pub mod clone;
pub mod constructors;
pub mod credentials;
pub mod death_signal;
pub mod exec;
pub mod fds;
pub mod mark;
pub mod memfd;
pub mod mode;
pub mod ofd_lock;
pub mod open_file;
pub mod page;
pub mod pid_namespace;
pub mod pidfd;
pub mod proc_fs;
pub mod profile;
pub mod reap;
pub mod seqpacket;
pub mod signals;
pub mod sigpipe;
pub mod soft_limits;
pub mod unwind;
