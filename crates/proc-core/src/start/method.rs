//! The ways in which a process can come into being.

/// How a process comes into being.
///
/// | | time | memory and descriptors |
/// |---|---|---|
/// | `ForkServer` | that of a small fork, whatever the size of the caller | none but the standard streams |
/// | `Spawn` | that of executing the program again | none but the standard streams |
/// | `Fork` | grows with the caller's memory | all, copied; only in a process without other threads |
///
/// What else a child has is what the calling thread has when it starts the child, unless the [`Builder`](crate::Builder) says
/// otherwise:
///
/// | the caller's | `ForkServer` | `Spawn` | `Fork` |
/// |---|---|---|---|
/// | users, groups, capabilities, `no_new_privs` | now: the server takes them over, or is replaced | now | now |
/// | capabilities of a user other than root, whose program file has none | now, where ambient ones are allowed; else none | the same | now |
/// | root directory (chroot) | now, also in one without the program and `/proc`, if the first start was before | now; an error in one without them | now, if the first start was before or there is a `/proc` |
/// | system call filters (seccomp) | now: the server is replaced | now | now |
/// | mount, network and user namespaces | now: the server is replaced | now | now |
/// | pid namespace of children | now: it executes, as `Spawn` does | now; the first child is process 1, and the namespace ends with it | the same |
/// | working directory, umask | now | now | now |
/// | limits that [`Resource`](crate::Resource) names, nice value, CPUs | now | now | now |
/// | standard streams; a closed one | now; the null device | now; the null device | now; closed |
/// | environment | as it was when the server was started | now | now |
/// | signal masks | none blocked | none blocked | none blocked |
/// | signal handlers, but for those that make a [`CrashReport`](crate::CrashReport) | the defaults; ignored ones as they were when the server was started | the defaults; ignored ones now | now |
///
/// A child that was started before its owner has given up rights keeps them. The kernel may refuse its owner to signal it then,
/// which is an error (`EPERM`) at once; it still ends with its owner, by its death link. Start the children that are to be
/// signalled after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// A helper process, started at the first use, forks itself for each child. The default.
    ForkServer,
    /// The program is executed anew for each child.
    Spawn,
    /// The calling process is forked.
    Fork,
}
