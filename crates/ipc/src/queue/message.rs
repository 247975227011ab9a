//! Between the values that users put and get and the bytes that the ring carries.
//!
//! User code, such as a `Serialize`, runs before the one step that puts a message, and after the one that takes it.
//!
//! # Safety
//! Writes serialised bytes into blocks that this process holds.
#![allow(unsafe_code)]

use std::{io, ptr::NonNull};

use kernel::handover;
use serde::{Serialize, de::DeserializeOwned};
use wire::TypeInfo;

use super::{
    Queue,
    blocks::Block,
    cells::Filling,
    codec::{self, Buffer, NotInline},
    content::Message,
    number,
    patience::Patience,
    raw::Raw,
    ring::{Dequeue, Enqueue, Locate, Ring, Side, Spot, Stop, TAKEN_SOON},
    stop::{GetStop, PutStop},
    word::{BlockId, CellAt, Kind, What},
};
use crate::sys::prefetch;

/// How many cells on the one lies whose cache line is asked for, when a message is copied.
const PREFETCHED: usize = 4;

impl Raw {
    /// Puts a value.
    #[inline]
    pub(crate) fn put_value<T: Serialize + DeserializeOwned>(
        &self,
        value: &T,
        patience: Patience,
    ) -> Result<(), PutStop> {
        if self.leases {
            return self.put_other(value, NotInline::TooLong, patience);
        }
        let Some(cell) = Filling::take(self, None) else { return self.put_without_cell(value, patience) };
        let class = cell.class();
        match self.put_in_cell(cell, value, patience) {
            Ok(put) => Ok(put?),
            Err(why) => self.put_after_cell(value, why, class, patience),
        }
    }

    /// A value that did not fit into a cell of that class, or does not go into cells.
    #[cold]
    fn put_after_cell<T: Serialize + DeserializeOwned>(
        &self,
        value: &T,
        why: NotInline,
        class: u8,
        patience: Patience,
    ) -> Result<(), PutStop> {
        if why == NotInline::TooLong && class == 0 && self.cell_bytes(0) < self.cell_bytes(1) {
            return self.put_in_longer_cell(value, patience);
        }
        self.put_other(value, why, patience)
    }

    /// In a forked child at first, on a thread that ends, and where too many cells are in the ring.
    #[cold]
    fn put_without_cell<T: Serialize + DeserializeOwned>(&self, value: &T, patience: Patience) -> Result<(), PutStop> {
        self.me()?;
        self.put_other(value, NotInline::TooLong, patience)
    }

    /// Puts a value in a cell, if it fits.
    #[inline(always)]
    fn put_in_cell<T: Serialize + DeserializeOwned>(
        &self,
        cell: Filling<'_>,
        value: &T,
        patience: Patience,
    ) -> Result<Result<(), Stop>, NotInline> {
        let (memory, limit) = cell.memory();
        // SAFETY: the cell is ours, so long, and its message has left the ring.
        let len = unsafe { codec::encode_up_to(value, memory, limit) }?;
        if len > size_of::<u64>() {
            return Ok(cell.put(len, patience));
        }
        // SAFETY: just written.
        let message = codec::short(unsafe { std::slice::from_raw_parts(memory.as_ptr(), len) });
        Ok(self.put_word(What::short(len), message, patience))
    }

    #[cold]
    fn put_in_longer_cell<T: Serialize + DeserializeOwned>(
        &self,
        value: &T,
        patience: Patience,
    ) -> Result<(), PutStop> {
        let put = match Filling::take(self, Some(1)) {
            Some(cell) => self.put_in_cell(cell, value, patience),
            None => Err(NotInline::TooLong),
        };
        match put {
            Ok(put) => Ok(put?),
            Err(why) => self.put_other(value, why, patience),
        }
    }

    /// Puts a message that a slot holds.
    #[inline]
    fn put_word(&self, what: What, payload: u64, patience: Patience) -> Result<(), Stop> {
        if self.put_at_once(what, payload, |_| ()) { Ok(()) } else { self.put_word_patiently(what, payload, patience) }
    }

    #[cold]
    fn put_word_patiently(&self, what: What, payload: u64, patience: Patience) -> Result<(), Stop> {
        self.patiently(Side::Space, patience, || self.try_put(what, payload, |_| ()))
    }

