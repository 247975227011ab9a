//! A ring of fixed messages in shared memory: Vyukov's for many on each side, or sequence words alone for one.
//!
//! # Safety
//! A slot's bytes are touched by the one who owns them according to its sequence word.
#![allow(unsafe_code)]

use std::{
    io,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use proc_core::shm::SharedMemory;
use serde::{Deserialize, Serialize};

use crate::{
    crew::Lane,
    figures::queue::{number_in, with_buffer},
};

const HEAD: usize = 0;
const TAIL: usize = 128;
const SLOTS: usize = 256;
const N_SPINS: u32 = 2000;

/// How many use each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// One puts and one gets: positions are only published, never contended.
    Single,
    /// Any number do.
    Many,
}

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ring {
    memory: SharedMemory,
    len: usize,
    capacity: u64,
    order: Order,
}

impl Ring {
    /// Makes a ring of messages of `len` bytes.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn new(len: usize, order: Order) -> io::Result<Self> {
        let capacity = if len > 64 * 1024 { 8 } else { 1024 };
        let ring = Self {
            memory: SharedMemory::new(SLOTS + capacity * Self::stride(len))?,
            len,
            capacity: capacity as u64,
            order,
        };
        (0..ring.capacity).for_each(|n| ring.sequence(n).store(n, Relaxed));
        Ok(ring)
    }

    fn stride(len: usize) -> usize {
        (8 + len).next_multiple_of(if len <= 8 { 16 } else { 64 })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.memory.len());
        // SAFETY: inside the memory, aligned.
        let word = unsafe { self.memory.as_ptr().add(offset) }.cast();
        // SAFETY: atomics are valid whatever other processes write.
        unsafe { word.as_ref() }
    }

    fn offset(&self, position: u64) -> usize {
        SLOTS + (position & (self.capacity - 1)) as usize * Self::stride(self.len)
    }

    fn sequence(&self, position: u64) -> &AtomicU64 {
        self.word(self.offset(position))
    }

    fn bytes(&self, position: u64) -> *mut u8 {
        // SAFETY: a slot lies inside the memory as a whole.
        unsafe { self.memory.as_ptr().as_ptr().add(self.offset(position) + 8) }
    }

    /// Waits until the slot that `hint` points to is at `hint + lead`, and claims it.
    fn claim(&self, hint: &AtomicU64, lead: u64) -> u64 {
        let mut n_spins = 0;
        loop {
            let position = hint.load(Relaxed);
            let sequence = self.sequence(position).load(Acquire);
            if sequence == position + lead {
                if self.order == Order::Single {
                    hint.store(position + 1, Relaxed);
                    return position;
                }
                if hint.compare_exchange_weak(position, position + 1, Relaxed, Relaxed).is_ok() {
                    return position;
                }
            } else if n_spins < N_SPINS {
                n_spins += 1;
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Copies a message in; waits for room.
    pub fn put_bytes(&self, message: &[u8]) {
        let position = self.claim(self.word(TAIL), 0);
        // SAFETY: the slot is ours until its sequence says otherwise; `message` is at most as long.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), self.bytes(position), message.len().min(self.len)) };
        self.sequence(position).store(position + 1, Release);
    }

    /// Copies a message out; waits for one.
    pub fn get_bytes(&self, message: &mut [u8]) {
        let position = self.claim(self.word(HEAD), 1);
        let len = message.len().min(self.len);
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(self.bytes(position), message.as_mut_ptr(), len) };
        self.sequence(position).store(position + self.capacity, Release);
    }
}

impl Lane for Ring {
    fn put(&self, n: u64) {
        with_buffer(self.len, |buffer| {
            buffer[..8].copy_from_slice(&n.to_le_bytes());
            self.put_bytes(buffer);
        });
    }

    fn get(&self) -> u64 {
        with_buffer(self.len, |buffer| {
            self.get_bytes(buffer);
            number_in(buffer)
        })
    }

    fn copy(&self) -> Self {
        Self { memory: self.memory.clone(), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_in_order() {
        for order in [Order::Single, Order::Many] {
            for len in [8, 256] {
                let ring = Ring::new(len, order).unwrap();
                std::thread::scope(|scope| {
                    scope.spawn(|| (0..5000).for_each(|n| ring.put(n)));
                    (0..5000).for_each(|n| assert_eq!(ring.get(), n));
                });
            }
        }
    }
}
