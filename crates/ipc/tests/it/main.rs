//! Tests of the crate as its users see it.
#![allow(clippy::unwrap_used)]

mod blind;
mod confined;
mod elements;
mod end_of_file;
mod flood;
mod garbage;
mod halves;
mod handles;
mod joinable;
mod limits;
mod listener;
mod loans;
mod longest;
mod manager;
mod membarrier;
mod pipe;
mod pipe_async;
mod pipe_shared;
mod queue;
mod queue_exact;
mod queue_grow;
mod queue_limits;
mod shutdown;
mod storm;
mod twins;
mod value;

use proc_core::{Confinement, Process, ProcessError, Target};
use serde::{Serialize, de::DeserializeOwned};

/// Starts a child of a test, which is confined in the run that [`confined`] makes of them.
fn spawn<F, A>(target: F, args: A) -> Result<Process<F::Output>, ProcessError>
where
    F: Target<A>,
    A: Serialize + DeserializeOwned,
    F::Output: Serialize + DeserializeOwned,
{
    let builder = Process::builder();
    let builder = if confined::is_on() { builder.confine(Confinement::compute().end_at_refusal()) } else { builder };
    builder.spawn(target, args)
}
