//! Workers that share what a fork server has loaded.

use std::time::Duration;

use pool::{PoolError, ProcessPool};
use proc_core::{ForkServer, PreloadError, ProcessError, preloaded};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(60);

fn load(n: u64) -> Vec<u64> {
    (0..n).collect()
}

fn look_up(at: usize) -> (u64, u32) {
    (preloaded::<Vec<u64>>().expect("it was loaded")[at], std::process::id())
}

#[test]
fn workers_find_what_was_loaded() {
    let _dog = watchdog(LIMIT);
    let pool = ProcessPool::builder().workers(2).max_tasks_per_child(3).preload(load, (1000,)).build().unwrap();
    let found = pool.map(look_up, 0..100).unwrap();
    assert_eq!(found.iter().map(|(value, _)| *value).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    // A worker that takes a dead one's place finds it, too.
    let die = |_: u8| -> u8 { std::process::abort() };
    assert!(pool.apply(die, (0,)).is_err());
    assert_eq!(pool.apply(look_up, (7,)).unwrap().0, 7);
}

#[test]
fn pools_share_a_server_and_a_reload() {
    let _dog = watchdog(LIMIT);
    fn server_pid() -> u32 {
        std::process::id()
    }
    let find = || *preloaded::<u32>().expect("it was loaded");
    let server = ForkServer::builder().preload(server_pid, ()).build().unwrap();
    let pools = [0, 1].map(|_| ProcessPool::builder().workers(1).max_tasks_per_child(1).fork_server(&server).build());
    let pools = pools.map(Result::unwrap);
    let before = server.pid();
    assert!(pools.iter().all(|pool| Some(pool.apply(find, ()).unwrap()) == before));
    server.reload().unwrap();
    let now = server.pid();
    // The next worker of each may have been there before.
    for pool in &pools {
        while Some(pool.apply(find, ()).unwrap()) != now {}
    }
}

#[test]
fn a_failed_load_fails_the_pool() {
    let _dog = watchdog(LIMIT);
    let error = ProcessPool::builder().preload(|| panic!("no such model"), ()).build().unwrap_err();
    let PoolError::Start(error) = error else { panic!("{error:?}") };
    let ProcessError::Preload(PreloadError::Ended(error)) = &*error else { panic!("{error:?}") };
    assert!(matches!(&**error, ProcessError::Panicked { message, .. } if message == "no such model"), "{error:?}");
}
