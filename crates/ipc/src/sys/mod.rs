//! What the processor offers beyond the standard library.

pub(crate) mod double_word;
pub(crate) mod prefetch;
