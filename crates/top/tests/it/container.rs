//! A program in a container, seen from outside.

use std::{
    fs::{self, read_to_string},
    process::Command,
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use proc_core::Process;
use serde_json::Value;
use test_support::{hosts, watchdog};

use crate::{Program, list, look_at, programs, text};

/// Runs a program as process 1 of a pid namespace, with users and mounts of its own.
fn contained(program: fn()) {
    let user = geteuid();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).unwrap();
    fs::write("/proc/self/setgroups", "deny").unwrap();
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    hosts::new_pid_namespace();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
    program();
}

/// Whether this kernel makes such containers; says so if not.
fn are_allowed() -> bool {
    let options = ["--user", "--map-root-user", "--pid", "--fork", "--mount", "--mount-proc", "true"];
    let is_so = geteuid().is_root() && Command::new("unshare").args(options).status().is_ok_and(|made| made.success());
    if !is_so {
        println!("(not root, or no containers here: not tried)");
    }
    is_so
}

/// Process 1 of the container, as it is called outside.
fn first_inside(program: &Program) -> u32 {
    let pid = program.pid();
    loop {
        let children = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        if let Some(child) = children.split_ascii_whitespace().next() {
            let child = child.parse().unwrap();
            assert_ne!(
                fs::read_link(format!("/proc/{child}/ns/pid")).unwrap(),
                fs::read_link("/proc/self/ns/pid").unwrap()
            );
            return child;
        }
    }
}

fn look_until(pid: u32, is_so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let look = look_at(pid);
        if is_so(&look) {
            return look;
        }
    }
}

#[test]
fn a_deadlock_in_a_container_is_named_by_the_ids_outside() {
    let _dog = watchdog(Duration::from_secs(120));
    if !are_allowed() {
        return;
    }
    let program = Program::start(|| Process::spawn(|| contained(programs::deadlock), ()).unwrap());
    let look = look_until(first_inside(&program), |look| !list(look, "findings").is_empty());
    let words = text(&list(&look, "findings")[0], "text");
    for name in ["lefty", "righty"] {
        let row = list(&look, "processes").iter().find(|row| text(row, "name") == name).unwrap();
        assert!(words.contains(&format!("{name} ({})", row["pid"])), "{words}");
    }
    assert!(words.starts_with("deadlock: "), "{words}");
    println!("{words}");
}

#[test]
fn a_hung_task_in_a_container_is_named() {
    let _dog = watchdog(Duration::from_secs(120));
    if !are_allowed() {
        return;
    }
    let program = Program::start(|| Process::spawn(|| contained(programs::hung_task), ()).unwrap());
    let hangs = |worker: &Value| text(&worker["task"], "function").contains("programs::wait_for_nothing");
    let is_so = |look: &Value| list(look, "pools").iter().flat_map(|pool| list(pool, "workers")).any(hangs);
    let look = look_until(first_inside(&program), is_so);
    let pool = &list(&look, "pools")[0];
    assert_eq!(text(pool, "name"), "crew");
    assert!(!pool["board"].is_null(), "{pool:#}");
}

#[test]
fn what_is_stopped_or_garbled_in_a_container_is_shown() {
    let _dog = watchdog(Duration::from_secs(120));
    if !are_allowed() {
        return;
    }
    let program = Program::start(|| Process::spawn(|| contained(programs::garbled_queue), ()).unwrap());
    let pid = first_inside(&program);
    let is_garbled = |look: &Value| list(look, "others").iter().any(|other| other["is_garbled"] == true);
    look_until(pid, is_garbled);
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).unwrap();
    look_until(pid, |look| is_garbled(look) && text(&list(look, "processes")[0], "state") == "T");
}
