//! Records of workers: `cargo test -p pool --features log --test logs`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    sync::{Mutex, OnceLock},
    time::Duration,
};

use log::{
    LevelFilter, Log, Metadata, Record,
    kv::{Key, Value},
};
use pool::{ProcessPool, TaskError};
use test_support::watchdog;

/// Keeps records with the name of the process; asks its pool how it is, as a logger may.
struct Logger;

static SEEN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
static ASKED: OnceLock<ProcessPool> = OnceLock::new();

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let name = record.key_values().get(Key::from_str("process.name")).map(|name: Value<'_>| name.to_string());
        SEEN.lock().unwrap().push((name.unwrap_or_default(), record.args().to_string()));
        let _ = ASKED.get().map(ProcessPool::stats);
    }

    fn flush(&self) {}
}

fn messages_of(prefix: &str) -> Vec<String> {
    let seen = SEEN.lock().unwrap();
    seen.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, message)| message.clone()).collect()
}

fn task(n: u32) {
    log::info!("task {n}");
    if n % 5 == 4 {
        std::process::abort();
    }
}

#[test]
fn workers_that_die_and_are_replaced_lose_no_record() {
    let _dog = watchdog(Duration::from_secs(60));
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
    let pool = ProcessPool::builder()
        .workers(2)
        .name("loud")
        .initializer(|| log::info!("initializer"), ())
        .worker(proc_core::Process::builder().stderr(std::process::Stdio::null()))
        .build()
        .unwrap();
    let pool = ASKED.get_or_init(|| pool);
    for n in 0..20 {
        let ended = pool.apply(task, (n,));
        if n % 5 == 4 {
            assert!(matches!(ended, Err(TaskError::WorkerDied { .. })), "{ended:?}");
            // It is there by now.
            assert!(messages_of("loud-").contains(&format!("task {n}")), "task {n}");
        }
    }
    pool.close();
    pool.join().unwrap();
    let messages = messages_of("loud-");
    for n in 0..20 {
        assert_eq!(messages.iter().filter(|message| **message == format!("task {n}")).count(), 1, "task {n}");
    }
    assert!(messages.iter().filter(|message| *message == "initializer").count() >= 2);

    let quiet = ProcessPool::builder().workers(1).name("quiet").forward_logs(false).build().unwrap();
    quiet.apply(task, (1,)).unwrap();
    drop(quiet);
    assert_eq!(messages_of("quiet"), Vec::<String>::new());
}
