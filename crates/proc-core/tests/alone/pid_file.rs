//! Pid files in places where others may do what they like.

use std::{
    fs::{self, File},
    io::{PipeReader, PipeWriter, Read, Write},
    os::unix::fs::{PermissionsExt, chown, symlink},
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{Signal, kill},
        stat::Mode,
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork, mkfifo},
};
use proc_core::daemon::{DaemonError, Daemonize, Ready, pid_of, stop};
use test_support::hosts::{become_nobody, is_root};

use crate::daemon::{assert_no_children, reap, start};

fn daemonize() -> Daemonize {
    Daemonize::new().pid_file("pid")
}

fn end(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    reap(pid);
}

/// A lock that everybody who can read the file can have.
fn lock_for_reading() -> File {
    let file = File::open("pid").unwrap();
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, 0))).unwrap();
    file
}

fn lock(kind: i32, len: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: len, l_pid: 0 }
}

/// A forked process that runs `f` once told to, with whatever `start` left it.
fn fork_with(f: impl FnOnce()) -> (Pid, PipeWriter) {
    let (mut go, tell) = std::io::pipe().unwrap();
    // SAFETY: the caller has one thread.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => (child, tell),
        ForkResult::Child => {
            drop(tell);
            let _ = go.read_exact(&mut [0]);
            f();
            std::process::exit(0)
        }
    }
}

pub(super) fn reading_it_does_not_lose_it() {
    let dir = std::env::current_dir().unwrap();
    let pid = start(daemonize(), |ready| {
        let me = std::process::id();
        for _ in 0..3 {
            assert_eq!(fs::read_to_string(dir.join("pid")).unwrap(), format!("{me}\n"));
            assert_eq!(pid_of(dir.join("pid")).unwrap(), Some(me));
            drop(File::options().write(true).open(dir.join("pid")).unwrap());
        }
        ready.notify();
    })
    .unwrap();
    assert_eq!(pid_of("pid").unwrap(), Some(pid));
    let again = start(daemonize(), |ready| ready.notify()).unwrap_err();
    assert!(matches!(again, DaemonError::AlreadyRunning { pid: named, .. } if named == pid), "{again}");
    assert_eq!(fs::metadata("pid").unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!fs::exists(".pid.turn").unwrap());
    stop("pid").unwrap();
    reap(pid);
    assert_no_children();
}

pub(super) fn locks_of_others_do_not_count() {
    // On what a killed daemon has left.
    let first = start(daemonize(), |ready| ready.notify()).unwrap();
    end(first);
    let locked = lock_for_reading();
    assert_eq!(pid_of("pid").unwrap(), None);
    assert!(matches!(stop("pid"), Err(DaemonError::NotRunning { .. })));
    let second = start(daemonize(), |ready| ready.notify()).unwrap();
    assert_eq!(pid_of("pid").unwrap(), Some(second));
    // What the file says is for people: nobody is signalled for that.
    let (decoy, tell) = fork_with(|| {});
    end(second);
    fs::write("pid", format!("{decoy}\n")).unwrap();
    let locked_too = lock_for_reading();
    assert_eq!(pid_of("pid").unwrap(), None);
    assert!(matches!(stop("pid"), Err(DaemonError::NotRunning { .. })));
    drop((tell, locked, locked_too));
    assert!(matches!(waitpid(decoy, None).unwrap(), nix::sys::wait::WaitStatus::Exited(_, 0)));
    assert_no_children();
}

pub(super) fn what_is_no_pid_file_is_left_alone() {
    let refused = |what: &str| {
        let error = start(daemonize(), |ready| ready.notify()).unwrap_err();
        assert!(matches!(error, DaemonError::System { .. }) && error.to_string().contains(what), "{error}");
        assert!(pid_of("pid").map_or_else(|_| true, |pid| pid.is_none()));
        assert!(stop("pid").is_err());
        assert!(!fs::exists(".pid.turn").unwrap());
    };
    fs::write("precious", "4711").unwrap();
    symlink("precious", "pid").unwrap();
    refused("symbolic link");
    assert_eq!(fs::read("precious").unwrap(), b"4711");
    fs::remove_file("pid").unwrap();
    symlink("nothing", "pid").unwrap();
    refused("symbolic link");
    assert!(!fs::exists("nothing").unwrap());
    fs::remove_file("pid").unwrap();
    // Opening one for reading waits for a writer.
    mkfifo("pid", Mode::S_IRWXU).unwrap();
    refused("something else");
    fs::remove_file("pid").unwrap();
    fs::write("pid", "port = 80").unwrap();
    refused("something else");
    assert_eq!(fs::read("pid").unwrap(), b"port = 80");
    fs::remove_file("pid").unwrap();
    // One that a process was killed over.
    fs::write("pid", "").unwrap();
    let pid = start(daemonize(), |ready| ready.notify()).unwrap();
    stop("pid").unwrap();
    reap(pid);
    assert_no_children();
}

