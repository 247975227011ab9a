//! What a pool ran, as a trace.
#![allow(clippy::unwrap_used)]

mod validator;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use pool::{ProcessPool, TaskError, ThreadPool, Trace};
use serde_json::Value;
use test_support::watchdog;

use self::validator::validated;

const SPAN: Duration = Duration::from_millis(3);

fn grind(n: u64) -> u64 {
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        std::hint::spin_loop();
    }
    n
}

fn abort() {
    std::process::abort();
}

fn hold() {
    std::thread::sleep(Duration::from_secs(3600));
}

fn written(trace: &Trace) -> Value {
    let mut bytes = Vec::new();
    let n_slices = trace.write(&mut bytes).unwrap();
    let written: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(validated(&written).unwrap().values().map(Vec::len).sum::<usize>(), n_slices);
    written
}

/// The slices of each row, without those of initializers.
fn tasks(written: &Value) -> HashMap<u64, Vec<&Value>> {
    let mut rows = validated(written).unwrap();
    rows.values_mut().for_each(|slices| slices.retain(|slice| slice["name"] != "initializer"));
    rows
}

fn name(slice: &Value) -> &str {
    slice["name"].as_str().unwrap()
}

#[test]
fn one_row_a_worker_and_one_slice_a_task() {
    let _dog = watchdog(Duration::from_secs(120));
    let trace = Trace::new();
    let pool = ProcessPool::builder().workers(2).name("mill").chunk_size(1).trace(&trace).build().unwrap();
    let begun = Instant::now();
    assert_eq!(pool.map(grind, 0..40).unwrap(), (0..40).collect::<Vec<_>>());
    pool.task(grind, (1,)).name("the last").submit().get().unwrap();
    let took = begun.elapsed();
    let pids: Vec<u64> = pool.stats().workers.iter().map(|worker| worker.pid.unwrap().into()).collect();
    pool.close();
    pool.join().unwrap();
    let trace = written(&trace);
    let rows = tasks(&trace);
    assert!(rows.len() == 2 && rows.keys().all(|row| pids.contains(row)), "{trace:#}");
    let slices: Vec<&Value> = rows.values().flatten().copied().collect();
    assert_eq!(slices.len(), 41);
    assert!(slices.iter().all(|slice| name(slice) == "trace::grind"), "{slices:#?}");
    // A task is as long as it is, and all of them have room in the time that there was.
    let micros = |key: &str, slice: &Value| slice[key].as_f64().unwrap();
    assert!(slices.iter().all(|slice| micros("dur", slice) >= SPAN.as_micros() as f64), "{slices:#?}");
    let first = slices.iter().map(|slice| micros("ts", slice)).fold(f64::INFINITY, f64::min);
    let last = slices.iter().map(|slice| micros("ts", slice) + micros("dur", slice)).fold(0.0, f64::max);
    assert!(last - first <= took.as_micros() as f64 + 1.0, "{} {took:?}", last - first);
    assert_eq!(slices.iter().filter(|slice| slice["args"]["name"] == "the last").count(), 1);
    let ids: std::collections::HashSet<u64> =
        slices.iter().map(|slice| slice["args"]["task"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 41);
}

#[test]
fn closures_and_wrapped_functions_have_their_names() {
    let _dog = watchdog(Duration::from_secs(120));
    let trace = Trace::new();
    let pool = ProcessPool::builder().workers(1).trace(&trace).build().unwrap();
    pool.starmap(|a: u64, _b: u64| grind(a), [(1, 2)]).unwrap();
    pool.starmap(u64::max, [(1_u64, 2_u64)]).unwrap();
    pool.close();
    pool.join().unwrap();
    let trace = written(&trace);
    let rows = tasks(&trace);
    let mut names: Vec<&str> = rows.values().flatten().map(|slice| name(slice)).collect();
    names.sort_unstable();
    let max = std::any::type_name_of_val(&<u64 as Ord>::max);
    assert_eq!(names, [max, "trace::closures_and_wrapped_functions_have_their_names::{{closure}}"]);
}

#[test]
fn each_attempt_of_a_task_that_kills_its_workers_is_a_slice() {
    let _dog = watchdog(Duration::from_secs(120));
    let trace = Trace::new();
    let pool = ProcessPool::builder().workers(1).retries(2).trace(&trace).build().unwrap();
    assert_eq!(pool.apply(abort, ()), Err(TaskError::Quarantined));
    let late = pool.task(hold, ()).timeout(Duration::from_millis(20)).submit();
    assert_eq!(late.get(), Err(TaskError::TimedOut));
    pool.close();
    pool.join().unwrap();
    let trace = written(&trace);
    let rows = tasks(&trace);
    let died = |of: &str| {
        let slices = rows.values().flatten().filter(|slice| name(slice) == of);
        slices.map(|slice| slice["args"]["died"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let aborts = died("trace::abort");
    assert_eq!(aborts.len(), 3, "{trace:#}");
    assert!(aborts.iter().all(|why| why.contains("was killed by signal 6")), "{aborts:?}");
    assert_eq!(died("trace::hold"), ["timed out"]);
}

#[test]
fn threads_are_rows_too_and_pools_share_a_trace() {
    let _dog = watchdog(Duration::from_secs(120));
    let trace = Trace::new();
    let threads = Arc::new(ThreadPool::builder().workers(2).name("crew").chunk_size(1).trace(&trace).build().unwrap());
    let processes = ProcessPool::builder().workers(1).trace(&trace).build().unwrap();
    threads.map(grind, 0..10).unwrap();
    processes.apply(grind, (1,)).unwrap();
    // A task that waits for another of its own pool runs it: a slice in a slice.
    let inner = threads.clone();
    threads.apply(move || inner.apply(grind, (2,)).unwrap(), ()).unwrap();
    drop(processes);
    threads.close();
    threads.join().unwrap();
    let trace = written(&trace);
    let rows = tasks(&trace);
    let is_crew = |row: &u64| {
        let events = trace["traceEvents"].as_array().unwrap();
        let called = events.iter().find(|event| event["name"] == "thread_name" && event["tid"] == *row).unwrap();
        called["args"]["name"].as_str().unwrap().starts_with("crew-")
    };
    let (crew, others): (Vec<_>, Vec<_>) = rows.iter().partition(|(row, _)| is_crew(row));
    assert_eq!(crew.iter().map(|(_, slices)| slices.len()).sum::<usize>(), 12, "{trace:#}");
    assert_eq!(others.iter().map(|(_, slices)| slices.len()).sum::<usize>(), 1, "{trace:#}");
    let names: Vec<&str> = crew.iter().flat_map(|(_, slices)| slices.iter()).map(|slice| name(slice)).collect();
    assert_eq!(names.iter().filter(|name| **name == "trace::grind").count(), 11, "{names:?}");
}
