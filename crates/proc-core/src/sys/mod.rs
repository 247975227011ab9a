//! One kernel facility a file, with safe signatures on owned and borrowed descriptors.

pub(crate) mod at_exit;
pub(crate) mod attributes;
pub(crate) mod clone;
pub(crate) mod constructors;
pub(crate) mod credentials;
pub(crate) mod death_signal;
pub(crate) mod exec;
pub(crate) mod fds;
pub(crate) mod mark;
pub(crate) mod memfd;
pub(crate) mod mode;
pub(crate) mod ofd_lock;
pub(crate) mod open_file;
pub(crate) mod pid_namespace;
pub(crate) mod pidfd;
pub(crate) mod proc_fs;
pub(crate) mod profile;
pub(crate) mod reap;
pub(crate) mod seqpacket;
pub(crate) mod signals;
pub(crate) mod sigpipe;
pub(crate) mod soft_limits;
pub(crate) mod unwind;
