//! Time as those who wait for others should count it.

use std::time::{Duration, Instant};

/// Measures how long somebody has been watching. While the whole machine stalls, or the lab is frozen, nobody watches:
/// whoever did not answer then had no chance to.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    elapsed: Duration,
    last_look: Instant,
}

/// A longer time between two looks was a stall.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { elapsed: Duration::ZERO, last_look: Instant::now() }
    }

    /// To be asked again and again.
    pub(crate) fn elapsed(&mut self) -> Duration {
        let now = Instant::now();
        self.elapsed += (now - self.last_look).min(LONGEST_LOOK);
        self.last_look = now;
        self.elapsed
    }
}
