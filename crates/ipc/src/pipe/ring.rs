//! One direction of a pipe: a ring of frames with one writer and one reader.
//!
//! A writer prepares a frame where its word still reads 0, zeroes the word after it, and publishes by storing the word.
//! A reader copies a published frame out and then moves `head`. So a process killed at any instruction leaves a frame
//! that is there or is not; whoever uses the same end next finds `tail` by walking over what is published.
//!
//! # Safety
//! Offsets are positions masked by the ring's length, frame lengths are checked against it before use, and every byte is
//! copied out before it is looked at. The other process may change any of it at any time, which can spoil messages but
//! never addresses.
#![allow(unsafe_code)]

use std::{
    io,
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use kernel::shm::SharedMemory;
use wire::Full;

use super::{
    layout::{ABI, DATA_OFFSET, MAGIC, RING_BYTES, RingHeader, header},
    users::Users,
};

/// The memory of a ring has been overwritten with what its protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

const WORD: u64 = 8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    /// A message.
    Whole = 1,
    /// The begin of a message, or the next part of one that has begun.
    First = 2,
    Middle = 3,
    /// The end of a message that has begun.
    Last = 4,
    /// As `Whole` and `First`, but descriptors belong to the message: their number precedes it.
    WholeWithFds = 5,
    FirstWithFds = 6,
    /// Nothing, up to the end of the ring.
    Skip = 7,
}

impl FrameKind {
    #[inline(always)]
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            1 => Self::Whole,
            2 => Self::First,
            3 => Self::Middle,
            4 => Self::Last,
            5 => Self::WholeWithFds,
            6 => Self::FirstWithFds,
            7 => Self::Skip,
            _ => return None,
        })
    }
}

/// A ring as mapped in this process.
#[derive(Clone, Debug)]
pub(super) struct FrameRing {
    /// Keeps the pointers below valid.
    users: Arc<Users>,
    header: NonNull<RingHeader>,
    data: NonNull<u8>,
}

// SAFETY: pointers into shared memory that `users` keeps mapped; what they reach is atomics and raw bytes.
unsafe impl Send for FrameRing {}
// SAFETY: as above.
unsafe impl Sync for FrameRing {}

/// Fresh memory for `n` rings.
pub(super) fn create(n: u32) -> io::Result<SharedMemory> {
    let memory = SharedMemory::new(DATA_OFFSET + n as usize * RING_BYTES as usize)?;
    let header = header(&memory);
    for ring in &header.rings {
        // Nobody has looked yet, so the first frame rings the bell: the descriptor is pollable from the start.
        ring.to_writer.0.reader_sleeps.store(1, Relaxed);
    }
    header.abi.store(ABI, Relaxed);
    header.ring_bytes.store(RING_BYTES, Relaxed);
    header.n_rings.store(n, Relaxed);
    header.magic.store(MAGIC, Release);
    Ok(memory)
}

/// The rings in memory that came from elsewhere: two of a duplex pipe, one of a simplex one.
pub(super) fn attach(memory: &SharedMemory) -> io::Result<Vec<FrameRing>> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if memory.len() < DATA_OFFSET {
        return refuse("shared memory is too short for a pipe");
    }
    let header = header(memory);
    if header.magic.load(Acquire) != MAGIC || header.abi.load(Relaxed) != ABI {
        return refuse("shared memory holds no pipe of this version");
    }
    let n = header.n_rings.load(Relaxed);
    if header.ring_bytes.load(Relaxed) != RING_BYTES
        || !(1..=2).contains(&n)
        || memory.len() < DATA_OFFSET + n as usize * RING_BYTES as usize
    {
        return refuse("shared memory holds a pipe of another shape");
    }
    let users = Arc::new(Users::new(memory.clone())?);
    let ring = |i: usize| {
        // SAFETY: the memory is long enough for `n` rings, by the check above.
        let data = unsafe { memory.as_ptr().add(DATA_OFFSET + i * RING_BYTES as usize) };
        FrameRing { users: Arc::clone(&users), header: NonNull::from(&header.rings[i]), data }
    };
    Ok((0..n as usize).map(ring).collect())
}

const CAPACITY: u64 = RING_BYTES as u64;

/// The largest payload of one frame: four frames always fit, so a pause for room is never for the whole ring.
pub(super) const MAX_PAYLOAD: usize = RING_BYTES as usize / 4 - WORD as usize;

/// With fewer bytes than this free, it is worth asking how far the reader is.
const FEW: u64 = 1024;

/// Room that a frame with `payload` bytes takes.
const fn frame_bytes(payload: usize) -> u64 {
    WORD + (payload as u64).next_multiple_of(WORD)
}

impl FrameRing {
    #[inline(always)]
    pub(super) fn header(&self) -> &RingHeader {
        // SAFETY: points into memory that `users` keeps mapped.
        unsafe { self.header.as_ref() }
    }

