//! Use from where little is left: the destructors of thread-locals, and functions that run at the exit.

use std::{process::Command, sync::OnceLock, time::Duration};

use ipc::Queue;
use pool::{ProcessPool, TaskError, ThreadPool};
use test_support::watchdog;

struct Pools {
    processes: ProcessPool,
    threads: ThreadPool,
    queue: Queue<u64>,
    lock: sync::process::Lock<u64>,
}

static POOLS: OnceLock<Pools> = OnceLock::new();

fn pools() -> &'static Pools {
    POOLS.get_or_init(|| Pools {
        processes: ProcessPool::new(1).unwrap(),
        threads: ThreadPool::new(1).unwrap(),
        queue: Queue::new(0).unwrap(),
        lock: sync::process::Lock::new(0).unwrap(),
    })
}

fn everything() {
    let pools = pools();
    for _ in 0..2 {
        assert_eq!(pools.processes.apply(|n: u64| n + 1, (1,)).unwrap(), 2);
        assert!(matches!(pools.processes.apply(|| -> u8 { panic!("late") }, ()), Err(TaskError::Panicked { .. })));
        assert_eq!(pools.processes.map(|n: u64| n, 0..9).unwrap().len(), 9);
        assert_eq!(pools.threads.apply(|n: u64| n + 1, (1,)).unwrap(), 2);
        assert_eq!(pools.threads.map(|n: u64| n, 0..9).unwrap().len(), 9);
        pools.queue.put(7).unwrap();
        assert_eq!(pools.queue.get_timeout(Duration::from_secs(60)).unwrap(), 7);
        *pools.lock.lock().unwrap() += 1;
    }
    // Made and ended here.
    assert_eq!(ProcessPool::new(1).unwrap().apply(|n: u64| n, (3,)).unwrap(), 3);
    let short = ThreadPool::new(1).unwrap();
    assert_eq!(short.apply(|n: u64| n, (3,)).unwrap(), 3);
    short.close();
    short.join().unwrap();
}

struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        everything();
    }
}

thread_local!(static FIRST: AtTheEnd = const { AtTheEnd });

#[test]
fn pools_in_the_destructor_of_a_thread_local() {
    let _dog = watchdog(Duration::from_secs(100));
    let ends = || {
        // Registered first, so that it is dropped last.
        FIRST.with(|_| ());
        everything();
    };
    // A panic there would abort this process.
    std::thread::spawn(ends).join().unwrap();
}

const AT_EXIT: &str = "POOL_TEST_AT_EXIT";

extern "C" fn at_exit() {
    everything();
}

#[test]
fn pools_in_functions_at_exit() {
    let _dog = watchdog(Duration::from_secs(100));
    if std::env::var_os(AT_EXIT).is_some() {
        // Its pools end in it, for nothing that comes later waits for them.
        // SAFETY: a function of this program.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        return;
    }
    let name = "late::pools_in_functions_at_exit";
    let mut copy = Command::new(std::env::current_exe().unwrap());
    let output = copy.args(["--exact", name, "--test-threads", "1"]).env(AT_EXIT, "1").output().unwrap();
    assert!(output.status.success(), "{} {}", output.status, String::from_utf8_lossy(&output.stderr));
}
