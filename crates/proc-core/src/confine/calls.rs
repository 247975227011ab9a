//! Which system calls a confinement lets through, by number alone. What depends on arguments is in [`rules`](super::rules).
//!
//! A call that has another number on another architecture, or none, is named where it exists: `old` are those that
//! x86-64 has and aarch64 does without.

/// Numbers, of the calls for all architectures and of those for x86-64 alone.
macro_rules! calls {
    ($(#[$attr:meta])* $list:ident = $($name:ident)*; old $($old:ident)*) => {
        $(#[$attr])*
        #[cfg(target_arch = "x86_64")]
        pub(super) const $list: &[i64] = &[$(libc::$name,)* $(libc::$old),*];
        $(#[$attr])*
        #[cfg(not(target_arch = "x86_64"))]
        pub(super) const $list: &[i64] = &[$(libc::$name),*];
    };
}

calls! {
    /// What computing takes: memory, threads of its own, time, random numbers, and the descriptors that it was handed.
    COMPUTE =
    SYS_brk SYS_madvise SYS_membarrier SYS_mmap SYS_mprotect SYS_mremap SYS_munmap
    SYS_exit SYS_exit_group SYS_futex SYS_futex_waitv SYS_gettid SYS_restart_syscall SYS_rseq SYS_sched_getaffinity
    SYS_sched_yield SYS_set_robust_list SYS_set_tid_address
    SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait
    SYS_sigaltstack
    SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_getitimer SYS_getrusage SYS_gettimeofday SYS_nanosleep
    SYS_setitimer SYS_times
    SYS_getcpu SYS_getegid SYS_geteuid SYS_getgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid
    SYS_getresuid SYS_getuid SYS_sysinfo SYS_uname SYS_wait4 SYS_waitid
    SYS_close SYS_close_range SYS_copy_file_range SYS_dup SYS_dup3 SYS_fallocate SYS_fdatasync SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_lseek SYS_memfd_create SYS_pipe2 SYS_pread64 SYS_preadv SYS_pwrite64 SYS_pwritev
    SYS_read SYS_readv SYS_sendfile SYS_splice SYS_write SYS_writev
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_pidfd_open SYS_ppoll SYS_pselect6
    SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime
    SYS_getsockname SYS_getsockopt SYS_recvfrom SYS_recvmsg SYS_shutdown;
    old SYS_alarm SYS_dup2 SYS_epoll_wait SYS_pause SYS_pipe SYS_poll SYS_select SYS_time
}

calls! {
    /// What Landlock watches over, for a confinement to paths; and what tells of files without their contents.
    FILES =
    SYS_openat SYS_faccessat SYS_faccessat2 SYS_chdir SYS_fchdir SYS_getcwd SYS_getdents64 SYS_newfstatat SYS_readlinkat
    SYS_statfs SYS_statx;
    old SYS_access SYS_lstat SYS_open SYS_readlink SYS_stat
}

calls! {
    /// As [`FILES`], where there are paths to be written.
    WRITING =
    SYS_flock SYS_linkat SYS_mkdirat SYS_renameat SYS_renameat2 SYS_symlinkat SYS_truncate SYS_umask SYS_unlinkat;
    old SYS_creat SYS_link SYS_mkdir SYS_rename SYS_rmdir SYS_symlink SYS_unlink
}

calls! {
    /// What would lead around a fence, whichever: other processes' memory and descriptors, calls that are made by the kernel on
    /// the process's behalf, names and mounts of a new kind, and what only administration needs.
    ALWAYS_REFUSED =
    SYS_kcmp SYS_perf_event_open SYS_pidfd_getfd SYS_process_madvise SYS_process_mrelease SYS_process_vm_readv
    SYS_process_vm_writev SYS_ptrace SYS_userfaultfd
    SYS_io_uring_enter SYS_io_uring_register SYS_io_uring_setup
    SYS_name_to_handle_at SYS_open_by_handle_at
    SYS_chroot SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree
    SYS_pivot_root SYS_setns SYS_umount2 SYS_unshare
    SYS_acct SYS_add_key SYS_adjtimex SYS_bpf SYS_clock_adjtime SYS_clock_settime SYS_delete_module SYS_fanotify_init
    SYS_finit_module SYS_init_module SYS_kexec_file_load SYS_kexec_load SYS_keyctl SYS_lookup_dcookie SYS_personality
    SYS_quotactl SYS_quotactl_fd SYS_reboot SYS_request_key SYS_setdomainname SYS_sethostname SYS_settimeofday SYS_swapoff
    SYS_swapon SYS_syslog SYS_vhangup;
    old SYS__sysctl SYS_ioperm SYS_iopl SYS_modify_ldt SYS_sysfs SYS_uselib SYS_ustat
}

calls! {
    /// What changes or watches a file beside the paths that are open to it, and is none of Landlock's business; and memory and
    /// queues with names that are no paths.
    PAST_PATHS =
    SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fremovexattr SYS_fsetxattr SYS_inotify_add_watch
    SYS_lremovexattr SYS_lsetxattr SYS_removexattr SYS_setxattr SYS_utimensat
    SYS_mq_open SYS_mq_unlink SYS_msgget SYS_semget SYS_shmget SYS_msgctl SYS_semctl SYS_shmctl SYS_shmat SYS_msgsnd
    SYS_msgrcv SYS_semop SYS_semtimedop;
    old SYS_chmod SYS_chown SYS_futimesat SYS_lchown SYS_utime SYS_utimes
}

/// As [`PAST_PATHS`]: `fchmodat2`, `setxattrat`, `removexattrat` and `file_setattr`, the same everywhere.
pub(super) const PAST_PATHS_NEW: &[i64] = &[452, 463, 466, 469];
/// As [`ALWAYS_REFUSED`]: `open_tree_attr`.
pub(super) const ALWAYS_REFUSED_NEW: &[i64] = &[467];
/// The last call that the lists here were made with: those after it did not exist (Linux 6.18).
pub(super) const LAST_KNOWN: u32 = 469;

calls! {
    /// What starts processes, or turns the process into another program's.
    STARTING = SYS_execve SYS_execveat; old SYS_fork SYS_vfork
}

calls! {
    /// What names an address, where there is to be no network.
    ADDRESSING = SYS_bind SYS_connect SYS_listen SYS_sendmmsg; old
}

calls! {
    /// What changes how a process is treated, by a pid or thread in the first argument.
    GOVERNING =
    SYS_migrate_pages SYS_move_pages SYS_prlimit64 SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam
    SYS_sched_setscheduler;
    old
}
