//! Many tasks that are taken back.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use cluster::{Agent, ClusterPool};
use pool::{PoolError, TaskError};
use test_support::watchdog;

use crate::server::{Server, free_ports, new_directory, program};

/// More than the client keeps while it has no server.
const MANY: u64 = 80_000;

#[test]
fn tasks_end_in_time_while_many_are_taken_back_and_no_server_is_there() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "");
    let settings = ClusterPool::builder().agent_timeout(Duration::from_secs(2));
    let pool = settings.connect(format!("nats://127.0.0.1:{port}")).unwrap();
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let kept = pool.apply_async(|n: u64| n, (1,));
    (0..MANY).for_each(|n| _ = pool.apply_async(|n: u64| n, (n,)).cancel());
    let end = kept.get_timeout(Duration::from_secs(30));
    assert!(matches!(end, Err(TaskError::Broken(PoolError::Cluster(_)))), "{end:?}");
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(4), "the pool's thread does not end: {:?}", begun.elapsed());
}

fn wait_for(file: PathBuf) {
    while !file.exists() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn touch(file: PathBuf) {
    fs::write(file, "").unwrap();
}

#[test]
fn tasks_that_are_taken_back_before_they_come_do_not_run() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "");
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::connect(&url).unwrap();
    let _agent = Agent::builder(&url).slots(1).start().unwrap();
    assert!(pool.wait_for_hosts(1, Duration::from_secs(60)));
    let (gate, ran) = (server.directory.join("gate"), server.directory.join("ran"));
    // All others wait behind it.
    let first = pool.apply_async(wait_for, (gate.clone(),));
    let tasks: Vec<_> = (0..12_000).map(|_| pool.apply_async(touch, (ran.clone(),))).collect();
    let last = pool.apply_async(|| 7, ());
    assert!(tasks.iter().all(|task| task.cancel()));
    // The agent is given them, and lets go of them.
    while server.ask("$JS.API.STREAM.INFO.MP_default")["state"]["messages"] != 2 {
        thread::sleep(Duration::from_millis(10));
    }
    touch(gate);
    assert_eq!((first.get(), last.get()), (Ok(()), Ok(7)));
    assert!(!ran.exists());
}
