//! Users and groups as they are named.

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// By name.
    Name(String),
    /// By number.
    Id(u32),
}

impl From<&str> for Identity {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for Identity {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<u32> for Identity {
    fn from(id: u32) -> Self {
        Self::Id(id)
    }
}
