//! Deadlines of callers, who count by `std`'s clock: the monotonic one, as the kernel's.

use std::time::{Duration, Instant};

/// How long it is until then.
pub(crate) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
