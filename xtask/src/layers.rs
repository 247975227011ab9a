//! Which crates of the workspace may be in which: dependencies run one way.

use std::collections::BTreeSet;

use crate::{Outcome, cargo};

/// What is built into each crate that ships, of the others here. Not a word of their tests.
const LAYERS: [(&str, &[&str]); 10] = [
    ("wire", &[]),
    ("kernel", &["wire"]),
    ("tls", &["kernel"]),
    ("sync", &["kernel", "shm-derive", "wire"]),
    ("lane", &["kernel", "wire"]),
    ("proc-core", &["kernel", "wire"]),
    ("ipc", &["kernel", "proc-core", "shm-derive", "sync", "wire"]),
    ("pool", &["kernel", "lane", "proc-core", "wire"]),
    ("prockit", &["ipc", "kernel", "lane", "pool", "proc-core", "shm-derive", "sync", "tls", "wire"]),
    ("cluster", &["kernel", "lane", "pool", "proc-core", "wire"]),
];

/// What is built with as little as this, and what it does without. Not a word of tests here, either.
const BARE: [(&str, &[&str], &[&str]); 2] = [
    ("tls", &[], &["serde", "serde_core", "serde_derive", "postcard", "wire", "nix"]),
    ("sync", &["--no-default-features"], &["serde", "serde_core", "serde_derive", "postcard", "wire"]),
];

/// Compares that with what cargo says.
pub(crate) fn run() -> Outcome {
    let mut wrong = Vec::new();
    for (name, allowed) in LAYERS {
        // Those with a path are ours: "kernel v0.1.0 (/…/crates/kernel)".
        let found = inside(name, &[], |line| line.contains("/crates/"))?;
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        if found != allowed {
            wrong.push(format!("{name} has {found:?} in it, and should have {allowed:?}"));
        }
    }
    for (name, features, absent) in BARE {
        let found = inside(name, features, |line| line.split(' ').next().is_some_and(|name| absent.contains(&name)))?;
        if !found.is_empty() {
            wrong.push(format!("{name} {} has {found:?} in it", features.join(" ")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// The crates that a crate is built with, as far as their line is `wanted`.
fn inside(name: &str, features: &[&str], wanted: impl Fn(&str) -> bool) -> Result<BTreeSet<String>, String> {
    let text = tree(&[&["--package", name, "--edges", "normal"], features].concat())?;
    let found = text.lines().filter(|line| wanted(line)).filter_map(|line| line.split(' ').next());
    Ok(found.filter(|found| *found != name).map(str::to_owned).collect())
}

/// The tree of dependencies as cargo says it, a package a line.
pub(crate) fn tree(args: &[&str]) -> Result<String, String> {
    let mut tree = cargo(["tree", "--prefix", "none"]);
    let tree = tree.args(args).output().map_err(|e| format!("cannot run cargo tree: {e}"))?;
    if !tree.status.success() {
        return Err(String::from_utf8_lossy(&tree.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&tree.stdout).into_owned())
}
