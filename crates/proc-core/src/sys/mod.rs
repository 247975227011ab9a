//! One kernel facility a file, with safe signatures on owned and borrowed descriptors.

pub(crate) mod memfd;
#[allow(dead_code)] // until `Process` lands
pub(crate) mod pidfd;
