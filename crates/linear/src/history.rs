//! What the users of a queue did: each call with the time before it and the time after it.

use std::sync::atomic::{Ordering, fence};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of the monotonic clock, which is the same for all processes.
pub(crate) type Time = u64;

/// One call that has returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) begun: Time,
    pub(crate) ended: Time,
    pub(crate) what: What,
}

/// What a call has done, or has said. Each value is put once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// Put these values, in this order.
    Put(Vec<u64>),
    /// Took these values, in this order.
    Got(Vec<u64>),
    /// Found the queue empty.
    Empty,
    /// Found the queue full.
    Full,
    /// Took something that nobody can have put.
    Torn,
}

/// Calls an operation and notes what it did. If it did nothing that can be judged, notes nothing.
pub(crate) fn note(events: &mut Vec<Event>, call: impl FnOnce() -> Option<What>) {
    let begun = now();
    // The call must not begin before the clock is read, and its stores must be visible before it counts as ended.
    fence(Ordering::SeqCst);
    let what = call();
    fence(Ordering::SeqCst);
    let ended = now();
    events.extend(what.map(|what| Event { begun, ended, what }));
}

fn now() -> Time {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}
