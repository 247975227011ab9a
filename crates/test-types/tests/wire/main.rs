//! Each type of the suite as bytes and back.
#![allow(missing_docs, clippy::unwrap_used)]

mod hostile;
mod types;
