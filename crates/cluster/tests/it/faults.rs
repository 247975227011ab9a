//! Whatever is killed, each of 10,000 tasks has its result, once.
//!
//! `CLUSTER_RUNS` says how often each fault is tried.

use std::{
    fs,
    io::{Read as _, Write as _, pipe},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use cluster::ClusterPool;
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pool::{Task, TaskError};
use proc_core::{Fd, Process};

use crate::support::local;

const N_TASKS: u64 = 10_000;

fn work(n: u64) -> u64 {
    3 * n + 1
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Tasks under way, whose results are counted.
pub(crate) struct Storm {
    tasks: Vec<Task<u64>>,
    n_results: Arc<AtomicUsize>,
    begun: Instant,
}

impl Storm {
    pub(crate) fn begin(pool: &ClusterPool) -> Self {
        let n_results = Arc::new(AtomicUsize::new(0));
        let give = |n| {
            let n_results = n_results.clone();
            let task = pool.apply_async(work, (n,));
            task.on_done(move |_| {
                n_results.fetch_add(1, Relaxed);
            });
            task
        };
        Self { begun: Instant::now(), tasks: (0..N_TASKS).map(give).collect(), n_results }
    }

    /// Blocks until about a third has a result; most have none then.
    pub(crate) fn wait_for_a_third(&self) {
        self.tasks[self.tasks.len() / 3].wait();
        let n_results = self.n_results.load(Relaxed);
        assert!(n_results < self.tasks.len() * 9 / 10, "{n_results} results already");
    }

    /// Each task has its own result, and had it once.
    pub(crate) fn end(self, pool: &ClusterPool, fault: &str) {
        for (n, task) in (0..).zip(&self.tasks) {
            assert_eq!(task.get(), Ok(work(n)), "task {n}");
        }
        let stats = pool.stats();
        // And the one before.
        assert_eq!((stats.done, stats.failed), (N_TASKS + 1, 0));
        assert_eq!(self.n_results.load(Relaxed) as u64, N_TASKS);
        println!("{fault}: {N_TASKS} tasks in {:.1?}, {} resubmitted", self.begun.elapsed(), pool.n_resubmitted());
        assert_eq!(pool.n_resubmitted(), 0);
    }
}

/// Runs 10,000 tasks with a fault after a third of them, as often as is asked for. The fault is told the pid of a worker, too.
fn with_fault(name: &str, fault: impl Fn(&ClusterPool, u32)) {
    let n_runs = std::env::var("CLUSTER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    for _ in 0..n_runs {
        let Some((_dog, pool)) = local(ClusterPool::builder().retries(3), 2) else { return };
        let worker = pool.apply(std::process::id, ()).unwrap();
        let storm = Storm::begin(&pool);
        storm.wait_for_a_third();
        fault(&pool, worker);
        storm.end(&pool, name);
    }
}

#[test]
fn killed_agent_costs_nothing() {
    with_fault("SIGKILL of an agent", |pool, _| signal(pool.hosts()[0].pid, Signal::SIGKILL));
}

#[test]
fn killed_worker_costs_nothing() {
    with_fault("SIGKILL of a worker", |_, worker| signal(worker, Signal::SIGKILL));
}

#[test]
fn agent_that_is_stopped_and_goes_on_costs_nothing() {
    with_fault("SIGSTOP of an agent", |pool, _| {
        let agent = pool.hosts()[0].pid;
        signal(agent, Signal::SIGSTOP);
        // Until it is taken for lost.
        while pool.hosts().iter().any(|host| host.pid == agent) {
            thread::sleep(Duration::from_millis(10));
        }
        signal(agent, Signal::SIGCONT);
    });
}

#[test]
fn killed_server_costs_nothing() {
    with_fault("SIGKILL of the server", |pool, _| signal(pool.server_pid().unwrap(), Signal::SIGKILL));
}

/// Ends the agent that runs it, and so itself.
fn take_the_host_along() {
    signal(std::os::unix::process::parent_id(), Signal::SIGKILL);
    thread::park();
}

#[test]
fn task_that_takes_each_host_along_is_host_lost() {
    let Some((_dog, pool)) = local(ClusterPool::builder().host_retries(1), 2) else { return };
    let lost = pool.apply(take_the_host_along, ());
    // More than two, if this machine was so slow that one was taken for lost.
    assert!(matches!(lost, Err(TaskError::HostLost { n_given: 2.. })), "{lost:?}");
    assert_eq!(pool.apply(work, (1,)), Ok(work(1)));
}

#[test]
fn killed_guard_costs_nothing() {
    with_fault("SIGKILL of the server's guard", |pool, _| {
        let server = pool.server_pid().unwrap();
        signal(parent(server), Signal::SIGKILL);
    });
}

fn parent(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What a process with a pool does, until it is killed: first it tells the pids of all that it has started.
fn own_a_pool(told: Fd) {
    let pool = ClusterPool::local(2).unwrap();
    let server = pool.server_pid().unwrap();
    let mut pids = vec![server, parent(server)];
    pids.extend(pool.hosts().iter().map(|host| host.pid));
    pids.extend((0..20).map(|_| pool.apply(std::process::id, ()).unwrap()));
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    fs::File::from(told.0).write_all(pids.join(" ").as_bytes()).unwrap();
    pool.apply(|| thread::sleep(Duration::from_secs(600)), ()).unwrap();
}

#[test]
fn killed_owner_leaves_no_server_no_agent_and_no_file() {
    // Says whether there is a program for a server.
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    drop(pool);
    let (mut tells, told) = pipe().unwrap();
    let owner = Process::spawn(own_a_pool, (told.into(),)).unwrap();
    let mut pids = String::new();
    tells.read_to_string(&mut pids).unwrap();
    let pids: Vec<i32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    let settings = fs::read_to_string(format!("/proc/{}/cmdline", pids[0])).unwrap();
    let directory = Path::new(settings.split('\0').nth(2).unwrap()).parent().unwrap().to_owned();
    assert!(directory.is_dir());
    owner.kill().unwrap();
    owner.wait().unwrap();
    for pid in pids {
        while kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(!directory.exists());
}