    /// Takes a message: into the buffer, or a block.
    #[inline]
    pub(super) fn take_message(&self, buffer: &mut Buffer, patience: Patience) -> Result<Message<'_>, Stop> {
        if self.take_at_once(buffer) { Ok(Message::InBuffer) } else { self.take_patiently(buffer, patience) }
    }

    #[cold]
    fn take_patiently(&self, buffer: &mut Buffer, patience: Patience) -> Result<Message<'_>, Stop> {
        self.patiently(Side::Items, patience, || self.try_take(buffer, false))
    }

    /// Takes the message of a cell if nothing at all stands in the way.
    #[inline(always)]
    fn take_at_once(&self, buffer: &mut Buffer) -> bool {
        let Some(peeked) = self.peek(What::CELL) else { return false };
        self.expect(peeked.at, TAKEN_SOON);
        self.copy_out(CellAt::from_payload(peeked.payload), buffer).is_ok() && self.take_peeked(&peeked)
    }

    #[inline(always)]
    fn copy_out(&self, cell: CellAt, buffer: &mut Buffer) -> Result<(), Stop> {
        let (from, len) = self.cell_at(cell)?;
        // Most likely the next messages lie in the cells after this one.
        prefetch::to_read(from_after(from, PREFETCHED * self.cell_bytes(cell.block().class)), len);
        // SAFETY: a cell's length is a multiple of 64, and `len` is at most that.
        unsafe { buffer.fill(from, len) };
        Ok(())
    }

    /// Takes the next message, or says why not. One with handles stays where it is if these are to be taken, too.
    pub(super) fn try_take(&self, buffer: &mut Buffer, with_handles: bool) -> Result<Message<'_>, Stop> {
        loop {
            let spot = self.next()?;
            let Some((Some(kind), payload)) = self.whole(&spot) else {
                self.look_again(&spot)?;
                continue;
            };
            match kind {
                Kind::Number if self.take(&spot) => return Ok(Message::Number(payload)),
                Kind::Short if spot.word.short_len() > size_of::<u64>() => return Err(self.quarantine()),
                Kind::Short => {
                    buffer.fill_short(payload, spot.word.short_len());
                    if self.take(&spot) {
                        return Ok(Message::InBuffer);
                    }
                }
                Kind::Cell => {
                    self.copy_out(CellAt::from_payload(payload), buffer).map_err(|stop| match stop {
                        Stop::Damaged => self.quarantine(),
                        stop => stop,
                    })?;
                    if self.take(&spot) {
                        return Ok(Message::InBuffer);
                    }
                }
                Kind::Block if with_handles && self.is_with_handles(BlockId::from_bits(payload)) => {
                    return Ok(Message::WithHandles);
                }
                Kind::Block => {
                    if let Some(block) = Block::take_from_ring(self, &spot, payload)? {
                        return Ok(Message::Block(block));
                    }
                }
                Kind::Number => {}
            }
        }
    }

    /// An error if a slot whose word says that it is ready says nothing more.
    fn look_again(&self, spot: &Spot) -> Result<(), Stop> {
        if self.word(spot.slot) == Some(spot.word) && spot.word.kind().is_none() {
            Err(self.quarantine())
        } else {
            Ok(())
        }
    }

    #[cold]
    fn put_other<T: Serialize + DeserializeOwned>(
        &self,
        value: &T,
        why: NotInline,
        patience: Patience,
    ) -> Result<(), PutStop> {
        if why == NotInline::TooLong
            && let Some(len) = codec::encoded_len(value)
        {
            return self.put_in_block(len, patience, |block| {
                let memory = block.memory()?;
                // SAFETY: the block is ours, and `len` bytes long.
                Ok(unsafe { codec::encode_at(value, memory.start, len) })
            });
        }
        let parcel = handover::pack(value).map_err(PutStop::Encode)?;
        if parcel.fds().is_empty() {
            return self.put_bytes(parcel.bytes(), patience);
        }
        self.put_parcel(&parcel, TypeInfo::of::<T>().name(), patience)
    }

    /// Puts bytes as they are.
    #[inline]
    pub(crate) fn put_bytes(&self, message: &[u8], patience: Patience) -> Result<(), PutStop> {
        let len = message.len();
        if self.leases {
            return self.put_bytes_in_block(message, patience);
        }
        if len <= size_of::<u64>() {
            return Ok(self.put_word(What::short(len), codec::short(message), patience)?);
        }
        let class = if len <= self.cell_bytes(0) { 0 } else { 1 };
        if len <= self.cell_bytes(class)
            && let Some(cell) = Filling::take(self, Some(class))
        {
            // SAFETY: the cell is ours, is as long, and its message has left the ring.
            unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), cell.memory().0.as_ptr(), len) };
            return Ok(cell.put(len, patience)?);
        }
        self.put_bytes_in_block(message, patience)
    }

    fn put_bytes_in_block(&self, message: &[u8], patience: Patience) -> Result<(), PutStop> {
        self.put_in_block(message.len(), patience, |block| block.write(message).map(|()| true))
    }

    fn put_in_block(
        &self,
        len: usize,
        patience: Patience,
        fill: impl FnOnce(&mut Block<'_>) -> io::Result<bool>,
    ) -> Result<(), PutStop> {
        if matches!(patience, Patience::Now) {
            self.patiently(Side::Space, patience, || self.has_room())?;
        }
        let mut block = self.patiently(Side::Space, patience, || Block::take(self, len))?;
        if !fill(&mut block).map_err(Stop::from)? {
            return Err(PutStop::System(io::ErrorKind::InvalidInput));
        }
        Ok(self.put_block(&mut block, patience)?)
    }

    /// Puts the message that lies in `block`; the block is the queue's from then on.
    pub(crate) fn put_block(&self, block: &mut Block<'_>, patience: Patience) -> Result<(), Stop> {
        if !block.is_ours() {
            // The message's `Serialize` has forked, or a loan was sent in a forked child.
            return Err(Stop::System(io::ErrorKind::Other));
        }
        let payload = block.id().to_bits();
        let aim = |position| block.aim(position);
        self.patiently(Side::Space, patience, || self.try_put(What::BLOCK, payload, aim))?;
        block.given_away();
        Ok(())
    }
}

