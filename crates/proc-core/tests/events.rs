//! Events of children come out of their owner's subscriber: `cargo test -p proc-core --features tracing --test events`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{self, Write},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use proc_core::{Process, ProcessError, StartMethod};
use test_support::watchdog;
use tracing::Level;

/// What the subscriber of `tracing-subscriber` has written.
static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn written() -> MutexGuard<'static, Vec<u8>> {
    WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer;

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        written().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscribe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_ansi(false).without_time();
        subscriber.with_writer(|| Writer).init();
    });
}

/// What came from that process, without its name and pid.
fn lines_of(name: &str, pid: u32) -> Vec<String> {
    let text = String::from_utf8(written().clone()).unwrap();
    let from = format!(" process.name=\"{name}\" process.pid={pid}");
    text.lines().filter_map(|line| line.strip_suffix(&from)).map(|line| line.trim_start().to_owned()).collect()
}

fn query(id: u64) {
    let _span = tracing::info_span!("query", id).entered();
    tracing::warn!(rows = 3, ratio = 0.5, ok = true, what = "text", shape = ?Some(1), "slow {}", "query");
}

fn work() {
    tracing::info!(target: "elsewhere", "first");
    let request = tracing::info_span!("request", peer = "10.0.0.1", user = tracing::field::Empty);
    request.record("user", "me");
    request.in_scope(|| query(7));
    tracing::debug!(only = "fields");
    tracing::trace!("too much");
    tracing::info!(parent: &request, "by its parent");
    tracing::info!("last");
}

#[test]
fn events_come_with_fields_and_spans() {
    let _dog = watchdog(Duration::from_secs(60));
    subscribe();
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let process = Process::builder().name("traced").start_method(method).spawn(work, ()).unwrap();
        let pid = process.pid();
        // Not one of the owner's spans.
        tracing::info_span!("owner").in_scope(|| process.join()).unwrap();
        let request = "request{peer=\"10.0.0.1\" user=\"me\"}";
        let expected = [
            "INFO elsewhere: first".to_owned(),
            format!(
                "WARN events: slow query rows=3 ratio=0.5 ok=true what=\"text\" shape=\"Some(1)\" \
                 spans=\"{request}:query{{id=7}}\"",
            ),
            "DEBUG events: only=\"fields\"".to_owned(),
            format!("INFO events: by its parent spans=\"{request}\""),
            "INFO events: last".to_owned(),
        ];
        let seen: Vec<_> = lines_of("traced", pid).iter().map(|line| line.replace("\\\"", "\"")).collect();
        assert_eq!(seen, expected);
    }
}

#[test]
fn the_last_event_before_a_death_comes_and_those_of_threads_in_their_order() {
    let _dog = watchdog(Duration::from_secs(60));
    subscribe();
    let process = Process::builder().name("dying").stderr(std::process::Stdio::null()).spawn(dies, ()).unwrap();
    let pid = process.pid();
    assert!(matches!(process.join(), Err(ProcessError::Signaled { .. })));
    let lines = lines_of("dying", pid);
    assert_eq!((lines.len(), lines[1500].as_str()), (1501, "ERROR events: last words"));
    for thread in 0..3 {
        let of_thread = lines.iter().filter_map(|line| line.strip_prefix(&format!("INFO events: thread={thread} n=")));
        assert!(of_thread.map(|n| n.parse::<u32>().unwrap()).eq(0..500));
    }
}

fn dies() {
    let threads = (0..3).map(|thread| std::thread::spawn(move || (0..500).for_each(|n| tracing::info!(thread, n))));
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
    tracing::error!("last words");
    std::process::abort()
}

#[test]
fn a_grandchilds_events_are_its_own() {
    let _dog = watchdog(Duration::from_secs(60));
    subscribe();
    let middle = || {
        let forked = Process::fork(|| tracing::info!("forked")).unwrap();
        let pids = (forked.pid(), forked.name().to_owned());
        forked.join().unwrap();
        let inner = Process::builder().name("below").spawn(|| tracing::info!("from below"), ()).unwrap();
        let pid = inner.pid();
        inner.join().unwrap();
        (pid, pids.0, pids.1)
    };
    let (below, forked, name) = Process::spawn(middle, ()).unwrap().join().unwrap();
    assert_eq!(lines_of("below", below), ["INFO events: from below"]);
    assert_eq!(lines_of(&name, forked), ["INFO events: forked"]);
}

#[test]
fn a_subscriber_of_the_calling_thread_alone_gets_the_events_too() {
    let _dog = watchdog(Duration::from_secs(60));
    subscribe();
    static OWN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    struct Own;
    impl Write for Own {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            OWN.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let own = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(|| Own).finish();
    tracing::subscriber::with_default(own, || {
        Process::builder().name("scoped").spawn(|| tracing::info!("mine"), ()).unwrap().join().unwrap();
    });
    let own = String::from_utf8(OWN.lock().unwrap().clone()).unwrap();
    assert!(own.contains("mine process.name=\"scoped\""), "{own}");
    assert!(!String::from_utf8_lossy(&written()).contains("mine"));
}

#[test]
fn a_child_that_is_not_to_forward_may_have_its_own_subscriber() {
    let _dog = watchdog(Duration::from_secs(60));
    subscribe();
    let work = || {
        let own = tracing_subscriber::fmt().with_writer(io::sink).finish();
        tracing::subscriber::set_global_default(own).is_ok()
    };
    assert!(Process::builder().forward_logs(false).spawn(work, ()).unwrap().join().unwrap());
    assert!(!Process::spawn(work, ()).unwrap().join().unwrap());
}
