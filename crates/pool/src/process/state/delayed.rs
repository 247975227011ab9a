//! [`Delayed`]: a task that is to be tried again later.

use std::{cmp::Ordering, sync::Arc, time::Instant};

use crate::process::work::Work;

/// A task that waits for its next try.
pub(super) struct Delayed {
    pub(super) until: Instant,
    pub(super) work: Arc<dyn Work>,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}
impl Eq for Delayed {}
impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> Ordering {
        other.until.cmp(&self.until)
    }
}
