//! What pools promise, from the outside.

mod thread;
