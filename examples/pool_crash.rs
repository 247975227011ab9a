//! Three ways to lose a task, none of which costs another one, or the pool.
//!
//! The order of its output: each line waits for its own task, so they stand as written. (The message of the panic, and
//! that of the failed allocation, are printed to standard error by the workers themselves.)

use std::{hint::black_box, thread, time::Duration};

use pool::{ProcessPool, TaskError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool =
        ProcessPool::builder().workers(2).task_timeout(Duration::from_secs(3)).memory_limit(256 << 20).build()?;

    let killed = pool.apply_async(
        || {
            nix::sys::signal::raise(nix::sys::signal::SIGKILL).expect("a process may signal itself");
        },
        (),
    );
    let late = pool.apply_async(|| thread::sleep(Duration::from_secs(1000)), ());
    let greedy = pool.apply_async(|| black_box(vec![1_u8; 1 << 30]).len(), ());
    let panics = pool.apply_async(|n: u32| n.checked_sub(1).expect("nothing to take from"), (0,));
    let innocent = pool.apply_async(|n: u32| n + 1, (41,));

    println!("{:?}", killed.get());
    println!("{:?}", late.get());
    println!("{:?}", greedy.get());
    println!("{}", panics.get().expect_err("0 - 1"));
    println!("{:?}", innocent.get());

    let stats = pool.stats();
    println!("{} done, {} failed, {} workers replaced", stats.done, stats.failed, stats.restarts);

    // With retries, only a task that kills its worker every time is given up.
    let pool = ProcessPool::builder().workers(2).retries(2).build()?;
    let poison = pool.apply_async(crash, ());
    assert!(matches!(poison.get(), Err(TaskError::Quarantined)));
    println!("given up after {} retries", pool.stats().retried);
    Ok(())
}

fn crash() {
    std::process::abort()
}
