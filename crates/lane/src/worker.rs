//! The worker's end of a lane.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::Ordering::{Relaxed, Release},
    },
};

use kernel::handover::Fd;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
};
use serde::{Deserialize, Serialize};

use crate::{
    descriptors::{self, Received},
    layout::{
        BUFFER_WORDS, Memory, N_BUFFERS, N_SLOTS, NO_BUFFER, SLOT_WORDS, copy_in, copy_out, form, is_spilled, n_fds,
    },
    machine::{Found, SlotWord},
    spill::{self, Place},
};

/// The worker's end of a lane, on its way there: an argument of the worker's process.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaneHandle {
    memory: Memory,
    spill: Fd,
    socket: Fd,
    bell: Fd,
}

impl LaneHandle {
    pub(super) fn new(memory: Memory, spill: OwnedFd, socket: Fd, bell: OwnedFd) -> Self {
        Self { memory, spill: Fd(spill), socket, bell: Fd(bell) }
    }

    /// The worker's end, for the one process that works on it.
    ///
    /// # Errors
    /// Want of descriptors (it takes three).
    pub fn open(&self) -> io::Result<WorkerLane> {
        Ok(WorkerLane {
            memory: self.memory.clone(),
            spill: self.spill.0.try_clone()?,
            socket: Arc::new(Fd(self.socket.0.try_clone()?)),
            bell: self.bell.0.try_clone()?,
            received: Received::default(),
            position: 0,
            spins: MIN_SPINS,
            is_cut_off: false,
        })
    }

    pub(super) fn parts(&self) -> io::Result<(Memory, OwnedFd, Fd)> {
        Ok((self.memory.clone(), self.spill.0.try_clone()?, Fd(self.socket.0.try_clone()?)))
    }
}

/// The worker's end of a lane; see the [module](super).
///
/// # Crash safety
/// Killed at any instruction, the worker leaves each task in exactly one state: not begun, begun, or ended.
#[derive(Debug)]
pub struct WorkerLane {
    memory: Memory,
    spill: OwnedFd,
    socket: Arc<Fd>,
    bell: OwnedFd,
    received: Received,
    position: u64,
    /// How often to look before sleeping: more while that pays, less while it does not.
    spins: u32,
    /// A task has closed the descriptors that this stands on.
    is_cut_off: bool,
}

const MIN_SPINS: u32 = 256;
const MAX_SPINS: u32 = 2048;
/// The owner may be waiting for this very CPU: let it run before it has to wake this worker.
const SPINS_TO_A_YIELD: u32 = 64;

impl WorkerLane {
    /// Waits for a task and begins with it; `None` if there is none and the owner wants this worker to leave, or if it
    /// must leave, because a task closed descriptors that were not its own.
    ///
    /// Spins for at most some 30 µs, and only while that proves worthwhile, then sleeps.
    pub fn claim(&mut self) -> Option<Claim<'_>> {
        loop {
            if self.is_cut_off {
                return None;
            }
            if let Some(index) = self.try_claim() {
                return Some(Claim { lane: self, index });
            }
            if self.memory.get().sleep.is_to_stop() {
                // A task given before the order to stop is visible by now.
                let last = self.try_claim();
                return last.map(|index| Claim { lane: self, index });
            }
            if !self.spin() {
                self.sleep();
            }
        }
    }

    /// Claims the next task in the ring, passing over those that were taken back.
    fn try_claim(&mut self) -> Option<usize> {
        loop {
            match self.slot_word().claim(self.lap()) {
                Found::Claimed => return Some(self.index()),
                Found::Passed => self.position += 1,
                Found::Nothing => return None,
            }
        }
    }

    fn index(&self) -> usize {
        (self.position % N_SLOTS as u64) as usize
    }

    fn lap(&self) -> u64 {
        self.position / N_SLOTS as u64
    }

    fn slot_word(&self) -> &SlotWord {
        &self.memory.get().slots[self.index()].word
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    fn is_ready(&self) -> bool {
        self.slot_word().has_something(self.lap())
    }

    fn spin(&mut self) -> bool {
        for spin in 1..=self.spins {
            if self.is_ready() {
                self.spins = (self.spins * 2).min(MAX_SPINS);
                return true;
            }
            if spin % SPINS_TO_A_YIELD == 0 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        self.spins = (self.spins / 2).max(MIN_SPINS);
        false
    }

    fn sleep(&mut self) {
        // Before a system call another one is cheap; and a worker that sleeps without a bell is not heard of again.
        self.is_cut_off = fcntl(&self.bell, FcntlArg::F_GETFD).is_err();
        if self.is_cut_off {
            return;
        }
        self.memory.get().sleep.sleep(|| self.is_ready());
    }
}

/// A task that this worker has begun with.
#[derive(Debug)]
#[must_use = "the owner waits for its end"]
pub struct Claim<'a> {
    lane: &'a mut WorkerLane,
    index: usize,
}

