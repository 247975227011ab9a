//! Threads that found a ring empty or full wait here.
//!
//! One of them, the leader, sleeps on the socket; the others on a condition variable. Whatever wakes the leader, it takes
//! in all packets and has all threads look again. So a bell that was meant for another thread is not lost, and the end of
//! file reaches all.
//!
//! The leader's process says in shared memory that it listens. Other processes that wait at the same end take no packets in
//! meanwhile, as these may be meant for the leader; they look again every millisecond.

use std::{
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

use kernel::futex::Deadline;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    handles::{Handles, Taker},
    pollable::Pollable,
    ring::FrameRing,
    socket::{Packet, Rung, Socket},
};

#[derive(Debug)]
pub(super) struct Lobby {
    socket: Socket,
    post: Post,
    pollable: OnceLock<Pollable>,
    /// The other end is closed; for good, once seen. `Release` and `Acquire`: a thread that sees it sees all messages before.
    ended: AtomicBool,
    state: Mutex<LobbyState>,
    news: Condvar,
}

/// The word that says which user listens at an end's socket.
#[derive(Debug)]
pub(super) struct Post {
    ring: FrameRing,
    reads: bool,
}

/// Being the process that listens, until dropped.
struct Listening<'a>(&'a AtomicU64);

impl Post {
    pub(super) fn new(ring: FrameRing, reads: bool) -> Self {
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

#[derive(Debug)]
struct LobbyState {
    /// A leader sleeps on the socket, and will take in what comes.
    led: bool,
    /// Nothing more will come through the socket.
    drained: bool,
    /// Descriptors are next in the socket, and as many as may wait for their message already: until a message is taken,
    /// only threads that would take one take packets in.
    full: bool,
    fds: Handles,
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The next message of the peer.
    Message,
    /// The peer taking messages.
    Room,
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

impl Lobby {
    /// At most `max_fds` descriptors wait for their message before no more are taken in.
    pub(super) fn new(socket: Socket, post: Post, max_fds: usize) -> Self {
        let state = LobbyState { led: false, drained: false, full: false, fds: Handles::new(max_fds) };
        Self {
            socket,
            post,
            pollable: OnceLock::new(),
            ended: AtomicBool::new(false),
            state: Mutex::new(state),
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

    /// Wakes the peer, if it sleeps; takes note if it is gone.
    pub(super) fn ring(&self) -> Rung {
        let rung = self.socket.ring();
        if rung == Rung::Ended {
            self.ended.store(true, Release);
        }
        rung
    }

    /// Sleeps until `there` is true. `announce` tells the peer that there is a sleeper, and returns whether the bell can be
    /// relied on to ring.
    pub(super) fn wait(
        &self,
        what: For,
        deadline: Option<Deadline>,
        there: impl Fn() -> bool,
        mut announce: impl FnMut() -> bool,
    ) -> io::Result<Outcome> {
        let mut state = self.state.lock();
        let mut last_look = false;
        loop {
            // Taken first: what a bell rings for from now on is seen here or by the look.
            let is_shut = state.led || state.full && what == For::Room;
            let listening = if is_shut { None } else { self.post.take() };
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
                self.look_in(&mut state, what, &there)?;
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
                // While descriptors wait for their message, it depends on the next packet whether it may be taken in.
                let max_fds = state.fds.is_empty().then(|| state.fds.per_packet());
                let woken = MutexGuard::unlocked(&mut state, || self.sleep(deadline, at_most, max_fds));
                state.led = false;
                let taken_in = woken.and_then(|first| self.take_in(&mut state, what, &there, first));
                drop(listening);
                self.news.notify_all();
                taken_in?;
            }
            // Without announcing a sleep that may not be needed.
            if there() {
                return Ok(Outcome::Ready);
            }
        }
    }

    /// Sleeps until a packet comes, or the end. Without a limit of time, and if it may bring `max_fds` descriptors, it is
    /// taken by the same system call.
    fn sleep(
        &self,
        deadline: Option<Deadline>,
        at_most: Option<Duration>,
        max_fds: Option<usize>,
    ) -> io::Result<Option<Packet>> {
        match max_fds {
            Some(max_fds) if deadline.is_none() && at_most.is_none() => {
                Ok(Some(self.socket.receive_patiently(max_fds)?))
            }
            _ => {
                self.socket.wait(deadline, at_most)?;
                Ok(None)
            }
        }
    }

    /// As [`wait`](Self::wait), without sleeping. A descriptor given out is readable afterwards only if there is news.
    pub(super) fn glance(&self, there: impl Fn() -> bool, announce: impl FnOnce() -> bool) -> io::Result<Outcome> {
        let mut state = self.state.lock();
        self.look_in(&mut state, For::Message, &there)?;
        let ended = self.has_ended();
        let will_ring = announce();
        if there() {
            return Ok(Outcome::Ready);
        }
        match self.pollable.get() {
            Some(pollable) if will_ring => pollable.clear_readable(),
            // The kernel refuses what that takes: the descriptor stays readable, and its user looks each time.
            Some(pollable) => pollable.mark_readable(),
            None => {}
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

    /// Notes that message `id` is about to be taken, and its descriptors after that.
    pub(super) fn taker(&self, id: u64) -> Taker {
        self.state.lock().fds.taker(id)
    }

    /// The `n` descriptors of a message that was taken, which were sent before it; fewer if they did not all arrive.
    pub(super) fn take_fds(&self, taker: Taker, n: usize) -> io::Result<Vec<OwnedFd>> {
        let mut state = self.state.lock();
        let mut patience = MAX_NAPS;
        loop {
            let is_there = state.fds.n_of(taker.id) >= n || state.fds.is_past(taker.id);
            if is_there || state.drained || patience == 0 || !self.socket.has_packet() {
                state.full = false;
                return Ok(state.fds.take(taker));
            }
            let listening = if state.led { None } else { self.post.take() };
            if listening.is_some() {
                // No more than that: what comes after it can wait in the socket until its message is taken.
                state.fds.drop_untaken_before(taker.id);
                self.mark_readable();
                for _ in 0..MAX_PACKETS {
                    let max_fds = state.fds.per_packet();
                    self.take_one_in(&mut state, max_fds)?;
                    if state.fds.n_of(taker.id) >= n || state.fds.is_past(taker.id) || !self.socket.has_packet() {
                        break;
                    }
                }
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
    fn look_in(&self, state: &mut LobbyState, what: For, there: &impl Fn() -> bool) -> io::Result<()> {
        let listening = if state.led { None } else { self.post.take() };
        if listening.is_some() {
            self.take_in(state, what, there, None)?;
            self.news.notify_all();
        } else {
            // The leader would sleep on if its packets were taken away.
            self.ask_whether_ended();
        }
        Ok(())
    }

    /// Shows on a descriptor given out that there may be something.
    pub(super) fn mark_readable(&self) {
        if let Some(pollable) = self.pollable.get() {
            pollable.mark_readable();
        }
    }

    /// Takes in what has come, of which the `first` packet has been received already, until what is waited for is there,
    /// or too many descriptors wait for their message: the rest stays in the socket, and wakes the next sleeper there.
    fn take_in(
        &self,
        state: &mut LobbyState,
        what: For,
        there: &impl Fn() -> bool,
        first: Option<Packet>,
    ) -> io::Result<()> {
        // What is taken in here no longer shows on the socket.
        self.mark_readable();
        if let Some(packet) = first
            && (!self.keep(state, packet) || there())
        {
            return Ok(());
        }
        for _ in 0..MAX_PACKETS {
            // They are taken in with their messages; a process has not so many descriptors to hold them all before.
            if what == For::Message && state.fds.are_many() && there() {
                break;
            }
            let mut max_fds = state.fds.per_packet();
            if state.fds.is_full()
                && let Some(id) = self.socket.peek_fds()?
            {
                if what == For::Room || there() {
                    state.full = what == For::Room;
                    break;
                }
                // Every message is there before the descriptors of the next one are sent. So those that wait here are of
                // messages that will never be, or this one brings more than it may.
                state.fds.drop_untaken_before(id);
                if state.fds.is_full() {
                    max_fds = 0;
                }
            }
            if !self.take_one_in(state, max_fds)? || there() {
                break;
            }
        }
        Ok(())
    }

    /// Takes in one packet; false if there is none, or none will come.
    fn take_one_in(&self, state: &mut LobbyState, max_fds: usize) -> io::Result<bool> {
        Ok(match self.socket.receive(max_fds)? {
            Packet::Fds(..) if max_fds == 0 => true,
            packet => self.keep(state, packet),
        })
    }

    /// Takes note of a packet; false if it is none, or none will come.
    fn keep(&self, state: &mut LobbyState, packet: Packet) -> bool {
        match packet {
            Packet::Nothing => return false,
            Packet::Bell => {}
            Packet::End => {
                state.drained = true;
                self.ended.store(true, Release);
                return false;
            }
            Packet::Fds(id, fds) => state.fds.push(id, fds),
        }
        true
    }
}
