//! What the workspace uses of Linux, for processes that share memory.
//!
//! For our own crates: what their users need of it is exported by those, `proc_core::shm` above all. No constructor before
//! `main`, no thread that the program did not ask for, and nothing that knows how processes are started.
//!
//! * [`shm`]: memory that processes share. [`futex`]: words in it that they sleep on. [`liveness`]: which processes use it,
//!   and which of them are dead. [`identity`]: which process a pid means.
//! * [`at_fork`], [`fork_local`]: what a forked child must forget.
//! * [`handover`]: values and the descriptors inside them, on their way to another process. [`fds`]: where our descriptors
//!   lie. [`place`]: names in the file system.
//! * [`helper`]: threads of our own. [`wait`]: waiting for the first of several things. [`reactor`]: descriptors that
//!   futures wait for. [`blocking`]: calls that threads make in place of futures.
//! * [`sys`]: one facility of the kernel a file, with safe signatures.
#![deny(unsafe_code)]

pub mod at_fork;
#[cfg(feature = "system")]
pub mod blocking;
#[cfg(feature = "system")]
pub mod fds;
pub mod fork_local;
#[cfg(feature = "system")]
pub mod futex;
#[cfg(feature = "serde")]
pub mod handover;
#[cfg(feature = "system")]
pub mod helper;
#[cfg(feature = "system")]
pub mod identity;
#[cfg(feature = "system")]
pub mod liveness;
#[cfg(feature = "system")]
pub mod place;
#[cfg(feature = "system")]
pub mod reactor;
#[cfg(feature = "system")]
pub mod shm;
#[cfg(feature = "system")]
pub mod sys;
mod thread_slot;
#[cfg(feature = "system")]
pub mod wait;
#[cfg(feature = "system")]
pub mod waker;
