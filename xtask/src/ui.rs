//! What the compiler says to whoever misuses the crates, and a service that needs a server for HTTP: `ui/`, a workspace of its own.

use crate::{Outcome, cargo, run as step};

/// Compares it with the texts that are kept. Without a network the suite may lack what it needs, and is left out.
pub(crate) fn run() -> Outcome {
    let manifest = ["--quiet", "--manifest-path", "ui/Cargo.toml"];
    if let Err(e) = step("ui: fetch", cargo(["fetch"]).args(manifest)) {
        eprintln!("    what the compiler says is not checked: {e}");
        return Ok(());
    }
    step("ui", cargo(["test", "--workspace"]).args(manifest).env("CARGO_TARGET_DIR", "target/ui"))
}
