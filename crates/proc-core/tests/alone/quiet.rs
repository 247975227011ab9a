//! What nobody has asked for is not noticed: the fork server and its spares.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::wait::waitpid};
use proc_core::{Process, StartMethod, end_fork_server};

use crate::CASE;

fn double(n: u64) -> u64 {
    n * 2
}

const SPINS: &str = "PROC_CORE_ALONE_SPINS";

/// Ends while its first processes are being started. A case of its own, too.
pub(super) fn short_program() {
    let n_spins: u64 = std::env::var(SPINS).map_or(0, |spins| spins.parse().unwrap());
    thread::spawn(|| {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let _process = Process::builder().start_method(method).daemon(true).spawn(double, (1,));
        }
    });
    (0..n_spins).for_each(|_| std::hint::spin_loop());
    // Without waiting for anybody.
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) };
}

pub(super) fn short_programs_say_nothing() {
    let mut said = Vec::new();
    for round in 0..100 {
        let output = Command::new("/proc/self/exe")
            .env(CASE, "quiet::short_program")
            .env(SPINS, (round * 2_000).to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success());
        if !output.stderr.is_empty() {
            said.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    assert!(said.is_empty(), "{} of 100: {said:?}", said.len());
}

/// Waits for any child until there is none.
fn wait_for_all() -> usize {
    let mut n = 0;
    loop {
        match waitpid(None, None) {
            Ok(_) => n += 1,
            Err(Errno::ECHILD) => return n,
            Err(e) => panic!("{e}"),
        }
    }
}

pub(super) fn a_host_that_waits_for_all_comes_to_an_end() {
    assert_eq!(Process::spawn(double, (2,)).unwrap().join().unwrap(), 4);
    end_fork_server();
    assert_eq!(wait_for_all(), 0);
    // Without the call, after a while.
    assert_eq!(Process::spawn(double, (3,)).unwrap().join().unwrap(), 6);
    let n = wait_for_all();
    assert_eq!(n, 3, "a helper and two spares");
    assert_eq!(Process::spawn(double, (4,)).unwrap().join().unwrap(), 8);
}

/// Around the moment at which helper and spares end, nothing is lost.
pub(super) fn starts_at_the_end_of_idleness() {
    const IDLE: Duration = Duration::from_secs(10);
    thread::scope(|scope| {
        // Each in a program of its own.
        let programs = (0..20).map(|i| {
            scope.spawn(move || {
                let before = Duration::from_micros(i * 300);
                fn late(before: Duration) -> (u64, u64) {
                    let begun = Instant::now();
                    let first = Process::spawn(double, (5,)).unwrap().join().unwrap();
                    while begun.elapsed() < IDLE + Duration::from_millis(3) - before {
                        thread::sleep(Duration::from_micros(100));
                    }
                    (first, Process::spawn(double, (6,)).unwrap().join().unwrap())
                }
                Process::builder().start_method(StartMethod::Spawn).spawn(late, (before,)).unwrap().join().unwrap()
            })
        });
        let programs: Vec<_> = programs.collect();
        for program in programs {
            assert_eq!(program.join().unwrap(), (10, 12));
        }
    });
}
