use std::{
    process::{Command, Stdio},
    time::Duration,
};

use test_support::watchdog;

/// Runs the ignored test `name` of this very program, and returns what it printed and how it ended.
fn run_alone(name: &str) -> (String, std::process::ExitStatus) {
    let mut test = Command::new(std::env::current_exe().unwrap());
    let output = test.args(["--exact", name, "--ignored"]).stdin(Stdio::null()).output().unwrap();
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status)
}

#[test]
fn a_test_that_hangs_is_ended_with_its_children() {
    let _dog = watchdog(Duration::from_secs(60));
    let (said, status) = run_alone("watchdog::hangs");
    assert_eq!(status.code(), Some(101), "{said}");
    assert!(said.contains("watchdog::hangs still runs after"), "{said}");
    let child = said.lines().find_map(|line| line.strip_suffix(": sleep 1000 ")?.strip_prefix("process "));
    let child: i32 = child.unwrap_or_else(|| panic!("no word of the child: {said}")).parse().unwrap();
    // Its parent is gone, so it may still be waiting for somebody to reap it.
    let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}

#[test]
#[ignore = "run by a_test_that_hangs_is_ended_with_its_children"]
fn hangs() {
    let _dog = watchdog(Duration::from_millis(300));
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_dropped_watchdog_does_nothing() {
    drop(watchdog(Duration::from_millis(50)));
    // Longer than both; there is nothing to wait for but time.
    std::thread::sleep(Duration::from_millis(100));
}
