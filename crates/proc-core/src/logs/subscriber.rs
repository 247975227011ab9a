//! The owner's subscriber of `tracing`, if there is that feature and one.

use super::{draft::Parts, emit::Origin};

/// What events of a child go to.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnersSubscriber {
    #[cfg(feature = "tracing")]
    found: Option<(tracing_core::Dispatch, u8)>,
}

/// The calling thread's. A child that is a fork of this process has this process's own, unless that forwards.
#[cfg(feature = "tracing")]
pub(super) fn of_owner(is_fork: bool) -> OwnersSubscriber {
    use super::events;

    let found = if is_fork && !events::is_ours() { None } else { events::current() };
    OwnersSubscriber { found }
}

#[cfg(not(feature = "tracing"))]
pub(super) fn of_owner(_: bool) -> OwnersSubscriber {
    OwnersSubscriber::default()
}

#[cfg(feature = "tracing")]
impl OwnersSubscriber {
    /// The most verbose level that it wants, as `log` counts; 0 if there is none.
    pub(super) fn level(&self) -> u8 {
        self.found.as_ref().map_or(0, |(_, level)| *level)
    }

    /// Gives it an event; false if there is none.
    pub(super) fn emit(&self, origin: &Origin, parts: &Parts<'_>) -> bool {
        self.found.as_ref().map(|(dispatch, _)| super::events::emit(dispatch, origin, parts)).is_some()
    }
}

#[cfg(not(feature = "tracing"))]
impl OwnersSubscriber {
    pub(super) fn level(&self) -> u8 {
        0
    }

    pub(super) fn emit(&self, _: &Origin, _: &Parts<'_>) -> bool {
        false
    }
}

/// Forwards the calling process's events; false if it has another subscriber.
#[cfg(feature = "tracing")]
pub(super) fn install(level: u8) -> bool {
    level > 0 && super::events::install(super::events::filter(level))
}

#[cfg(not(feature = "tracing"))]
pub(super) fn install(_: u8) -> bool {
    false
}
