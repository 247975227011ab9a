//! Waiting for the first of several things.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
};

use kernel::futex::Deadline;

/// What [`wait_any`] can wait for: processes, connections, queues, and everything with a descriptor.
///
/// Implemented for all that is [`AsFd`]; what lives in shared memory implements it with an event of its own.
pub trait Waitable {
    /// Begins to watch it.
    ///
    /// # Errors
    /// If what is needed for that cannot be had.
    fn watch(&self) -> io::Result<Watch<'_>>;
}

/// Something that is being watched; dropping it ends that.
pub enum Watch<'a> {
    /// Ready when the descriptor is readable, or closed at the other end.
    Readable(BorrowedFd<'a>),
    /// Ready when `is_ready` says so, which it may have begun to do whenever `event`, an eventfd, is readable.
    Event {
        /// Rung after each change.
        event: OwnedFd,
        /// Looks, without blocking.
        is_ready: Box<dyn Fn() -> bool + 'a>,
    },
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.fd()).finish()
    }
}

impl Watch<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Readable(fd) => *fd,
            Self::Event { event, .. } => event.as_fd(),
        }
    }

    fn is_ready(&self) -> bool {
        matches!(self, Self::Event { is_ready, .. } if is_ready())
    }
}

impl<T: AsFd + ?Sized> Waitable for T {
    fn watch(&self) -> io::Result<Watch<'_>> {
        Ok(Watch::Readable(self.as_fd()))
    }
}

/// Waits until at least one of `sources` is ready, or `timeout` has passed (`None`: for ever); returns the indices of
/// those that are ready, none after the time-out.
///
/// A process is ready once it has ended; a connection, a queue or a descriptor when something can be taken from it
/// without blocking, its end included.
///
/// # Errors
/// What poll(2) reports.
///
/// # Examples
/// ```
/// use proc_core::{Process, wait_any};
/// let (a, b) = (Process::spawn(|| 1, ())?, Process::spawn(|| 2, ())?);
/// let first = wait_any(&[&a, &b], None)?;
/// assert!(!first.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "select")]
#[doc(alias = "poll")]
pub fn wait_any(sources: &[&dyn Waitable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let deadline = timeout.and_then(Deadline::after);
    let watches = sources.iter().map(|source| source.watch()).collect::<io::Result<Vec<_>>>()?;
    loop {
        let mut ready: Vec<_> = (0..watches.len()).filter(|i| watches[*i].is_ready()).collect();
        let patience = if ready.is_empty() { deadline.map(|d| d.remaining()) } else { Some(Duration::ZERO) };
        let mut fds: Vec<_> = watches.iter().map(|watch| PollFd::new(watch.fd(), PollFlags::POLLIN)).collect();
        match ppoll(&mut fds, patience.map(Into::into), None) {
            Err(Errno::EINTR) => continue,
            result => drop(result?),
        }
        for (i, (watch, fd)) in watches.iter().zip(&fds).enumerate() {
            match watch {
                _ if fd.any() != Some(true) => {}
                Watch::Readable(_) => ready.push(i),
                Watch::Event { event, .. } => drop(nix::unistd::read(event, &mut [0; 8])),
            }
        }
        if !ready.is_empty() || deadline.is_some_and(|d| d.has_passed()) {
            ready.sort_unstable();
            return Ok(ready);
        }
    }
}
