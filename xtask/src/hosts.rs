//! What works on which host.

use crate::{Outcome, cargo, run as step};

/// Prints a table of conditions (roots, users, namespaces, filters) and operations there: what was expected, and what
/// happened. Fails if anything else did.
pub(crate) fn run() -> Outcome {
    step("hosts", &mut cargo(["test", "--quiet", "--package", "pool", "--test", "hosts"]))
}
