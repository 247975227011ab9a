//! Short tasks, of which several go in one message.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::PathBuf,
    process::abort,
    thread,
    time::Duration,
};

use cluster::ClusterPool;
use nix::sys::signal::Signal;
use pool::{Task, TaskError};
use proc_core::command::Popen;
use test_support::{Watchdog, watchdog};

use crate::{
    faults::signal,
    server::{Server, free_ports, new_directory, program},
};

const N_TASKS: u64 = 10_000;

/// Two agents and a pool, on a server whose streams can be looked at.
struct Site {
    pool: ClusterPool,
    agents: [Popen; 2],
    server: Server,
    _dog: Watchdog,
}

impl Site {
    /// Agents of one worker each.
    fn start() -> Option<Self> {
        Self::start_with(1, "")
    }

    fn start_with(n_slots: usize, settings: &str) -> Option<Self> {
        let dog = watchdog(Duration::from_secs(120));
        let [port] = free_ports();
        let server = Server::start(&program()?, new_directory(), port, settings);
        let url = format!("nats://127.0.0.1:{port}");
        let settings = ClusterPool::builder().connect_timeout(Duration::from_secs(60)).retries(3);
        let pool = settings.host_timeout(Duration::from_secs(2)).connect(url.clone()).unwrap();
        let agents = [(); 2].map(|()| server.place.agent_of_slots(&url, n_slots));
        assert!(pool.wait_for_hosts(2, Duration::from_secs(60)));
        // From now on it is known that tasks are short.
        (0..20).for_each(|n| assert_eq!(pool.apply(|n: u64| n, (n,)), Ok(n)));
        Some(Self { pool, agents, server, _dog: dog })
    }

    /// Gives all tasks while the server stands still, so that there are many to be sent when it goes on.
    fn give<R>(&self, give: impl Fn(u64) -> Task<R>) -> Vec<Task<R>> {
        let server = self.server.process.pid();
        signal(server, Signal::SIGSTOP);
        let tasks = (0..N_TASKS).map(give).collect();
        signal(server, Signal::SIGCONT);
        tasks
    }

    /// Messages that the server has stored so far, and those that it still has.
    fn messages(&self) -> [u64; 2] {
        let info = self.server.ask("$JS.API.STREAM.INFO.MP_default");
        ["last_seq", "messages"].map(|what| info["state"][what].as_u64().unwrap())
    }

