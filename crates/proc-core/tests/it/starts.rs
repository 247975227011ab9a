//! What can be started, and how.

use std::{io::Read, process::Stdio, time::Duration};

use proc_core::{Process, ProcessError, Resource, Runnable, StartMethod, current_process, parent_process};
use serde::{Deserialize, Serialize};

use crate::{METHODS, watchdog};

fn sum8(a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64) -> i64 {
    i64::from(a) + i64::from(b) + i64::from(c) + d as i64 + i64::from(e) + i64::from(f) + i64::from(g) + h
}

fn largest<T: Ord + Copy>(list: Vec<T>) -> Option<T> {
    list.into_iter().max()
}

#[derive(Serialize, Deserialize)]
struct ClockProcess {
    interval: Duration,
}

impl ClockProcess {
    fn ticks(self, n: u32) -> Duration {
        self.interval * n
    }
}

impl Runnable for ClockProcess {
    type Output = Duration;

    fn run(self) -> Duration {
        self.interval
    }
}

#[test]
fn smoke() -> Result<(), ProcessError> {
    let _dog = watchdog();
    for method in METHODS {
        let builder = || Process::builder().start_method(method);
        builder().spawn(|| (), ())?.join()?;
        assert_eq!(builder().spawn(sum8, (1, 2, 3, 4, 5, 6, 7, 8))?.join()?, 36);
        assert_eq!(builder().spawn(largest::<u8>, (vec![3, 9, 4],))?.join()?, Some(9));
        assert_eq!(builder().spawn(|a: String, b: char| a + &b.to_string(), ("x".into(), 'y'))?.join()?, "xy");
        let clock = || ClockProcess { interval: Duration::from_secs(2) };
        assert_eq!(builder().spawn(ClockProcess::ticks, (clock(), 3))?.join()?, Duration::from_secs(6));
        assert_eq!(builder().start(clock())?.join()?, Duration::from_secs(2));
    }
    Ok(())
}

#[test]
fn values_of_any_size_never_block_the_child() -> Result<(), ProcessError> {
    let _dog = watchdog();
    for method in METHODS {
        let process = Process::builder().start_method(method).spawn(|n: usize| vec![7_u8; n], (8 << 20,))?;
        // Nobody has read anything yet.
        process.wait()?;
        assert_eq!(process.join()?.len(), 8 << 20);
    }
    Ok(())
}

#[test]
fn arguments_of_any_size() -> Result<(), ProcessError> {
    let _dog = watchdog();
    for len in [0, 40_000, 49_000, 300_000, 20 << 20] {
        for method in METHODS {
            let process = Process::builder().start_method(method).spawn(|v: Vec<u8>| v.len(), (vec![1; len],))?;
            assert_eq!(process.join()?, len);
        }
    }
    Ok(())
}

#[test]
fn the_builder_is_obeyed() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    fn look() -> (Option<String>, Option<String>, String, u64, i32, String, usize, bool) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let cpus = status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
        (
            std::env::var("K").ok(),
            std::env::var("HOME").ok(),
            std::env::current_dir().unwrap().display().to_string(),
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap().0,
            // SAFETY: takes integers.
            unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
            std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned(),
            cpus.len(),
            nix::unistd::getpgrp() == nix::unistd::getpid(),
        )
    }
    for method in METHODS {
        let builder = Process::builder().start_method(method).name("a name longer than fifteen bytes");
        let builder = builder.env("K", "V").env_remove("HOME").current_dir("/").limit(Resource::OpenFiles, 77);
        let process = builder.nice(5).cpu_affinity([0]).process_group().spawn(look, ())?;
        assert_eq!(process.name(), "a name longer than fifteen bytes");
        let seen = process.join()?;
        let expected = (Some("V".into()), None, "/".into(), 77, 5, "a name longer t".into(), 1, true);
        assert_eq!(seen, expected);
    }
    Ok(())
}

#[test]
fn streams_of_std() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    fn echo() {
        let line = std::io::read_to_string(std::io::stdin()).unwrap();
        // No line end: only flushed at the process's end.
        print!("out {line}");
        eprint!("err {line}");
    }
    for method in METHODS {
        let builder = Process::builder().start_method(method).stdin(Stdio::piped()).stdout(Stdio::piped());
        let process = builder.stderr(Stdio::piped()).spawn(echo, ())?;
        std::io::Write::write_all(&mut process.take_stdin().unwrap(), b"hello")?;
        let (mut out, mut err) = (String::new(), String::new());
        process.take_stdout().unwrap().read_to_string(&mut out)?;
        process.take_stderr().unwrap().read_to_string(&mut err)?;
        assert_eq!((out.as_str(), err.as_str()), ("out hello", "err hello"));
        assert!(process.take_stdout().is_none());
        process.join()?;
        Process::builder().start_method(method).stdout(Stdio::null()).spawn(|| println!("unseen"), ())?.join()?;
    }
    Ok(())
}