impl Claim<'_> {
    /// Its slot, as the owner calls it.
    pub fn slot(&self) -> usize {
        self.index
    }

    /// The owner's remark.
    pub fn tag(&self) -> u32 {
        self.lane.memory.get().slots[self.index].tag.load(Relaxed)
    }

    /// Replaces what is in `payload` by the task's.
    ///
    /// # Errors
    /// Want of memory.
    pub fn read(&self, payload: &mut Vec<u8>) -> io::Result<()> {
        payload.clear();
        let slot = &self.lane.memory.get().slots[self.index];
        let len = slot.len.load(Relaxed);
        if is_spilled(slot.form.load(Relaxed)) {
            let buffer = Some(slot.buffer.load(Relaxed)).filter(|buffer| *buffer != NO_BUFFER);
            return spill::read(&self.lane.spill, Place::task(self.index, buffer), len, payload);
        }
        copy_out(&slot.payload, len as usize, payload);
        Ok(())
    }

    /// The descriptors that came along with the task; once.
    ///
    /// # Errors
    /// `EMFILE` if this process cannot hold them.
    pub fn fds(&mut self) -> io::Result<Vec<OwnedFd>> {
        let WorkerLane { memory, socket, received, position, .. } = &mut *self.lane;
        match n_fds(memory.get().slots[self.index].form.load(Relaxed)) {
            0 => Ok(Vec::new()),
            n => received.take(socket, *position, n),
        }
    }

    /// Puts the task back as one that has not begun, for another worker: to be called before anything of it was done.
    /// This one takes no further tasks.
    pub fn give_back(self) {
        self.lane.slot_word().give_back(self.lane.lap());
        self.lane.is_cut_off = true;
    }

    /// Leaves a number where the owner may look for it ([`OwnerLane::note`](crate::OwnerLane::note)), until the next.
    pub fn note(&self, note: u64) {
        self.lane.memory.get().note.store(note, Relaxed);
    }

    /// Whether it was given with a stream.
    pub fn has_stream(&self) -> bool {
        self.lane.memory.get().slots[self.index].buffer.load(Relaxed) != NO_BUFFER
    }

    /// Where results go item by item; for tasks that were given with a stream.
    pub fn stream(&self) -> Stream {
        let slot = &self.lane.memory.get().slots[self.index];
        Stream {
            memory: self.lane.memory.clone(),
            socket: self.lane.socket.clone(),
            position: self.lane.position,
            n_fds: 0,
            buffer: slot.buffer.load(Relaxed) as usize % N_BUFFERS,
            first: slot.from.load(Relaxed),
            n_items: 0,
            len: 0,
            carry: 0,
        }
    }

    /// Ends the task with a result, and tells the owner if it wants to be told.
    ///
    /// # Errors
    /// Want of memory for a large result; the task has not ended then.
    pub fn finish(&mut self, tag: u32, result: &[u8]) -> io::Result<()> {
        self.finish_with(tag, result, &[])
    }

    /// As [`finish`](Self::finish), with descriptors that go along, at most [`MAX_RESULT_FDS`](crate::MAX_RESULT_FDS).
    ///
    /// # Errors
    /// As there; `E2BIG` for more; `ETOOMANYREFS` if this user has as many on their way as a process may have open.
    pub fn finish_with(&mut self, tag: u32, result: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
        let spilled = result.len() > SLOT_WORDS * 8;
        if spilled {
            spill::write(&self.lane.spill, Place::Result(self.index), result)?;
        }
        if !fds.is_empty() {
            descriptors::send_result(&self.lane.socket, self.lane.position, 0, fds)?;
        }
        let layout = self.lane.memory.get();
        let slot = &layout.slots[self.index];
        if !spilled {
            copy_in(&slot.payload, result);
        }
        slot.len.store(result.len() as u64, Relaxed);
        slot.form.store(form(spilled, fds.len()), Relaxed);
        slot.tag.store(tag, Relaxed);
        slot.word.finish(self.lane.lap());
        self.lane.position += 1;
        if layout.bell.is_to_ring() {
            // A counter that is full is as good as one that has just grown.
            let rung = nix::unistd::write(&self.lane.bell, &1_u64.to_ne_bytes());
            self.lane.is_cut_off = rung.is_err_and(|e| e != Errno::EAGAIN);
        }
        Ok(())
    }
}

