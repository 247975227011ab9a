//! Several messages a call.

use serde::{Serialize, de::DeserializeOwned};

use super::{Queue, Raw, events::Patience, message::GetStop};
use crate::{GetError, PutError};

impl<T: Serialize> Queue<T> {
    /// Puts all of `messages`, one after another; waits for room whenever the queue is full. Other processes' messages
    /// may come in between.
    ///
    /// # Errors
    /// As [`put`](Self::put), with those that have not been put.
    pub fn put_many(&self, messages: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        self.raw.put_values(messages)
    }
}

impl Raw {
    pub(crate) fn put_values<T: Serialize>(&self, values: impl IntoIterator<Item = T>) -> Result<(), PutError<Vec<T>>> {
        let mut values = values.into_iter();
        while let Some(value) = values.next() {
            if let Err(stop) = self.put_value(&value, Patience::Forever) {
                return Err(stop.into_put_error(std::iter::once(value).chain(values).collect()));
            }
        }
        Ok(())
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes up to `max` messages: waits for the first, and takes what else is there.
    ///
    /// # Errors
    /// As [`get`](Self::get), of the first message. One further on that is no `T` is left out.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let mut messages = Vec::new();
        if max == 0 {
            return Ok(messages);
        }
        messages.push(self.get()?);
        while messages.len() < max {
            match self.get_message(Patience::Now) {
                Ok(message) => messages.push(message),
                Err(GetStop::Decode(_)) => {}
                Err(_) => break,
            }
        }
        Ok(messages)
    }
}
