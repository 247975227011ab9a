//! Hosts that reap the children of this crate, so that their pids become others' while they are still known here.

use std::{fs, io::Read, process::Stdio, thread};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        signal::{SigHandler, Signal, kill, signal},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use proc_core::{Process, StartMethod, command::Popen};
use test_support::hosts::{is_root, new_pid_namespace};

fn double(n: u64) -> u64 {
    n * 2
}

/// As a program that does not care for its children: the kernel reaps them, and their pids are free at once.
fn ignore_children() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
}

fn children() -> Vec<Pid> {
    let list = fs::read_to_string("/proc/thread-self/children").unwrap();
    list.split_ascii_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
}

fn is_there(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}

/// Ends a process, and waits until its pid is nobody's.
fn end(pid: Pid) {
    kill(pid, Signal::SIGKILL).unwrap();
    while is_there(pid) {
        thread::yield_now();
    }
}

/// A process with that pid, which is about to be free, that lives until the pipe is closed.
fn take_pid(pid: Pid) -> std::io::PipeWriter {
    let (wait, hold) = std::io::pipe().unwrap();
    loop {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid.as_raw() - 1).to_string()).unwrap();
        // SAFETY: this program has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } if child == pid => return hold,
            // The kernel frees the number a little later than it forgets the process.
            ForkResult::Parent { child } => end(child),
            ForkResult::Child => {
                drop(hold);
                let _ = (&wait).read(&mut [0]);
                std::process::exit(0);
            }
        }
    }
}

/// A namespace in which nobody else makes processes, and its `/proc`.
fn alone_in_a_namespace() {
    new_pid_namespace();
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let (nothing, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(nothing, "/", nothing, private, nothing).unwrap();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), nothing).unwrap();
}

pub(super) fn a_dead_spares_pid_is_not_signalled() {
    if !is_root() {
        return;
    }
    alone_in_a_namespace();
    ignore_children();
    assert_eq!(Process::spawn(double, (1,)).unwrap().join().unwrap(), 2);
    for round in 2..12 {
        // The helper, and its spares: the eldest is the next to get a request.
        let spare = loop {
            if let [_, spare, _, ..] = children()[..] {
                break spare;
            }
            thread::yield_now();
        };
        end(spare);
        let hold = take_pid(spare);
        assert_eq!(Process::spawn(double, (round,)).unwrap().join().unwrap(), round * 2);
        assert!(is_there(spare), "the one that has the spare's pid was killed");
        drop(hold);
        while is_there(spare) {
            thread::yield_now();
        }
    }
}

const METHODS: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];

pub(super) fn ignored_children_lose_nothing() {
    ignore_children();
    for method in METHODS {
        let mut n_killed = 0;
        for n in 0..100 {
            if method == StartMethod::ForkServer && n % 3 == 1 {
                // A spare, or the helper itself.
                if let Some(victim) = children().get(n as usize % 4) {
                    end(*victim);
                    n_killed += 1;
                }
            }
            let process = match method {
                StartMethod::Fork => Process::fork(move || n * 2),
                // Streams are opened by a child of their own.
                _ if n % 10 == 0 => Process::builder().start_method(method).stdin(Stdio::null()).spawn(double, (n,)),
                _ => Process::builder().start_method(method).spawn(double, (n,)),
            };
            let joined = process.and_then(Process::join);
            assert!(matches!(joined, Ok(value) if value == n * 2), "{method:?}, {n}: {joined:?}");
        }
        println!("{method:?}: 100 starts, {n_killed} spares and helpers killed");
    }
}

pub(super) fn a_host_that_waits_for_all_loses_nothing() {
    thread::spawn(|| {
        loop {
            if waitpid(None, None).is_err() {
                thread::yield_now();
            }
        }
    });
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for n in 0..100 {
            let process = Process::builder().start_method(method).spawn(double, (n,)).unwrap();
            assert_eq!(process.join().unwrap(), n * 2, "{method:?}");
        }
    }
}

pub(super) fn a_group_of_another_is_not_signalled() {
    if !is_root() {
        return;
    }
    alone_in_a_namespace();
    ignore_children();
    let program = Popen::builder(["true"]).process_group().spawn().unwrap();
    let pid = Pid::from_raw(program.pid().cast_signed());
    while is_there(pid) {
        thread::yield_now();
    }
    let hold = take_pid(pid);
    nix::unistd::setpgid(pid, pid).unwrap();
    program.kill().unwrap();
    program.terminate().unwrap();
    assert!(is_there(pid), "the group that has the program's number was killed");
    drop(hold);
}
