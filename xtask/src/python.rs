//! Python, for what figures compare with.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// The interpreter of an environment below `target/WHOSE`, so that what else is installed makes no difference. Without
/// Python there are no figures of its; without a network, none of its packages.
pub(crate) fn with(whose: &str, packages: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let venv = root.join("target").join(whose).join("venv");
    let (python, is_complete) = (venv.join("bin/python"), venv.join("is-complete"));
    let is_done = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    if !python.exists() && !is_done(Command::new("python3").args(["-m", "venv"]).arg(&venv)) {
        eprintln!("    no figures of Python's: it cannot make an environment");
        return None;
    }
    if !is_complete.exists() {
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]).args(packages).stdout(Stdio::null());
        if is_done(&mut install) {
            fs::write(is_complete, "").ok()?;
        } else {
            eprintln!("    no figures of {}: pip cannot install them", packages.join(", "));
        }
    }
    Some(python.to_str()?.to_owned())
}
