//! Whether tasks get on; and for how long they have not.

use std::time::{Duration, Instant};

/// Counts the time in which nothing has got on.
#[derive(Debug)]
pub(crate) struct Watch {
    looked: Instant,
    still: Duration,
}

/// The thread looks several times a second. If more time has passed, this process was stopped, and could hear of nothing.
const LONGEST_STEP: Duration = Duration::from_secs(1);

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { looked: now, still: Duration::ZERO }
    }

    /// To be called at each look.
    pub(crate) fn look(&mut self, gets_on: bool, now: Instant) -> Duration {
        let passed = now.duration_since(self.looked).min(LONGEST_STEP);
        self.looked = now;
        self.still = if gets_on { Duration::ZERO } else { self.still + passed };
        self.still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_still_and_not_what_was_stopped() {
        let (mut now, step) = (Instant::now(), Duration::from_millis(100));
        let mut watch = Watch::new(now);
        let mut look = |gets_on, after| {
            now += after;
            watch.look(gets_on, now)
        };
        assert_eq!(look(false, step), step);
        assert_eq!(look(false, step), 2 * step);
        assert_eq!(look(false, Duration::from_secs(3600)), 2 * step + LONGEST_STEP);
        assert_eq!(look(true, step), Duration::ZERO);
        assert_eq!(look(false, step), step);
    }
}
