//! The lab must find what is wrong, and only that.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use test_support::watchdog;

/// For each operation and mode, how many points there were and how many were survived.
type Results = BTreeMap<(String, String), (u64, u64)>;

/// Runs the lab; returns what it found, whether it was content, and all it said.
fn lab(args: &[&str]) -> (Results, bool, String) {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_crash-lab"));
    let output = lab.args(args).stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut results = Results::new();
    for line in text.lines().filter(|line| line.contains('/') && line.ends_with(" s") && !line.starts_with(' ')) {
        let field: Vec<&str> = line.split_ascii_whitespace().collect();
        let (points, survived) = (field[4].parse::<u64>().unwrap(), field[6].parse::<u64>().unwrap());
        let sum = results.entry((field[0].to_owned(), field[2].to_owned())).or_insert((0, 0));
        *sum = (sum.0 + points, sum.1 + survived);
    }
    (results, output.status.success(), text)
}

#[test]
fn the_sound_queue_survives_everything() {
    let _dog = watchdog(Duration::from_secs(100));
    let (results, success, text) = lab(&["selftest/get"]);
    assert!(success, "{text}");
    assert!(results.values().all(|(points, survived)| points == survived), "{text}");
    let points =
        |mode: &str| results.iter().filter(|((_, m), _)| m == mode).map(|(_, (points, _))| points).sum::<u64>();
    for mode in ["kill", "call", "wait", "snap", "snap2"] {
        assert!(points(mode) >= 5, "{mode}: {text}");
    }
    assert!(points("snap") >= 1000 && points("snap2") >= 5_000, "{text}");
}

#[test]
fn every_planted_fault_is_found() {
    let _dog = watchdog(Duration::from_secs(100));
    let (results, success, text) = lab(&["--mutants", "--mode", "snap"]);
    assert!(!success, "{text}");
    let bad = |name: &str, mode: &str| {
        let (points, survived) = results[&(format!("mutant/{name}"), mode.to_owned())];
        assert!(points > 100, "{text}");
        points - survived
    };
    assert_eq!(bad("none", "snap"), 0, "{text}");
    for fault in ["not-robust", "early-publish", "no-repair", "forgotten", "lost-count"] {
        assert!(bad(fault, "snap") > 0, "{fault}: {text}");
    }
    // Between the end of the old holder and the repair, and no longer.
    assert!(bad("no-repair", "snap") < bad("forgotten", "snap"), "{text}");
}

#[test]
fn a_wake_up_lost_with_its_receiver_is_found() {
    let _dog = watchdog(Duration::from_secs(100));
    let (results, success, text) = lab(&["swallowed-wake", "--mutants", "--mode", "call"]);
    let (points, survived) = results[&("mutant/swallowed-wake".to_owned(), "call".to_owned())];
    assert!(!success && points > survived, "{text}");
}
