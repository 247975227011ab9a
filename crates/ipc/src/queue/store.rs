//! The descriptors of messages, while the messages are in the queue: the kernel keeps them, whichever process dies.
//!
//! A packet of the store's socket has the descriptors of one message, and a ticket that names the block in which the
//! message lies. As long as the block is held or in the ring, and says the same ticket, the packet is wanted. An unwanted
//! one is removed by the next process that comes across it. README.md has the protocol.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use kernel::futex::Deadline;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use sync::process::{Lock, LockGuard};

use super::{patience::Patience, ring::Stop, word::BlockId};
use crate::pipe::socket::{MAX_FDS, Packet, Socket};

/// Most descriptors of a message.
pub(crate) const MAX_MESSAGE_FDS: usize = MAX_FDS;

/// More room than the kernel gives unasked, as far as it may be had.
const ROOM_BYTES: usize = 1 << 20;
/// How long an operation that does not want to wait still waits for the lock: its holder may be running.
const MOMENT: Duration = Duration::from_millis(10);
/// What the kernel counts for a packet, at least.
const LEAST_PACKET_BYTES: usize = 256;

/// One a queue whose messages may hold handles. Takes three descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Store {
    entrance: Socket,
    exit: Socket,
    /// Held by a process that looks through the packets or removes some.
    lock: Lock<()>,
}

/// The right to look through the packets and to remove some. A holder that is killed leaves all as it was, or has removed
/// one unwanted packet, or leaves one packet twice.
#[derive(Debug)]
pub(crate) struct Key<'a> {
    _lock: LockGuard<'a, ()>,
}

/// What a packet has in common with its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    /// `number` tells the messages of a block apart.
    pub(crate) fn new(block: BlockId, number: u32) -> Self {
        Self(block.to_bits() << 32 | u64::from(number) | 1)
    }

    /// Whether it can be one.
    pub(crate) fn is_valid(self) -> bool {
        self.0 & 1 != 0
    }

    pub(crate) fn block(self) -> BlockId {
        BlockId::from_bits(self.0 >> 32)
    }
}

impl Store {
    pub(crate) fn new() -> io::Result<Self> {
        let (entrance, exit) = Socket::pair()?;
        entrance.ask_for_room(ROOM_BYTES);
        Ok(Self { entrance, exit, lock: Lock::new(())? })
    }

    /// Stores the descriptors of a message that is about to be put. `WouldBlock` if there is no room now.
    pub(crate) fn put(
        &self,
        ticket: Ticket,
        fds: &[BorrowedFd<'_>],
        is_wanted: impl Fn(Ticket) -> bool,
    ) -> Result<(), Stop> {
        if self.is_full(is_wanted)? {
            return Err(Stop::WouldBlock);
        }
        self.send(ticket, fds).map_err(|e| if e == Errno::EAGAIN { Stop::WouldBlock } else { e.into() })
    }

    /// Whether there is no room now for the descriptors of another message, once unwanted packets are removed.
    pub(crate) fn is_full(&self, is_wanted: impl Fn(Ticket) -> bool) -> nix::Result<bool> {
        if self.has_room()? {
            return Ok(false);
        }
        if let Some(key) = self.key_within(Duration::ZERO) {
            self.remove_unwanted(&key, is_wanted);
        }
        Ok(!self.has_room()?)
    }

    /// Waits for the key. If another process keeps it that long (it may be stopped), `WouldBlock` when patience ends, or
    /// `ResourceBusy` for a caller that has none.
    pub(crate) fn key(&self, patience: Patience) -> Result<Key<'_>, Stop> {
        match patience {
            Patience::Now => self.key_within(MOMENT).ok_or(Stop::System(io::ErrorKind::ResourceBusy)),
            Patience::For(time) => self.key_within(time).ok_or(Stop::WouldBlock),
            Patience::Forever => Ok(Key { _lock: self.lock.lock().unwrap_or_else(|died| mended(died.into_inner())) }),
        }
    }

    /// Removes the packet of a message that has been taken if it is the first, else the first packets that are unwanted.
    pub(crate) fn remove_taken(&self, key: &Key<'_>, is_first: bool, is_wanted: impl Fn(Ticket) -> bool) {
        // If it fails, the next one does it.
        if !is_first || self.remove_first().is_err() {
            self.remove_unwanted(key, is_wanted);
        }
    }

