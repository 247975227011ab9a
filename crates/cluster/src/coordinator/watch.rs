//! Whether tasks get on; and for how long they have not.

use std::time::{Duration, Instant};

/// Counts the time in which nothing has got on.
#[derive(Debug)]
pub(crate) struct Watch {
    looked: Instant,
    had_agents: bool,
    still: Duration,
}

/// The thread looks several times a second. If more time has passed, this process was stopped, and could hear of nothing.
const LONGEST_STEP: Duration = Duration::from_secs(1);

impl Watch {
    pub(crate) fn new(now: Instant) -> Self {
        Self { looked: now, had_agents: false, still: Duration::ZERO }
    }

    /// To be called at each look. When the first agent comes, or the last one goes, the time begins anew.
    pub(crate) fn look(&mut self, gets_on: bool, has_agents: bool, now: Instant) -> Duration {
        let passed = now.duration_since(self.looked).min(LONGEST_STEP);
        self.looked = now;
        let is_news = std::mem::replace(&mut self.had_agents, has_agents) != has_agents;
        self.still = if gets_on || is_news { Duration::ZERO } else { self.still + passed };
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
            watch.look(gets_on, false, now)
        };
        assert_eq!(look(false, step), step);
        assert_eq!(look(false, step), 2 * step);
        assert_eq!(look(false, Duration::from_secs(3600)), 2 * step + LONGEST_STEP);
        assert_eq!(look(true, step), Duration::ZERO);
        assert_eq!(look(false, step), step);
        assert_eq!(watch.look(false, true, now + step), Duration::ZERO);
        assert_eq!(watch.look(false, true, now + 2 * step), step);
        assert_eq!(watch.look(false, false, now + 3 * step), Duration::ZERO);
    }
}
