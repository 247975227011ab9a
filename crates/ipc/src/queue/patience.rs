//! How long an operation of a queue may take.

use std::time::{Duration, Instant};

use kernel::futex::Deadline;

use crate::time::remaining;

/// How long an operation may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    Now,
    For(Duration),
    Forever,
}

impl Patience {
    /// Until that time of `std`'s clock.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self::For(remaining(deadline))
    }

    /// When it ends; `None` if it does not.
    pub(super) fn deadline(self) -> Option<Deadline> {
        match self {
            Self::Now => Deadline::after(Duration::ZERO),
            Self::For(time) => Deadline::after(time),
            Self::Forever => None,
        }
    }

    /// What is left of it, with that deadline.
    pub(super) fn left(self, deadline: Option<Deadline>) -> Self {
        match (self, deadline) {
            (Self::For(_), Some(deadline)) => Self::For(deadline.remaining()),
            _ => self,
        }
    }
}
