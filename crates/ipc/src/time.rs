//! Deadlines of `std`'s clock.

use std::time::{Duration, Instant};

/// How long it is until `deadline`.
pub(crate) fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
