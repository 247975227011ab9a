#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod descriptors;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect;
mod layout;
mod machine;
mod owner;
mod platform;
mod spill;
mod worker;

#[cfg(test)]
mod tests;

pub use self::{
    descriptors::MAX_RESULT_FDS,
    layout::N_SLOTS,
    machine::SlotState,
    owner::{Finished, OwnerLane, Progress},
    worker::{Claim, LaneHandle, Stream, WorkerLane},
};
