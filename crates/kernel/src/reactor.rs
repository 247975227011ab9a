//! Descriptors that futures wait for: one helper thread watches them by epoll(7) and wakes the tasks. No runtime is
//! needed, and none is disturbed.
//!
//! The thread starts with the first wait of that kind, and sleeps while there are no waiters.

use std::{
    collections::HashMap,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use crate::{at_fork, fds::above_standard_streams, fork_local::ForkLocal, helper, waker::wake};

/// Events that one call takes at most.
const EVENTS: usize = 64;

/// A forked child has its own: the threads of its parent's are not there.
static REACTOR: ForkLocal<Mutex<Option<Arc<Reactor>>>> = ForkLocal::new();

#[derive(Debug)]
struct Reactor {
    epoll: Epoll,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    next_id: u64,
    /// The wakers, by the number that the kernel returns with each event.
    wakers: HashMap<u64, Waker>,
    /// The program has closed all descriptors of the process: the next wait takes another reactor.
    is_over: bool,
}

/// Wakes one task when one descriptor is readable. Dropping it ends that, and leaves nothing behind.
#[derive(Debug, Default)]
pub struct Readable(Option<Entry>);

#[derive(Debug)]
struct Entry {
    id: u64,
    /// Forks so far: what a forked child has is a copy of its parent's entry, which is the parent's.
    generation: u32,
    /// A copy of the descriptor, since the kernel takes each number once.
    fd: OwnedFd,
    reactor: Arc<Reactor>,
}

impl Readable {
    /// Wakes `waker`, once, as soon as `fd` is readable or closed at the other end: at once, if it is now. The waker of an
    /// earlier call is forgotten. Always for the same descriptor.
    ///
    /// # Errors
    /// If descriptors, memory or threads are short; `EPERM` for a file that is always readable.
    pub fn wake(&mut self, fd: BorrowedFd<'_>, waker: &Waker) -> io::Result<()> {
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT;
        match &self.0 {
            Some(entry) if entry.generation == at_fork::generation() => {
                // A waker's `clone` and `drop` are code of others: not under the lock.
                let waker = waker.clone();
                let earlier = entry.reactor.waiting().wakers.insert(entry.id, waker);
                drop(earlier);
                // It looks whether the descriptor is ready, too.
                entry.reactor.epoll.modify(&entry.fd, &mut EpollEvent::new(once, entry.id))?;
            }
            _ => {
                let reactor = running()?;
                let fd = above_standard_streams(fd.try_clone_to_owned()?)?;
                let waker = waker.clone();
                let id = reactor.waiting().insert(waker);
                // Dropped, it forgets the waker.
                let entry = Entry { id, generation: at_fork::generation(), fd, reactor };
                entry.reactor.epoll.add(&entry.fd, EpollEvent::new(once, id))?;
                self.0 = Some(entry);
            }
        }
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.generation != at_fork::generation() {
            return;
        }
        // Said explicitly: a forked child may have copies of the descriptor, and closing ours would not do.
        let _ = self.reactor.epoll.delete(&self.fd);
        let waker = self.reactor.waiting().wakers.remove(&self.id);
        // Not under the lock: it may be the last handle of a task, whose end may drop another entry.
        drop(waker);
    }
}

impl Waiting {
    fn insert(&mut self, waker: Waker) -> u64 {
        self.next_id += 1;
        self.wakers.insert(self.next_id, waker);
        self.next_id
    }
}

/// The calling process's reactor.
fn running() -> io::Result<Arc<Reactor>> {
    let mut current = REACTOR.get().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reactor) = current.as_ref().filter(|reactor| !reactor.waiting().is_over) {
        return Ok(reactor.clone());
    }
    let epoll = Epoll(above_standard_streams(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?.0)?);
    let reactor = Arc::new(Reactor { epoll, waiting: Mutex::default() });
    let running = reactor.clone();
    helper::spawn("fd-reactor", move || running.run())?;
    *current = Some(reactor.clone());
    Ok(reactor)
}

impl Reactor {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let n = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(n) => n,
                Err(Errno::EINTR) => continue,
                Err(_) => return self.end(),
            };
            // A lock is held meanwhile, and wakers called, which take locks of their own.
            at_fork::while_nobody_forks(|| {
                for event in &events[..n] {
                    let waker = self.waiting().wakers.remove(&event.data());
                    waker.into_iter().for_each(wake);
                }
            });
        }
    }

    /// Wakes all tasks to look for themselves: they find their descriptors closed, too, or begin anew.
    #[cold]
    fn end(&self) {
        at_fork::while_nobody_forks(|| {
            let wakers = {
                let mut waiting = self.waiting();
                waiting.is_over = true;
                std::mem::take(&mut waiting.wakers)
            };
            wakers.into_values().for_each(wake);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::fd::AsFd, os::unix::net::UnixStream, sync::mpsc, task::Wake};

    use super::*;

    struct Tell(mpsc::Sender<()>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn each_of_two_that_watch_one_descriptor_is_woken() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let wait = || {
            let (tell, told) = mpsc::channel();
            let mut readable = Readable::default();
            readable.wake(b.as_fd(), &Waker::from(Arc::new(Tell(tell)))).unwrap();
            (readable, told)
        };
        let (first, second) = (wait(), wait());
        assert_eq!(first.1.try_recv(), Err(mpsc::TryRecvError::Empty));
        a.write_all(b"x").unwrap();
        first.1.recv().unwrap();
        second.1.recv().unwrap();
    }

    /// The last handle of a task may hold other entries.
    #[test]
    fn a_waker_that_is_replaced_may_drop_another_entry() {
        struct Holds(#[allow(dead_code, reason = "only its drop counts")] Mutex<Readable>);
        impl Wake for Holds {
            fn wake(self: Arc<Self>) {}
        }
        let (_a, b) = UnixStream::pair().unwrap();
        let mut other = Readable::default();
        other.wake(b.as_fd(), Waker::noop()).unwrap();
        let mut one = Readable::default();
        one.wake(b.as_fd(), &Waker::from(Arc::new(Holds(other.into())))).unwrap();
        one.wake(b.as_fd(), Waker::noop()).unwrap();
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_from_being_woken() {
        struct Panic;
        impl Wake for Panic {
            fn wake(self: Arc<Self>) {
                panic!("as a waker may");
            }
        }
        let (mut a, b) = UnixStream::pair().unwrap();
        let (mut panicking, mut other) = (Readable::default(), Readable::default());
        panicking.wake(b.as_fd(), &Waker::from(Arc::new(Panic))).unwrap();
        a.write_all(b"x").unwrap();
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        // What is readable already is reported after what became readable before.
        for _ in 0..3 {
            other.wake(b.as_fd(), &waker).unwrap();
            told.recv().unwrap();
        }
    }

    #[test]
    fn the_waker_of_the_last_call_is_woken_and_goes_with_the_entry() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let mut readable = Readable::default();
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        readable.wake(b.as_fd(), Waker::noop()).unwrap();
        readable.wake(b.as_fd(), &waker).unwrap();
        a.write_all(b"x").unwrap();
        told.recv().unwrap();
        // It is still readable.
        readable.wake(b.as_fd(), &waker).unwrap();
        told.recv().unwrap();

        let (_c, d) = UnixStream::pair().unwrap();
        let mut never = Readable::default();
        never.wake(d.as_fd(), &waker).unwrap();
        drop((never, readable, waker));
        // There is no other copy of the waker any more.
        assert_eq!(told.recv(), Err(mpsc::RecvError));
    }
}
