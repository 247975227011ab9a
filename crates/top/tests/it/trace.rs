//! Traces are what Perfetto and chrome://tracing open.

use std::{collections::HashMap, time::Duration};

use proc_core::Process;
use serde_json::Value;
use test_support::watchdog;

use crate::{Program, programs};

/// Holds a trace to the Trace Event Format: what each kind of event must have, and that slices of a row do not overlap.
/// Returns the slices of each row.
fn validated(trace: &Value) -> HashMap<u64, Vec<&Value>> {
    assert!(matches!(trace["displayTimeUnit"].as_str(), Some("ms" | "ns")));
    let mut rows: HashMap<u64, Vec<&Value>> = HashMap::new();
    let mut names: HashMap<u64, &str> = HashMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let name = event["name"].as_str().unwrap();
        let (Some(_), Some(tid)) = (event["pid"].as_u64(), event["tid"].as_u64()) else { panic!("{event}") };
        match event["ph"].as_str().unwrap() {
            "X" => {
                assert!(event["ts"].as_f64().unwrap() >= 0.0 && event["dur"].as_f64().unwrap() >= 0.0, "{event}");
                assert!(!event["cat"].as_str().unwrap().is_empty() && event["args"].is_object());
                rows.entry(tid).or_default().push(event);
            }
            "M" => {
                assert!(matches!(name, "process_name" | "thread_name"), "{event}");
                if name == "thread_name" {
                    names.insert(tid, event["args"]["name"].as_str().unwrap());
                }
            }
            other => panic!("an event of kind {other}"),
        }
    }
    for (tid, slices) in &mut rows {
        assert!(names.contains_key(tid), "row {tid} has no name");
        let begin = |event: &Value| event["ts"].as_f64().unwrap();
        slices.sort_by(|a, b| begin(a).total_cmp(&begin(b)));
        let overlap = |pair: &[&Value]| begin(pair[0]) + pair[0]["dur"].as_f64().unwrap() > begin(pair[1]) + 1e-3;
        assert!(!slices.windows(2).any(overlap), "two at a time in row {tid}");
    }
    rows
}

#[test]
fn one_row_a_worker_and_one_slice_a_task() {
    let _dog = watchdog(Duration::from_secs(120));
    let program = Program::start(|| Process::spawn(programs::busy_pool, ()).unwrap());
    program.look_until(|look| !crate::list(look, "pools").is_empty());
    let path = std::env::temp_dir().join(format!("top-trace-{}.json", std::process::id()));
    let output = program.top(&["--trace", path.to_str().unwrap(), "--seconds", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = program.top(&["--trace", path.to_str().unwrap(), "--seconds", "1"]);
    assert!(!again.status.success(), "nobody's file is overwritten");
    let trace: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let rows = validated(&trace);
    assert!((1..=2).contains(&rows.len()), "{trace:#}");
    for slices in rows.values() {
        assert!(slices.iter().all(|slice| slice["name"].as_str().unwrap().contains("programs::grind")), "{slices:?}");
        // A task is seen for about as long as it takes, or for longer where the machine stalls.
        assert!(slices.iter().any(|slice| slice["dur"].as_f64().unwrap() >= 5000.0), "{slices:?}");
    }
}
