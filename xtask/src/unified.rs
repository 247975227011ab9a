//! Whether builds of different packages have the same features of what they share, as `crates/unified` asks for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Outcome, layers, test};

/// Each package with the sets of features that it is built with: one, or two where the compiler's own derives use it as well.
type Features = BTreeMap<String, BTreeSet<String>>;

/// Compares what `cargo test` builds, and the tests beside it, with a build of all.
pub(crate) fn run() -> Outcome {
    let all = features(&["--workspace".to_owned()])?;
    let mut wrong = Vec::new();
    for (whose, packages) in [("cargo test", Vec::new()), ("the tests beside it", test::packages_beside())] {
        for (package, some) in features(&packages)? {
            let of_all = &all[&package];
            if !some.is_subset(of_all) {
                wrong.push(format!("{package} is built for {whose} with {some:?}, and with {of_all:?} for all"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("{}; see crates/unified", wrong.join("; "))) }
}

fn features(packages: &[String]) -> Result<Features, String> {
    let packages = packages.iter().map(String::as_str);
    let args: Vec<&str> = ["--edges", "normal,build,dev", "--format", "{p}|{f}"].into_iter().chain(packages).collect();
    let mut found = Features::new();
    // "nix v0.31.3|event,fs", "kernel v0.1.0 (/…/crates/kernel)|serde", each time that it is met but the first with " (*)".
    for line in layers::tree(&args)?.lines() {
        let Some((package, features)) = line.split_once('|') else { continue };
        let package = package.split(' ').take(2).collect::<Vec<_>>().join(" ");
        found.entry(package).or_default().insert(features.trim_end_matches(" (*)").to_owned());
    }
    Ok(found)
}