    pub(super) fn users(&self) -> &Users {
        &self.users
    }

    /// Who sleeps on the socket of the end that reads this ring, or of one that only writes it.
    pub(super) fn listener(&self, reads: bool) -> &AtomicU64 {
        if reads { &self.header().reader.0.listener } else { &self.header().writer.0.listener }
    }

    /// The frame word at `position`.
    #[inline(always)]
    fn word(&self, position: u64) -> &AtomicU64 {
        let offset = position & (CAPACITY - 1) & !(WORD - 1);
        // SAFETY: the offset is inside the ring.
        let word = unsafe { self.data.add(offset as usize) };
        // SAFETY: aligned to 8 because `data` is aligned to a page; at least 8 bytes are left before the ring's end.
        unsafe { word.cast::<AtomicU64>().as_ref() }
    }

    /// Whether a frame has been published at `position`.
    #[inline]
    pub(super) fn has_frame(&self, position: u64) -> bool {
        self.word(position).load(Acquire) != 0
    }

    /// The `len` bytes after the frame word at `position`, which must lie before the ring's end.
    #[inline(always)]
    fn payload(&self, position: u64, len: usize) -> NonNull<u8> {
        let offset = position & (CAPACITY - 1) & !(WORD - 1);
        assert!(offset + WORD + len as u64 <= CAPACITY);
        // SAFETY: inside the ring, by the assertion.
        unsafe { self.data.add((offset + WORD) as usize) }
    }
}

#[inline(always)]
fn compose(kind: FrameKind, len: usize, position: u64) -> u64 {
    len as u64 | (kind as u64) << 32 | stamp(position) << 40
}

#[inline(always)]
const fn stamp(position: u64) -> u64 {
    (position / WORD) & 0xff_ffff
}

/// Takes a frame word apart; `None` if it cannot stand at `position`.
#[inline(always)]
fn decompose(word: u64, position: u64) -> Option<(FrameKind, usize)> {
    let len = word & 0xffff_ffff;
    let kind = FrameKind::from_bits((word >> 32) as u8)?;
    let before_end = CAPACITY - (position & (CAPACITY - 1));
    (word >> 40 == stamp(position) && frame_bytes(len as usize) <= before_end).then_some((kind, len as usize))
}

/// A position that can be counted on from: no pipe lives to see the 62nd bit.
fn plausible(position: u64) -> Result<u64, Damaged> {
    if position.is_multiple_of(WORD) && position < 1 << 62 { Ok(position) } else { Err(Damaged) }
}

/// The writer's end of a ring; what it knows between two frames.
#[derive(Debug, Default)]
pub(super) struct Writer {
    tail: u64,
    /// The last known `head`; the real one may be further.
    head: u64,
}

impl Writer {
    /// What there is to know when another process has used this end meanwhile.
    pub(super) fn reload(ring: &FrameRing) -> Result<Self, Damaged> {
        let words = &ring.header().writer.0;
        let mut tail = plausible(words.tail.load(Acquire))?;
        let head = plausible(ring.header().reader.0.head.load(Acquire))?;
        // The former user may have been killed between publishing a frame and storing the tail. The reader may have
        // read that frame already.
        if head > tail && head - tail <= CAPACITY {
            tail = head;
        }
        if head > tail || tail - head > CAPACITY {
            return Err(Damaged);
        }
        loop {
            let word = ring.word(tail).load(Acquire);
            if word == 0 {
                break;
            }
            let (_, len) = decompose(word, tail).ok_or(Damaged)?;
            tail += frame_bytes(len);
            if tail - head > CAPACITY {
                return Err(Damaged);
            }
        }
        words.tail.store(tail, Relaxed);
        Ok(Self { tail, head })
    }

    /// How far the reader is, as seen with this `tail`.
    fn head(ring: &FrameRing, tail: u64) -> Result<u64, Damaged> {
        let head = ring.header().reader.0.head.load(Acquire);
        let is_fine = head.is_multiple_of(WORD) && head <= tail && tail - head <= CAPACITY;
        if is_fine { Ok(head) } else { Err(Damaged) }
    }

    fn refresh(&mut self, ring: &FrameRing) -> Result<(), Damaged> {
        self.head = Self::head(ring, self.tail)?;
        Ok(())
    }

    /// Bytes free, as far as known. The word after a frame must be free too.
    #[inline(always)]
    fn free(&self) -> u64 {
        CAPACITY - (self.tail - self.head)
    }

