//! Values of many types there and back.
#![allow(missing_docs, clippy::unwrap_used)]

mod careless;
mod errors;
mod flat;
mod later;
mod numbers;
mod probing;
mod rows;
