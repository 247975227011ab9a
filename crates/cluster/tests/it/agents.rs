//! Agents that are this program, started with a server's name in its environment.

use std::{
    collections::VecDeque,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::Duration,
};

use cluster::ClusterPool;
use nix::sys::signal::Signal;
use pool::{Task, TaskError};
use proc_core::{Process, Stdio, command::Popen, handover::Fd};

use test_support::watchdog;

use crate::{
    batches::leave_a_line,
    faults::signal,
    server::{Server, free_ports, new_directory, program},
    support::local,
};

/// One for the pool's server, of two slots.
fn agent_of(pool: &ClusterPool) -> Popen {
    let (url, token) = pool.server_address().unwrap();
    agent_at(&url, &token)
}

fn agent_at(url: &str, token: &str) -> Popen {
    let agent = Popen::builder([env::current_exe().unwrap()]).env("CLUSTER_AGENT", url).env("CLUSTER_TOKEN", token);
    agent.env("CLUSTER_SLOTS", "2").stdout(Stdio::null()).spawn().unwrap()
}

/// Says where its server is, and gives two hosts something to do.
fn own_a_pool_without_end(told: Fd) {
    let pool = ClusterPool::local(1).unwrap();
    let (url, token) = pool.server_address().unwrap();
    let mut told = fs::File::from(told.0);
    told.write_all(format!("{url} {token}\n").as_bytes()).unwrap();
    assert!(pool.wait_for_hosts(2, Duration::from_secs(60)));
    let nap = || thread::sleep(Duration::from_secs(600));
    let _tasks: Vec<_> = (0..8).map(|_| pool.apply_async(nap, ())).collect();
    while !pool.hosts().iter().all(|host| host.n_held > 0) {
        thread::sleep(Duration::from_millis(10));
    }
    told.write_all(b"they run").unwrap();
    thread::park();
}

/// Its agents take it for dead meanwhile.
#[test]
fn pool_that_was_away_for_longer_than_a_lease_has_its_results() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(300));
    let [port] = free_ports();
    let mut server = Server::start(&program, new_directory(), port, "");
    let url = format!("nats://127.0.0.1:{port}");
    let (tells, told) = std::io::pipe().unwrap();
    let owner = Process::spawn(give_short_tasks, (url.clone(), Fd(told.into()))).unwrap();
    let agent = server.place.agent(&url);
    let mut tells = BufReader::new(tells);
    tells.read_exact(&mut [0]).unwrap();
    signal(owner.pid(), Signal::SIGSTOP);
    // One that goes on would hold the connection for minutes.
    server.process.kill().unwrap();
    server.restart(&program);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    let n_left = || server.ask("$JS.API.STREAM.INFO.MP_default")["state"]["messages"].as_u64();
    while n_left() != Some(0) {
        thread::sleep(Duration::from_millis(100));
    }
    signal(owner.pid(), Signal::SIGCONT);
    let mut end = String::new();
    tells.read_to_string(&mut end).unwrap();
    assert_eq!(end, "all");
    owner.wait().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn give_short_tasks(url: String, told: Fd) {
    let pool = ClusterPool::builder().host_timeout(Duration::from_secs(2)).connect(url).unwrap();
    let mut told = fs::File::from(told.0);
    let nap = |n: u64| {
        thread::sleep(Duration::from_millis(2));
        n
    };
    let tasks: Vec<_> = (0..1000).map(|n| pool.apply_async(nap, (n,))).collect();
    tasks[100].wait();
    told.write_all(b".").unwrap();
    assert!((0..).zip(tasks).all(|(n, task)| task.get() == Ok(n)));
    told.write_all(b"all").unwrap();
}

