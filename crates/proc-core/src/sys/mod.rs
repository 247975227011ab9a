//! One kernel facility a file, with safe signatures on owned and borrowed descriptors.

pub(crate) mod memfd;
pub(crate) mod pidfd;