#[test]
fn names_and_parents() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn family() -> (String, u32, String, bool, String) {
        let parent = parent_process().unwrap();
        let grandchild = Process::spawn(|| current_process().name, ()).unwrap().join().unwrap();
        (current_process().name, parent.pid(), parent.name, parent_process().unwrap().is_alive(), grandchild)
    }
    assert!(parent_process().is_none());
    let (name, parent, parent_name, alive, grandchild) =
        Process::builder().name("Process-x").spawn(family, ())?.join()?;
    assert_eq!((name.as_str(), parent, parent_name.as_str()), ("Process-x", std::process::id(), "MainProcess"));
    assert!(alive);
    assert_eq!(grandchild, "Process-x:1");
    Ok(())
}

#[test]
fn fork_refuses_in_a_process_with_threads_and_works_without() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn single() -> (u64, String, Result<u64, String>) {
        let captured = [1, 2, 3];
        let by_closure = Process::fork(move || captured.iter().sum::<u64>()).unwrap().join().unwrap();
        let builder = || Process::builder().start_method(StartMethod::Fork);
        let by_function = builder().name("forked").spawn(|| current_process().name, ()).unwrap().join().unwrap();
        // A helper thread of ours does not count.
        drop(Process::spawn(|| (), ()).unwrap());
        let beside_helper =
            Process::fork(|| 5).map_err(|e| e.to_string()).and_then(|p| p.join().map_err(|e| e.to_string()));
        (by_closure, by_function, beside_helper)
    }
    let (barrier, other) = (std::sync::Arc::new(std::sync::Barrier::new(2)), ());
    let waiting = std::sync::Arc::clone(&barrier);
    let thread = std::thread::spawn(move || waiting.wait());
    assert!(matches!(Process::fork(move || other), Err(ProcessError::Multithreaded { n_threads: 2.. })));
    barrier.wait();
    thread.join().unwrap();
    assert_eq!(Process::spawn(single, ())?.join()?, (6, "forked".into(), Ok(5)));
    Ok(())
}

#[test]
fn fork_returns_twice() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn twice() -> i32 {
        // SAFETY: a child of the fork server has one thread.
        match unsafe { proc_core::fork() }.unwrap() {
            proc_core::Fork::Parent(child) => child.wait().unwrap().code().unwrap(),
            proc_core::Fork::Child => {
                assert_eq!(proc_core::active_children().len(), 0);
                // A forked child is a process like any other, and can start its own.
                std::process::exit(Process::spawn(|| 42, ()).unwrap().join().unwrap())
            }
        }
    }
    assert_eq!(Process::spawn(twice, ())?.join()?, 42);
    Ok(())
}

#[test]
fn the_start_method_is_set_once() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn set() -> (bool, bool, bool) {
        let first = proc_core::set_start_method(StartMethod::Spawn).is_ok();
        let same = proc_core::set_start_method(StartMethod::Spawn).is_ok();
        let other = proc_core::set_start_method(StartMethod::Fork);
        (first, same, matches!(other, Err(ProcessError::StartMethodSet { method: StartMethod::Spawn })))
    }
    assert_eq!(Process::spawn(set, ())?.join()?, (true, true, true));
    Ok(())
}

#[test]
fn an_impossible_variable_is_an_error_of_the_start() {
    let _dog = watchdog();
    let impossible = [("", "x"), ("A=B", "x"), ("A\0B", "x"), ("A", "x\0y")];
    for (method, (key, value)) in METHODS.into_iter().flat_map(|method| impossible.map(|pair| (method, pair))) {
        let started = Process::builder().start_method(method).env(key, value).spawn(|| 0, ());
        let Err(ProcessError::Start { operation, source }) = started else { panic!("{key:?}={value:?} was taken") };
        assert!(operation.contains("variable") && source.kind() == std::io::ErrorKind::InvalidInput, "{operation}");
    }
    // What can be there may have an empty value, and `=` in it.
    let here = || std::env::var("A").unwrap();
    assert_eq!(Process::builder().env("A", "x=y").spawn(here, ()).unwrap().join().unwrap(), "x=y");
}
