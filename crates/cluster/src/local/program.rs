//! Where the server's program is.

use std::{
    env,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use pool::PoolError;

const VARIABLE: &str = "NATS_SERVER_BIN";
const NAME: &str = "nats-server";

/// The program that the environment names, or the first on the `PATH`.
pub(super) fn find() -> Result<PathBuf, PoolError> {
    if let Some(named) = env::var_os(VARIABLE).map(PathBuf::from).filter(|named| !named.as_os_str().is_empty()) {
        let why = || PoolError::Cluster(format!("{VARIABLE} names {}, which is no program", named.display()));
        return if is_program(&named) { Ok(named) } else { Err(why()) };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join(NAME)).find(|file| is_program(file));
    found.ok_or_else(|| PoolError::Cluster(format!("no {NAME}: {VARIABLE} is not set, and there is none on the PATH")))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
