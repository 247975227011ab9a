//! Processes as futures, and among the things that `wait_any` waits for.

use std::{
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use proc_core::{Process, ProcessError, Waitable, command, wait_any, wait_any_async};
use test_support::block_on;

use crate::watchdog;

fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Ends once its standard input does.
fn patient() -> Process<usize> {
    fn read() -> usize {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap()
    }
    Process::builder().stdin(std::process::Stdio::piped()).spawn(read, ()).unwrap()
}

#[test]
fn a_process_is_awaited() {
    let _dog = watchdog();
    let process = patient();
    let mut stdin = process.take_stdin().unwrap();
    let pid = process.pid();
    let mut joined = process.into_future();
    assert!(is_pending(&mut joined));
    assert_eq!(joined.pid(), pid);
    stdin.write_all(b"four").unwrap();
    drop(stdin);
    assert_eq!(block_on(joined).unwrap(), 4);
    assert_eq!(block_on(Process::spawn(|a: u8| a + 1, (1,)).unwrap().into_future()).unwrap(), 2);
}

#[test]
fn how_a_process_was_killed_is_told_to_each_that_awaits_it() {
    let _dog = watchdog();
    let process = patient();
    let (mut first, mut second) = (process.wait_async(), process.wait_async());
    assert!(is_pending(&mut first) && is_pending(&mut second));
    process.kill().unwrap();
    assert_eq!(block_on(first).unwrap().code(), None);
    assert_eq!(block_on(second).unwrap().code(), None);
    assert!(matches!(block_on(process.into_future()), Err(ProcessError::Signaled { .. })));
}

/// Runs in a process of its own, where nobody else opens descriptors. A future that lost a race takes nothing along: the
/// value is still there for who asks again.
fn drop_many_waits() -> (usize, usize, usize) {
    let n_open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let process = patient();
    let poll_and_drop = || {
        assert!(is_pending(&mut process.wait_async()));
        assert!(is_pending(&mut wait_any_async(&[&process])));
        assert_eq!(wait_any(&[&process], Some(Duration::ZERO)).unwrap(), []);
    };
    poll_and_drop();
    let before = n_open();
    (0..100).for_each(|_| poll_and_drop());
    let after = n_open();
    drop(process.take_stdin());
    (before, after, block_on(process.into_future()).unwrap())
}

#[test]
fn dropped_waits_lose_nothing_and_leave_nothing_behind() {
    let _dog = watchdog();
    let (before, after, value) = Process::spawn(drop_many_waits, ()).unwrap().join().unwrap();
    assert_eq!((before, value), (after, 0));
}

#[test]
fn processes_programs_and_pipes_are_waited_for_together() {
    let _dog = watchdog();
    let process = patient();
    let program = command::Popen::builder(["sleep", "1000"]).spawn().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let sources: [&dyn Waitable; 4] = [&process, &program, &reader, &process.handle()];
    assert_eq!(wait_any(&sources, Some(Duration::from_millis(1))).unwrap(), []);
    let mut any = wait_any_async(&sources);
    assert!(is_pending(&mut any));
    writer.write_all(b"x").unwrap();
    assert_eq!(block_on(any).unwrap(), [2]);
    program.kill().unwrap();
    drop(process.take_stdin());
    process.wait().unwrap();
    program.wait().unwrap();
    assert_eq!(wait_any(&sources, None).unwrap(), [0, 1, 2, 3]);
    assert_eq!(process.as_raw_fd(), process.as_fd().as_raw_fd());
}

/// Runs in a process of its own, which has one thread of the program's.
fn fork_beside_a_future() -> u32 {
    let process = patient();
    let mut end = process.wait_async();
    assert!(is_pending(&mut end));
    // The reactor's thread is one of ours. The child's copy of the future is the parent's: dropping it ends nothing.
    let child = Process::fork(|| {
        let inner = patient();
        drop(inner.take_stdin());
        block_on(inner.into_future()).unwrap()
    });
    assert_eq!(child.unwrap().join().unwrap(), 0);
    let mut end = Some(end);
    let dropper = Process::fork(|| drop(end.take()));
    dropper.unwrap().join().unwrap();
    let end = end.unwrap();
    drop(process.take_stdin());
    u32::from(block_on(end).unwrap().success())
}

#[test]
fn a_future_keeps_nobody_from_forking_and_a_forked_child_has_its_own() {
    let _dog = watchdog();
    assert_eq!(Process::spawn(fork_beside_a_future, ()).unwrap().join().unwrap(), 1);
}
