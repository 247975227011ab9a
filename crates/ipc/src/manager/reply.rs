//! What the server replies.

use std::cell::Cell;

use serde::{Deserialize, Serialize, Serializer};

/// Said instead of a result.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Refusal {
    NoSuchObject,
    /// The watch on the object's proxies could not be set up.
    Errno(i32),
}

/// Before each reply.
pub(super) const RETURNED: u8 = 0;
pub(super) const FAILED: u8 = 1;

thread_local! {
    static IS_BEING_WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether what this thread is writing is a server's reply.
pub(super) fn is_being_written() -> bool {
    IS_BEING_WRITTEN.get()
}

/// What a method in the server returns.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Reply<T>(pub(super) T);

impl<T: Serialize> Serialize for Reply<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Back(bool);
        impl Drop for Back {
            fn drop(&mut self) {
                IS_BEING_WRITTEN.set(self.0);
            }
        }
        let _back = Back(IS_BEING_WRITTEN.replace(true));
        self.0.serialize(serializer)
    }
}
