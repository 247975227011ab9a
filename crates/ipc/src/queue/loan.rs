//! Messages written where they will be read, and read where they were written: no copy on the way.
//!
//! # Safety
//! A loan's bytes are in a block that this process holds, mapped as long as the loan lives. They are plain bytes; a
//! process that has the queue but does not keep to its rules could change them meanwhile.
#![allow(unsafe_code)]

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::{
    Queue,
    blocks::Block,
    codec::Buffer,
    content::Message,
    patience::Patience,
    ring::Side,
    segment::BlockMemory,
    stop::{GetStop, PutStop},
};
use crate::{GetError, PutError};

/// Shared memory for one message, to be filled in place and [sent](Self::send); see [`Queue::loan`].
///
/// Dropped unsent, it goes back.
///
/// # Crash safety
/// As long as it has not been sent nobody sees it; if this process dies, its memory goes back to the queue.
pub struct Loan<'a> {
    block: Block<'a>,
    memory: BlockMemory,
}

impl<T> Queue<T> {
    /// Borrows room for a message of `len` bytes from the queue, to be written there and sent without a copy. The bytes
    /// are arbitrary at first. Waits only if thousands of loans and messages are under way.
    ///
    /// The message is for [`get_loan`](Self::get_loan) or [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// If it is too large, or memory is short.
    ///
    /// # Examples
    /// ```
    /// let queue = ipc::Queue::<()>::new(4)?;
    /// let mut loan = queue.loan(1 << 20)?;
    /// loan.fill(7);
    /// loan.send()?;
    /// assert_eq!(*queue.get_loan()?, [7; 1 << 20]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan(&self, len: usize) -> Result<Loan<'_>, PutError<()>> {
        let raw = &*self.raw;
        let block = raw.patiently(Side::Space, Patience::Forever, || Block::take(raw, len));
        let memory = block.and_then(|block| Ok((block.memory()?, block)));
        let (memory, block) = memory.map_err(|stop| PutStop::from(stop).into_put_error(()))?;
        Ok(Loan { block, memory })
    }

    /// Takes the next message as bytes, to be read where they lie; waits for one while the queue is empty. What is
    /// short (512 bytes or less) is copied.
    ///
    /// # Errors
    /// If the queue is closed and empty.
    ///
    /// # Crash safety
    /// The message has left the queue: if this process dies, it is gone, and its memory goes back to the queue.
    pub fn get_loan(&self) -> Result<Received<'_>, GetError> {
        let mut buffer = Buffer::new();
        let message = self.raw.take_message(&mut buffer, Patience::Forever).and_then(|taken| match taken {
            Message::Block(block) => match block.memory() {
                Ok(memory) => Ok(Place::Block { memory, block }),
                // No address is left to have it mapped at; a copy takes none.
                Err(_) => Ok(Place::Copy(block.into_vec()?)),
            },
            taken => Ok(Place::Copy(taken.into_vec(&buffer)?)),
        });
        message.map(Received).map_err(|stop| GetStop::from(stop).into_get_error())
    }
}

/// A message that is read where it lies; see [`Queue::get_loan`].
///
/// Dropped, its memory goes back to the queue.
pub struct Received<'a>(Place<'a>);

enum Place<'a> {
    Copy(Vec<u8>),
    Block { block: Block<'a>, memory: BlockMemory },
}

impl Deref for Received<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Copy(bytes) => bytes,
            // SAFETY: `len` bytes are mapped there, and they are this message's as long as it holds the block.
            Place::Block { block, memory } => unsafe { std::slice::from_raw_parts(memory.start.as_ptr(), block.len()) },
        }
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("len", &self.len()).finish()
    }
}

impl Loan<'_> {
    /// Puts the message into the queue; waits for room while it is full.
    ///
    /// # Errors
    /// If the queue is closed; in a forked child of the process that borrowed it, whose loan it remains.
    pub fn send(mut self) -> Result<(), PutError<()>> {
        let raw = self.block.raw();
        raw.put_block(&mut self.block, Patience::Forever).map_err(|stop| PutStop::from(stop).into_put_error(()))
    }

    /// Makes the message shorter: only the first `len` bytes will be sent.
    pub fn truncate(&mut self, len: usize) {
        self.block.truncate(len);
    }
}

impl Deref for Loan<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped there, and they are this loan's.
        unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr(), self.block.len()) }
    }
}

impl DerefMut for Loan<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.block.len()) }
    }
}

impl fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("len", &self.block.len()).finish()
    }
}