    /// All that was given is over: many tasks went together, and the server has been told of each message.
    fn settle(&self) {
        assert_eq!(self.pool.n_resubmitted(), 0);
        let [n_stored, _] = self.messages();
        assert!(n_stored < N_TASKS / 2, "{n_stored} messages");
        while self.messages()[1] > 0 {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

fn is_lethal(n: u64) -> bool {
    n % 3000 == 2500
}

fn work(n: u64) -> u64 {
    if is_lethal(n) {
        abort();
    }
    assert!(n % 1000 != 700, "that one");
    n + 1
}

#[test]
fn short_tasks_go_together_and_each_fails_alone() {
    let Some(site) = Site::start() else { return };
    let tasks = site.give(|n| site.pool.task(work, (n,)).retries(0).submit());
    for (n, task) in (0..).zip(&tasks) {
        match task.get() {
            Err(TaskError::WorkerDied { signal: Some(6), .. }) => assert!(is_lethal(n), "{n}"),
            Err(TaskError::Panicked { .. }) => assert_eq!(n % 1000, 700),
            result => assert_eq!(result, Ok(n + 1)),
        }
    }
    let stats = site.pool.stats();
    assert_eq!((stats.done, stats.failed), (20 + N_TASKS - 3 - 10, 3 + 10));
    site.settle();
}

#[test]
fn task_of_a_batch_that_kills_each_worker_is_quarantined_and_no_other() {
    let Some(site) = Site::start() else { return };
    let work = |n: u64| if is_lethal(n) { abort() } else { n };
    let tasks = site.give(|n| site.pool.task(work, (n,)).retries(2).submit());
    for (n, task) in (0..).zip(&tasks) {
        assert_eq!(task.get(), if is_lethal(n) { Err(TaskError::Quarantined) } else { Ok(n) });
    }
    site.settle();
}

#[test]
fn batches_are_no_longer_than_what_the_server_takes() {
    let Some(site) = Site::start_with(1, "max_payload: 4096") else { return };
    let bytes = vec![7_u8; 100];
    let tasks = site.give(|n| site.pool.apply_async(|n: u64, bytes: Vec<u8>| (n + 1, bytes), (n, bytes.clone())));
    assert!((0..).zip(&tasks).all(|(n, task)| task.get() == Ok((n + 1, bytes.clone()))));
    site.settle();
}

/// Blocks, if it is the one, until there is this file.
fn wait_if_slow(file: PathBuf, n: u64) {
    while n == N_TASKS / 2 && !file.exists() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn slow_task_of_a_batch_holds_up_no_other() {
    let Some(site) = Site::start_with(2, "") else { return };
    let file = site.server.directory.join("go on");
    let mut tasks = site.give(|n| site.pool.apply_async(wait_if_slow, (file.clone(), n)));
    let slow = tasks.remove(tasks.len() / 2);
    assert!(tasks.iter().all(|task| task.get() == Ok(())));
    assert!(!slow.ready());
    fs::write(&file, "").unwrap();
    assert_eq!(slow.get(), Ok(()));
    site.settle();
}

/// Leaves a line that says that it has run.
pub(crate) fn leave_a_line(file: PathBuf, n: u64) {
    let mut file = OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(format!("{n}\n").as_bytes()).unwrap();
}

#[test]
fn terminated_agent_gives_batches_back_and_each_task_runs_once() {
    let Some(site) = Site::start() else { return };
    let file = site.server.directory.join("lines");
    fs::write(&file, "").unwrap();
    let tasks = site.give(|n| site.pool.apply_async(leave_a_line, (file.clone(), n)));
    tasks[tasks.len() / 3].wait();
    site.agents[0].terminate().unwrap();
    assert!(site.agents[0].wait().unwrap().success());
    assert!(tasks.iter().all(|task| task.get() == Ok(())));
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    let twice: Vec<u64> = lines.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!((twice, lines.len() as u64, site.pool.n_resubmitted()), (vec![], N_TASKS, 0));
    site.settle();
}

/// After a third of the tasks there is a fault, as often as `CLUSTER_RUNS` says.
fn with_fault(name: &str, fault: impl Fn(&mut Site)) {
    let n_runs = std::env::var("CLUSTER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    for _ in 0..n_runs {
        let Some(mut site) = Site::start() else { return };
        let tasks = site.give(|n| site.pool.apply_async(|n: u64| n + 1, (n,)));
        tasks[tasks.len() / 3].wait();
        fault(&mut site);
        assert!((0..).zip(&tasks).all(|(n, task)| task.get() == Ok(n + 1)));
        let stats = site.pool.stats();
        assert_eq!((stats.done, stats.failed), (20 + N_TASKS, 0));
        site.settle();
        println!("{name}: {N_TASKS} tasks in {} messages, 0 resubmitted", site.messages()[0]);
    }
}

#[test]
fn killed_agent_with_batches_costs_nothing() {
    with_fault("SIGKILL of an agent with batches", |site| site.agents[0].kill().unwrap());
}

#[test]
fn killed_server_with_batches_costs_nothing() {
    with_fault("SIGKILL of a server with batches", |site| {
        site.server.process.kill().unwrap();
        site.server.restart(&program().unwrap());
    });
}

#[test]
fn stopped_agent_with_batches_costs_nothing() {
    with_fault("SIGSTOP of an agent with batches", |site| {
        let agent = site.agents[0].pid();
        signal(agent, Signal::SIGSTOP);
        while site.pool.hosts().iter().any(|host| host.pid == agent) {
            thread::sleep(Duration::from_millis(10));
        }
        signal(agent, Signal::SIGCONT);
    });
}

/// Both agents are lost to it by then, as it finds when it goes on, and what they have in hand comes to them again.
#[test]
fn stopped_server_with_batches_costs_nothing() {
    with_fault("SIGSTOP of a server with batches", |site| {
        let server = site.server.process.pid();
        signal(server, Signal::SIGSTOP);
        while !site.pool.hosts().is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        signal(server, Signal::SIGCONT);
    });
}

#[test]
fn cancelled_tasks_of_batches_leave_the_others() {
    let Some(site) = Site::start() else { return };
    let tasks = site.give(|n| site.pool.apply_async(|n: u64| n + 1, (n,)));
    let is_cancelled: Vec<bool> = tasks.iter().rev().map(|task| task.id() % 3 == 0 && task.cancel()).collect();
    for ((n, task), is_cancelled) in (0..).zip(&tasks).zip(is_cancelled.into_iter().rev()) {
        assert_eq!(task.get(), if is_cancelled { Err(TaskError::Cancelled) } else { Ok(n + 1) });
    }
    site.settle();
}