pub(super) fn a_forked_child_does_not_signal_a_dead_daemons_pid() {
    let dir = std::env::current_dir().unwrap();
    let (mut hear, say): (PipeReader, PipeWriter) = std::io::pipe().unwrap();
    let (mut go, tell) = std::io::pipe().unwrap();
    let daemon = start(daemonize(), |ready: Ready| {
        // SAFETY: the daemon has one thread.
        if let ForkResult::Child = unsafe { fork() }.unwrap() {
            go.read_exact(&mut [0]).unwrap();
            let told = match (pid_of(dir.join("pid")), stop(dir.join("pid"))) {
                (Ok(None), Err(DaemonError::NotRunning { .. })) => "nobody".to_owned(),
                other => format!("{other:?}"),
            };
            (&say).write_all(told.as_bytes()).unwrap();
            std::process::exit(0);
        }
        ready.notify();
    })
    .unwrap();
    end(daemon);
    drop(say);
    (&tell).write_all(b"!").unwrap();
    let mut told = String::new();
    hear.read_to_string(&mut told).unwrap();
    assert_eq!(told, "nobody");
    waitpid(None, None).unwrap();
    assert_no_children();
}

pub(super) fn a_strangers_file_is_not_believed() {
    if !is_root() {
        return;
    }
    fs::set_permissions(".", fs::Permissions::from_mode(0o777)).unwrap();
    // The stranger names a process of root's in the way that a daemon names itself.
    let (decoy, tell_decoy) = fork_with(|| {});
    let ready = std::io::pipe().unwrap();
    let (mut is_locked, says) = ready;
    let (stranger, tell_stranger) = {
        let (mut go, tell) = std::io::pipe().unwrap();
        // SAFETY: this program has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => (child, tell),
            ForkResult::Child => {
                drop(tell);
                become_nobody();
                let file = File::create_new("pid").unwrap();
                (&file).write_all(format!("{decoy}\n").as_bytes()).unwrap();
                let namespace = fs::read_link("/proc/self/ns/pid").unwrap().to_str().unwrap().to_owned();
                let inode: i64 = namespace["pid:[".len()..namespace.len() - 1].parse().unwrap();
                let len = inode << 22 | i64::from(decoy.as_raw());
                fcntl(&file, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK, len))).unwrap();
                (&says).write_all(b"!").unwrap();
                let _ = go.read_exact(&mut [0]);
                std::process::exit(0)
            }
        }
    };
    is_locked.read_exact(&mut [0]).unwrap();
    let error = stop("pid").unwrap_err();
    assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    assert!(pid_of("pid").is_err());
    let error = start(daemonize(), |ready| ready.notify()).unwrap_err();
    assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    // It is root's now, but the stranger may still write it.
    chown("pid", Some(0), Some(0)).unwrap();
    fs::set_permissions("pid", fs::Permissions::from_mode(0o666)).unwrap();
    assert!(stop("pid").unwrap_err().to_string().contains("may write"));
    drop((tell_decoy, tell_stranger));
    for child in [decoy, stranger] {
        assert!(matches!(waitpid(child, None).unwrap(), nix::sys::wait::WaitStatus::Exited(_, 0)));
    }
    assert_no_children();
}

pub(super) fn a_pid_of_another_namespace_is_not_believed() {
    if !is_root() {
        return;
    }
    prctl::set_child_subreaper(true).unwrap();
    let (mut is_up, says) = std::io::pipe().unwrap();
    let (mut go, tell) = std::io::pipe().unwrap();
    // SAFETY: this program has one thread.
    let container = match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            drop(tell);
            unshare(CloneFlags::CLONE_NEWPID).unwrap();
            // SAFETY: as above.
            if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
                waitpid(child, None).unwrap();
                std::process::exit(0);
            }
            // Process 1, whose daemon ends with it.
            let pid = start(daemonize(), |ready| ready.notify()).unwrap();
            assert_eq!(pid_of("pid").unwrap(), Some(pid));
            (&says).write_all(&pid.to_ne_bytes()).unwrap();
            let _ = go.read_exact(&mut [0]);
            stop("pid").unwrap();
            std::process::exit(0)
        }
    };
    drop(says);
    let mut pid = [0; 4];
    is_up.read_exact(&mut pid).unwrap();
    let pid = u32::from_ne_bytes(pid);
    // Here that is another process's pid, or nobody's.
    let error = stop("pid").unwrap_err();
    assert!(error.to_string().contains("of another pid namespace"), "{error}");
    let error = start(daemonize(), |ready| ready.notify()).unwrap_err();
    assert!(matches!(error, DaemonError::AlreadyRunning { pid: named, .. } if named == pid), "{error}");
    drop(tell);
    waitpid(container, None).unwrap();
    assert_no_children();
}
