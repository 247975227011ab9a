//! Orphans, and who may reap them.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};
use proc_core::{
    Process,
    command::{Popen, call, run},
    reaper::{self, Reaper, zombies},
};

/// Starts a shell whose script's first line of output is somebody's pid.
fn shell(script: &str) -> (Child, u32) {
    let mut child =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

/// A piece of script that leaves an orphan: it ends with `code` once the shell has been reaped.
fn orphan(code: i32) -> String {
    format!("(while kill -0 $$ 2>/dev/null; do :; done; exit {code}) &")
}

pub(super) fn reaps_orphans_and_nobody_elses() {
    let reaper = Reaper::builder().exclusive().start().unwrap();
    assert!(Reaper::start().is_err(), "one at a time");
    for round in 0..100 {
        let code = round % 50;
        assert!(call(["sh", "-c", &format!("{} {}", orphan(code), orphan(code))]).unwrap().success());
        let own = Process::spawn(|n: i32| n + 1, (round,)).unwrap();
        let early = Popen::new(["sh", "-c", "exit 9"]).unwrap();
        assert_eq!(own.join().unwrap(), round + 1);
        assert_eq!(early.wait().unwrap().code(), Some(9));
    }
    let mut counts = HashMap::new();
    for exit in reaper.exits().iter().take(200) {
        *counts.entry(exit.status.code().unwrap()).or_insert(0) += 1;
    }
    assert_eq!(counts, (0..50).map(|code| (code, 4)).collect());
    // And by a signal.
    let output = run(["sh", "-c", "sleep 3600 & echo $!"]).unwrap().stdout;
    let orphan: i32 = String::from_utf8(output).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(orphan), Signal::SIGKILL).unwrap();
    let exit = reaper.exits().recv().unwrap();
    assert_eq!((exit.pid.cast_signed(), exit.status.signal()), (orphan, Some(9)));
    assert_eq!(zombies(), []);
    drop(reaper);
    drop(Reaper::start().unwrap());
}

pub(super) fn knows_an_orphan_by_its_session() {
    let reaper = Reaper::start().unwrap();
    for code in 1..=20 {
        // The first child of a new session leaves at once.
        let (mut child, _) = shell(&format!("echo $$; exec setsid sh -c '{}'", orphan(code)));
        assert!(child.wait().unwrap().success());
        assert_eq!(reaper.exits().recv().unwrap().status.code(), Some(code));
    }
}

pub(super) fn knows_an_orphan_by_its_former_parent() {
    let reaper = Reaper::start().unwrap();
    for patience in 1.. {
        let (mut child, orphan) = shell("sleep 3600 & echo $!; read line; exit 3");
        // Long enough, sooner or later, for the reaper to have a look.
        thread::sleep(Duration::from_millis(20) * patience);
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(3));
        kill(Pid::from_raw(orphan.cast_signed()), Signal::SIGKILL).unwrap();
        match reaper.exits().recv_timeout(Duration::from_secs(1)) {
            Ok(exit) => {
                assert_eq!((exit.pid, exit.status.signal()), (orphan, Some(9)));
                break;
            }
            Err(_) => drop(waitpid(Pid::from_raw(orphan.cast_signed()), None).unwrap()),
        }
    }
    assert_eq!(waitpid(None, None), Err(Errno::ECHILD));
}

pub(super) fn leaves_doubtful_ones_alone() {
    let reaper = Reaper::start().unwrap();
    // A child of ours that is not waited for until the reaper has seen it as a zombie.
    let mut own = Command::new("sh").args(["-c", "exit 6"]).spawn().unwrap();
    while reaper.in_doubt() == 0 {
        thread::yield_now();
    }
    // Each of these is reaped in a look at all zombies, which finds that one, too.
    for code in 1..=5 {
        let (mut child, _) = shell(&format!("echo $$; exec setsid sh -c '{}'", orphan(code)));
        assert!(child.wait().unwrap().success());
        assert_eq!(reaper.exits().recv().unwrap().status.code(), Some(code));
    }
    assert_eq!(own.wait().unwrap().code(), Some(6));
    while reaper.in_doubt() > 0 {
        thread::yield_now();
    }
    assert!(reaper.exits().try_recv().is_err());
    drop(reaper);

    let reaper = Reaper::builder().claim_after(Duration::from_millis(50)).start().unwrap();
    let (mut child, orphan) = shell(&format!("{} echo $!", orphan(8)));
    assert!(child.wait().unwrap().success());
    let exit = reaper.exits().recv().unwrap();
    assert_eq!((exit.pid, exit.status.code()), (orphan, Some(8)));
}

/// The children of a process of another namespace, by what `/proc` here says.
fn children_of(parent: Pid) -> Vec<String> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let comm = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    list.split_ascii_whitespace().filter_map(comm).map(|name| name.trim().to_owned()).collect()
}

pub(super) fn is_process_1() {
    const ORPHANS: &str = "i=0; while [ $i -lt 1000 ]; do (true & true); i=$((i+1)); done; echo made >&2";
    let script = format!("trap 'exit 42' TERM; {ORPHANS}; while :; do sleep 0.05; done");
    let own_namespace = unshare(CloneFlags::CLONE_NEWPID);
    let (hear, say) = std::io::pipe().unwrap();
    // SAFETY: this program has one thread.
    let init = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            assert!(own_namespace.is_err() || std::process::id() == 1);
            let status = reaper::init(Command::new("sh").args(["-c", &script]).stderr(say)).unwrap();
            std::process::exit(status.code().unwrap_or(1))
        }
        ForkResult::Parent { child } => child,
    };
    if own_namespace.is_err() {
        println!("(no right to make a pid namespace: {own_namespace:?}; init runs as an ordinary subreaper)");
    }
    drop(say);
    let mut line = String::new();
    BufReader::new(hear).read_line(&mut line).unwrap();
    assert_eq!(line, "made\n");
    // None of the thousand is left, zombies included: only the shell.
    while children_of(init) != ["sh"] {
        thread::yield_now();
    }
    kill(init, Signal::SIGTERM).unwrap();
    assert_eq!(waitpid(init, None).unwrap(), WaitStatus::Exited(init, 42));
}

/// A shell unblocks signals for itself; most programs take the mask as they find it.
pub(super) fn signals_reach_a_program_that_does_not_look_at_its_mask() {
    // SAFETY: this program has one thread.
    let init = match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let status = reaper::init(Command::new("sleep").arg("1000")).unwrap();
            std::process::exit(status.signal().unwrap_or(0))
        }
        ForkResult::Parent { child } => child,
    };
    while children_of(init) != ["sleep"] {
        thread::yield_now();
    }
    kill(init, Signal::SIGTERM).unwrap();
    assert_eq!(waitpid(init, None).unwrap(), WaitStatus::Exited(init, libc::SIGTERM));
}
