//! Where threads wait that found a ring empty or full.
//!
//! One of them, the leader, sleeps on the socket; the others on a condition variable. Whatever wakes the leader, it takes
//! in all packets and has everybody look again. So a bell that was meant for another thread is not lost, and the end of
//! file reaches all.
//!
//! The leader's process says in shared memory that it listens. In other processes that wait at the same end, nobody
//! takes packets in meanwhile, as they may be meant for the leader; they look again every millisecond.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        OnceLock,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use proc_core::futex::Deadline;

use super::{
    pollable::Pollable,
    ring::Ring,
    socket::{Packet, Socket},
};

#[derive(Debug)]
pub(super) struct Lobby {
    socket: Socket,
    post: Post,
    pollable: OnceLock<Pollable>,
    /// The other end is closed; for good, once seen.
    ended: AtomicBool,
    state: Mutex<State>,
    news: Condvar,
}

/// The word that says which user listens at an end's socket.
#[derive(Debug)]
pub(super) struct Post {
    ring: Ring,
    reads: bool,
}

/// Being the process that listens, until dropped.
struct Listening<'a>(&'a AtomicU64);

impl Post {
    pub(super) fn new(ring: Ring, reads: bool) -> Self {
        Self { ring, reads }
    }

    /// `None` if another process listens.
    fn take(&self) -> Option<Listening<'_>> {
        let word = self.ring.listener(self.reads);
        let (users, me) = (self.ring.users(), self.ring.users().me());
        let of = match word.compare_exchange(0, me, Acquire, Relaxed) {
            Ok(_) => return Some(Listening(word)),
            Err(other) => other,
        };
        (users.is_gone(of) && word.compare_exchange(of, me, Acquire, Relaxed).is_ok()).then(|| Listening(word))
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.store(0, Release);
    }
}

#[derive(Debug, Default)]
struct State {
    /// Somebody sleeps on the socket, and will take in what comes.
    led: bool,
    /// Nothing more will come through the socket.
    drained: bool,
    /// Descriptors whose message has not been taken yet.
    fds: VecDeque<(u64, Vec<OwnedFd>)>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ready,
    /// Not ready, and the other end is closed: nothing will change that.
    Ended,
    TimedOut,
}

/// How long to sleep where the bell is not sure.
const NAP: Duration = Duration::from_millis(1);

/// Naps for descriptors that another process may be about to take in.
const MAX_NAPS: u32 = 100;

/// Packets taken in at one go; a peer that sends nonsense faster than that is not waited for.
const MAX_PACKETS: usize = 4096;

/// Packets of descriptors that wait for their message; a peer that sends only descriptors fills no more.
const MAX_WAITING: usize = 1024;

impl Lobby {
    pub(super) fn new(socket: Socket, post: Post) -> Self {
        Self {
            socket,
            post,
            pollable: OnceLock::new(),
            ended: AtomicBool::new(false),
            state: Mutex::default(),
            news: Condvar::new(),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether the other end is known to be closed.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Acquire)
    }

    /// Whether the other end is closed, from the kernel.
    pub(super) fn ask_whether_ended(&self) -> bool {
        let ended = self.socket.has_ended();
        if ended {
            self.ended.store(true, Release);
        }
        ended
    }

    /// Sleeps until `there` is true. `announce` says where the peer sees it that somebody sleeps, and returns whether
    /// the bell can be relied on to ring.
    pub(super) fn wait(
        &self,
        deadline: Option<Deadline>,
        there: impl Fn() -> bool,
        mut announce: impl FnMut() -> bool,
    ) -> io::Result<Outcome> {
        let mut state = self.state.lock();
        let mut last_look = false;
        loop {
            // Taken first: what a bell rings for from now on is seen here or by the look.
            let listening = if state.led { None } else { self.post.take() };
            if listening.is_none() && !state.led {
                self.ask_whether_ended();
            }
            // Asked first: after the end, everything sent before it is visible to the look.
            let ended = self.has_ended();
            let bell_is_sure = announce();
            if there() {
                return Ok(Outcome::Ready);
            }
            if ended {
                return Ok(Outcome::Ended);
            }
            if deadline.is_some_and(|d| d.has_passed()) {
                if last_look {
                    return Ok(Outcome::TimedOut);
                }
                last_look = true;
                drop(listening);
                self.look_in(&mut state)?;
                continue;
            }
            let hears = state.led || listening.is_some();
            let at_most = (!bell_is_sure || !hears).then_some(NAP);
            if listening.is_none() {
                match deadline.map(|d| d.remaining()).into_iter().chain(at_most).min() {
                    None => self.news.wait(&mut state),
                    Some(timeout) => drop(self.news.wait_for(&mut state, timeout)),
                }
            } else {
                state.led = true;
                let woken = MutexGuard::unlocked(&mut state, || self.socket.wait(deadline, at_most));
                state.led = false;
                let taken_in = self.take_in(&mut state);
                drop(listening);
                self.news.notify_all();
                woken?;
                taken_in?;
            }
            // Without announcing a sleep that may not be needed.
            if there() {
                return Ok(Outcome::Ready);
            }
        }
    }