    /// Room for a frame with `payload` bytes in one piece, made by skipping the ring's end if need be; false if the
    /// reader must move on first.
    #[inline]
    pub(super) fn make_room(&mut self, ring: &FrameRing, payload: usize) -> Result<bool, Damaged> {
        let before_end = CAPACITY - (self.tail & (CAPACITY - 1));
        let frame = frame_bytes(payload);
        let need = if frame <= before_end { frame } else { before_end + frame } + WORD;
        if need > self.free() {
            self.refresh(ring)?;
            if need > self.free() {
                return Ok(false);
            }
        }
        if frame > before_end {
            self.publish(ring, FrameKind::Skip, (before_end - WORD) as usize);
        }
        Ok(true)
    }

    /// Whether `len` bytes find room now, cut into frames as large as can be.
    pub(super) fn has_room_for_all(&mut self, ring: &FrameRing, len: usize) -> Result<bool, Damaged> {
        self.refresh(ring)?;
        let frames = (len.div_ceil(MAX_PAYLOAD) as u64).saturating_mul(frame_bytes(MAX_PAYLOAD));
        // One frame's length may be lost to a skip at the ring's end.
        Ok(frames.saturating_add(frame_bytes(MAX_PAYLOAD) + WORD) <= self.free())
    }

    /// Up to which `head` the reader must go before [`make_room`](Self::make_room) is worth another try: half the ring,
    /// so that the two do not take turns for each frame.
    pub(super) fn wanted_head(&self, payload: usize) -> u64 {
        let before_end = CAPACITY - (self.tail & (CAPACITY - 1));
        let need = (frame_bytes(payload) + before_end.min(frame_bytes(payload)) + WORD).max(CAPACITY / 2);
        (self.tail + need).saturating_sub(CAPACITY).max(1)
    }

    /// A place to serialise into, directly behind the next frame's word; nothing is published yet. `None` if there is no
    /// room for a frame, not even for one without a byte.
    #[inline(always)]
    pub(super) fn sink<'a>(&mut self, ring: &'a FrameRing) -> Result<Option<Sink<'a>>, Damaged> {
        if self.free() < FEW {
            self.refresh(ring)?;
            if self.free() < frame_bytes(0) + WORD {
                return Ok(None);
            }
        }
        let before_end = CAPACITY - (self.tail & (CAPACITY - 1));
        let room = before_end.min(self.free().saturating_sub(WORD)).saturating_sub(WORD);
        let room = (room as usize).min(MAX_PAYLOAD);
        Ok(Some(Sink { start: ring.payload(self.tail, room), len: 0, room, ring: PhantomData }))
    }

    /// Copies `bytes` behind the next frame's word. There must be room.
    pub(super) fn write(&mut self, ring: &FrameRing, at: usize, bytes: &[u8]) {
        let place = ring.payload(self.tail, at + bytes.len());
        // SAFETY: inside the ring: `payload` vouches for `at + bytes.len()` bytes.
        let place = unsafe { place.add(at) };
        // SAFETY: the source is ordinary memory, the target inside the ring; they cannot overlap.
        unsafe { place.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// Publishes a frame whose `len` bytes of payload are in place.
    #[inline(always)]
    pub(super) fn publish(&mut self, ring: &FrameRing, kind: FrameKind, len: usize) {
        let next = self.tail + frame_bytes(len);
        ring.word(next).store(0, Relaxed);
        ring.word(self.tail).store(compose(kind, len, self.tail), Release);
        self.tail = next;
        ring.header().writer.0.tail.store(next, Relaxed);
    }
}

/// Where a message is serialised without a stop in between.
pub(super) struct Sink<'a> {
    start: NonNull<u8>,
    len: usize,
    room: usize,
    ring: PhantomData<&'a FrameRing>,
}

impl wire::Sink for Sink<'_> {
    #[inline(always)]
    fn push(&mut self, byte: u8) -> Result<(), Full> {
        if self.len == self.room {
            return Err(Full);
        }
        // SAFETY: less than `room` bytes on.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: inside the ring.
        unsafe { place.write(byte) };
        self.len += 1;
        Ok(())
    }

    #[inline(always)]
    fn extend(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.room - self.len {
            return Err(Full);
        }
        // SAFETY: at most `room` bytes on.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: `bytes.len()` bytes from `place` on are inside the ring.
        unsafe { copy_in(bytes, place.as_ptr()) };
        self.len += bytes.len();
        Ok(())
    }

    #[inline(always)]
    fn tagged<const N: usize>(&mut self, tag: u8, bytes: [u8; N]) -> Result<(), Full> {
        if N >= self.room - self.len {
            return Err(Full);
        }
        // SAFETY: less than `room` bytes on.
        let place = unsafe { self.start.add(self.len) };
        // SAFETY: inside the ring.
        unsafe { place.write(tag) };
        // SAFETY: `N` more bytes are inside the ring.
        let place = unsafe { place.add(1) };
        // SAFETY: as above; arrays of bytes need no alignment.
        unsafe { place.cast::<[u8; N]>().write(bytes) };
        self.len += 1 + N;
        Ok(())
    }

    #[inline(always)]
    fn position(&self) -> usize {
        self.len
    }
}

