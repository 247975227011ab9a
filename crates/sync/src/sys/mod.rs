//! What the kernel offers: futexes, and the list of what a thread holds.

pub(crate) mod kernel;
pub(crate) mod robust;
