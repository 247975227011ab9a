//! What a child has is what its owner has when it starts the child, by each start method; a case for each row of the table in
//! the docs. And who has given up its rights can still end its children, and itself.

use std::{env, fs, os::unix::fs::MetadataExt, time::Duration};

use nix::{
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    sys::{
        prctl::set_no_new_privs,
        resource::{Resource, getrlimit, setrlimit},
        signal::Signal,
        stat::{Mode, umask},
    },
    unistd::{Gid, Pid, Uid, chdir, dup2_stdin, dup2_stdout, getpid, setgroups, setresgid, setresuid},
};
use proc_core::{Process, ProcessError, StartMethod};
use test_support::{hosts, sandbox};

const METHODS: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];

/// What one process can see of its conditions.
type See = fn() -> String;

fn by(method: StartMethod, see: See) -> Result<String, ProcessError> {
    // A function cannot be an argument; which one it is can.
    const SEES: [See; 8] = [rights, root, namespaces, directory, limits, scheduling, streams, filtered];
    let number = SEES.iter().position(|known| std::ptr::fn_addr_eq(*known, see)).unwrap();
    Process::builder().start_method(method).spawn(|number: usize| SEES[number](), (number,))?.join()
}

/// Starts a child, changes what the owner has, and compares with what later children have. `except` names the methods that
/// cannot work then.
fn row(see: See, change: impl FnOnce(), except: &[StartMethod]) {
    assert_eq!(by(StartMethod::ForkServer, see).unwrap(), see());
    let before = see();
    change();
    let now = see();
    assert_ne!(now, before, "nothing has changed");
    for method in METHODS {
        for _ in 0..3 {
            match by(method, see) {
                Ok(seen) => assert_eq!(seen, now, "{method:?}"),
                Err(e) if except.contains(&method) => println!("{method:?}: {e}"),
                Err(e) => panic!("{method:?}: {e}"),
            }
        }
    }
}

fn status(names: &[&str]) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect::<Vec<_>>().join("\n")
}

fn rights() -> String {
    status(&["Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:"])
}

fn root() -> String {
    let root = fs::metadata("/").unwrap();
    format!("{} {} {:?}", root.dev(), root.ino(), env::current_dir().ok())
}

fn namespaces() -> String {
    ["mnt", "net", "user", "uts"]
        .map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string())
        .join(" ")
}

fn directory() -> String {
    let dir = fs::metadata(".").unwrap();
    let mask = umask(Mode::empty());
    umask(mask);
    format!("{} {} {mask:?}", dir.dev(), dir.ino())
}

fn limits() -> String {
    let all = [Resource::RLIMIT_NOFILE, Resource::RLIMIT_CORE, Resource::RLIMIT_DATA, Resource::RLIMIT_STACK];
    all.map(|resource| format!("{:?}", getrlimit(resource).unwrap())).join(" ")
}

fn scheduling() -> String {
    let cpus = sched_getaffinity(Pid::from_raw(0)).unwrap();
    // SAFETY: takes integers.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    format!("{nice} {:?}", (0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu).unwrap()).collect::<Vec<_>>())
}

fn streams() -> String {
    [0, 1, 2].map(|number| fs::read_link(format!("/proc/self/fd/{number}")).unwrap().display().to_string()).join(" ")
}

fn filtered() -> String {
    format!("{:?} {}", fs::create_dir("/tmp/never-made/never-made").map_err(|e| e.raw_os_error()), status(&["Seccomp"]))
}

pub(super) fn users_and_groups() {
    if hosts::is_root() {
        row(rights, hosts::become_nobody, &[]);
    }
}

pub(super) fn users_for_a_while() {
    if !hosts::is_root() {
        return;
    }
    row(rights, || nix::unistd::seteuid(Uid::from_raw(65534)).unwrap(), &[]);
    // And back again, with the same fork server.
    row(rights, || nix::unistd::seteuid(Uid::from_raw(0)).unwrap(), &[]);
    row(
        rights,
        || {
            setgroups(&[Gid::from_raw(7), Gid::from_raw(5)]).unwrap();
            setresgid(Gid::from_raw(3), Gid::from_raw(4), Gid::from_raw(5)).unwrap();
        },
        &[],
    );
}

/// Another user, who keeps one right.
pub(super) fn capabilities() {
    if !hosts::is_root() {
        return;
    }
    row(
        rights,
        || {
            nix::sys::prctl::set_keepcaps(true).unwrap();
            setresuid(Uid::from_raw(65534), Uid::from_raw(65534), Uid::from_raw(65534)).unwrap();
            nix::sys::prctl::set_keepcaps(false).unwrap();
            // To use ports below 1024.
            let bind = 1_u32 << 10;
            let (header, data) = ([0x2008_0522_u32, 0], [bind, bind, 0, 0, 0, 0]);
            // SAFETY: a header and two halves, as this version has them.
            assert_eq!(unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const data) }, 0);
        },
        &[],
    );
}

pub(super) fn no_new_privileges() {
    row(rights, || set_no_new_privs().unwrap(), &[]);
}

pub(super) fn filters() {
    row(filtered, || sandbox::deny(&[MKDIR, libc::SYS_mkdirat]), &[]);
}

