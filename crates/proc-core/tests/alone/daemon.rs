//! Daemons. Each case is their subreaper, so that they come back to be reaped in the end.

use std::{
    fs,
    io::Write,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::Path,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::{
        prctl,
        signal::{Signal, kill, raise},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork, pipe},
};
use proc_core::daemon::{DaemonError, Daemonize, Daemonized, Ready, pid_of, stop, stop_timeout};

use crate::INHERITED;

/// Starts a daemon that waits for its end after `body`, or is ended by it.
pub(super) fn start(daemonize: Daemonize, body: impl FnOnce(Ready)) -> Result<u32, DaemonError> {
    prctl::set_child_subreaper(true).unwrap();
    match daemonize.start()? {
        Daemonized::Launcher { pid } => Ok(pid),
        Daemonized::Daemon(ready) => {
            body(ready);
            loop {
                thread::park();
            }
        }
    }
}

pub(super) fn reap(pid: u32) -> WaitStatus {
    waitpid(Pid::from_raw(pid.cast_signed()), None).unwrap()
}

pub(super) fn assert_no_children() {
    assert_eq!(waitpid(None, None), Err(Errno::ECHILD));
}

fn status_field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    field.unwrap().trim().to_owned()
}

fn link(path: String) -> String {
    fs::read_link(path).unwrap().display().to_string()
}

