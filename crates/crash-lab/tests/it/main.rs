//! The lab must find what is wrong, and only that.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::LazyLock,
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

/// What the lab finds in all mutants; that takes it a while, so it is done once.
static MUTANTS: LazyLock<(Results, bool, String)> = LazyLock::new(|| lab(&["--mutants"]));

/// At how many points that mode finds what is wrong with a mutant.
fn found(mutant: &str, mode: &str) -> u64 {
    let (points, survived) = MUTANTS.0[&(format!("mutant/{mutant}"), mode.to_owned())];
    println!("{mutant:<16} {mode:<6} {:>6} of {points:>6} points", points - survived);
    points - survived
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

/// Which ways of killing must find which fault, whatever the sample and the compiler.
const FAULTS: &[(&str, &[&str])] = &[
    ("not-robust", &["kill", "call", "snap", "snap2"]),
    ("early-publish", &["snap", "snap2"]),
    ("no-repair", &["snap", "snap2"]),
    ("forgotten", &["kill", "call", "snap", "snap2"]),
    ("lost-count", &["snap", "snap2"]),
    ("swallowed-wake", &["call", "wake"]),
    ("leak", &["fault"]),
    ("late-refusal", &["fault"]),
];

#[test]
fn every_planted_fault_is_found() {
    let _dog = watchdog(Duration::from_secs(300));
    let (_, success, text) = &*MUTANTS;
    assert!(!success, "{text}");
    for mode in ["kill", "call", "wait", "snap", "snap2"] {
        assert_eq!(found("none", mode), 0, "{text}");
    }
    assert_eq!(found("needs-memory", "fault"), 0, "{text}");
    for (fault, modes) in FAULTS {
        for mode in *modes {
            assert!(found(fault, mode) > 0, "{fault}: {mode}: {text}");
        }
    }
    // Between the end of the old holder and the repair, and no longer.
    assert!(found("no-repair", "snap") < found("forgotten", "snap"), "{text}");
}

#[test]
fn what_takes_two_late_ones_is_found_by_pairs_alone() {
    let _dog = watchdog(Duration::from_secs(300));
    let (results, _, text) = &*MUTANTS;
    for (sound, faulty) in [("no-jump", "jump"), ("counted", "uncounted")] {
        assert_eq!(results[&(format!("mutant/{sound}"), "pair".to_owned())].0, 320, "{text}");
        for mode in ["kill", "stop", "snap", "snap2"] {
            assert_eq!([found(sound, mode), found(faulty, mode)], [0, 0], "{text}");
        }
        assert_eq!(found(sound, "pair"), 0, "{text}");
        assert!(found(faulty, "pair") > 0, "{text}");
    }
    assert!(text.contains("the first after") && text.contains("the second after"), "{text}");
}

#[test]
fn a_storm_of_kills_and_stops_wedges_nothing() {
    let _dog = watchdog(Duration::from_secs(200));
    let (_, success, text) = lab(&["storm", "--kills", "100", "--stops", "100", "--busy", "3"]);
    println!("{text}");
    let sum = text.lines().find(|line| line.contains(" kills and ")).unwrap_or_default();
    let (kills, rest) = sum.split_once(" kills and ").unwrap_or_default();
    let stops = rest.split(' ').next().unwrap_or_default();
    let at_least = |n: &str| n.parse().is_ok_and(|n: u64| n >= 100);
    assert!(success && at_least(kills) && at_least(stops), "{text}");
    assert!(text.contains("nothing wedged") && text.contains("nobody left"), "{text}");
}

#[test]
fn a_failure_says_where_it_was() {
    let _dog = watchdog(Duration::from_secs(100));
    let (_, success, text) = lab(&["mutant/early-publish", "--mutants", "--mode", "snap"]);
    assert!(!success, "{text}");
    let mut lines = text.lines().skip_while(|line| !line.contains("FAILED"));
    let (place, instruction) = (lines.next().unwrap(), lines.next().unwrap());
    let numbers: Vec<u64> = place.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(numbers[..], [k, n] if 0 < k && k < n), "{place}");
    // The address; and more, where the tools are.
    assert!(instruction.trim_start().starts_with("at "), "{instruction}");
    let has_tools = ["addr2line", "objdump"].map(|tool| Command::new(tool).arg("--version").output().is_ok());
    if has_tools == [true, true] {
        assert!(instruction.contains(": ") && instruction.contains(".rs:"), "{instruction}");
    }
    assert!(lines.next().unwrap().contains("TORN"), "{text}");
    assert!(text.contains("again: cargo xtask crash mutant/early-publish --state one --mode snap"), "{text}");
}

#[test]
fn an_operation_that_does_not_exist_is_an_error() {
    let _dog = watchdog(Duration::from_secs(100));
    assert!(!lab(&["queue/putt"]).1);
}
