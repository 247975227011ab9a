//! All that depends on how a program is built: processes by each start method, values, panics, crashes, the death of a lock's
//! holder, messages, and a pool with something preloaded.

use std::{error::Error, process::abort};

use prockit::{Process, ProcessError, ProcessPool, Queue, StartMethod, TaskError, preloaded, sync::process::Lock};

fn square(n: u64) -> u64 {
    n * n
}

fn fail(n: u64) -> u64 {
    panic!("not {n}")
}

fn die(lock: Lock<u64>) {
    let _guard = lock.lock();
    abort()
}

fn relay(from: Queue<String>, to: Queue<String>) {
    while let Ok(word) = from.get() {
        to.put(word.to_uppercase()).expect("nobody closes it");
    }
}

fn load(n: usize) -> Vec<u64> {
    (0..n as u64).collect()
}

fn look_up(at: usize) -> Option<u64> {
    preloaded::<Vec<u64>>()?.get(at).copied()
}

fn main() -> Result<(), Box<dyn Error>> {
    // First: it needs a process with one thread.
    for method in [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn] {
        let builder = || Process::builder().start_method(method);
        assert_eq!(builder().spawn(square, (7,))?.join()?, 49, "{method:?}");
        match builder().spawn(fail, (3,))?.join() {
            Err(ProcessError::Panicked { message, location, .. }) => {
                assert!(message == "not 3" && location.contains("tour.rs"), "{method:?}: {message:?} at {location}");
            }
            other => return Err(format!("{method:?}: {other:?}").into()),
        }
        let lock = Lock::new(1)?;
        match builder().spawn(die, (lock.clone(),))?.join() {
            Err(ProcessError::Signaled { signal: 6, crash: Some(crash), .. }) => {
                let is_named =
                    crash.frames().iter().any(|frame| frame.function().is_some_and(|name| name.contains("die")));
                println!("{method:?}: {}; its function is named: {is_named}", crash.summary());
            }
            other => return Err(format!("{method:?}: {other:?}").into()),
        }
        assert!(lock.lock().is_err(), "{method:?}: its holder is dead");
    }

    let (words, answers) = (Queue::new(2)?, Queue::new(0)?);
    let relay = Process::spawn(relay, (words.clone(), answers.clone()))?;
    words.put_many(["a", "b", "c"].map(String::from)).map_err(|_| "nobody closes it")?;
    words.close();
    relay.join()?;
    assert_eq!(answers.drain().collect::<Vec<_>>(), ["A", "B", "C"]);

    let pool = ProcessPool::builder().workers(2).preload(load, (100_000,)).build()?;
    assert_eq!(pool.map(look_up, [1, 99_999])?, [Some(1), Some(99_999)]);
    assert!(matches!(pool.apply(|| -> () { abort() }, ()), Err(TaskError::WorkerDied { signal: Some(6), .. })));
    assert_eq!(pool.map(square, 0..1000)?.len(), 1000);
    println!("all is well");
    Ok(())
}
