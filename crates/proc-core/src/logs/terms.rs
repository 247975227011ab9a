//! What a child is told of how it is to forward.

use crate::start::plain::plain;

/// How a child forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The most verbose level of the owner's logger, as `log` counts them; 0 if it has none.
    pub(crate) log_level: u8,
    /// The same of its subscriber.
    pub(crate) event_level: u8,
    /// How long a thread waits for room.
    pub(crate) patience_nanos: u64,
}
plain!(Terms { log_level, event_level, patience_nanos });

/// Descriptors that come with it.
pub(crate) const N_FDS: usize = 2;