    /// As [`wait`](Self::wait), without sleeping. A descriptor given out is readable afterwards only if there is news.
    pub(super) fn glance(&self, there: impl FnOnce() -> bool, announce: impl FnOnce() -> bool) -> io::Result<Outcome> {
        let mut state = self.state.lock();
        self.look_in(&mut state)?;
        let ended = self.has_ended();
        announce();
        if there() {
            return Ok(Outcome::Ready);
        }
        if let Some(pollable) = self.pollable.get() {
            pollable.settle();
        }
        Ok(if ended { Outcome::Ended } else { Outcome::TimedOut })
    }

    /// A descriptor that is readable while there is something to receive, or the other end is closed.
    pub(super) fn pollable(&self) -> nix::Result<BorrowedFd<'_>> {
        if self.pollable.get().is_none() {
            let _ = self.pollable.set(Pollable::new(self.socket.as_fd())?);
        }
        Ok(self.pollable.get().expect("set above or by another thread").as_fd())
    }

    /// The `n` descriptors of the message `id`, which were sent before the message; fewer if they did not all arrive.
    pub(super) fn take_fds(&self, id: u64, n: usize) -> io::Result<Vec<OwnedFd>> {
        let mut state = self.state.lock();
        let mut patience = MAX_NAPS;
        loop {
            let there: usize = state.fds.iter().filter(|(of, _)| *of == id).map(|(_, fds)| fds.len()).sum();
            if there >= n || state.drained || patience == 0 || !self.socket.has_packet() {
                // Ids count up. What belongs to an earlier message belongs to one that was never finished.
                let all = std::mem::take(&mut state.fds);
                let (later, sooner): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|(of, _)| *of > id);
                state.fds = later;
                return Ok(sooner.into_iter().filter(|(of, _)| *of == id).flat_map(|(_, fds)| fds).collect());
            }
            let listening = if state.led { None } else { self.post.take() };
            if listening.is_some() {
                self.take_in(&mut state)?;
                self.news.notify_all();
            } else {
                // The leader is about to take in what has come; should another packet wake it instead, look again soon.
                // In another process it may be stopped, or keep the descriptors.
                patience -= u32::from(!state.led);
                self.news.wait_for(&mut state, NAP);
            }
        }
    }

    /// Finds out, without sleeping, whether the other end is closed, and takes in what has come.
    fn look_in(&self, state: &mut State) -> io::Result<()> {
        let listening = if state.led { None } else { self.post.take() };
        if listening.is_some() {
            self.take_in(state)?;
            self.news.notify_all();
        } else {
            // The leader would sleep on if its packets were taken away.
            self.ask_whether_ended();
        }
        Ok(())
    }

    /// Shows on a descriptor given out that there may be something.
    pub(super) fn owe(&self) {
        if let Some(pollable) = self.pollable.get() {
            pollable.owe();
        }
    }

    fn take_in(&self, state: &mut State) -> io::Result<()> {
        // What is taken in here no longer shows on the socket.
        self.owe();
        for _ in 0..MAX_PACKETS {
            match self.socket.receive()? {
                Packet::Nothing => break,
                Packet::Bell => {}
                Packet::End => {
                    state.drained = true;
                    self.ended.store(true, Release);
                    break;
                }
                Packet::Fds(id, fds) => {
                    if state.fds.len() < MAX_WAITING {
                        state.fds.push_back((id, fds));
                    }
                }
            }
        }
        Ok(())
    }
}
