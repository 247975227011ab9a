//! Children, owners, and waiting for the first of several things.

use std::{
    fs::File,
    io::{Read, Write},
    time::Duration,
};

use proc_core::{Process, ProcessError, active_children, handover::Fd, parent_process, wait_any};
use test_support::{
    hosts,
    processes::{children, is_asleep},
};

use crate::watchdog;

fn hold(reader: Fd) {
    std::io::read_to_string(std::fs::File::from(reader.0)).unwrap();
}

#[test]
fn active_children_are_those_that_run() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn count() -> (usize, Vec<String>, usize) {
        let before = active_children().len();
        let (reader, writer) = std::io::pipe().unwrap();
        let process = Process::builder().name("held").spawn(hold, (reader.into(),)).unwrap();
        let during = active_children().iter().map(|child| child.name().to_owned()).collect();
        drop(writer);
        process.join().unwrap();
        (before, during, active_children().len())
    }
    assert_eq!(Process::spawn(count, ())?.join()?, (0, vec!["held".into()], 0));
    Ok(())
}

#[test]
fn wait_any_over_processes_and_descriptors() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    let (reader, writer) = std::io::pipe()?;
    let held = Process::spawn(hold, (reader.into(),))?;
    let (quiet, _other_end) = std::os::unix::net::UnixStream::pair()?;
    assert_eq!(wait_any(&[&held, &quiet], Some(Duration::from_millis(5)))?, []);
    let quick = Process::spawn(|| (), ())?;
    assert_eq!(wait_any(&[&held, &quiet, &quick], None)?, [2]);
    drop(writer);
    assert_eq!(wait_any(&[&held, &quiet], None)?, [0]);
    Ok(())
}

/// At its exit an owner waits for its children, and terminates daemons.
#[test]
fn owners_exit() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    fn owner(log: Fd) {
        let slow = |log: Fd, owner_wrote: Fd, daemon: i32| {
            std::io::read_to_string(std::fs::File::from(owner_wrote.0)).unwrap();
            let owner = parent_process().unwrap();
            // The owner is at its exit once it has reaped the daemon. From then on it runs until it waits for this child; one
            // that does not wait is gone, and its death link ends this loop.
            while children(owner.pid().cast_signed()).contains(&daemon) || !is_asleep(owner.pid().cast_signed()) {
                std::thread::yield_now();
            }
            std::io::Write::write_all(&mut std::fs::File::from(log.0), b"child ").unwrap();
        };
        let daemon = |log: Fd| {
            std::thread::sleep(Duration::MAX);
            drop(log);
        };
        let copy = |log: &Fd| Fd::from(log.0.try_clone().unwrap());
        let daemon = Process::builder().daemon(true).spawn(daemon, (copy(&log),)).unwrap();
        let (owner_wrote, writing) = std::io::pipe().unwrap();
        let arguments = (copy(&log), owner_wrote.into(), daemon.pid().cast_signed());
        // Without a drop, after which a thread would reap the daemon beside the one that is at the exit.
        std::mem::forget((Process::spawn(slow, arguments).unwrap(), daemon));
        std::io::Write::write_all(&mut std::fs::File::from(log.0), b"owner ").unwrap();
        drop(writing);
    }
    let (reader, writer) = std::io::pipe()?;
    let owner = Process::spawn(owner, (writer.into(),))?;
    owner.join()?;
    // The pipe ends because nobody is left who holds it, the daemon included.
    assert_eq!(std::io::read_to_string(reader)?, "owner child ");
    Ok(())
}

/// rust-lang/rust#60439, procspawn #27: a dropped handle must not leave a zombie.
#[test]
fn a_dropped_handle_leaves_no_zombie() -> Result<(), ProcessError> {
    let _dog = watchdog();
    fn drop_them() -> usize {
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let (reader, writer) = std::io::pipe().unwrap();
                let process = Process::spawn(hold, (reader.into(),)).unwrap();
                let handle = process.handle();
                drop(process);
                drop(writer);
                handle
            })
            .collect();
        // Reaped by nobody here: this only watches their pids go.
        while handles.iter().any(|h| std::path::Path::new(&format!("/proc/{}", h.pid())).exists()) {
            std::thread::yield_now();
        }
        handles.len()
    }
    assert_eq!(Process::spawn(drop_them, ())?.join()?, 20);
    Ok(())
}

/// Says whether its parent lives, now and once it is told that it does not.
fn outlive(way: usize, go: Fd, tell: Fd) {
    let parent = parent_process().unwrap();
    hosts::BLIND[way].1();
    let mut tell = File::from(tell.0);
    tell.write_all(if parent.is_alive() { b"alive," } else { b"dead," }).unwrap();
    assert_eq!(File::from(go.0).read(&mut [0]).unwrap(), 1);
    tell.write_all(if parent.is_alive() { b"alive" } else { b"dead" }).unwrap();
}

fn start_one_that_outlives(way: usize, go: Fd, tell: Fd) {
    drop(Process::builder().death_link(false).spawn(outlive, (way, go, tell)).unwrap());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_blind_child_knows_whether_its_parent_lives() -> Result<(), Box<dyn std::error::Error>> {
    let _dog = watchdog();
    if !hosts::is_root() {
        return Ok(());
    }
    // Who goes on in another process has another parent.
    for way in (0..hosts::BLIND.len()).filter(|way| !hosts::BLIND[*way].0.contains("pid namespace")) {
        let ((go, mut may_go), (mut told, tell)) = (std::io::pipe()?, std::io::pipe()?);
        let parent = Process::spawn(start_one_that_outlives, (way, go.into(), tell.into()))?;
        let mut first = [0; 6];
        told.read_exact(&mut first)?;
        assert_eq!(&first, b"alive,", "{}", hosts::BLIND[way].0);
        parent.kill()?;
        parent.wait()?;
        may_go.write_all(b"x")?;
        assert_eq!(std::io::read_to_string(told)?, "dead", "{}", hosts::BLIND[way].0);
    }
    Ok(())
}
