//! Packs the crates that are for others, as a registry takes them: with a version for each dependency, a description, and
//! nothing that lies outside their folders.

use crate::{Outcome, cargo, run as step};

/// In the order in which they need each other.
const CRATES: [&str; 11] =
    ["shm-derive", "wire", "kernel", "tls", "lane", "proc-core", "sync", "ipc", "pool", "cluster", "prockit"];

/// Needs no network: what else there is in a registry does not matter to the packages.
pub(crate) fn run() -> Outcome {
    let packages = CRATES.iter().flat_map(|name| ["--package", name]);
    let mut package = cargo(["package", "--quiet", "--offline", "--no-verify", "--allow-dirty"]);
    step("publish: packages", package.args(packages))
}
