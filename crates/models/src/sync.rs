//! The words of locks, conditions, events, semaphores and barriers.

#[path = "../../sync/src/machine/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the rest is for those who use them")]
#[allow(unexpected_cfgs, reason = "`sync` has features that its machines know")]
mod machine;
