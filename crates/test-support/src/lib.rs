//! What the tests of this workspace share: a [`watchdog()`] for every test that can hang, and the
//! [stepper](step) with which the crash lab kills processes at every instruction.
//!
//! Knows none of the crates that it helps to test, so that each of them can use it.
#![deny(unsafe_code)]

mod breakpoint;
mod call;
pub mod constructor;
pub mod cpu;
pub mod entry;
mod exclusive;
mod future;
pub mod hosts;
pub mod processes;
pub mod robust;
pub mod sandbox;
pub mod step;
mod sys;
mod watchdog;

pub use future::{Unpark, block_on};
pub use watchdog::{Watchdog, watchdog};