/// No host is lost, so that nothing runs twice.
#[test]
fn agents_that_come_and_go_run_each_task_once() {
    const N_TASKS: u64 = 1500;
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(300));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "");
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::builder().host_retries(1000).host_timeout(Duration::from_secs(5)).connect(&url).unwrap();
    let mut agents: VecDeque<_> = (0..2).map(|_| server.place.agent_of_slots(&url, 2)).collect();
    assert!(pool.wait_for_hosts(2, Duration::from_secs(60)));
    let file = server.directory.join("lines");
    fs::write(&file, "").unwrap();
    let nap = |file: PathBuf, n: u64| {
        leave_a_line(file, n);
        // Tasks of so long go alone, and some end at the very end of an agent.
        thread::sleep(Duration::from_millis(3 + n % 7));
    };
    let tasks: Vec<_> = (0..N_TASKS).map(|n| pool.apply_async(nap, (file.clone(), n))).collect();
    let mut n_ended = 0;
    while !tasks.iter().all(Task::ready) {
        if tasks.iter().filter(|task| task.ready()).count() < 40 * n_ended {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let agent = agents.pop_front().unwrap();
        // Before it is an agent, the signal does what it does to any program.
        while !pool.hosts().iter().any(|host| host.pid == agent.pid()) {
            thread::sleep(Duration::from_millis(1));
        }
        agents.push_back(server.place.agent_of_slots(&url, 2));
        agent.terminate().unwrap();
        assert!(agent.wait().unwrap().success());
        n_ended += 1;
    }
    assert!(tasks.iter().all(|task| task.get() == Ok(())));
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    let twice: Vec<u64> = lines.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert_eq!((twice, lines.len() as u64), (vec![], N_TASKS), "{n_ended} agents have ended");
    for agent in agents {
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
}

/// What it has can be told to nobody any more, and comes again once there is a server.
#[test]
fn terminated_agent_whose_server_is_gone_ends() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    drop(pool);
    let (tells, told) = std::io::pipe().unwrap();
    let owner = Process::spawn(own_a_pool_without_end, (Fd(told.into()),)).unwrap();
    let mut tells = BufReader::new(tells);
    let mut address = String::new();
    tells.read_line(&mut address).unwrap();
    let (url, token) = address.trim_end().split_once(' ').unwrap();
    let agent = agent_at(url, token);
    tells.read_exact(&mut [0; 8]).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    agent.terminate().unwrap();
    agent.wait().unwrap();
}

#[test]
fn program_with_a_server_in_its_environment_is_an_agent() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let agent = agent_of(&pool);
    assert!(pool.wait_for_hosts(2, Duration::from_secs(30)));
    let host = pool.hosts().into_iter().find(|host| host.pid == agent.pid()).unwrap();
    assert_eq!(host.n_slots, 2);
    assert_eq!(pool.stats().n_workers, 3);
    // No process of it sees what made it one.
    assert_eq!(pool.map(|_: u8| env::var("CLUSTER_AGENT").is_ok(), 0..50), Ok(vec![false; 50]));
    agent.terminate().unwrap();
    assert!(agent.wait().unwrap().success());
    while pool.hosts().len() == 2 {
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn terminated_agent_gives_back_what_it_has_not_begun_and_ends_the_rest() {
    drain(|agent| agent.terminate().unwrap());
}

/// As systemd does, unless it is told otherwise.
#[test]
fn agent_all_of_whose_processes_are_terminated_at_once_ends_what_it_has_begun() {
    drain(|agent| {
        let mut all = vec![agent.pid()];
        let mut at = 0;
        while let Some(&pid) = all.get(at) {
            all.extend(children(pid));
            at += 1;
        }
        // The agent, and its two workers at least.
        assert!(all.len() >= 3, "{all:?}");
        all.into_iter().for_each(|pid| signal(pid, Signal::SIGTERM));
    });
}

/// What any of a process's threads has started.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let children = threads.flat_map(|thread| fs::read_to_string(thread.path().join("children")));
    children.flat_map(|pids| pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

/// Tells an agent to end while it has tasks. No task is lost, and none fails, without retries.
fn drain(end: impl Fn(&Popen)) {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let agent = agent_of(&pool);
    assert!(pool.wait_for_hosts(2, Duration::from_secs(30)));
    let nap = |n: u64| {
        thread::sleep(Duration::from_millis(20));
        n
    };
    let tasks: Vec<_> = (0..200).map(|n| pool.apply_async(nap, (n,))).collect();
    tasks[50].wait();
    end(&agent);
    assert!(agent.wait().unwrap().success());
    for (n, task) in tasks.iter().enumerate() {
        assert_eq!(task.get(), Ok(n as u64));
    }
    assert_eq!(pool.stats().done, 200);
}

#[test]
fn agent_says_why_it_cannot_begin() {
    let _dog = test_support::watchdog(Duration::from_secs(60));
    let run = |slots: &str| {
        let agent = Popen::builder([env::current_exe().unwrap()]).env("CLUSTER_AGENT", "nats://127.0.0.1:1");
        let agent = agent.env("CLUSTER_SLOTS", slots).stderr(Stdio::piped()).spawn().unwrap();
        let output = agent.communicate(None, None).unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("many").contains("CLUSTER_SLOTS is no number"));
    assert!(run("0").contains("workers must not be 0"));
}

#[test]
fn tasks_without_an_agent_end_after_the_stated_time() {
    let Some((_dog, pool)) = local(ClusterPool::builder(), 1) else { return };
    let (url, token) = pool.server_address().unwrap();
    let settings = ClusterPool::builder().name("lonely").token(token).agent_timeout(Duration::from_millis(300));
    let lonely = settings.connect(url).unwrap();
    let Err(TaskError::Broken(why)) = lonely.apply(|| 1, ()) else { panic!("it ran") };
    let why = why.to_string();
    assert!(why.contains("no agent of this build") && why.contains("and no other"), "{why}");
}