    /// Removes the first packets, as long as they are unwanted: those of messages that are done with. If another process
    /// has the key, that one, or the next, does it.
    pub(crate) fn tidy(&self, is_wanted: impl Fn(Ticket) -> bool) {
        if let Some(key) = self.key_within(MOMENT) {
            self.remove_unwanted(&key, is_wanted);
        }
    }

    /// Removes all unwanted packets: those that dead processes leave, and those behind a packet that is long wanted.
    pub(crate) fn clear(&self, is_wanted: impl Fn(Ticket) -> bool) {
        let Some(key) = self.key_within(MOMENT) else { return };
        if !self.has_unwanted(&is_wanted).unwrap_or(false) {
            return;
        }
        let mut first_moved = None;
        // Any process that has the queue can send to the socket, so the number of steps is bounded.
        for _ in 0..=self.n_bytes().unwrap_or(0) / LEAST_PACKET_BYTES {
            self.remove_unwanted(&key, &is_wanted);
            let Ok(Some((ticket, fds))) = self.look_first(MAX_FDS) else { return };
            if first_moved == Some(ticket) {
                return;
            }
            first_moved.get_or_insert(ticket);
            // To the end, and only then away from the beginning: a process that is killed in between leaves it there twice.
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if self.send(ticket, &fds).is_err() || self.remove_first().is_err() {
                return;
            }
        }
    }

    /// Copies of the descriptors of a message, and whether its packet is the first here.
    pub(crate) fn find(&self, _key: &Key<'_>, ticket: Ticket) -> Result<(Vec<OwnedFd>, bool), Stop> {
        self.exit.look_at_first()?;
        for nth in 0..=self.n_bytes()? / LEAST_PACKET_BYTES {
            match self.exit.look(MAX_FDS)? {
                Packet::Fds(of, fds) if of == ticket.0 => return Ok((fds, nth == 0)),
                Packet::Fds(..) | Packet::Bell => {}
                Packet::End | Packet::Nothing => break,
            }
        }
        // Another process has taken them, against the rules.
        Err(Stop::Damaged)
    }

    fn has_unwanted(&self, is_wanted: impl Fn(Ticket) -> bool) -> nix::Result<bool> {
        self.exit.look_at_first()?;
        for _ in 0..=self.n_bytes()? / LEAST_PACKET_BYTES {
            match self.exit.look(0)? {
                Packet::Fds(ticket, _) if is_wanted(Ticket(ticket)) => {}
                Packet::Fds(..) | Packet::Bell => return Ok(true),
                Packet::End | Packet::Nothing => break,
            }
        }
        Ok(false)
    }

    fn remove_unwanted(&self, _key: &Key<'_>, is_wanted: impl Fn(Ticket) -> bool) {
        // Without success the next one does it.
        while let Ok(Some((ticket, _))) = self.look_first(0)
            && !is_wanted(ticket)
            && self.remove_first().is_ok()
        {}
    }

    fn look_first(&self, max_fds: usize) -> nix::Result<Option<(Ticket, Vec<OwnedFd>)>> {
        self.exit.look_at_first()?;
        Ok(match self.exit.look(max_fds)? {
            Packet::Fds(ticket, fds) => Some((Ticket(ticket), fds)),
            // From a process that does not keep to the rules: it belongs to no message.
            Packet::Bell => Some((Ticket(0), Vec::new())),
            Packet::End | Packet::Nothing => None,
        })
    }

    fn remove_first(&self) -> nix::Result<()> {
        self.exit.receive(0).map(drop)
    }

    fn send(&self, ticket: Ticket, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        self.entrance.send_fds(ticket.0, fds, Deadline::after(Duration::ZERO))
    }

    /// A quarter of the room stays free, for packets to be moved.
    fn has_room(&self) -> nix::Result<bool> {
        Ok(self.n_bytes()? < self.entrance.room()? / 4 * 3)
    }

    fn n_bytes(&self) -> nix::Result<usize> {
        self.entrance.n_bytes_sent()
    }

