//! Calls of the user's code on a pool's threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proc_core::Panic;

use crate::TaskError;

/// Calls `f` with its panic caught.
pub(super) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, TaskError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| Panic::of(payload).into())
}
