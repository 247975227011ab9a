//! Bytes from one process to another, record by record, in shared memory. The README beside this file has the protocol.
//!
//! | word | meaning | which side moves it | ordering |
//! |---|---|---|---|
//! | `tail` | up to where there are records | the writer | stored `Release` after the words, loaded `Acquire` before them |
//! | `head` | up to where they have been read | the reader | stored `Release` after the words were read, loaded `Acquire` before they are written over |
//! | `lost` | how many records found no room | the writer | `Relaxed`: a number for people |
//! | `waiting` | 1: the writer sleeps, or is about to | the writer; to 0 the reader that wakes it, too | `Relaxed`, with a full fence on both sides: between it and the writer's last look at `head`, and between the store of `head` and the reader's look at it |
//! | the words of a record | | the writer | `Relaxed`: `tail` publishes them |
//!
//! Where each side reads its own word, `Relaxed`: the other side does not write it.
//!
//! # Safety
//! The layout is made of atomics, which any bytes are valid for, and the block's length is checked before it is looked at.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        fence,
    },
    time::Duration,
};

use super::doorbell::Doorbell;
use kernel::{
    futex::{self, Deadline, Wait},
    shm::SharedMemory,
};

/// The room for records, in words of 8 bytes. Memory is taken when it is first written to.
const N_WORDS: usize = 16 * 1024;
/// The longest record, in bytes.
pub const MAX_RECORD_BYTES: usize = 32 * 1024;

const MAGIC: u64 = u64::from_le_bytes(*b"pcLogs01");

#[repr(C)]
struct Layout {
    magic: AtomicU64,
    tail: AtomicU64,
    lost: AtomicU64,
    reserved: [AtomicU64; 5],
    /// The owner's; its own cache line.
    head: AtomicU64,
    waiting: AtomicU32,
    reserved2: [AtomicU32; 13],
    words: [AtomicU64; N_WORDS],
}

const _: () = assert!(size_of::<Layout>() == 128 + N_WORDS * 8);

/// A mapped ring.
#[derive(Clone, Debug)]
pub struct Ring {
    // Keeps the mapping.
    memory: SharedMemory,
    layout: NonNull<Layout>,
}

// SAFETY: a handle to atomics that every thread may use.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// A fresh one.
    ///
    /// # Errors
    /// As [`SharedMemory::sparse`].
    pub fn new() -> io::Result<Self> {
        let ring = Self::view(SharedMemory::sparse(size_of::<Layout>())?);
        // Orders nothing: a process that reads it got the descriptor after this.
        ring.get().magic.store(MAGIC, Relaxed);
        Ok(ring)
    }

    /// The one in a memory file that came from elsewhere.
    ///
    /// # Errors
    /// If there is none in it, or it cannot be mapped.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let memory = SharedMemory::from_fd(fd)?;
        if memory.len() != size_of::<Layout>() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "shared memory is not as long as a ring of records",
            ));
        }
        let ring = Self::view(memory);
        match ring.get().magic.load(Relaxed) {
            MAGIC => Ok(ring),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory holds no ring of records")),
        }
    }

    fn view(memory: SharedMemory) -> Self {
        Self { layout: memory.as_ptr().cast(), memory }
    }

    fn get(&self) -> &Layout {
        // SAFETY: the block is as long as a `Layout`, page-aligned, lives as long as `self`, and any bytes in it are valid.
        unsafe { self.layout.as_ref() }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn words_of(len: usize) -> u64 {
    1 + len.div_ceil(8) as u64
}

/// `n` words from a position on, round the end.
fn words(layout: &Layout, position: u64, n: usize) -> impl Iterator<Item = &AtomicU64> {
    let (before, after) = layout.words.split_at(position as usize % N_WORDS);
    after.iter().chain(before).take(n)
}

/// The child's end. One at a time for each ring.
#[derive(Debug)]
pub struct Writer {
    ring: Ring,
    /// Words published. Not read back from the memory, which others may scribble on.
    tail: u64,
    lost: u64,
    patience: Duration,
    /// Where the owner was when this end gave up waiting for it.
    given_up_at: Option<u64>,
}

impl Writer {
    /// From where the ring is on. `patience` is how long [`put`](Self::put) waits for room.
    pub fn new(ring: Ring, patience: Duration) -> Self {
        let (tail, lost) = (ring.get().tail.load(Relaxed), ring.get().lost.load(Relaxed));
        Self { ring, tail, lost, patience, given_up_at: None }
    }

    /// Puts a record, or counts it as lost: if it is too long, or if there is no room for it after the wait. Then it is not
    /// waited again before the owner has taken something.
    pub fn put(&mut self, record: &[u8], doorbell: &Doorbell) -> bool {
        let n_words = words_of(record.len());
        if record.len() > MAX_RECORD_BYTES || !(self.has_room(n_words) || self.wait_for_room(n_words, doorbell)) {
            self.lost += 1;
            // Orders nothing: it is read after this process's end.
            self.ring.get().lost.store(self.lost, Relaxed);
            return false;
        }
        let layout = self.ring.get();
        // The count wraps; the reader looks at the difference.
        let first = record.len() as u64 | self.lost << 32;
        let mut words = words(layout, self.tail, n_words as usize);
        if let Some(word) = words.next() {
            word.store(first, Relaxed);
        }
        let (chunks, rest) = record.as_chunks();
        for (chunk, word) in chunks.iter().zip(words.by_ref()) {
            word.store(u64::from_ne_bytes(*chunk), Relaxed);
        }
        if let Some(word) = words.next() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_ne_bytes(last), Relaxed);
        }
        self.tail += n_words;
        // Release: a reader that sees it sees the words. From here on the record is there, whatever happens to this process.
        layout.tail.store(self.tail, Release);
        doorbell.ring();
        true
    }

    fn has_room(&self, n_words: u64) -> bool {
        // Acquire: what lies before it has been read, and may be written over.
        let taken = self.ring.get().head.load(Acquire);
        self.tail.wrapping_sub(taken).saturating_add(n_words) <= N_WORDS as u64
    }

    fn wait_for_room(&mut self, n_words: u64, doorbell: &Doorbell) -> bool {
        let layout = self.ring.get();
        if self.patience.is_zero() || self.given_up_at == Some(layout.head.load(Relaxed)) {
            return false;
        }
        let deadline = Deadline::after(self.patience);
        loop {
            layout.waiting.store(1, Relaxed);
            // With that in `Reader::make_room`: either it sees that this end waits, or this end sees the room.
            fence(SeqCst);
            if self.has_room(n_words) {
                layout.waiting.store(0, Relaxed);
                self.given_up_at = None;
                return true;
            }
            doorbell.ring();
            if futex::wait(&layout.waiting, 1, deadline) == Wait::TimedOut && !self.has_room(n_words) {
                layout.waiting.store(0, Relaxed);
                self.given_up_at = Some(layout.head.load(Relaxed));
                return false;
            }
        }
    }
}

