//! The example, as a user runs it.

use std::{process::Command, time::Duration};

use test_support::watchdog;

use crate::support::no_server;

#[test]
fn the_example_finds_all_primes() {
    let _dog = watchdog(Duration::from_secs(120));
    if let Err(why) = cluster::ClusterPool::local(1) {
        return no_server(&why.to_string());
    }
    let this = std::env::current_exe().unwrap();
    let example = this.ancestors().nth(2).unwrap().join("examples/agent");
    let ended = Command::new(&example).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{}: {said}{}", ended.status, String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("9592 primes below 100,000"), "{said}");
}
