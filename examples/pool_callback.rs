//! Results that are taken by a callback, not waited for one by one.
//!
//! The order of its output: none is promised between the callbacks, which run as the tasks end; they run one at a time,
//! so no line is torn. "all done" is last, because `join` waits for the tasks and each `get` waits for its callbacks.

use std::sync::{Arc, Mutex};

use pool::ProcessPool;

fn checked_root(n: i64) -> u64 {
    assert!(n >= 0, "{n} has no root");
    n.cast_unsigned().isqrt()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPool::new(2)?;
    let results = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = [0, 1, 4, -9, 16, 25]
        .into_iter()
        .map(|n| {
            let results = results.clone();
            pool.apply_async_with(checked_root, (n,), move |outcome| match outcome {
                Ok(root) => {
                    println!("the root of {n} is {root}");
                    results.lock().expect("no callback panics").push(*root);
                }
                Err(e) => println!("no result for {n}: {e}"),
            })
        })
        .collect();
    pool.close();
    pool.join()?;
    let n_failed = tasks.iter().filter(|task| task.get().is_err()).count();

    let mut results = results.lock().expect("no callback panics").clone();
    results.sort();
    println!("all done: {results:?}, and {n_failed} failed");
    Ok(())
}