/// What is in a ring is not what a [`Writer`] puts there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

/// The owner's end. One at a time for each ring.
#[derive(Debug)]
pub struct Reader {
    ring: Ring,
    head: u64,
    lost: u32,
}

impl Reader {
    /// From where the ring is on.
    pub fn new(ring: Ring) -> Self {
        let (head, lost) = (ring.get().head.load(Relaxed), ring.get().lost.load(Relaxed) as u32);
        Self { ring, head, lost }
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.ring.get().tail.load(Acquire) == self.head
    }

    /// How many words there are to take: for a bound.
    pub fn n_words(&self) -> u64 {
        self.ring.get().tail.load(Acquire).wrapping_sub(self.head)
    }

    /// Takes a record into `record`, and says how many were lost before it. `None` if there is none.
    ///
    /// # Errors
    /// [`Garbled`]; for good.
    pub fn take(&mut self, record: &mut Vec<u8>) -> Result<Option<u32>, Garbled> {
        let n_published = self.n_words();
        if n_published == 0 {
            return Ok(None);
        }
        if n_published > N_WORDS as u64 {
            return Err(Garbled);
        }
        let layout = self.ring.get();
        let mut words = words(layout, self.head, n_published as usize);
        let first = words.next().map_or(0, |word| word.load(Relaxed));
        let (len, lost) = (first as u32 as usize, (first >> 32) as u32);
        if len > MAX_RECORD_BYTES || words_of(len) > n_published {
            return Err(Garbled);
        }
        record.clear();
        record.extend(words.take(len.div_ceil(8)).flat_map(|word| word.load(Relaxed).to_ne_bytes()));
        record.truncate(len);
        self.head += words_of(len);
        // Release: the words have been read before they may be written over.
        layout.head.store(self.head, Release);
        let n_lost = lost.wrapping_sub(self.lost);
        self.lost = lost;
        Ok(Some(n_lost))
    }

    /// Wakes a writer that waits for room, if there is one.
    pub fn make_room(&self) {
        let layout = self.ring.get();
        // With that in `Writer::wait_for_room`.
        fence(SeqCst);
        if layout.waiting.load(Relaxed) != 0 {
            layout.waiting.store(0, Relaxed);
            futex::wake(&layout.waiting, u32::MAX);
        }
    }

    /// How many were lost since the last record, of a writer that is dead.
    pub fn lost_at_end(&mut self) -> u32 {
        let lost = self.ring.get().lost.load(Relaxed) as u32;
        lost.wrapping_sub(std::mem::replace(&mut self.lost, lost))
    }
}
