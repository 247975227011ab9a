//! What a task's first words say, for a program that looks at a worker's lane from outside.

use super::worker::{INITIALIZER, LIMITED_TASK};

/// Where in the program's text the function is that a task calls, and whether it is the pool's initializer.
///
/// `begin` is the first two words of a task with that `tag`.
pub fn function_of(tag: u32, begin: [u64; 2]) -> (u64, bool) {
    let [first, second] = begin;
    (if tag == LIMITED_TASK { second } else { first }, tag == INITIALIZER)
}
