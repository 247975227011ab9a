//! Builds, checks and measures the workspace: `cargo xtask help`.

fn main() {}
