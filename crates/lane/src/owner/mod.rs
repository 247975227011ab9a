//! The owner's end of a lane.

mod push;

use std::{
    collections::VecDeque,
    io,
    ops::Range,
    os::fd::OwnedFd,
    sync::atomic::Ordering::{Acquire, Relaxed},
};

use kernel::handover::Fd;

use crate::{
    descriptors::{self, MAX_RESULT_FDS, Received},
    layout::{BUFFER_WORDS, Memory, N_BUFFERS, N_SLOTS, Slot, copy_out, is_spilled, n_fds},
    machine::SlotState,
    spill::{self, Place},
    worker::LaneHandle,
};

/// The owner's end of a lane; see the [module](super).
///
/// # Crash safety
/// Nothing that the worker does or leaves undone blocks any call, makes it panic, or reads beyond the lane.
#[derive(Debug)]
pub struct OwnerLane {
    memory: Memory,
    spill: OwnedFd,
    /// Descriptors go out and come in here.
    socket: Fd,
    /// The worker's end: what it has been sent and does not need is taken back here.
    worker_end: Fd,
    received: Received,
    /// Where the next task goes, counted over all laps.
    tail: u64,
    /// The tasks given and not taken back, in the order given.
    given: VecDeque<Given>,
    occupied: [bool; N_SLOTS],
    free_buffers: Vec<u32>,
    /// The buffers with whose chunk more memory is left than is kept there for good, and how many bytes have some.
    kept: Vec<(u32, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    position: u64,
    spilled_bytes: u64,
    buffer: Option<u32>,
    has_fds: bool,
}

/// A task's end.
#[derive(Debug)]
pub struct Finished {
    /// The slot that it was in, which is free again.
    pub slot: usize,
    /// The worker's remark.
    pub tag: u32,
    /// Where in the arena its result is; an error if it could not be read.
    pub bytes: io::Result<Range<usize>>,
    /// What it published item by item, if it has a stream.
    pub progress: Option<Progress>,
    /// The descriptors that came along with either; an error if they could not be taken in.
    pub fds: io::Result<Vec<OwnedFd>>,
}

/// What a task on many items has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Items finished, in order.
    pub n_items: u32,
    /// Where in the arena their results are, one after another.
    pub bytes: Range<usize>,
}

/// A mask for laps that keeps positions in range, whatever lies in a slot.
const LAPS: u64 = u64::MAX >> 16;

fn slot_of(position: u64) -> usize {
    (position % N_SLOTS as u64) as usize
}

fn lap_of(position: u64) -> u64 {
    position / N_SLOTS as u64
}

impl OwnerLane {
    /// Makes a lane for a worker to come. `bell` is an eventfd of the owner's, which workers ring.
    ///
    /// # Errors
    /// Want of memory or descriptors (it takes four).
    pub fn new(bell: OwnedFd) -> io::Result<(Self, LaneHandle)> {
        let memory = Memory::new()?;
        let spill = spill::create()?;
        let (socket, worker_end) = descriptors::pair()?;
        let handle = LaneHandle::new(memory.clone(), spill.try_clone()?, Fd(worker_end.0.try_clone()?), bell);
        Ok((Self::with(memory, spill, socket, worker_end), handle))
    }

    fn with(memory: Memory, spill: OwnedFd, socket: Fd, worker_end: Fd) -> Self {
        Self {
            memory,
            spill,
            socket,
            worker_end,
            received: Received::default(),
            tail: 0,
            given: VecDeque::new(),
            occupied: [false; N_SLOTS],
            free_buffers: (0..N_BUFFERS as u32).rev().collect(),
            kept: Vec::new(),
        }
    }

