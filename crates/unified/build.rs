//! Nothing: without it, the dependencies of a build would not be built.

fn main() {}
