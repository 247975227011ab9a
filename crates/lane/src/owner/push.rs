//! Giving tasks to the worker, with their descriptors.

use std::{io, os::fd::BorrowedFd, sync::atomic::Ordering::Relaxed};

use kernel::sys::seqpacket::MAX_FDS;
use nix::errno::Errno;

use super::{Given, OwnerLane, lap_of, slot_of};
use crate::{
    descriptors::{self, Received},
    layout::{NO_BUFFER, SLOT_WORDS, copy_in, form},
    spill::{self, Place},
};

impl OwnerLane {
    /// Gives a task to the worker: the slot that it went to, or `None` if the lane is full. `stream` is the item that a
    /// task on many begins with. [`notify`](Self::notify) afterwards.
    ///
    /// # Errors
    /// Want of memory for a large payload.
    pub fn push(&mut self, tag: u32, stream: Option<u32>, payload: &[u8]) -> io::Result<Option<usize>> {
        self.push_with(tag, stream, payload, &[])
    }

    /// As [`push`](Self::push), with descriptors that go along. The lane is full, too, while the worker has not taken in
    /// those of earlier tasks.
    ///
    /// # Errors
    /// As there; `ETOOMANYREFS` if this user has as many on their way as a process may have open.
    pub fn push_with(
        &mut self,
        tag: u32,
        stream: Option<u32>,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<Option<usize>> {
        let (index, lap) = (slot_of(self.tail), lap_of(self.tail));
        if self.occupied[index] || stream.is_some() && self.free_buffers.is_empty() {
            return Ok(None);
        }
        let spilled = payload.len() > SLOT_WORDS * 8;
        let buffer = stream.and_then(|_| self.free_buffers.last().copied());
        if spilled {
            spill::write(&self.spill, Place::task(index, buffer), payload)?;
        }
        if !fds.is_empty() && !self.send_fds(fds)? {
            return Ok(None);
        }
        if buffer.is_some() {
            self.free_buffers.pop();
        }
        let layout = self.memory.get();
        let slot = &layout.slots[index];
        if !spilled {
            copy_in(&slot.payload, payload);
        }
        if let Some(buffer) = buffer {
            layout.buffers[buffer as usize].published.store(0, Relaxed);
            layout.buffers[buffer as usize].n_fds.store(0, Relaxed);
        }
        slot.buffer.store(buffer.unwrap_or(NO_BUFFER), Relaxed);
        slot.len.store(payload.len() as u64, Relaxed);
        slot.form.store(form(spilled, fds.len()), Relaxed);
        slot.tag.store(tag, Relaxed);
        slot.from.store(stream.unwrap_or(0), Relaxed);
        slot.word.give(lap);
        let spilled_bytes = if spilled { payload.len() as u64 } else { 0 };
        self.given.push_back(Given { position: self.tail, spilled_bytes, buffer, has_fds: !fds.is_empty() });
        self.occupied[index] = true;
        self.tail += 1;
        Ok(Some(index))
    }

    /// Sends the descriptors of the task at the tail; false if the worker has to take in others first.
    fn send_fds(&mut self, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
        let is_first = self.take_back_fds()?;
        match descriptors::send(&self.socket, self.tail, fds) {
            Ok(()) => Ok(true),
            Err(e) => {
                if fds.len() > MAX_FDS {
                    // Some may have been sent, of a task that was not given: neither side comes to this slot in this lap.
                    let (index, lap) = (slot_of(self.tail), lap_of(self.tail));
                    self.memory.get().slots[index].word.release(lap);
                    self.tail += 1;
                }
                let may_wait = matches!(e, Errno::EAGAIN | Errno::ETOOMANYREFS) && !is_first;
                if may_wait { Ok(false) } else { Err(e.into()) }
            }
        }
    }

    /// Closes the descriptors of tasks that were taken back, unless the worker is to ask for those of others (false).
    pub(super) fn take_back_fds(&mut self) -> io::Result<bool> {
        let is_free = !self.given.iter().any(|given| given.has_fds);
        if is_free {
            Received::default().clear(&self.worker_end)?;
        }
        Ok(is_free)
    }
}
