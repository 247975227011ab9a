//! Futures that wait for something that comes once, and stays.

use std::task::Waker;

use kernel::waker::wake;
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Wakers(Mutex<Vec<Waker>>);

impl Wakers {
    /// Whether it is there; if not, has `waker` woken once it is.
    pub(crate) fn poll(&self, waker: &Waker, is_there: impl FnOnce() -> bool) -> bool {
        let mut wakers = self.0.lock();
        // Under the lock, which `wake_all` takes once it is there.
        let is_there = is_there();
        if !is_there && !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        is_there
    }

    /// It is there.
    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock());
        wakers.into_iter().for_each(wake);
    }
}
