//! Every example must run by itself, to its end, and succeed.

use std::{path::Path, process::Stdio};

use crate::{Outcome, cargo, run as step};

/// Runs `only`, or every example there is: a file `examples/NAME.rs`, or a folder with a `main.rs`.
pub(crate) fn run(only: Option<&str>) -> Outcome {
    if let Some(name) = only {
        return step(name, &mut cargo(["run", "--quiet", "--example", name]));
    }
    let names = names()?;
    if names.is_empty() {
        return Ok(());
    }
    // Without `-p`, with the features of the whole workspace: those that `cargo test` has built them with.
    step("examples: build", &mut cargo(["build", "--quiet", "--workspace", "--examples"]))?;
    for name in names {
        let mut example = cargo(["run", "--quiet", "--example", &name]);
        step(&format!("example {name}"), example.stdin(Stdio::null()).stdout(Stdio::null()))?;
    }
    Ok(())
}

fn names() -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for base in [folder.clone(), folder.join("examples")] {
        let Ok(entries) = std::fs::read_dir(&base) else { continue };
        for entry in entries {
            let path = entry.map_err(|e| format!("{}: {e}", base.display()))?.path();
            let is_target = !["lib.rs", "build.rs"].iter().any(|other| path == folder.join(other));
            let is_file = is_target && path.extension().is_some_and(|e| e == "rs");
            if is_file || path.join("main.rs").is_file() {
                names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
            }
        }
    }
    names.sort();
    Ok(names)
}