pub(super) fn starts_when_ready() {
    // Of its own: one that its children are to have, and one that they are not.
    let (own, own_for_children) = pipe().unwrap();
    fcntl(&own, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let inherited: RawFd = std::env::var(INHERITED).unwrap().parse().unwrap();
    let output = fs::File::create("out").unwrap();
    let daemonize = Daemonize::new().pid_file("clock.pid").working_dir("/proc").umask(0o027).stdout(output);
    let pid = start(daemonize, |ready| {
        println!("the daemon's own words");
        ready.notify();
    })
    .unwrap();

    assert_eq!(fs::read_to_string("out").unwrap(), "the daemon's own words\n");
    assert_eq!(fs::read_to_string("clock.pid").unwrap(), format!("{pid}\n"));
    assert_eq!(pid_of("clock.pid").unwrap(), Some(pid));
    assert_eq!(link(format!("/proc/{pid}/cwd")), "/proc");
    assert_eq!(link(format!("/proc/{pid}/fd/0")), "/dev/null");
    assert_eq!(link(format!("/proc/{pid}/fd/2")), "/dev/null");
    let has = |fd: RawFd| Path::new(&format!("/proc/{pid}/fd/{fd}")).exists();
    assert_eq!([own.as_raw_fd(), own_for_children.as_raw_fd(), inherited].map(has), [true, true, false]);
    assert_eq!(status_field(pid, "Umask"), "0027");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<i32> =
        stat.rsplit_once(") ").unwrap().1.split(' ').skip(1).take(4).map(|field| field.parse().unwrap()).collect();
    let [parent, group, session, terminal] = fields[..] else { panic!("{stat}") };
    assert_eq!((parent, terminal), (std::process::id().cast_signed(), 0));
    assert_eq!(session, group);
    assert!(session != pid.cast_signed() && session != nix::unistd::getsid(None).unwrap().as_raw());

    let again = start(Daemonize::new().pid_file("clock.pid"), |ready| ready.notify()).unwrap_err();
    assert!(matches!(&again, DaemonError::AlreadyRunning { pid: named, .. } if *named == pid), "{again}");
    assert!(again.to_string().contains(&pid.to_string()));

    stop("clock.pid").unwrap();
    assert_eq!(reap(pid), WaitStatus::Signaled(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM, false));
    assert_eq!(pid_of("clock.pid").unwrap(), None);
    assert!(matches!(stop("clock.pid"), Err(DaemonError::NotRunning { .. })));
    assert_no_children();
}

pub(super) fn keeps_what_it_is_told_to() {
    let inherited: RawFd = std::env::var(INHERITED).unwrap().parse().unwrap();
    let pid = start(Daemonize::new().pid_file("pid").keep_fd(&inherited), |ready| ready.notify()).unwrap();
    assert!(Path::new(&format!("/proc/{pid}/fd/{inherited}")).exists());
    stop("pid").unwrap();
    reap(pid);
    // Another file at its number is this program's own.
    let (own, other) = pipe().unwrap();
    // SAFETY: nobody in this program uses that descriptor.
    assert_eq!(unsafe { libc::dup2(own.as_raw_fd(), inherited) }, inherited);
    let pid = start(Daemonize::new().pid_file("pid"), |ready| ready.notify()).unwrap();
    assert!(Path::new(&format!("/proc/{pid}/fd/{inherited}")).exists());
    stop("pid").unwrap();
    reap(pid);
    drop((own, other));
    assert_no_children();
}

pub(super) fn reports_its_own_error() {
    let error = start(Daemonize::new().working_dir("/no/such/place"), |_| unreachable!()).unwrap_err();
    assert!(error.to_string().contains("/no/such/place: No such file"), "{error}");
    let error = start(Daemonize::new().pid_file("/no/such/place/pid"), |_| unreachable!()).unwrap_err();
    assert!(matches!(&error, DaemonError::System { source, .. } if source.raw_os_error() == Some(2)), "{error}");
    let error = start(Daemonize::new().user("no such user"), |_| unreachable!()).unwrap_err();
    assert!(error.to_string().contains("no such user"), "{error}");
    // It is ended, for it does not end by itself.
    let error = start(Daemonize::new(), |ready| ready.fail("the port is taken")).unwrap_err();
    assert!(matches!(&error, DaemonError::Failed { message } if message == "the port is taken"), "{error}");
    assert_no_children();
}

pub(super) fn reports_a_panic() {
    let error = start(Daemonize::new(), |_ready| panic!("no {}", "luck")).unwrap_err();
    let DaemonError::Panicked { message, location } = &error else { panic!("{error}") };
    assert_eq!(message, "no luck");
    assert!(location.contains("alone/daemon.rs"), "{location}");
    let error = Daemonize::new().run(|_| -> Result<(), String> { panic!("{}", "long ".repeat(10_000)) }).unwrap_err();
    assert!(matches!(&error, DaemonError::Panicked { message, .. } if message.starts_with("long long")), "{error}");
    assert_no_children();
}

pub(super) fn reports_an_early_end() {
    let code = |error: &DaemonError| match error {
        DaemonError::Ended { status } => status.map(|status| status.to_string()),
        other => panic!("{other}"),
    };
    let error = start(Daemonize::new(), |_ready| std::process::exit(3)).unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("exit status: 3"));
    let error = start(Daemonize::new(), |ready| {
        drop(ready);
        std::process::exit(4)
    })
    .unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("exit status: 4"));
    let error = start(Daemonize::new(), |_ready| raise(Signal::SIGKILL).unwrap()).unwrap_err();
    assert_eq!(code(&error).as_deref(), Some("signal: 9 (SIGKILL)"));
    assert_no_children();
}

/// The kernel reaps the daemon then, and nobody is told how it ended.
pub(super) fn reports_an_early_end_where_children_are_ignored() {
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, nix::sys::signal::SigHandler::SigIgn) }.unwrap();
    let error = start(Daemonize::new(), |_ready| raise(Signal::SIGKILL).unwrap()).unwrap_err();
    // Since Linux 6.15 the kernel keeps it.
    let DaemonError::Ended { status } = &error else { panic!("{error}") };
    assert!(status.is_none_or(|status| status.to_string() == "signal: 9 (SIGKILL)"), "{error}");
    let pid = start(Daemonize::new().pid_file("pid"), |ready| ready.notify()).unwrap();
    assert_eq!(pid_of("pid").unwrap(), Some(pid));
    stop("pid").unwrap();
}

