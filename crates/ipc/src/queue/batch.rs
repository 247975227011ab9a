//! Several messages a call.

use kernel::handover;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Queue,
    codec::caught,
    message::decode_number,
    patience::Patience,
    ring::Dequeue,
    stop::{GetStop, PutStop},
};
use crate::{GetError, PutError};

/// For how many messages there is room from the beginning.
const MANY: usize = 64;

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts all of `messages`, one after another; waits for room whenever the queue is full. Other processes' messages
    /// may come in between.
    ///
    /// # Errors
    /// As [`put`](Self::put), with those that have not been put.
    pub fn put_many(&self, messages: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        put_all(messages, |message| self.put_message(message, Patience::Forever))
    }
}

/// Puts one after another.
pub(crate) fn put_all<T>(
    messages: impl IntoIterator<Item = T>,
    put: impl Fn(&T) -> Result<(), PutStop>,
) -> Result<(), PutError<Vec<T>>> {
    let mut messages = messages.into_iter();
    while let Some(message) = messages.next() {
        if let Err(stop) = put(&message) {
            return Err(stop.into_put_error(std::iter::once(message).chain(messages).collect()));
        }
    }
    Ok(())
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes up to `max` messages: waits for the first, and takes what else is there.
    ///
    /// # Errors
    /// As [`get`](Self::get), of the first message. A later one that is no `T` is left out; the next `get_many` of this process
    /// returns its error. So is one whose `Deserialize` panics: those before it have been taken already.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        self.get_many_from(max, || self.get())
    }

    /// The same, with the first one by `get`.
    pub(super) fn get_many_from(
        &self,
        max: usize,
        get: impl FnOnce() -> Result<T, GetError>,
    ) -> Result<Vec<T>, GetError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        if let Some(error) = self.raw.undecodable.lock().pop_front() {
            return Err(GetError::Decode(error));
        }
        let mut messages = Vec::with_capacity(max.min(MANY));
        messages.push(get()?);
        while messages.len() < max {
            // Numbers leave their slots by the dozen, and only then is there code of `T`'s to run.
            if wire::is_number::<T>() {
                let mut numbers = [0; MANY];
                let (n, is_end) = self.raw.take_numbers(&mut numbers[..MANY.min(max - messages.len())]);
                let decoded = numbers[..n].iter().map(|number| decode_number(*number));
                messages.extend(decoded.filter_map(|number| number.map_err(|e| self.tell_later(e)).ok()));
                if is_end {
                    break;
                }
                if n > 0 {
                    continue;
                }
            }
            match caught(|| self.get_message(Patience::Now)) {
                Ok(message) => messages.push(message),
                Err(GetStop::Decode(e)) => self.tell_later(e),
                Err(_) => break,
            }
        }
        Ok(messages)
    }

    #[cold]
    fn tell_later(&self, error: handover::Error) {
        self.raw.undecodable.lock().push_back(error);
    }
}