/// An address so many bytes on, whatever is there.
#[inline(always)]
fn from_after(from: NonNull<u8>, bytes: usize) -> NonNull<u8> {
    from.map_addr(|address| address.saturating_add(bytes))
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    #[inline]
    pub(super) fn put_message(&self, value: &T, patience: Patience) -> Result<(), PutStop> {
        // Other types that are written as a number may not read the same number.
        if wire::is_number::<T>()
            && let Some(number) = number::of(value)
        {
            return Ok(self.raw.put_word(What::NUMBER, number, patience)?);
        }
        self.raw.put_value(value, patience)
    }
}

impl<T: DeserializeOwned> Queue<T> {
    #[inline]
    pub(super) fn get_message(&self, patience: Patience) -> Result<T, GetStop> {
        if !wire::is_number::<T>() {
            return self.get_encoded(patience);
        }
        match self.raw.take_number_at_once() {
            Some(number) => decode_number(number).map_err(GetStop::Decode),
            None => self.get_patiently(patience),
        }
    }

    #[cold]
    fn get_patiently(&self, patience: Patience) -> Result<T, GetStop> {
        self.get_encoded(patience)
    }

    #[inline]
    fn get_encoded(&self, patience: Patience) -> Result<T, GetStop> {
        let mut buffer = Buffer::new();
        if !self.raw.take_at_once(&mut buffer) {
            return self.get_encoded_patiently(&mut buffer, patience);
        }
        // Decoded once, straight into its place: to move a value that was just written waits for the write.
        match wire::decode(buffer.as_bytes()) {
            Ok(value) => Ok(value),
            Err(e) => Err(GetStop::undecodable(e)),
        }
    }

    #[cold]
    fn get_encoded_patiently(&self, buffer: &mut Buffer, patience: Patience) -> Result<T, GetStop> {
        match self.raw.take_whole(buffer, patience)? {
            Message::Number(number) => decode_number(number).map_err(GetStop::Decode),
            Message::InBuffer => codec::decode(buffer.as_bytes()).map_err(GetStop::Decode),
            Message::Block(block) => block.read(codec::decode)?.map_err(GetStop::Decode),
            Message::Content(content) => content.decode().map_err(GetStop::Decode),
            Message::WithHandles => Err(GetStop::Damaged),
        }
    }
}

#[inline]
pub(super) fn decode_number<T: DeserializeOwned>(number: u64) -> Result<T, handover::Error> {
    // What was put as one type and is got as another may still be read as it would be written.
    number::decode(number).or_else(|_| codec::decode(&codec::encode(&number)))
}

impl<T> Queue<T> {
    #[inline]
    pub(super) fn get_raw(&self, patience: Patience) -> Result<Vec<u8>, GetStop> {
        let mut buffer = Buffer::new();
        Ok(self.raw.take_message(&mut buffer, patience)?.into_vec(&buffer)?)
    }
}
