//! What pools promise, from the outside.
#![allow(clippy::unwrap_used, clippy::exit, reason = "tests, and workers that end in every way")]

mod blind;
mod both;
mod closed_streams;
#[cfg(feature = "confine")]
mod confined;
mod enemy;
mod late;
mod masks;
mod output;
mod owner;
mod preload;
mod process;
mod size;
mod storm;
#[cfg(target_arch = "x86_64")]
mod system_calls;
mod terms;
mod thread;
mod unread;
mod worker;
