//! Waiting for the first of several things.

use std::{
    fmt,
    future::Future,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::eventfd::{EfdFlags, EventFd},
};

use crate::{fds::above_standard_streams, futex::Deadline, reactor::Readable};

/// What [`wait_any`] can wait for, in any mixture.
///
/// | | is ready when |
/// |---|---|
/// | a `Process`, a `ProcessHandle`, a `Popen` | it has ended |
/// | a `Task` of a pool | it has a result or an error |
/// | a queue of `ipc`, or its `readable()` | there is a message, or the queue is closed |
/// | `writable()` of a queue | there is room, or the queue is closed |
/// | a `Connection`, a `Receiver` | there is a message, or the other end is gone |
/// | a `Listener` | a client connects |
/// | anything else that is [`AsFd`]: a socket, a pipe, a timer | its descriptor is readable, or closed at the other end |
pub trait Waitable {
    /// Begins to watch it; for types of ours that have no descriptor.
    ///
    /// # Errors
    /// If what is needed for that cannot be had.
    #[doc(hidden)]
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
        is_ready: Box<dyn Fn() -> bool + Send + 'a>,
    },
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// Rings the event of a [`Watch`], which is to be looked at again. Also a waker.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// A bell, and the event that it rings.
    ///
    /// # Errors
    /// `EMFILE` or `ENFILE` if descriptors are short.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let event = above_standard_streams(OwnedFd::from(event))?;
        let bell = above_standard_streams(event.try_clone()?)?;
        Ok((Self(Arc::new(bell)), event))
    }

    /// Makes the event readable.
    pub fn ring(&self) {
        // Full means rung often enough.
        let _ = nix::unistd::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// Waits until at least one of `sources` is ready, or `timeout` has passed (`None`: for ever); returns the indices of
/// those that are ready, none after the time-out.
///
/// A process or a task is ready once it has ended; a connection, a queue or a descriptor when something can be taken from
/// it without blocking, its end included; a listener when a client connects; what `writable` of a queue gives when there
/// is room in it. A call leaves nothing behind: no thread for it, no waker, no descriptor.
///
/// # Errors
/// What poll(2) reports; if descriptors or memory are short.
///
/// # Examples
/// ```
/// # mod proc_core { pub use kernel::wait::wait_any; }
/// use std::{io::Write, os::unix::net::UnixStream};
/// use proc_core::wait_any;
///
/// let (mut a, b) = UnixStream::pair()?;
/// let (_c, d) = UnixStream::pair()?;
/// a.write_all(b"x")?;
/// assert_eq!(wait_any(&[&d, &b], None)?, [1]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "select")]
#[doc(alias = "poll")]
pub fn wait_any(sources: &[&dyn Waitable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let deadline = timeout.and_then(Deadline::after);
    let watches = watch(sources)?;
    loop {
        let ready = look(&watches, deadline)?;
        if !ready.is_empty() || deadline.is_some_and(|d| d.has_passed()) {
            return Ok(ready);
        }
    }
}

/// As [`wait_any`], as a future, for any runtime or none. Dropped before its end, it has taken nothing and leaves nothing
/// behind. A time-out is the runtime's.
///
/// # Errors
/// The future's are those of [`wait_any`].
///
/// # Examples
/// ```
/// # mod proc_core { pub use kernel::wait::{wait_any_async, Waitable}; }
/// use std::{net::TcpListener, os::unix::net::UnixStream};
/// use proc_core::wait_any_async;
///
/// async fn first(listener: &TcpListener, control: &UnixStream) -> std::io::Result<&'static str> {
///     match wait_any_async(&[listener, control]).await?.first() {
///         Some(0) => Ok("a client connects"),
///         _ => Ok("there is a command"),
///     }
/// }
/// ```
pub fn wait_any_async<'a>(sources: &[&'a dyn Waitable]) -> WaitAny<'a> {
    WaitAny { watches: Some(watch(sources)), wakers: sources.iter().map(|_| Readable::default()).collect() }
}

fn watch<'a>(sources: &[&'a dyn Waitable]) -> io::Result<Vec<Watch<'a>>> {
    sources.iter().map(|source| source.watch()).collect()
}

/// Waits until at least one is ready or the deadline has passed, or shorter; returns which are ready.
fn look(watches: &[Watch<'_>], deadline: Option<Deadline>) -> io::Result<Vec<usize>> {
    let mut ready: Vec<_> = (0..watches.len()).filter(|i| watches[*i].is_ready()).collect();
    let patience = if ready.is_empty() { deadline.map(|d| d.remaining()) } else { Some(Duration::ZERO) };
    let mut fds: Vec<_> = watches.iter().map(|watch| PollFd::new(watch.fd(), PollFlags::POLLIN)).collect();
    match ppoll(&mut fds, patience.map(Into::into), None) {
        Err(Errno::EINTR) => return Ok(ready),
        result => drop(result?),
    }
    for (i, (watch, fd)) in watches.iter().zip(&fds).enumerate() {
        match watch {
            _ if fd.any() != Some(true) => {}
            Watch::Readable(_) => ready.push(i),
            Watch::Event { event, .. } => drop(nix::unistd::read(event, &mut [0; 8])),
        }
    }
    ready.sort_unstable();
    Ok(ready)
}

/// The future of [`wait_any_async`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct WaitAny<'a> {
    /// `None` once an error has been told.
    watches: Option<io::Result<Vec<Watch<'a>>>>,
    wakers: Vec<Readable>,
}

impl Future for WaitAny<'_> {
    type Output = io::Result<Vec<usize>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { watches, wakers } = self.get_mut();
        let Some(Ok(watched)) = watches else {
            let error = watches.take().and_then(Result::err);
            return Poll::Ready(Err(error.expect("a future is not polled after its end")));
        };
        // Twice: the first look takes in an event that was rung before, which says that something may have changed.
        for _ in 0..2 {
            let ready = look(watched, Deadline::after(Duration::ZERO))?;
            if !ready.is_empty() {
                return Poll::Ready(Ok(ready));
            }
        }
        for (watch, readable) in watched.iter().zip(wakers) {
            readable.wake(watch.fd(), context.waker())?;
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
