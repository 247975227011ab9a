//! A place of a thread's own that can be used to its very end.

use std::{cell::RefCell, mem::ManuallyDrop, ops::Deref};

/// What a `thread_local!` holds that is used in the destructors of others, and in functions that run at the exit.
///
/// It has no destructor, so that std never says that it is gone. The code that puts something into it takes it out again;
/// what is left there is never freed.
pub(crate) struct ThreadSlot<T>(ManuallyDrop<RefCell<Option<T>>>);

impl<T> ThreadSlot<T> {
    pub(crate) const fn new() -> Self {
        Self(ManuallyDrop::new(RefCell::new(None)))
    }
}

impl<T> Deref for ThreadSlot<T> {
    type Target = RefCell<Option<T>>;

    fn deref(&self) -> &RefCell<Option<T>> {
        &self.0
    }
}
