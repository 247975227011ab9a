//! Which crates of the workspace may be in which: dependencies run one way.

use std::collections::BTreeSet;

use crate::{Outcome, cargo};

/// What is built into each crate that ships, of the others here. Not a word of their tests.
const LAYERS: [(&str, &[&str]); 8] = [
    ("wire", &[]),
    ("kernel", &["wire"]),
    ("tls", &["kernel"]),
    ("sync", &["kernel", "shm-derive", "wire"]),
    ("lane", &["kernel", "wire"]),
    ("proc-core", &["kernel", "wire"]),
    ("ipc", &["kernel", "proc-core", "shm-derive", "sync", "wire"]),
    ("pool", &["kernel", "lane", "proc-core", "wire"]),
];

/// Compares that with what cargo says.
pub(crate) fn run() -> Outcome {
    let mut wrong = Vec::new();
    for (name, allowed) in LAYERS {
        let found = inside(name)?;
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        if found != allowed {
            wrong.push(format!("{name} has {found:?} in it, and should have {allowed:?}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// The crates of this workspace that a crate is built with.
fn inside(name: &str) -> Result<BTreeSet<String>, String> {
    let tree = cargo(["tree", "--package", name, "--edges", "normal", "--prefix", "none"]).output();
    let tree = tree.map_err(|e| format!("cannot run cargo tree: {e}"))?;
    if !tree.status.success() {
        return Err(String::from_utf8_lossy(&tree.stderr).into_owned());
    }
    // Those with a path are ours: "kernel v0.1.0 (/…/crates/kernel)".
    let text = String::from_utf8_lossy(&tree.stdout);
    let ours = text.lines().filter(|line| line.contains("/crates/")).filter_map(|line| line.split(' ').next());
    Ok(ours.filter(|ours| *ours != name).map(str::to_owned).collect())
}
