//! Between the values that users put and get and the bytes that the ring carries.
//!
//! User code, which a `Serialize` may be, runs only while no slot is held.
//!
//! # Safety
//! Writes serialised bytes into a block that this process holds.
#![allow(unsafe_code)]

use std::io;

use proc_core::handover;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Queue,
    blocks::Block,
    codec::{self, Buffer, NotInline},
    events::Patience,
    number,
    protocol::{Ring, Short, Side, Stop},
    ring::{Raw, Taken},
};
use crate::{GetError, GetTimeoutError, PutError, PutTimeoutError, TryGetError, TryPutError};

/// Why a message was not put.
pub(crate) enum PutStop {
    Full,
    Closed,
    Damaged,
    TooLarge,
    Encode(handover::Error),
    System(io::ErrorKind),
}

impl From<Stop> for PutStop {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Level | Stop::Held(..) => Self::Full,
            Stop::Closed => Self::Closed,
            Stop::Damaged => Self::Damaged,
            Stop::System(io::ErrorKind::FileTooLarge) => Self::TooLarge,
            Stop::System(kind) => Self::System(kind),
        }
    }
}

impl PutStop {
    pub(crate) fn into_put_error<T>(self, value: T) -> PutError<T> {
        match self {
            Self::Closed => PutError::Closed(value),
            Self::Damaged => PutError::Damaged(value),
            Self::TooLarge => PutError::TooLarge(value),
            Self::Encode(e) => PutError::Encode(value, e),
            Self::System(kind) => PutError::System(value, kind),
            Self::Full => unreachable!("`put` waits, the others have an error of their own for it"),
        }
    }

    pub(crate) fn into_try_put_error<T>(self, value: T) -> TryPutError<T> {
        match self {
            Self::Full => TryPutError::Full(value),
            stop => stop.into_put_error(value).into(),
        }
    }

    pub(crate) fn into_put_timeout_error<T>(self, value: T) -> PutTimeoutError<T> {
        match self {
            Self::Full => PutTimeoutError::TimedOut(value),
            stop => stop.into_put_error(value).into(),
        }
    }
}

/// Why no message was got.
pub(crate) enum GetStop {
    Empty,
    Closed,
    Damaged,
    Decode(handover::Error),
    System(io::ErrorKind),
}

impl From<Stop> for GetStop {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Level | Stop::Held(..) => Self::Empty,
            Stop::Closed => Self::Closed,
            Stop::Damaged => Self::Damaged,
            Stop::System(kind) => Self::System(kind),
        }
    }
}

impl GetStop {
    pub(crate) fn into_get_error(self) -> GetError {
        match self {
            Self::Closed => GetError::Closed,
            Self::Damaged => GetError::Damaged,
            Self::Decode(e) => GetError::Decode(e),
            Self::System(kind) => GetError::System(kind),
            Self::Empty => unreachable!("`get` waits, the others have an error of their own for it"),
        }
    }

    pub(crate) fn into_try_get_error(self) -> TryGetError {
        match self {
            Self::Empty => TryGetError::Empty,
            stop => stop.into_get_error().into(),
        }
    }

    pub(crate) fn into_get_timeout_error(self) -> GetTimeoutError {
        match self {
            Self::Empty => GetTimeoutError::TimedOut,
            stop => stop.into_get_error().into(),
        }
    }
}

impl Raw {
    /// Puts a value.
    #[inline]
    pub(crate) fn put_value<T: Serialize>(&self, value: &T, patience: Patience) -> Result<(), PutStop> {
        let mut buffer = Buffer::new();
        match buffer.encode(value, self.segment.geometry.inline()) {
            Ok(()) => self.put_short(&buffer, patience),
            Err(why) => self.put_other(value, why, patience),
        }
    }

    /// Puts a message that fits into a slot.
    #[inline]
    fn put_short<M: Short + ?Sized>(&self, message: &M, patience: Patience) -> Result<(), PutStop> {
        let put = match self.me_at_once() {
            Some(me) => self.put_at_once(message, me)?,
            None => false,
        };
        if put { Ok(()) } else { self.put_short_patiently(message, patience) }
    }

    #[cold]
    fn put_short_patiently<M: Short + ?Sized>(&self, message: &M, patience: Patience) -> Result<(), PutStop> {
        Ok(self.patiently(Side::Space, patience, |_| self.try_put(message, self.me()?))?)
    }

