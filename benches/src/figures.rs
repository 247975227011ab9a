//! The figures, by area.

pub mod locks;
pub mod memory;
pub mod pools;
pub mod queue;
pub mod start;
pub mod thread_local;
pub mod wordcount;

use crate::{figure::Plan, profile};

/// All of them.
pub fn all() -> Vec<Plan> {
    let areas = [
        start::plans(),
        queue::plans(),
        locks::plans(),
        pools::plans(),
        wordcount::plans(),
        memory::plans(),
        thread_local::plans(),
        profile::plans(),
    ];
    areas.into_iter().flatten().collect()
}
