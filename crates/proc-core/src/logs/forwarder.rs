//! The child's side: a logger that writes into the ring.

use std::os::fd::OwnedFd;

use log::{LevelFilter, Log, Metadata, Record};

use super::{record, sink, subscriber, terms::Terms};

/// Not without size: such a one may lie where another logger lies.
struct Forwarder(#[expect(dead_code, reason = "it gives it a place of its own")] u8);

static FORWARDER: Forwarder = Forwarder(0);

/// Makes this process forward. It keeps a logger, or a subscriber, that a constructor has set.
pub(crate) fn attach(terms: Terms, fds: Vec<OwnedFd>) -> nix::Result<()> {
    let has_logger = terms.log_level > 0 && (log::set_logger(&FORWARDER).is_ok() || is_ours());
    if !subscriber::install(terms.event_level) && !has_logger {
        return Ok(());
    }
    sink::open(terms, fds)?;
    if has_logger {
        log::set_max_level(LevelFilter::iter().nth(terms.log_level.into()).unwrap_or(LevelFilter::Off));
    }
    Ok(())
}

/// Whether this process's logger is the one of this file: its own parent told it to forward, or that of the process that it
/// was forked from.
pub(super) fn is_ours() -> bool {
    std::ptr::addr_eq(log::logger(), &raw const FORWARDER)
}

impl Log for Forwarder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        sink::is_open()
    }

    fn log(&self, record: &Record<'_>) {
        sink::write(|bytes| record::put(record, bytes));
    }

    /// Nothing to do: what was logged is in the owner's memory.
    fn flush(&self) {}
}