    /// Takes a message: into the buffer, or a block.
    #[inline]
    pub(super) fn take(&self, buffer: &mut Buffer, patience: Patience) -> Result<Taken<'_>, Stop> {
        if self.take_at_once(buffer) { Ok(Taken::Inline) } else { self.take_patiently(buffer, patience) }
    }

    #[cold]
    fn take_patiently(&self, buffer: &mut Buffer, patience: Patience) -> Result<Taken<'_>, Stop> {
        self.patiently(Side::Items, patience, |patient| self.try_take(buffer, patient))
    }

    #[cold]
    fn put_other<T: Serialize>(&self, value: &T, why: NotInline, patience: Patience) -> Result<(), PutStop> {
        if why == NotInline::TooLong
            && let Some(len) = codec::encoded_len(value)
        {
            return self.put_in_block(len, patience, |block| {
                let memory = block.memory()?;
                // SAFETY: the block is ours, and `len` bytes long.
                Ok(unsafe { codec::encode_at(value, memory.start, len) })
            });
        }
        let bytes = handover::pack_reopenable(value).map_err(PutStop::Encode)?;
        self.put_bytes(&bytes, patience)
    }

    /// Puts bytes as they are.
    #[inline]
    pub(crate) fn put_bytes(&self, message: &[u8], patience: Patience) -> Result<(), PutStop> {
        if message.len() <= self.segment.geometry.inline() {
            return self.put_short(message, patience);
        }
        self.put_in_block(message.len(), patience, |block| block.write(message).map(|()| true))
    }

    fn put_in_block(
        &self,
        len: usize,
        patience: Patience,
        fill: impl FnOnce(&mut Block<'_>) -> io::Result<bool>,
    ) -> Result<(), PutStop> {
        if matches!(patience, Patience::Now) {
            self.patiently(Side::Space, patience, |_| self.look_for_room())?;
        }
        let mut block = self.patiently(Side::Space, patience, |_| Block::take(self, len))?;
        if !fill(&mut block).map_err(Stop::from)? {
            return Err(PutStop::System(io::ErrorKind::InvalidInput));
        }
        self.put_block(&mut block, patience)
    }

    /// Puts the message that lies in `block`.
    pub(crate) fn put_block(&self, block: &mut Block<'_>, patience: Patience) -> Result<(), PutStop> {
        Ok(self.patiently(Side::Space, patience, |_| self.try_put_block(block))?)
    }
}

impl Taken<'_> {
    /// The message's bytes; those of a short one are in `buffer`.
    pub(super) fn into_vec(self, buffer: &Buffer) -> Result<Vec<u8>, Stop> {
        match self {
            Self::Number(number) => Ok(codec::encode(&number)),
            Self::Inline => Ok(buffer.as_bytes().to_vec()),
            Self::Block(block) => block.into_vec(),
        }
    }
}

impl<T: Serialize> Queue<T> {
    #[inline]
    pub(super) fn put_message(&self, value: &T, patience: Patience) -> Result<(), PutStop> {
        if number::may_be::<T>()
            && let Some(number) = number::of(value)
        {
            return self.raw.put_short(&number, patience);
        }
        self.raw.put_value(value, patience)
    }
}

impl<T: DeserializeOwned> Queue<T> {
    #[inline]
    pub(super) fn get_message(&self, patience: Patience) -> Result<T, GetStop> {
        if !number::may_be::<T>() {
            return self.get_encoded(patience);
        }
        match self.raw.me_at_once().and_then(|_| self.raw.take_number_at_once()) {
            Some(number) => decode_number(number),
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
        match self.raw.take(&mut buffer, patience)? {
            Taken::Number(number) => decode_number(number),
            Taken::Inline => codec::decode(buffer.as_bytes()).map_err(GetStop::Decode),
            Taken::Block(block) => block.read(codec::decode)?.map_err(GetStop::Decode),
        }
    }
}

#[inline]
pub(super) fn decode_number<T: DeserializeOwned>(number: u64) -> Result<T, GetStop> {
    // What was put as one type and is got as another may still be read as it would be written.
    number::decode(number).or_else(|_| codec::decode(&codec::encode(&number)).map_err(GetStop::Decode))
}

impl<T> Queue<T> {
    #[inline]
    pub(super) fn put_raw(&self, message: &[u8], patience: Patience) -> Result<(), PutStop> {
        self.raw.put_bytes(message, patience)
    }

    #[inline]
    pub(super) fn get_raw(&self, patience: Patience) -> Result<Vec<u8>, GetStop> {
        let mut buffer = Buffer::new();
        Ok(self.raw.take(&mut buffer, patience)?.into_vec(&buffer)?)
    }
}
