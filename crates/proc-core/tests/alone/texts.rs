//! Where something is missing that starts need: they work all the same, or the error says what it is.

use std::{
    fs,
    process::{Command, Output},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use proc_core::{Process, StartMethod, command::run};
use test_support::{hosts::is_root, sandbox};

use crate::CASE;

fn double(n: u64) -> u64 {
    n * 2
}

fn start(method: StartMethod) -> Result<u64, String> {
    let process = match method {
        StartMethod::Fork => Process::fork(|| 6),
        method => Process::builder().start_method(method).spawn(double, (3,)),
    };
    process.and_then(Process::join).map_err(|e| e.to_string())
}

/// A case of its own, too.
pub(super) fn three_starts() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork] {
        assert_eq!(start(method), Ok(6), "{method:?}");
    }
}

/// A case of its own, too. Says why it cannot.
pub(super) fn one_start() {
    if let Err(e) = start(StartMethod::ForkServer) {
        println!("{e}");
    }
}

fn run_by(runner: &str, case: &str) -> Output {
    let me = fs::read_link("/proc/self/exe").unwrap();
    Command::new(runner).arg(me).env(CASE, case).output().unwrap()
}

pub(super) fn through_the_dynamic_loader() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let loader = maps.split_ascii_whitespace().find(|word| word.contains("/ld-")).expect("this program is dynamic");
    let output = run_by(loader, "texts::three_starts");
    assert!(output.status.success(), "{output:?}");
}

pub(super) fn under_valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("(without valgrind)");
        return;
    }
    let output = run_by("valgrind", "texts::one_start");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ended before it reached this library (exit status: 1)"), "{output:?}");
}

pub(super) fn without_the_null_device() {
    if !is_root() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let (nothing, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(nothing, "/", nothing, private, nothing).unwrap();
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
    assert!(!fs::exists("/dev/null").unwrap());
    three_starts();
    // A program that is to read nothing needs the device.
    let error = run(["true"]).unwrap_err().to_string();
    assert!(error.contains("no /dev/null"), "{error}");
    // SAFETY: nobody uses the standard input of this program.
    unsafe { libc::close(0) };
    three_starts();
}

pub(super) fn without_robust_lists() {
    sandbox::deny(&[libc::SYS_get_robust_list]);
    let error = start(StartMethod::ForkServer).unwrap_err();
    assert!(error.contains("refused to serve, and has said why"), "{error}");
    assert_eq!((start(StartMethod::Spawn), start(StartMethod::Fork)), (Ok(6), Ok(6)));
}

pub(super) fn without_opening_processes() {
    sandbox::deny(&[libc::SYS_pidfd_open]);
    assert_eq!((start(StartMethod::ForkServer), start(StartMethod::Spawn)), (Ok(6), Ok(6)));
    let error = start(StartMethod::Fork).unwrap_err();
    assert!(error.contains("cannot open a process descriptor"), "{error}");
    let error = run(["true"]).unwrap_err().to_string();
    assert!(error.contains("its process cannot be opened (pidfd_open)"), "{error}");
}
