//! What a builder says of forwarding.

use std::{io, time::Duration};

use log::LevelFilter;

use super::{forwarder, relay::Conduit, terms::Terms};

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

/// Forward, if this process has a logger, unless it was told not to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) is_unwanted: bool,
    pub(crate) overflow: LogOverflow,
    pub(crate) is_prefixed: bool,
}

impl Wish {
    /// What a child gets, if it is to forward. One that is a fork of this process has this process's logger.
    pub(crate) fn open(&self, is_fork: bool) -> io::Result<Option<(Terms, Conduit)>> {
        let level = log::max_level();
        if self.is_unwanted || level == LevelFilter::Off || is_fork && !forwarder::is_ours() {
            return Ok(None);
        }
        let patience = match self.overflow {
            LogOverflow::Wait(patience) => patience,
            LogOverflow::Drop => Duration::ZERO,
        };
        let patience_nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        Ok(Some((Terms { log_level: level as u8, patience_nanos }, Conduit::open()?)))
    }

    pub(crate) fn is_prefixed(&self) -> bool {
        self.is_prefixed
    }
}
