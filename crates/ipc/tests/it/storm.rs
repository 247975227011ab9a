//! How long a storm of kills is to last.

/// As many kills as `IPC_KILLS` says, else `usual`: for figures that are taken in pieces.
pub(crate) fn kills(usual: u64) -> u64 {
    std::env::var("IPC_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}
