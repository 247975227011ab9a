//! The report, from the outside.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use benches::{
    outcome::Event,
    profile,
    report::Report,
    targets::{self, Against},
};
use proc_core::command::Popen;
use test_support::watchdog;

const FIGURE: &str = "descriptors of a queue";

fn measure(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
    command.args([FIGURE, "--quick", "--peers", ""]).args(args).env("BENCH_FOLDER", folder);
    command.output().expect("it can be run")
}

#[test]
fn figures_are_measured_kept_and_compared() {
    let _dog = watchdog(Duration::from_secs(60));
    let folder = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
    let first = measure(&folder, &["--save", "first"]);
    let text = String::from_utf8_lossy(&first.stdout).into_owned();
    assert!(first.status.success() && text.contains("1 of 1 targets reached"), "{text}");
    let report: Report = serde_json::from_slice(&fs::read(folder.join("first.json")).unwrap()).unwrap();
    assert_eq!(report.outcome(FIGURE, "Queue").unwrap().samples.median(), 1.0);
    assert!(fs::read_to_string(folder.join("report.html")).unwrap().contains("1 of 1 targets reached"));

    let second = measure(&folder, &["--against", "first"]);
    let text = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(second.status.success() && text.contains("1.000x"), "{text}");

    // As if a queue had had half a descriptor before.
    let earlier = fs::read_to_string(folder.join("first.json")).unwrap();
    let earlier = serde_json::from_str::<serde_json::Value>(&earlier).map(|mut report| {
        let cases = report["figures"][0]["outcomes"].as_array_mut().unwrap();
        cases.iter_mut().find(|case| case["name"] == "Queue").unwrap()["samples"] = serde_json::json!([0.5]);
        report.to_string()
    });
    fs::write(folder.join("planted.json"), earlier.unwrap()).unwrap();
    let third = measure(&folder, &["--against", "planted"]);
    let text = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(!third.status.success() && text.contains("1 count more than in planted"), "{text}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn more_instructions_than_before_are_an_error() {
    let _dog = watchdog(Duration::from_secs(120));
    if !profile::can_count() {
        eprintln!("valgrind is not installed: nothing is counted");
        return;
    }
    let folder = std::env::temp_dir().join(format!("profile-{}", std::process::id()));
    let counts = folder.join("target/bench/profile");
    fs::create_dir_all(&counts).unwrap();
    let count = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_profile"));
        command.arg("loop of nothing").args(args).current_dir(&folder).output().expect("it can be run")
    };
    assert!(count(&["--save", "first"]).status.success());
    assert!(count(&["--against", "first"]).status.success());
    fs::write(counts.join("planted.json"), r#"{"loop of nothing": 0.1}"#).unwrap();
    let output = count(&["--against", "planted"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("1 operations take 2 % more"), "{text}");
    fs::remove_dir_all(&folder).unwrap();
}

/// Whatever becomes of a figure: what its targets compare is among its cases.
#[test]
fn each_target_compares_two_cases() {
    let _dog = watchdog(Duration::from_secs(300));
    let mut figures: Vec<_> = targets::all().map(|(figure, _)| figure).collect();
    figures.sort_unstable();
    figures.dedup();
    for figure in figures {
        let Event::Begins { cases, .. } = begin(figure) else { panic!("{figure} does not begin") };
        let is_there = |name: &str| cases.iter().any(|case| case.0 == name);
        for target in targets::of(figure) {
            assert!(is_there(&target.ours), "{figure}: {target:?}");
            assert!(!matches!(&target.against, Against::Case(name) if !is_there(name)), "{figure}: {target:?}");
        }
    }
}

/// What the process that measures `figure` says first.
fn begin(figure: &str) -> Event {
    let args = [env!("CARGO_BIN_EXE_report"), "--measure", figure, "--quick", "--peers", ""];
    let process = Popen::builder(args).stdout(Stdio::piped()).process_group().spawn().expect("it can be run");
    let mut line = String::new();
    BufReader::new(process.take_stdout().expect("it is a pipe")).read_line(&mut line).expect("it says something");
    let _ = process.kill();
    process.wait().expect("it is ours to wait for");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{figure}: {e}: {line:?}"))
}

#[test]
fn an_unknown_figure_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_report")).arg("no such figure").output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no such figure"));
}
