//! Traces are what Perfetto and chrome://tracing open.

use std::time::Duration;

use proc_core::Process;
use serde_json::Value;
use test_support::watchdog;

use self::validator::validated;
use crate::{Program, programs};

#[path = "../../../pool/tests/trace/validator.rs"]
mod validator;

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
    let rows = validated(&trace).unwrap();
    assert!((1..=2).contains(&rows.len()), "{trace:#}");
    for slices in rows.values() {
        assert!(slices.iter().all(|slice| slice["name"].as_str().unwrap().contains("programs::grind")), "{slices:?}");
        // A task is seen for about as long as it takes, or for longer where the machine stalls.
        assert!(slices.iter().any(|slice| slice["dur"].as_f64().unwrap() >= 5000.0), "{slices:?}");
    }
}
