//! The example, as a user runs it.

use std::{process::Command, time::Duration};

use test_support::watchdog;

use crate::server::program;

#[test]
fn the_example_finds_all_primes() {
    if program().is_none() {
        return;
    }
    let _dog = watchdog(Duration::from_secs(120));
    let this = std::env::current_exe().unwrap();
    let example = this.ancestors().nth(2).unwrap().join("examples/agent");
    let ended = Command::new(&example).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{}: {said}{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("9592 primes below 100,000"), "{said}");
}
