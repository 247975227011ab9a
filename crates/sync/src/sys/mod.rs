//! What the kernel offers: futexes, the list of what a thread holds, and who has which memory.

mod held;
pub(crate) mod kernel;
pub(crate) mod robust;
mod threads;