    /// The owner's end of a lane whose owner is gone: all that it knew lies in the slots, but for the descriptors that
    /// went along with tasks.
    ///
    /// # Errors
    /// Want of descriptors (it takes four).
    pub fn adopt(handle: &LaneHandle) -> io::Result<Self> {
        let (memory, spill, worker_end) = handle.parts()?;
        let mut this = Self::with(memory, spill, Fd(worker_end.0.try_clone()?), worker_end);
        let mut given = Vec::new();
        for (index, slot) in this.memory.get().slots.iter().enumerate() {
            let (lap, has_task) = slot.word.lap();
            let position = (lap & LAPS) * N_SLOTS as u64 + index as u64;
            // A free slot of a later lap is where a task was; nothing lies beyond it but what comes next.
            this.tail =
                this.tail.max(if has_task { position + 1 } else { position.saturating_sub(N_SLOTS as u64 - 1) });
            if has_task {
                let spilled_bytes = if is_spilled(slot.form.load(Relaxed)) { slot.len.load(Relaxed) } else { 0 };
                let buffer = Some(slot.buffer.load(Relaxed)).filter(|buffer| this.free_buffers.contains(buffer));
                this.free_buffers.retain(|free| Some(*free) != buffer);
                this.occupied[index] = true;
                given.push(Given { position, spilled_bytes, buffer, has_fds: false });
            }
        }
        given.sort_by_key(|given| given.position);
        this.given = given.into();
        Ok(this)
    }

    /// Wakes the worker if it sleeps, after pushes.
    pub fn notify(&self) {
        self.memory.get().sleep.wake();
    }

    /// Whether the worker sleeps, so that the next task for it takes a system call.
    pub fn is_asleep(&self) -> bool {
        self.memory.get().sleep.is_asleep()
    }

    /// Takes a task back that the worker has not begun with; false if it has.
    pub fn recall(&mut self, slot: usize) -> bool {
        let Some(at) = self.given.iter().rposition(|given| slot_of(given.position) == slot) else { return false };
        let lap = lap_of(self.given[at].position);
        if !self.memory.get().slots[slot].word.recall(lap) {
            return false;
        }
        let has_fds = self.given[at].has_fds;
        self.forget(at);
        if has_fds {
            // Without success they go with the next ones that do.
            let _ = self.take_back_fds();
        }
        true
    }