#[cfg(target_arch = "x86_64")]
const MKDIR: i64 = libc::SYS_mkdir;
#[cfg(not(target_arch = "x86_64"))]
const MKDIR: i64 = libc::SYS_mkdirat;

pub(super) fn a_root_in_which_is_nothing() {
    if hosts::is_root() {
        row(root, hosts::empty_root, &[StartMethod::Spawn]);
    }
}

pub(super) fn a_root_in_which_is_nothing_as_nobody() {
    if hosts::is_root() {
        row(
            root,
            || {
                hosts::empty_root();
                hosts::become_nobody();
            },
            &[StartMethod::Spawn],
        );
        let user = |method| {
            Process::builder().start_method(method).spawn(|| nix::unistd::getuid().as_raw(), ()).unwrap().join()
        };
        assert_eq!(user(StartMethod::ForkServer).unwrap(), 65534);
    }
}

pub(super) fn mounts() {
    if hosts::is_root() {
        row(namespaces, || unshare(CloneFlags::CLONE_NEWNS).unwrap(), &[]);
    }
}

pub(super) fn networks() {
    if hosts::is_root() {
        row(namespaces, || unshare(CloneFlags::CLONE_NEWNET).unwrap(), &[]);
    }
}

pub(super) fn user_namespaces() {
    if hosts::is_root() {
        row(namespaces, || unshare(CloneFlags::CLONE_NEWUSER).unwrap(), &[]);
    }
}

/// The first process that is started is process 1 of the namespace; the namespace ends with it.
pub(super) fn pid_namespaces() {
    if !hosts::is_root() {
        return;
    }
    Process::spawn(|| (), ()).unwrap().join().unwrap();
    unshare(CloneFlags::CLONE_NEWPID).unwrap();
    let first = Process::builder().daemon(true).spawn(park, ()).map(drop);
    first.unwrap();
    for (method, expected) in METHODS.into_iter().zip(2..) {
        let pid = Process::builder().start_method(method).spawn(|| getpid().as_raw(), ()).unwrap().join().unwrap();
        assert_eq!(pid, expected, "{method:?}");
    }
}

pub(super) fn directories_and_masks() {
    fs::create_dir("inner").unwrap();
    row(
        directory,
        || {
            chdir("inner").unwrap();
            umask(Mode::from_bits_truncate(0o027));
        },
        &[],
    );
    // One that does not exist any more.
    row(
        directory,
        || {
            fs::create_dir("gone").unwrap();
            chdir("gone").unwrap();
            fs::remove_dir("../gone").unwrap();
        },
        &[],
    );
}

pub(super) fn resource_limits() {
    row(
        limits,
        || {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 200, hard).unwrap();
            setrlimit(Resource::RLIMIT_CORE, 0, 4096).unwrap();
        },
        &[],
    );
    // What the builder says has the last word.
    let process = Process::builder().limit(proc_core::Resource::OpenFiles, 100);
    assert!(process.spawn(limits, ()).unwrap().join().unwrap().starts_with("(100, 100)"));
}

pub(super) fn nice_values_and_cpus() {
    row(
        scheduling,
        || {
            // SAFETY: takes integers.
            assert_eq!(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 5) }, 0);
            let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
            let last = (0..CpuSet::count()).rev().find(|cpu| all.is_set(*cpu).unwrap()).unwrap();
            let mut one = CpuSet::new();
            one.set(last).unwrap();
            sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        },
        &[],
    );
}

pub(super) fn standard_streams() {
    row(
        streams,
        || {
            dup2_stdin(fs::File::create("in").unwrap()).unwrap();
            dup2_stdout(fs::File::create("out").unwrap()).unwrap();
        },
        &[],
    );
    // One that is closed is the null device in a child that is no fork.
    nix::unistd::close(0).unwrap();
    let seen = by(StartMethod::ForkServer, streams).unwrap();
    assert!(seen.starts_with("/dev/null"), "{seen}");
    let given = Process::builder().stdout(proc_core::Stdio::from(fs::File::create("given").unwrap()));
    let seen = given.spawn(streams, ()).unwrap().join().unwrap();
    assert!(seen.contains("given"), "{seen}");
}

fn park() {
    loop {
        std::thread::park();
    }
}

/// Children that were started before may not be signalled: nobody waits for what is refused, and the program ends.
pub(super) fn children_with_more_rights_than_their_owner() {
    if !hosts::is_root() {
        return;
    }
    let start = |method| Process::builder().daemon(true).start_method(method).spawn(park, ()).unwrap();
    let before = METHODS.map(start);
    hosts::become_nobody();
    for process in before {
        assert!(matches!(process.terminate(), Err(ProcessError::Start { .. })));
        assert!(matches!(process.signal(Signal::SIGUSR1), Err(ProcessError::Start { .. })));
        assert_eq!(process.wait_timeout(Duration::from_millis(1)).unwrap(), None);
        assert!(matches!(process.kill(), Err(ProcessError::Start { .. })));
        assert!(matches!(process.stop(Duration::from_secs(60)), Err(ProcessError::Start { .. })));
    }
    // They end with this process, which does not wait for them.
}
