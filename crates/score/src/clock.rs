//! Time, less what a busy machine takes.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How long this thread has been able to run while others did.
fn time_in_line() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// How long a call takes, less the time in which this thread could have run and others did.
pub(crate) fn time<R>(call: impl FnOnce() -> R) -> (R, Duration) {
    let (begun, waited) = (Instant::now(), time_in_line());
    let result = call();
    (result, begun.elapsed().saturating_sub(time_in_line() - waited))
}
