//! Where what this process logs goes: its end of the ring.

use std::{
    cell::Cell,
    os::fd::OwnedFd,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use nix::errno::Errno;

use super::{
    doorbell::Doorbell,
    ring::{Ring, Writer},
    terms::Terms,
};
use crate::lock::lock;
use kernel::fork_local::ForkLocal;

#[derive(Debug)]
struct Sink {
    writer: Mutex<Writer>,
    doorbell: Doorbell,
}

/// A forked child has none.
static SINK: ForkLocal<OnceLock<Sink>> = ForkLocal::new();

/// Opens it, with the descriptors that came for it.
pub(super) fn open(terms: Terms, fds: Vec<OwnedFd>) -> nix::Result<()> {
    let mut fds = fds.into_iter();
    let (Some(ring), Some(doorbell)) = (fds.next(), fds.next()) else { return Err(Errno::EBADMSG) };
    let errno = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EBADMSG));
    let writer = Writer::new(Ring::from_fd(ring).map_err(errno)?, Duration::from_nanos(terms.patience_nanos));
    let doorbell = Doorbell::from_fd(doorbell).map_err(errno)?;
    // It is a fresh process: there is none.
    let _ = SINK.get().set(Sink { writer: Mutex::new(writer), doorbell });
    Ok(())
}

/// Whether there is one.
pub(super) fn is_open() -> bool {
    SINK.get().get().is_some()
}

thread_local! {
    /// What a record is written into before it goes to the ring. A record that is logged while another one is written, by a
    /// `Display`, finds it empty.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Puts what `put` writes into the ring, if there is one.
pub(super) fn write(put: impl FnOnce(&mut Vec<u8>)) {
    let Some(sink) = SINK.get().get() else { return };
    // In a thread whose locals are gone already, a new one.
    let mut bytes = BUFFER.try_with(Cell::take).unwrap_or_default();
    put(&mut bytes);
    lock(&sink.writer).put(&bytes, &sink.doorbell);
    let _ = BUFFER.try_with(|buffer| buffer.set(bytes));
}
