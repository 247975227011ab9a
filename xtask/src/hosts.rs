//! What works on which host.

use crate::{Outcome, cargo, run as step};

/// Prints a table of conditions (roots, users, namespaces, filters) and operations there: what was expected, and what
/// happened. Fails if anything else did. `--full`: with storms of thousands of kills.
pub(crate) fn run(args: &[String]) -> Outcome {
    let mut hosts = cargo(["test", "--quiet", "--package", "pool", "--test", "hosts"]);
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--full"] => drop(hosts.env("HOSTS_KILLS", "3000")),
        _ => return Err("the only argument is --full".into()),
    }
    step("hosts", &mut hosts)
}
