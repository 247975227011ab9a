//! The child's side: a logger that writes into the ring.

use std::{
    cell::Cell,
    os::fd::OwnedFd,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use log::{LevelFilter, Log, Metadata, Record};
use nix::errno::Errno;

use super::{
    doorbell::Doorbell,
    record,
    ring::{Ring, Writer},
    terms::Terms,
};
use crate::lock::lock;
use kernel::fork_local::ForkLocal;

/// Where the records of this process go.
#[derive(Debug)]
struct Sink {
    writer: Mutex<Writer>,
    doorbell: Doorbell,
}

/// A forked child has none.
static SINK: ForkLocal<OnceLock<Sink>> = ForkLocal::new();

/// Not without size: such a one may lie where another logger lies.
struct Forwarder(#[expect(dead_code, reason = "it gives it a place of its own")] u8);

static FORWARDER: Forwarder = Forwarder(0);

/// Has this process forward. It keeps a logger that a constructor has set.
pub(crate) fn attach(terms: Terms, fds: Vec<OwnedFd>) -> nix::Result<()> {
    if log::set_logger(&FORWARDER).is_err() && !is_ours() {
        return Ok(());
    }
    let mut fds = fds.into_iter();
    let (Some(ring), Some(doorbell)) = (fds.next(), fds.next()) else { return Err(Errno::EBADMSG) };
    let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EBADMSG));
    let writer = Writer::new(Ring::from_fd(ring).map_err(errno)?, Duration::from_nanos(terms.patience_nanos));
    let doorbell = Doorbell::from_fd(doorbell).map_err(errno)?;
    // It is a fresh process: there is none.
    let _ = SINK.get().set(Sink { writer: Mutex::new(writer), doorbell });
    log::set_max_level(LevelFilter::iter().nth(terms.log_level.into()).unwrap_or(LevelFilter::Off));
    Ok(())
}

/// Whether this process's logger is the one of this file: its own parent told it to forward, or that of the process that it
/// was forked from.
pub(super) fn is_ours() -> bool {
    std::ptr::addr_eq(log::logger(), &raw const FORWARDER)
}

thread_local! {
    /// What a record is written into before it goes to the ring. A record that is logged while another one is written, by a
    /// `Display`, finds it empty.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Log for Forwarder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        SINK.get().get().is_some()
    }

    fn log(&self, record: &Record<'_>) {
        let Some(sink) = SINK.get().get() else { return };
        // In a thread whose locals are gone already, a new one.
        let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
        record::put(record, &mut bytes);
        lock(&sink.writer).put(&bytes, &sink.doorbell);
        let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
    }

    /// Nothing to do: what was logged is in the owner's memory.
    fn flush(&self) {}
}
