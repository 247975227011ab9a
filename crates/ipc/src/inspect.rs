//! Reads queues and pipes from outside, for a program that shows what another one does.

pub use crate::{
    pipe::inspect::{RingView, pipe},
    queue::inspect::{Bed, QueueView, bed_at, queue},
};
