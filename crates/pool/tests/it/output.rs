//! What workers write comes line by line.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use pool::{ProcessPool, TaskError};
use test_support::watchdog;

#[test]
fn lines_of_workers_that_die_and_are_replaced_are_whole() {
    let _dog = watchdog(Duration::from_secs(60));
    let said = Arc::new(Mutex::new(Vec::new()));
    let to = said.clone();
    let pool = ProcessPool::builder()
        .workers(2)
        .name("chatty")
        .stdout(|worker, line| panic!("nobody writes here: {worker}, {line}"))
        .stderr(move |worker, line| to.lock().unwrap().push((worker.to_owned(), line.to_owned())))
        .build()
        .unwrap();
    let task = |n: u32| {
        eprintln!("task {n}");
        if n % 7 == 6 {
            std::process::abort();
        }
        if n % 7 == 5 {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    };
    for n in 0..28 {
        match pool.apply(task, (n,)) {
            Err(TaskError::WorkerDied { crash, signal, .. }) => {
                assert!(said.lock().unwrap().iter().any(|(_, line)| *line == format!("task {n}")), "task {n}");
                let last = crash.as_ref().and_then(|crash| crash.stderr().lines().last().map(str::to_owned));
                // Of a kill there is no report.
                let expected = (signal == Some(libc::SIGABRT)).then(|| format!("task {n}"));
                assert_eq!(last, expected);
            }
            ended => ended.unwrap(),
        }
    }
    pool.close();
    pool.join().unwrap();
    let said = said.lock().unwrap();
    let mut lines: Vec<_> = said.iter().map(|(_, line)| line.clone()).collect();
    lines.sort_by_key(|line| line.strip_prefix("task ").map(|n| n.parse::<u32>().unwrap()));
    assert_eq!(lines, (0..28).map(|n| format!("task {n}")).collect::<Vec<_>>());
    let workers: BTreeSet<_> = said.iter().map(|(worker, _)| worker.as_str()).collect();
    assert!(workers.iter().all(|worker| ["chatty-0", "chatty-1"].contains(worker)), "{workers:?}");
}