    /// How many tasks were given and are neither taken back nor polled.
    pub fn len(&self) -> usize {
        self.given.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// The slots of those, in the order given, and what has become of each.
    pub fn slots(&self) -> impl DoubleEndedIterator<Item = (usize, SlotState)> {
        self.given.iter().map(|given| (slot_of(given.position), self.state(*given)))
    }

    /// What the worker noted last; 0 before it noted anything.
    pub fn note(&self) -> u64 {
        self.memory.get().note.load(Relaxed)
    }

    /// Whether the next [`poll`](Self::poll) has something to tell.
    pub fn has_finished(&self) -> bool {
        self.given.front().is_some_and(|given| self.state(*given) == SlotState::Done)
    }

    /// The next task that has ended, in the order given. Appends what it left behind to `arena`.
    pub fn poll(&mut self, arena: &mut Vec<u8>) -> Option<Finished> {
        let given = *self.given.front()?;
        if self.state(given) != SlotState::Done {
            return None;
        }
        let index = slot_of(given.position);
        let slot = &self.memory.get().slots[index];
        let (tag, form) = (slot.tag.load(Relaxed), slot.form.load(Relaxed));
        let bytes = self.read_result(slot, index, arena);
        let progress = given.buffer.map(|buffer| self.read_stream(buffer, arena));
        let n_fds = given.buffer.map_or(n_fds(form), |buffer| self.n_streamed_fds(buffer));
        slot.word.release(lap_of(given.position));
        self.forget(0);
        let fds = self.take_fds(given.position, n_fds);
        Some(Finished { slot: index, tag, bytes, progress, fds })
    }

    /// What the task in `slot` has published so far; for the one that a dead worker was running.
    pub fn progress(&self, slot: usize, arena: &mut Vec<u8>) -> Option<Progress> {
        let given = self.given.iter().find(|given| slot_of(given.position) == slot)?;
        given.buffer.map(|buffer| self.read_stream(buffer, arena))
    }

    /// The descriptors that go along with [`progress`](Self::progress); once.
    ///
    /// # Errors
    /// `EMFILE` if this process cannot hold them.
    pub fn progress_fds(&mut self, slot: usize) -> io::Result<Vec<OwnedFd>> {
        let given = self.given.iter().find(|given| slot_of(given.position) == slot);
        let Some(Given { position, buffer: Some(buffer), .. }) = given.copied() else { return Ok(Vec::new()) };
        self.take_fds(position, self.n_streamed_fds(buffer))
    }

    fn n_streamed_fds(&self, buffer: u32) -> usize {
        self.memory.get().buffers[buffer as usize].n_fds.load(Relaxed) as usize
    }

    /// What the worker says is believed up to a bound.
    fn take_fds(&mut self, position: u64, n: usize) -> io::Result<Vec<OwnedFd>> {
        if n == 0 { Ok(Vec::new()) } else { self.received.take(&self.socket, position, n.min(MAX_RESULT_FDS)) }
    }

    /// Makes the worker ring the bell at the next result. True if there is one already: then the owner must not sleep.
    pub fn arm(&self) -> bool {
        self.memory.get().bell.arm();
        self.has_finished()
    }

    /// Takes the wish back.
    pub fn disarm(&self) {
        self.memory.get().bell.disarm();
    }

    /// Makes the worker leave once it finds nothing to do.
    pub fn stop(&self) {
        self.memory.get().sleep.stop();
    }

    fn state(&self, given: Given) -> SlotState {
        self.memory.get().slots[slot_of(given.position)].word.state(lap_of(given.position))
    }

    fn read_result(&self, slot: &Slot, index: usize, arena: &mut Vec<u8>) -> io::Result<Range<usize>> {
        let begin = arena.len();
        let len = slot.len.load(Relaxed);
        if !is_spilled(slot.form.load(Relaxed)) {
            copy_out(&slot.payload, len as usize, arena);
        } else {
            let read = spill::read(&self.spill, Place::Result(index), len, arena);
            spill::release(&self.spill, Place::Result(index), len);
            if let Err(e) = read {
                arena.truncate(begin);
                return Err(e);
            }
        }
        Ok(begin..arena.len())
    }

    fn read_stream(&self, buffer: u32, arena: &mut Vec<u8>) -> Progress {
        let shared = &self.memory.get().buffers[buffer as usize];
        // Acquire: the bytes that it counts are read next.
        let published = shared.published.load(Acquire);
        let len = (published as u32 as usize).min(BUFFER_WORDS * 8);
        let begin = arena.len();
        copy_out(&shared.bytes, len, arena);
        Progress { n_items: (published >> 32) as u32, bytes: begin..arena.len() }
    }

    fn forget(&mut self, at: usize) {
        let Some(given) = self.given.remove(at) else { return };
        let index = slot_of(given.position);
        self.occupied[index] = false;
        self.free_buffers.extend(given.buffer);
        match given.buffer {
            Some(buffer) if spill::is_soon_filled_again(given.spilled_bytes) => self.keep(buffer, given.spilled_bytes),
            _ => spill::release(&self.spill, Place::task(index, given.buffer), given.spilled_bytes),
        }
        // While one chunk follows the other, each finds the memory of the one before.
        if self.given.is_empty() {
            self.release_chunks();
        }
    }

    #[cfg(test)]
    pub(crate) fn spilled_bytes(&self) -> u64 {
        nix::sys::stat::fstat(&self.spill).unwrap().st_blocks as u64 * 512
    }

    fn keep(&mut self, buffer: u32, bytes: u64) {
        match self.kept.iter_mut().find(|(of, _)| *of == buffer) {
            Some((_, kept)) => *kept = bytes.max(*kept),
            None => self.kept.push((buffer, bytes)),
        }
    }

    fn release_chunks(&mut self) {
        for (buffer, bytes) in self.kept.drain(..) {
            spill::release(&self.spill, Place::Chunk(buffer), bytes);
        }
    }
}
