//! Records of children come out of their owner's logger.
//!
//! With the feature `log`. A child's records (level, target, module, file, line, key-values) are written into memory that it
//! shares with its owner before `log!` returns, and are given to the owner's logger by a thread of the owner's: in the order
//! in which the child logged them, with the key-values `process.name` and `process.pid` of the process that logged. With the
//! feature `tracing`, events go the same way, from a subscriber of the child's to the owner's.
#![doc = concat!("\n\n", include_str!("README.md"))]

pub(crate) mod terms;

#[cfg(feature = "log")]
mod bell;
#[cfg(feature = "log")]
pub mod doorbell;
#[cfg(feature = "log")]
mod draft;
#[cfg(feature = "log")]
mod emit;
#[cfg(feature = "tracing")]
mod events;
#[cfg(feature = "log")]
mod forwarder;
#[cfg(feature = "log")]
mod platform;
#[cfg(feature = "log")]
mod record;
#[cfg(feature = "log")]
mod relay;
#[cfg(feature = "log")]
pub mod ring;
#[cfg(feature = "log")]
mod sink;
#[cfg(feature = "log")]
mod subscriber;
#[cfg(feature = "log")]
mod text;
#[cfg(feature = "log")]
mod value;
#[cfg(feature = "log")]
mod wish;

#[cfg(not(feature = "log"))]
mod none;

#[cfg(not(feature = "log"))]
pub(crate) use self::none::{Conduit, Tap, Wish, attach, drain_all};
#[cfg(feature = "log")]
pub use self::wish::LogOverflow;
#[cfg(feature = "log")]
pub(crate) use self::{
    forwarder::attach,
    relay::{Conduit, Tap, drain_all},
    wish::Wish,
};
