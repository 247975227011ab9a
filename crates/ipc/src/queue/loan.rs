//! Messages written where they will be read, and read where they were written: no copy on the way.
//!
//! # Safety
//! A loan's bytes are in a block that this process holds, mapped as long as the loan lives. They are plain bytes, or a value
//! that any bytes are; a process that has the queue but does not keep to its rules could change them meanwhile.
#![allow(unsafe_code)]

use std::{
    any, fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use kernel::handover;

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
use crate::{GetError, Plain, PutError};

/// Blocks begin at multiples of it.
const BLOCK_ALIGN: usize = 64;

/// Shared memory for one message, bytes or a `T`, to be filled in place and [sent](Self::send); see [`Queue::loan`] and
/// [`Queue::loan_value`].
///
/// Dropped unsent, it goes back.
///
/// # Crash safety
/// As long as it has not been sent no getter sees it; if this process dies, its memory goes back to the queue.
pub struct Loan<'a, T: ?Sized = [u8]> {
    block: Block<'a>,
    memory: BlockMemory,
    value: PhantomData<T>,
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
        self.loan_of(len)
    }

    fn loan_of<U: ?Sized>(&self, len: usize) -> Result<Loan<'_, U>, PutError<()>> {
        let raw = &*self.raw;
        let block = raw.patiently(Side::Space, Patience::Forever, || Block::take(raw, len));
        let memory = block.and_then(|block| Ok((block.memory()?, block)));
        let (memory, block) = memory.map_err(|stop| PutStop::from(stop).into_put_error(()))?;
        Ok(Loan { block, memory, value: PhantomData })
    }

    /// Takes the next message as bytes, to be read where they lie; waits for one while the queue is empty. What is
    /// short (512 bytes or less) is copied.
    ///
    /// The bytes are in memory that every process with this queue can write to. None that uses this crate does, as long as
    /// the message is here; a program that breaks into one of them could change the bytes while they are read. Where that
    /// matters, take a copy: [`get_bytes`](Self::get_bytes).
    ///
    /// # Errors
    /// If the queue is closed and empty.
    ///
    /// # Crash safety
    /// The message has left the queue: if this process dies, it is gone, and its memory goes back to the queue.
    pub fn get_loan(&self) -> Result<Received<'_>, GetError> {
        self.get_in_place().map(Received)
    }

    fn get_in_place(&self) -> Result<Place<'_, [u8]>, GetError> {
        let mut buffer = Buffer::new();
        let message = self.raw.take_message(&mut buffer, Patience::Forever).and_then(|taken| match taken {
            Message::Block(block) => match block.memory() {
                Ok(memory) => Ok(Place::Block { memory, block }),
                // No address is left to have it mapped at; a copy takes none.
                Err(_) => Ok(Place::Copy(block.into_vec()?.into())),
            },
            taken => Ok(Place::Copy(taken.into_vec(&buffer)?.into())),
        });
        message.map_err(|stop| GetStop::from(stop).into_get_error())
    }
}

impl<T: Plain> Queue<T> {
    /// Borrows room for a `T` from the queue, to be written there and sent without a copy. What it is at first is arbitrary.
    /// Waits only if thousands of loans and messages are under way.
    ///
    /// The message is for [`get_loan_value`](Self::get_loan_value): it is the value's memory, which a `get` would take for a
    /// serialised `T`.
    ///
    /// # Errors
    /// As [`loan`](Self::loan).
    ///
    /// # Examples
    /// ```
    /// use ipc::{Plain, Queue};
    ///
    /// #[derive(Plain)]
    /// #[shm(crate = ipc)] // not needed by a program that depends on `sync`, too
    /// struct Frame {
    ///     number: u64,
    ///     pixels: [[f32; 640]; 480],
    /// }
    ///
    /// let frames = Queue::<Frame>::builder().build_plain()?;
    /// let mut frame = frames.loan_value()?;
    /// frame.number = 7;
    /// frame.pixels.as_flattened_mut().fill(0.5);
    /// frame.send()?;
    /// let frame = frames.get_loan_value()?;
    /// assert_eq!((frame.number, frame.pixels[479][639]), (7, 0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn loan_value(&self) -> Result<Loan<'_, T>, PutError<()>> {
        const { assert!(align_of::<T>() <= BLOCK_ALIGN, "values that are aligned to more than 64 bytes cannot be lent") };
        self.loan_of(size_of::<T>())
    }

    /// Takes the next message as a `T`, to be read where it lies; waits for one while the queue is empty. One of 512 bytes or
    /// less is copied.
    ///
    /// # Errors
    /// If the queue is closed and empty; [`Decode`](GetError::Decode) if the message is not as long as a `T`.
    ///
    /// # Crash safety
    /// As [`get_loan`](Self::get_loan).
    pub fn get_loan_value(&self) -> Result<Received<'_, T>, GetError> {
        let place = self.get_in_place()?;
        let len = match &place {
            Place::Copy(bytes) => bytes.len(),
            Place::Block { block, .. } => block.len(),
        };
        if len != size_of::<T>() {
            let why = format!("a message of {len} bytes is no {}", any::type_name::<T>());
            return Err(GetError::Decode(handover::Error::new(why)));
        }
        Ok(Received(match place {
            Place::Copy(bytes) => Place::Copy(from_bytes(&bytes)),
            Place::Block { block, memory } => Place::Block { block, memory },
        }))
    }
}

/// A copy of the bytes as the value that they are; there are as many.
fn from_bytes<T: Plain>(bytes: &[u8]) -> Box<T> {
    assert_eq!(bytes.len(), size_of::<T>());
    let mut value = Box::<T>::new_uninit();
    // SAFETY: both are so long, and the box is new.
    unsafe { value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    // SAFETY: all bytes are there, and any are a `Plain`.
    unsafe { value.assume_init() }
}

/// A message that is read where it lies; see [`Queue::get_loan`] and [`Queue::get_loan_value`].
///
/// Dropped, its memory goes back to the queue.
pub struct Received<'a, T: ?Sized = [u8]>(Place<'a, T>);

enum Place<'a, T: ?Sized> {
    Copy(Box<T>),
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

impl<T: Plain> Deref for Received<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Place::Copy(value) => value,
            // SAFETY:
            // * So many bytes are mapped there, at a multiple of 64, to which no `T` of a loan is aligned further.
            // * They are this message's as long as it holds the block, and any bytes are a `Plain`.
            Place::Block { memory, .. } => unsafe { memory.start.cast::<T>().as_ref() },
        }
    }
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("len", &self.len()).finish()
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Received<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Loan<'_, T> {
    /// Puts the message into the queue; waits for room while it is full.
    ///
    /// # Errors
    /// If the queue is closed; in a forked child of the process that borrowed it, whose loan it remains.
    pub fn send(mut self) -> Result<(), PutError<()>> {
        let raw = self.block.raw();
        raw.put_block(&mut self.block, Patience::Forever).map_err(|stop| PutStop::from(stop).into_put_error(()))
    }
}

impl Loan<'_> {
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

impl<T: Plain> Deref for Loan<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY:
        // * So many bytes are mapped there, at a multiple of 64, to which no `T` of a loan is aligned further.
        // * They are this loan's, and any bytes are a `Plain`.
        unsafe { self.memory.start.cast::<T>().as_ref() }
    }
}

impl<T: Plain> DerefMut for Loan<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { self.memory.start.cast::<T>().as_mut() }
    }
}

impl<T: ?Sized> fmt::Debug for Loan<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").field("len", &self.block.len()).finish()
    }
}
