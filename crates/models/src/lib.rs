//! Loom models: every interleaving of a few threads in the state machines of the other crates, some of which die in the
//! middle. `cargo xtask loom` runs them.
//!
//! The state machines are the crates' own source, compiled once more here (`#[path]`). They take atomics, fences, futexes
//! and locks from `crate::platform`, which is loom's here. So loom runs the code that ships, and none of the crates has
//! to be built in loom's world. (The machines of `sync` are generic over how they wait, and have their models beside them.)
#![cfg(all(test, loom))]

mod barrier;
mod lane;
mod logs;
mod pipe;
mod platform;
mod pool;
mod queue;
mod sync;

/// Explores what `body` can do, with at most so many switches that nothing forces.
fn explore(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // For `cargo xtask ci`, two where three are named, which takes a fifth of the time.
    let most = if std::env::var_os("LOOM_QUICK").is_some() { 2 } else { usize::MAX };
    builder.preemption_bound = Some(preemptions.min(most));
    builder.max_branches = 20_000;
    builder.check(body);
}
