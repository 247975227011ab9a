//! What a builder says of forwarding.

use std::{io, time::Duration};

use super::{forwarder, relay::Conduit, sink, subscriber, terms::Terms};

/// What happens to a record for which there is no room, since the owner does not take records as fast as its child logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogOverflow {
    /// The thread that logs waits for room, so long at most: then its record is dropped and counted, and so are those that
    /// follow, without a wait, until the owner has taken something. By default, for a second.
    Wait(Duration),
    /// The record is dropped and counted at once.
    Drop,
}

impl Default for LogOverflow {
    fn default() -> Self {
        Self::Wait(Duration::from_secs(1))
    }
}

/// Forward, if this process has a logger or a subscriber, unless it was told not to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) is_unwanted: bool,
    pub(crate) overflow: LogOverflow,
    pub(crate) is_prefixed: bool,
}

impl Wish {
    /// What a child gets, if it is to forward. One that is a fork of this process has this process's logger.
    pub(crate) fn open(&self, is_fork: bool) -> io::Result<Option<(Terms, Conduit)>> {
        if self.is_unwanted {
            return Ok(None);
        }
        let log_level = if is_fork && !forwarder::is_ours() { 0 } else { log::max_level() as u8 };
        let subscriber = subscriber::of_owner(is_fork);
        let event_level = subscriber.level();
        if log_level == 0 && event_level == 0 {
            return Ok(None);
        }
        let patience = match self.overflow {
            LogOverflow::Wait(patience) => patience,
            LogOverflow::Drop => Duration::ZERO,
        };
        let patience_nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        Ok(Some((Terms { log_level, event_level, patience_nanos }, Conduit::open(subscriber)?)))
    }

    pub(crate) fn is_prefixed(&self) -> bool {
        // Not where its records go on to another process, which puts its own.
        self.is_prefixed && !sink::is_open()
    }
}
