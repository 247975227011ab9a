//! What becomes of workers when their owner goes, one way or another.

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
    thread,
    time::Duration,
};

use kernel::identity::ProcessId;
use nix::{
    fcntl::OFlag,
    pty::{OpenptyResult, openpty},
};
use pool::{ProcessPool, Task, TaskError, ThreadPool};
use proc_core::{Process, ProcessError, Signal, Target, shm::Shared};
use test_support::{processes, watchdog};

const PATIENCE: Duration = Duration::from_secs(100);

/// Where an owner in another process writes its workers' pids.
type Pids = Shared<[AtomicU32; 4]>;

fn new_pids() -> Pids {
    Shared::new([const { AtomicU32::new(0) }; 4]).unwrap()
}

/// A pool with every worker stuck in a task.
fn stuck_pool(pids: &Pids) -> ProcessPool {
    let pool = ProcessPool::new(pids.len()).unwrap();
    for _ in 0..pids.len() {
        let _running: Task<()> = pool.apply_async(hang, ());
    }
    while pool.stats().running < pids.len() {
        thread::yield_now();
    }
    for (place, worker) in pids.iter().zip(pool.stats().workers) {
        place.store(worker.pid.unwrap(), SeqCst);
    }
    pool
}

/// Returns when the pipe is closed.
fn finish_when_told(told: proc_core::handover::Fd) -> u32 {
    File::from(told.0).read_to_end(&mut Vec::new()).unwrap();
    std::process::id()
}

#[test]
fn signals_to_a_whole_service_leave_the_tasks_to_the_owner() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let (told, tell) = std::io::pipe().unwrap();
    let running = [(); 2].map(|()| {
        let fd: std::os::fd::OwnedFd = told.try_clone().unwrap().into();
        pool.apply_async(finish_when_told, (fd.into(),))
    });
    while pool.stats().running < 2 {
        thread::yield_now();
    }
    let workers: Vec<u32> = pool.stats().workers.iter().map(|worker| worker.pid.unwrap()).collect();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        for worker in &workers {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker.cast_signed()), signal).unwrap();
        }
    }
    // What a task executes has the signals' defaults.
    drop((told, tell));
    let mut ended: Vec<u32> = running.map(|task| task.get().unwrap()).into();
    ended.sort_unstable();
    let mut workers = workers;
    workers.sort_unstable();
    assert_eq!(ended, workers);
    let defaults = pool.apply(ends_by_sigterm, ()).unwrap();
    assert!(defaults, "a program of a task inherits that signals are disregarded");
}

fn ends_by_sigterm() -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = std::process::Command::new("sh").args(["-c", "kill -TERM $$; exit 0"]).status().unwrap();
    status.signal() == Some(Signal::SIGTERM as i32)
}

