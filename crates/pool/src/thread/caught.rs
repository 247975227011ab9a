//! Calls of the user's code on a pool's threads.

use proc_core::Panic;

use crate::TaskError;

/// Calls `f` with its panic caught.
pub(super) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, TaskError> {
    Panic::catch(f).map_err(Into::into)
}
