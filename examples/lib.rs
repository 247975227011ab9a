//! Programs that show what this project is for: `cargo run --release --example NAME`, see `README.md` beside this file.

/// The code in the project's README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The code for those who come from Python compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../MIGRATING.md")]
struct Migrating;

/// The code in the guides compiles and runs.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../docs/isolating.md")]
    struct Isolating;
    #[doc = include_str!("../docs/porting.md")]
    struct Porting;
    #[doc = include_str!("../docs/README.md")]
    struct Readme;
    #[doc = include_str!("../docs/testing.md")]
    struct Testing;
}
