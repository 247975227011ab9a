//! What a thread is handing over: the descriptors that were noted, and those that came along.

use std::os::fd::{OwnedFd, RawFd};

use super::error::Error;
use crate::thread_slot::ThreadSlot;

/// A value may be written more than once. The descriptors that were noted when it was written last count.
const JOURNAL: wire::Journal = wire::Journal {
    mark: || SENDING.with(|sending| sending.borrow().as_ref().map_or(0, |sending| sending.fds.len())),
    rewind: |mark| {
        SENDING.with(|sending| {
            if let Some(sending) = &mut *sending.borrow_mut() {
                sending.fds.truncate(mark);
            }
        });
    },
};

/// A hand-over under way: `n_before` descriptors precede these.
pub(super) struct Sending {
    pub(super) n_before: usize,
    pub(super) fds: Vec<RawFd>,
}

thread_local! {
    pub(super) static SENDING: ThreadSlot<Sending> = const { ThreadSlot::new() };
    pub(super) static RECEIVING: ThreadSlot<Vec<Option<OwnedFd>>> = const { ThreadSlot::new() };
}

/// Puts a hand-over's context in place and the former one back, also when a `Serialize` panics.
pub(super) struct Context<T: 'static> {
    cell: &'static std::thread::LocalKey<ThreadSlot<T>>,
    former: Option<T>,
}

impl<T> Context<T> {
    pub(super) fn enter(cell: &'static std::thread::LocalKey<ThreadSlot<T>>, value: Option<T>) -> Self {
        Self { cell, former: cell.with(|cell| cell.replace(value)) }
    }
}

impl<T> Drop for Context<T> {
    fn drop(&mut self) {
        self.cell.with(|cell| cell.replace(self.former.take()));
    }
}

/// Calls `pack` to write a value, and collects its descriptors.
pub(super) fn sending(
    mut bytes: Vec<u8>,
    n_before: usize,
    pack: impl FnOnce(&mut Vec<u8>) -> Result<(), wire::Error>,
) -> Result<(Vec<u8>, Vec<RawFd>), Error> {
    let _context = Context::enter(&SENDING, Some(Sending { n_before, fds: Vec::new() }));
    wire::with_journal(JOURNAL, || pack(&mut bytes))?;
    let fds = SENDING.with(|sending| sending.take()).map_or_else(Vec::new, |sending| sending.fds);
    Ok((bytes, fds))
}
