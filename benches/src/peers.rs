//! Peers that need more than a line.

pub mod boost;
pub mod iceoryx2;
pub mod ipc_channel;

mod flock;
mod posix_mq;

pub use flock::Flock;
pub use posix_mq::PosixMq;