fn hang() {
    loop {
        thread::park();
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

fn all_known(pids: &Pids) -> Vec<ProcessId> {
    wait_for(|| pids.iter().all(|pid| pid.load(SeqCst) != 0));
    pids.iter().filter_map(|pid| ProcessId::of(pid.load(SeqCst))).collect()
}

#[test]
fn a_killed_owner_takes_its_workers_along() {
    let _dog = watchdog(PATIENCE);
    let pids = new_pids();
    let owner = Process::spawn(
        |pids: Pids| {
            let _pool = stuck_pool(&pids);
            hang();
        },
        (pids.clone(),),
    )
    .unwrap();
    let workers = all_known(&pids);
    assert_eq!(workers.len(), 4);
    owner.kill().unwrap();
    wait_for(|| workers.iter().all(|worker| !worker.is_alive()));
}

#[test]
fn an_owner_that_ends_by_itself_leaves_nobody_behind() {
    let _dog = watchdog(PATIENCE);
    for how in ["drop", "leak", "exit"] {
        let pids = new_pids();
        let owner = Process::spawn(
            |pids: Pids, how: String| {
                let pool = stuck_pool(&pids);
                match &*how {
                    "leak" => std::mem::forget(pool),
                    "exit" => std::process::exit(3),
                    _ => {}
                }
            },
            (pids.clone(), how.to_owned()),
        )
        .unwrap();
        assert_eq!(owner.join().is_ok(), how != "exit");
        let left: Vec<_> = pids.iter().filter_map(|pid| ProcessId::of(pid.load(SeqCst))).collect();
        wait_for(|| left.iter().all(|worker| !worker.is_alive()));
    }
}

/// A process in a group of its own, and what all in there print.
fn group_of(owner: impl Target<(Pids,), Output = ()>, pids: &Pids) -> (Process<()>, std::io::PipeReader) {
    let (output, writer) = std::io::pipe().unwrap();
    let builder = Process::builder().process_group().stdout(writer.try_clone().unwrap()).stderr(writer);
    (builder.spawn(owner, (pids.clone(),)).unwrap(), output)
}

/// Interrupts a process as a terminal does, its whole group. What they all printed until none of them was left.
fn interrupt(owner: Process<()>, output: std::io::PipeReader) -> String {
    let group = nix::unistd::Pid::from_raw(owner.pid() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::SIGINT).unwrap();
    interrupted(owner, output)
}

/// What all of them print until none of them is left, when the owner is interrupted.
fn interrupted(owner: Process<()>, mut output: std::io::PipeReader) -> String {
    assert!(matches!(owner.join(), Err(ProcessError::Signaled { signal: 2, .. })));
    let mut printed = String::new();
    output.read_to_string(&mut printed).unwrap();
    printed
}

#[test]
fn ctrl_c_ends_everybody_in_silence() {
    let _dog = watchdog(PATIENCE);
    let pids = new_pids();
    let (owner, output) = group_of(
        |pids: Pids| {
            processes::end_by_interrupt();
            let _pool = stuck_pool(&pids);
            hang();
        },
        &pids,
    );
    let workers = all_known(&pids);
    assert_eq!(interrupt(owner, output), "");
    wait_for(|| workers.iter().all(|worker| !worker.is_alive()));
}

/// A pseudo-terminal, and where its processes open it; `None` in a container that has none to offer.
fn new_terminal() -> Option<(OpenptyResult, PathBuf)> {
    let terminal = openpty(None, None).ok()?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", terminal.slave.as_raw_fd())).unwrap();
    let not_mine = OFlag::O_NOCTTY.bits();
    File::options().read(true).write(true).custom_flags(not_mine).open(&name).ok()?;
    Some((terminal, name))
}

/// The real thing: a key pressed at a terminal, which has a session and its processes in the foreground.
#[test]
fn ctrl_c_at_a_terminal_ends_everybody_in_silence() {
    let _dog = watchdog(PATIENCE);
    let Some((terminal, name)) = new_terminal() else { return };
    let (output, writer) = std::io::pipe().unwrap();
    let pids = new_pids();
    let owner = Process::builder().stdout(writer.try_clone().unwrap()).stderr(writer).spawn(
        |pids: Pids, name: PathBuf| {
            processes::end_by_interrupt();
            nix::unistd::setsid().unwrap();
            // The leader of a session without a terminal opens one: that is the session's from now on.
            let terminal = File::options().read(true).write(true).open(name).unwrap();
            assert_eq!(nix::unistd::tcgetpgrp(&terminal).unwrap(), nix::unistd::getpid());
            let _pool = stuck_pool(&pids);
            hang();
        },
        (pids.clone(), name),
    );
    let workers = all_known(&pids);
    // Open until all is over: to close it would be to hang up.
    let mut keyboard = File::from(terminal.master);
    const CTRL_C: &[u8] = b"\x03";
    keyboard.write_all(CTRL_C).unwrap();
    assert_eq!(interrupted(owner.unwrap(), output), "");
    wait_for(|| workers.iter().all(|worker| !worker.is_alive()));
}

#[test]
fn ctrl_c_ends_a_pool_of_threads_in_silence() {
    let _dog = watchdog(PATIENCE);
    let pids = new_pids();
    let (owner, output) = group_of(
        |pids: Pids| {
            processes::end_by_interrupt();
            let pool = ThreadPool::new(pids.len()).unwrap();
            let stuck: Vec<_> = (0..pids.len())
                .map(|n| {
                    let pids = pids.clone();
                    pool.apply_async(
                        move || {
                            pids[n].store(std::process::id(), SeqCst);
                            hang();
                        },
                        (),
                    )
                })
                .collect();
            stuck.iter().for_each(|task| task.wait());
        },
        &pids,
    );
    all_known(&pids);
    assert_eq!(interrupt(owner, output), "");
}

#[test]
fn what_a_killed_task_started_dies_with_it() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).task_timeout(Duration::from_secs(2)).build().unwrap();
    let pids = new_pids();
    let with_child = |pids: Pids| {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        pids[0].store(child.id(), SeqCst);
        child.wait().unwrap();
    };
    let late = pool.apply_async(with_child, (pids.clone(),));
    wait_for(|| pids[0].load(SeqCst) != 0);
    let child = ProcessId::of(pids[0].load(SeqCst)).unwrap();
    assert!(matches!(late.get(), Err(TaskError::TimedOut)));
    wait_for(|| !child.is_alive());
}

#[test]
fn a_fork_of_the_owner_has_no_pool() {
    let _dog = watchdog(PATIENCE);
    let owner = Process::spawn(
        || {
            let pool = ProcessPool::new(2).unwrap();
            let gate = Shared::new(AtomicU32::new(0)).unwrap();
            let at_gate = |gate: Shared<AtomicU32>| wait_for(|| gate.load(SeqCst) != 0);
            let task = pool.apply_async(at_gate, (gate.clone(),));
            let in_fork = Process::fork(|| {
                pool.terminate();
                matches!(pool.apply(|n: u64| n, (2,)), Err(TaskError::Closed))
                    && matches!(task.get(), Err(TaskError::Closed))
                    && pool.stats().workers.is_empty()
            });
            let refused = in_fork.unwrap().join().unwrap();
            gate.store(1, SeqCst);
            refused && task.get().is_ok()
        },
        (),
    );
    assert!(owner.unwrap().join().unwrap());
}

#[test]
fn handles_travel_with_tasks() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::new(2).unwrap();
    let queue = ipc::Queue::<u64>::new(10).unwrap();
    let puts: Vec<_> =
        (0..5).map(|n| pool.apply_async(|q: ipc::Queue<u64>, n: u64| q.put(n).is_ok(), (queue.clone(), n))).collect();
    assert!(puts.iter().all(|put| put.get().unwrap()));
    let mut got: Vec<_> = (0..5).map(|_| queue.get().unwrap()).collect();
    got.sort();
    assert_eq!(got, [0, 1, 2, 3, 4]);
}