    fn key_within(&self, time: Duration) -> Option<Key<'_>> {
        let lock = if time.is_zero() { self.lock.try_lock() } else { self.lock.lock_timeout(time) };
        Some(Key { _lock: lock.unwrap_or_else(|died| Some(mended(died.into_inner())))? })
    }
}

/// A lock whose holder was killed.
fn mended(lock: LockGuard<'_, ()>) -> LockGuard<'_, ()> {
    lock.mark_consistent();
    lock
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        match e {
            // This process has no room for them, or as many are on their way already, of this user, as one process may have.
            Errno::EMFILE | Errno::ETOOMANYREFS => Self::System(io::ErrorKind::QuotaExceeded),
            e => io::Error::from(e).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use kernel::handover::Fd;

    use super::super::{Queue, patience::Patience, raw::Raw};
    use crate::{GetError, GetTimeoutError, JoinableQueue, PutTimeoutError, TryGetError, TryPutError};

    const SHORT: Duration = Duration::from_millis(30);

    /// Runs `test` while another thread has the key and does nothing, as one does that is stopped there.
    fn beside_one_who_stands_still(raw: &Raw, test: impl FnOnce()) {
        let store = raw.store.as_ref().expect("made for handles");
        let ((here, is_here), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
        thread::scope(|scope| {
            scope.spawn(move || {
                let _key = store.key(Patience::Forever).unwrap();
                here.send(()).unwrap();
                let _ = may_go_on.recv();
            });
            is_here.recv().unwrap();
            test();
            drop(go_on);
        });
    }

    fn fd() -> Fd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn getters_keep_their_deadlines_and_take_nothing() {
        let queue = Queue::new(3).unwrap();
        (0..2).for_each(|n: u32| queue.put((n, fd())).unwrap());
        beside_one_who_stands_still(&queue.raw, || {
            let begun = Instant::now();
            assert!(matches!(queue.get_timeout(SHORT), Err(GetTimeoutError::TimedOut)));
            assert!(begun.elapsed() >= SHORT);
            assert!(matches!(queue.try_get(), Err(TryGetError::System(std::io::ErrorKind::ResourceBusy))));
            assert_eq!(queue.len(), 2);
            queue.put((2, fd())).unwrap();
        });
        assert_eq!((0..3).map(|_| queue.get().unwrap().0).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn a_full_store_is_full_while_nobody_can_tidy_it() {
        let queue = Queue::new(0).unwrap();
        let full = loop {
            if let Err(full) = queue.try_put(fd()) {
                break full;
            }
            assert!(queue.len() < 100_000, "there is an end to the room");
        };
        assert!(queue.is_full(), "for want of room for handles");
        beside_one_who_stands_still(&queue.raw, || {
            let Err(TryPutError::Full(fd)) = queue.try_put(full.into_inner()) else { panic!("it is full") };
            assert!(matches!(queue.put_timeout(fd, SHORT), Err(PutTimeoutError::TimedOut(_))));
        });
        drop(queue.get().unwrap());
        assert!(!queue.is_full());
    }

    #[test]
    fn what_nobody_can_lease_is_not_counted_as_delivered() {
        let queue = JoinableQueue::<Fd>::builder().max_deliveries(1).build_joinable().unwrap();
        queue.put(fd()).unwrap();
        beside_one_who_stands_still(queue.raw(), || {
            assert!(matches!(queue.get_timeout(SHORT), Err(GetTimeoutError::TimedOut)));
            assert!(matches!(queue.try_get(), Err(TryGetError::System(_))));
        });
        drop(queue.get().unwrap());
        beside_one_who_stands_still(queue.raw(), || {
            assert!(matches!(queue.dead_letters(), Err(GetError::System(_))));
        });
        assert_eq!(queue.dead_letters().unwrap().len(), 1);
    }

    #[test]
    fn one_that_is_done_with_does_not_wait_to_tidy() {
        let queue = JoinableQueue::<Fd>::new(1).unwrap();
        queue.put(fd()).unwrap();
        let item = queue.get().unwrap();
        beside_one_who_stands_still(queue.raw(), || item.task_done());
        queue.join().unwrap();
    }
}