/// Takes the results of a task on many items, each published as soon as it is there.
#[derive(Debug)]
pub struct Stream {
    memory: Memory,
    socket: Arc<Fd>,
    position: u64,
    n_fds: usize,
    buffer: usize,
    first: u32,
    n_items: u32,
    len: usize,
    /// The bytes since the last whole word, and zeros.
    carry: u64,
}

impl Stream {
    /// The item to begin with; those before it have been worked on.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// How many have been published.
    pub fn n_items(&self) -> u32 {
        self.n_items
    }

    /// How many descriptors have been sent along.
    pub fn n_fds(&self) -> usize {
        self.n_fds
    }

    /// Sends descriptors ahead of the result that they belong to; at most [`MAX_RESULT_FDS`](crate::MAX_RESULT_FDS) with all that is published.
    ///
    /// # Errors
    /// `E2BIG` for more; `ETOOMANYREFS` if this user has as many on their way as a process may have open.
    pub fn send_fds(&mut self, fds: &[OwnedFd]) -> io::Result<()> {
        descriptors::send_result(&self.socket, self.position, self.n_fds, fds)?;
        self.n_fds += fds.len();
        self.memory.get().buffers[self.buffer].n_fds.store(self.n_fds as u64, Relaxed);
        Ok(())
    }

    /// Publishes the next item's result; false if there is no room for it.
    #[inline]
    pub fn publish(&mut self, item: &[u8]) -> bool {
        if item.len() > BUFFER_WORDS * 8 - self.len {
            return false;
        }
        if let Ok(number) = item.try_into()
            && self.len.is_multiple_of(8)
        {
            // One number after another, as most results are.
            let shared = &self.memory.get().buffers[self.buffer];
            shared.bytes[self.len / 8].store(u64::from_ne_bytes(number), Relaxed);
            self.len += 8;
        } else {
            self.append(item);
        }
        self.n_items += 1;
        let shared = &self.memory.get().buffers[self.buffer];
        // Release: the owner that counts the item sees its bytes.
        shared.published.store(u64::from(self.n_items) << 32 | self.len as u64, Release);
        true
    }

    fn append(&mut self, item: &[u8]) {
        let shared = &self.memory.get().buffers[self.buffer];
        let (words, rest) = item.as_chunks::<8>();
        let shift = self.len % 8 * 8;
        if shift == 0 && rest.is_empty() {
            for (place, word) in shared.bytes[self.len / 8..].iter().zip(words) {
                place.store(u64::from_ne_bytes(*word), Relaxed);
            }
            self.len += item.len();
            return;
        }
        for word in words {
            let bytes = u64::from_le_bytes(*word);
            shared.bytes[self.len / 8].store((self.carry | bytes << shift).to_le(), Relaxed);
            self.carry = bytes.checked_shr(64 - shift as u32).unwrap_or(0);
            self.len += 8;
        }
        if !rest.is_empty() {
            // Byte by byte: a call of memcpy takes longer.
            let bytes = rest.iter().rev().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte));
            let whole = self.carry | bytes << shift;
            if shift / 8 + rest.len() >= 8 {
                shared.bytes[self.len / 8].store(whole.to_le(), Relaxed);
                self.carry = bytes.checked_shr(64 - shift as u32).unwrap_or(0);
            } else {
                self.carry = whole;
            }
            self.len += rest.len();
        }
        if !self.len.is_multiple_of(8) {
            shared.bytes[self.len / 8].store(self.carry.to_le(), Relaxed);
        }
    }
}
