//! What a fork server has loaded, as its children find it.

use std::{any::Any, sync::OnceLock};

type Loaded = &'static (dyn Any + Sync);

static LOADED: OnceLock<Loaded> = OnceLock::new();

/// What the loader of this process's [`ForkServer`](crate::ForkServer) returned, if that was a `T`. `None` in a process that
/// was not started by a fork server with a loader, and if the loader returned something else.
///
/// The memory is the server's own, shared with its other children, until this process writes to it (through a `Mutex` or an
/// atomic in it): from then on, it has its own copy of that page. Nothing that is written is seen by others.
///
/// # Examples
/// ```
/// use proc_core::{ForkServer, Process, preloaded};
///
/// struct Model {
///     weights: Vec<u64>,
/// }
///
/// fn load(n: u64) -> Model {
///     Model { weights: (0..n).collect() }
/// }
///
/// fn infer(x: usize) -> u64 {
///     preloaded::<Model>().map_or(0, |model| model.weights[x])
/// }
///
/// let server = ForkServer::builder().preload(load, (1000,)).build()?;
/// let process = Process::builder().fork_server(&server).spawn(infer, (7,))?;
/// assert_eq!(process.join()?, 7);
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
pub fn preloaded<T: 'static>() -> Option<&'static T> {
    let loaded: &dyn Any = *LOADED.get()?;
    loaded.downcast_ref()
}

/// Keeps it for good. The first one counts; a server has one loader, which runs once.
pub(crate) fn keep<T: Any + Sync>(value: T) {
    let _ = LOADED.set(Box::leak(Box::new(value)));
}