pub(super) fn reports_silence() {
    let error = start(Daemonize::new(), drop).unwrap_err();
    assert!(matches!(error, DaemonError::NeverReady), "{error}");
    let error = start(Daemonize::new().ready_timeout(Duration::from_millis(50)), std::mem::forget).unwrap_err();
    assert!(matches!(error, DaemonError::TimedOut), "{error}");
    // Neither is left.
    assert_no_children();
}

pub(super) fn takes_over_a_stale_pid_file() {
    let daemonize = || Daemonize::new().pid_file("pid");
    // The first daemon's forked child has a copy of the descriptor, and lives on.
    let (child_ends, hold) = std::io::pipe().unwrap();
    let mut hold = Some(hold);
    let first = start(daemonize(), |ready| {
        hold = None;
        // SAFETY: the daemon has one thread.
        if let ForkResult::Child = unsafe { fork() }.unwrap() {
            let _ = std::io::Read::read(&mut &child_ends, &mut [0]);
            std::process::exit(0);
        }
        ready.notify();
    })
    .unwrap();
    for _ in 0..3 {
        let daemon = pid_of("pid").unwrap().unwrap();
        kill(Pid::from_raw(daemon.cast_signed()), Signal::SIGKILL).unwrap();
        reap(daemon);
        assert_eq!(fs::read_to_string("pid").unwrap(), format!("{daemon}\n"));
        assert_eq!(pid_of("pid").unwrap(), None);
        let next = start(daemonize(), |ready| ready.notify()).unwrap();
        assert_eq!(pid_of("pid").unwrap(), Some(next));
    }
    assert_ne!(pid_of("pid").unwrap(), Some(first));
    let last = pid_of("pid").unwrap().unwrap();
    stop_timeout("pid", Duration::from_secs(5)).unwrap();
    reap(last);
    drop(hold);
    assert!(matches!(waitpid(None, None).unwrap(), WaitStatus::Exited(_, 0)));
    assert_no_children();
}

pub(super) fn runs_a_function() {
    prctl::set_child_subreaper(true).unwrap();
    let error = Daemonize::new().run(|_| Err("bad configuration")).unwrap_err();
    assert!(matches!(&error, DaemonError::Failed { message } if message == "bad configuration"), "{error}");

    let (go, mut tell) = std::io::pipe().unwrap();
    let pid = Daemonize::new()
        .pid_file("pid")
        .run(|ready| {
            assert_eq!(pid_of("pid").unwrap(), None, "another directory");
            ready.notify();
            let mut go = go;
            std::io::Read::read_exact(&mut go, &mut [0])
        })
        .unwrap();
    assert_eq!(pid_of("pid").unwrap(), Some(pid));
    tell.write_all(b"!").unwrap();
    assert_eq!(reap(pid), WaitStatus::Exited(Pid::from_raw(pid.cast_signed()), 0));
    assert!(!Path::new("pid").exists());
    assert_no_children();
}

pub(super) fn becomes_a_user() {
    if !nix::unistd::getuid().is_root() {
        println!("(not root: only that it is an error)");
        let error = start(Daemonize::new().user("root").group("root"), |_| unreachable!()).unwrap_err();
        assert!(matches!(error, DaemonError::System { .. }), "{error}");
        return;
    }
    let daemonize = Daemonize::new().pid_file("pid").user("nobody").group(54_321);
    let pid = start(daemonize, |ready| {
        let refused = nix::unistd::setuid(nix::unistd::Uid::from_raw(0));
        assert_eq!(refused, Err(Errno::EPERM));
        ready.notify();
    })
    .unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap().uid;
    assert_eq!(status_field(pid, "Uid"), [nobody.to_string().as_str(); 4].join("\t"));
    assert_eq!(status_field(pid, "Gid"), ["54321"; 4].join("\t"));
    assert_eq!(status_field(pid, "Groups"), "54321");
    assert_eq!(pid_of("pid").unwrap(), Some(pid));
    stop("pid").unwrap();
    reap(pid);
}

