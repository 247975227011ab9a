//! What a pool tells `tracing`: `cargo test -p pool --features tracing --test events`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use pool::{ProcessPool, TaskError};
use test_support::watchdog;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Takes down the events of a pool, a line each.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<String>>>);

impl Subscriber for Record {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "pool"
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl Record {
    fn has(&self, level: &str, parts: &[&str]) -> bool {
        let lines = self.0.lock().unwrap();
        lines.iter().any(|line| line.starts_with(level) && parts.iter().all(|part| line.contains(part)))
    }
}

#[test]
fn starts_deaths_retries_and_late_tasks_are_told() {
    let _dog = watchdog(Duration::from_secs(100));
    let record = Record::default();
    tracing::subscriber::set_global_default(record.clone()).unwrap();
    let pool = ProcessPool::builder().workers(1).retries(1).task_timeout(Duration::from_secs(3)).build().unwrap();
    let pid = format!("pid={}", pool.apply(std::process::id, ()).unwrap());
    let dead = pool.apply(|| -> () { std::process::abort() }, ());
    assert!(matches!(dead, Err(TaskError::Quarantined)), "{dead:?}");
    let late = pool.apply(|| std::thread::sleep(Duration::MAX), ());
    assert!(matches!(late, Err(TaskError::TimedOut)), "{late:?}");
    let last = format!("pid={}", pool.apply(std::process::id, ()).unwrap());
    pool.close();
    pool.join().unwrap();
    assert!(record.has("DEBUG", &["worker started", &pid]), "{:?}", record.0);
    assert!(record.has("WARN", &["worker died", &pid, "signal=6", "task="]), "{:?}", record.0);
    assert!(record.has("INFO", &["task is tried again", "task="]), "{:?}", record.0);
    assert!(record.has("INFO", &["worker is killed for its task", "why="]), "{:?}", record.0);
    assert!(record.has("DEBUG", &["worker left", &last]), "{:?}", record.0);
}
