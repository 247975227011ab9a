//! The report, from the outside.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use benches::report::Report;
use test_support::watchdog;

fn measure(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_report"));
    command.args(["descriptors of a queue", "--quick", "--peers", ""]).args(args).env("BENCH_FOLDER", folder);
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
    assert_eq!(report.outcome("descriptors of a queue", "Queue").unwrap().samples.median(), 1.0);
    assert!(fs::read_to_string(folder.join("report.html")).unwrap().contains("1 of 1 reached"));

    let second = measure(&folder, &["--against", "first"]);
    let text = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(second.status.success() && text.contains("1.000x"), "{text}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_unknown_figure_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_report")).arg("no such figure").output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("no such figure"));
}