pub(super) fn outlives_its_launcher() {
    prctl::set_child_subreaper(true).unwrap();
    let (go, mut tell) = std::io::pipe().unwrap();
    let (mut hear, say) = std::io::pipe().unwrap();
    // SAFETY: this program has one thread.
    let launcher = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            drop((tell, hear));
            let result = start(Daemonize::new().pid_file("pid"), |ready| {
                (&say).write_all(&std::process::id().to_ne_bytes()).unwrap();
                std::io::Read::read_exact(&mut &go, &mut [0]).unwrap();
                ready.notify();
                (&say).write_all(b"!").unwrap();
            });
            unreachable!("{result:?}");
        }
        ForkResult::Parent { child } => child,
    };
    drop((go, say));
    let mut pid = [0; 4];
    std::io::Read::read_exact(&mut hear, &mut pid).unwrap();
    let pid = u32::from_ne_bytes(pid);
    kill(launcher, Signal::SIGKILL).unwrap();
    waitpid(launcher, None).unwrap();
    // The process between is gone too, and the daemon was left to us.
    let between = waitpid(None, None).unwrap();
    assert!(matches!(between, WaitStatus::Exited(who, 0) if who.as_raw().cast_unsigned() != pid), "{between:?}");
    tell.write_all(b"!").unwrap();
    std::io::Read::read_exact(&mut hear, &mut [0]).unwrap();
    assert_eq!(pid_of("pid").unwrap(), Some(pid));
    stop("pid").unwrap();
    reap(pid);
    assert_no_children();
}

pub(super) fn refuses_with_threads() {
    let (wait, hold): (OwnedFd, OwnedFd) = pipe().unwrap();
    let other = thread::spawn(move || nix::unistd::read(wait.as_fd(), &mut [0]));
    let error = start(Daemonize::new(), |_| unreachable!()).unwrap_err();
    assert!(matches!(error, DaemonError::Multithreaded { n_threads: 2 }), "{error}");
    drop(hold);
    other.join().unwrap().unwrap();
    assert_no_children();
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

pub(super) fn stress_kills_during_the_start() {
    prctl::set_child_subreaper(true).unwrap();
    let daemonize = || Daemonize::new().pid_file("pid");
    let mut killed = [0; 3];
    // On a busy machine it takes more rounds until each of the three has been met; the watchdog bounds them.
    let mut round = 0_u64;
    while round < 150 || killed.contains(&0) {
        // SAFETY: this program has one thread.
        let launcher = match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let code = i32::from(start(daemonize(), |ready| ready.notify()).is_err());
                std::process::exit(code)
            }
            ForkResult::Parent { child } => child,
        };
        // Sooner or later in its start, one of the three.
        thread::sleep(Duration::from_micros(round * 37 % 3_000));
        let between = children_of(launcher);
        let daemon = between.first().map(|between| children_of(*between)).unwrap_or_default();
        let victims = [Some(launcher), between.first().copied(), daemon.first().copied()];
        let which = usize::try_from(round).unwrap() % 3;
        round += 1;
        if let Some(victim) = victims[which]
            && kill(victim, Signal::SIGKILL).is_ok()
        {
            killed[which] += 1;
        }
        // Nobody hangs, whoever was killed.
        waitpid(launcher, None).unwrap();
        match stop("pid") {
            Ok(()) | Err(DaemonError::NotRunning { .. }) => {}
            Err(e) => panic!("{e}"),
        }
        // A daemon whose launcher was killed may just be about to take the file.
        while !children_of(Pid::this()).is_empty() {
            let _ = stop("pid");
            while matches!(waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some())
            {
            }
        }
        assert_eq!(pid_of("pid").unwrap(), None);
    }
    println!("killed {killed:?} launchers, processes between, and daemons");
    let pid = start(daemonize(), |ready| ready.notify()).unwrap();
    assert_eq!(pid_of("pid").unwrap(), Some(pid));
    stop("pid").unwrap();
    reap(pid);
    assert_no_children();
}