/// Copies `bytes` to `place`, without a call for the few bytes that most fields of a message are.
///
/// # Safety
/// `place` must be valid for as many bytes, and not overlap them.
#[inline]
unsafe fn copy_in(bytes: &[u8], place: *mut u8) {
    /// The first and the last `N` bytes, which may overlap each other.
    #[inline]
    unsafe fn ends<const N: usize>(bytes: &[u8], place: *mut u8) {
        let (first, last) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>());
        if let (Some(first), Some(last)) = (first, last) {
            // SAFETY: at least `N` bytes long, so this stays inside.
            let place_of_last = unsafe { place.add(bytes.len() - N) };
            // SAFETY: the caller vouches for the place; arrays of bytes need no alignment.
            unsafe { place.cast::<[u8; N]>().write(*first) };
            // SAFETY: as above.
            unsafe { place_of_last.cast::<[u8; N]>().write(*last) };
        }
    }
    match bytes.len() {
        0 => {}
        // SAFETY: the caller's promise.
        1 => unsafe { place.write(bytes[0]) },
        // SAFETY: the caller's promise.
        2..=3 => unsafe { ends::<2>(bytes, place) },
        // SAFETY: the caller's promise.
        4..=7 => unsafe { ends::<4>(bytes, place) },
        // SAFETY: the caller's promise.
        8..=16 => unsafe { ends::<8>(bytes, place) },
        // SAFETY: the caller's promise.
        n => unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, n) },
    }
}

/// Bytes of a frame that are copied out without touching the heap.
pub(super) const SMALL: usize = 256;

/// Where a small frame's payload is copied to.
pub(super) struct Small {
    words: [MaybeUninit<u64>; SMALL / 8],
    len: usize,
}

impl Small {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { words: [const { MaybeUninit::uninit() }; SMALL / 8], len: 0 }
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the words up to `len` bytes have been written by `Reader::copy_small`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }
}

/// The reader's end of a ring; what it knows between two frames.
#[derive(Debug, Default)]
pub(super) struct Reader {
    head: u64,
}

impl Reader {
    /// What there is to know when another process has used this end meanwhile.
    pub(super) fn reload(ring: &FrameRing) -> Result<Self, Damaged> {
        Ok(Self { head: plausible(ring.header().reader.0.head.load(Acquire))? })
    }

    /// The next frame, if it has been published.
    #[inline(always)]
    pub(super) fn peek(&mut self, ring: &FrameRing) -> Result<Option<(FrameKind, usize)>, Damaged> {
        loop {
            let word = ring.word(self.head).load(Acquire);
            if word == 0 {
                return Ok(None);
            }
            let (kind, len) = decompose(word, self.head).ok_or(Damaged)?;
            if kind != FrameKind::Skip {
                return Ok(Some((kind, len)));
            }
            // A skip always reaches the end, so that two in a row cannot be.
            if frame_bytes(len) != CAPACITY - (self.head & (CAPACITY - 1)) {
                return Err(Damaged);
            }
            self.advance(ring, len);
        }
    }

    /// Copies out the payload of the frame that [`peek`](Self::peek) showed, which must be small.
    #[inline(always)]
    pub(super) fn copy_small(&self, ring: &FrameRing, len: usize, small: &mut Small) {
        assert!(len <= SMALL);
        let n_words = len.div_ceil(8);
        let from = ring.payload(self.head, n_words * 8).cast::<AtomicU64>();
        for i in 0..n_words {
            // SAFETY: one of the frame's words, inside the ring.
            let from = unsafe { from.add(i) };
            // SAFETY: inside the ring and aligned, as frames are.
            small.words[i].write(unsafe { from.as_ref() }.load(Relaxed));
        }
        small.len = len;
    }

    /// Appends bytes `at..len` of the payload of the frame that [`peek`](Self::peek) showed.
    pub(super) fn append_to(&self, ring: &FrameRing, at: usize, len: usize, out: &mut Vec<u8>) {
        let from = ring.payload(self.head, len);
        let n = len - at;
        out.reserve(n);
        let room = out.spare_capacity_mut();
        // SAFETY: the frame's bytes, inside the ring.
        let from = unsafe { from.add(at) };
        // SAFETY: `n` bytes of the frame, and as many of spare capacity; they cannot overlap.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), room.as_mut_ptr().cast(), n) };
        // SAFETY: those bytes are initialised now.
        unsafe { out.set_len(out.len() + n) };
    }

    /// Frees the frame that [`peek`](Self::peek) showed.
    #[inline(always)]
    pub(super) fn advance(&mut self, ring: &FrameRing, len: usize) {
        self.head += frame_bytes(len);
        ring.header().reader.0.head.store(self.head, Release);
    }

    /// How far this reader is.
    pub(super) fn position(&self) -> u64 {
        self.head
    }
}
