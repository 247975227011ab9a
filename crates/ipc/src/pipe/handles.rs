//! Descriptors that have come through a pipe's socket, and wait for their message to be taken.
//!
//! They come before their message, and its number with them; the numbers count up. So once a message is taken, what has
//! a lower number and no taker belongs to a message that was never finished.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

use super::socket::MAX_FDS;

/// As many as any process may hold: for those who trust each other.
pub(crate) const NO_LIMIT: usize = 1 << 20;

/// Packets of descriptors that wait; there may be packets without any.
const MAX_PACKETS: usize = 1024;

/// Few of the 1,024 descriptors that a process may have by default.
const MANY: usize = 64;

#[derive(Debug)]
pub(super) struct Handles {
    waiting: VecDeque<(u64, Vec<OwnedFd>)>,
    /// The numbers of messages that were taken and whose descriptors were not yet: that is not one step, and several
    /// threads take messages side by side.
    takers: Vec<(u64, Weak<()>)>,
    max: usize,
}

/// The taker of a message, which gets its descriptors unless this is dropped.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) id: u64,
    _alive: Arc<()>,
}

impl Handles {
    /// Takes in no more packets once `max` descriptors wait for messages that have not been taken.
    pub(super) fn new(max: usize) -> Self {
        Self { waiting: VecDeque::new(), takers: Vec::new(), max }
    }

    /// How many descriptors to let one packet bring.
    pub(super) fn per_packet(&self) -> usize {
        self.max.min(MAX_FDS)
    }

    pub(super) fn push(&mut self, id: u64, fds: Vec<OwnedFd>) {
        self.waiting.push_back((id, fds));
    }

    /// To be called before the message counts as taken: a thread that sees no message then sees its taker.
    pub(super) fn taker(&mut self, id: u64) -> Taker {
        let alive = Arc::new(());
        self.takers.retain(|(_, alive)| alive.strong_count() > 0);
        self.takers.push((id, Arc::downgrade(&alive)));
        Taker { id, _alive: alive }
    }

    pub(super) fn n_of(&self, id: u64) -> usize {
        self.waiting.iter().filter(|(of, _)| *of == id).map(|(_, fds)| fds.len()).sum()
    }

    /// Whether descriptors of a later message have come. Then all of this one's have.
    pub(super) fn is_past(&self, id: u64) -> bool {
        self.waiting.iter().any(|(of, _)| *of > id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether as many descriptors wait without a taker as may.
    pub(super) fn is_full(&self) -> bool {
        self.has_untaken(MAX_PACKETS, self.max)
    }

    /// Whether more descriptors wait without a taker than there is a reason for while there is a message to take.
    pub(super) fn are_many(&self) -> bool {
        self.has_untaken(MANY, MANY)
    }

    fn has_untaken(&self, max_packets: usize, max_fds: usize) -> bool {
        let mut untaken = self.waiting.iter().filter(|(of, _)| !self.has_taker(*of)).map(|(_, fds)| fds.len());
        let (mut n_packets, mut n_fds) = (0, 0);
        untaken.any(|n| {
            (n_packets, n_fds) = (n_packets + 1, n_fds + n);
            n_packets >= max_packets || n_fds >= max_fds
        })
    }

    /// Closes what came before the packet of message `id`, unless its message has been taken: no other will come.
    pub(super) fn drop_untaken_before(&mut self, id: u64) {
        let all = std::mem::take(&mut self.waiting);
        self.waiting = all.into_iter().filter(|(of, _)| *of >= id || self.has_taker(*of)).collect();
    }

    /// The descriptors of a message that has been taken. Closes those of messages that were never finished.
    pub(super) fn take(&mut self, taker: Taker) -> Vec<OwnedFd> {
        let id = taker.id;
        drop(taker);
        let all = std::mem::take(&mut self.waiting);
        let (own, others): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(|(of, _)| *of == id);
        self.waiting = others;
        self.drop_untaken_before(id);
        own.into_iter().flat_map(|(_, fds)| fds).collect()
    }

    fn has_taker(&self, id: u64) -> bool {
        self.takers.iter().any(|(of, alive)| *of == id && alive.strong_count() > 0)
    }
}
