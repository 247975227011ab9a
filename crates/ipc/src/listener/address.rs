//! Where a listener listens: a path, an abstract name.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use nix::sys::socket::UnixAddr;

/// Where a [`Listener`](super::Listener) listens.
///
/// Strings and paths convert to it; one that begins with a NUL byte is an abstract name, as in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A path in the file system, of at most 107 bytes. Its directory decides who can reach it.
    Path(PathBuf),
    /// A name that exists only while a process listens at it. All processes of the network namespace can reach it.
    Abstract(Vec<u8>),
}

impl Address {
    pub(super) fn to_unix(&self) -> nix::Result<UnixAddr> {
        match self {
            Self::Path(path) => UnixAddr::new(path),
            Self::Abstract(name) => UnixAddr::new_abstract(name),
        }
    }
}

impl From<&str> for Address {
    fn from(address: &str) -> Self {
        match address.strip_prefix('\0') {
            Some(name) => Self::Abstract(name.into()),
            None => Self::Path(address.into()),
        }
    }
}

impl From<String> for Address {
    fn from(address: String) -> Self {
        address.as_str().into()
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Path(path.into())
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&PathBuf> for Address {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.clone())
    }
}

impl From<&Self> for Address {
    fn from(address: &Self) -> Self {
        address.clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
        }
    }
}
