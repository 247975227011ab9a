//! A task of whatever result, and how to be woken by its end.

use std::{io, sync::Arc, task::Waker};

use kernel::wait::{Bell, Waitable, Watch};

use crate::Task;

/// A [`Task`] of whatever result, or a reference to one: what [`wait`](super::wait()) and [`wait_tasks`](super::wait_tasks) take.
///
/// Tasks together with queues, processes and descriptors are for [`proc_core::wait_any`].
pub trait AnyTask: sealed::AnyTask {}
impl<R> AnyTask for Task<R> {}
impl<T: AnyTask + ?Sized> AnyTask for &T {}

/// Ready once the task has ended.
impl<R> Waitable for Task<R> {
    fn watch(&self) -> io::Result<Watch<'_>> {
        let (bell, event) = Bell::new()?;
        let subscription = Subscription { task: self, waker: Waker::from(Arc::new(bell)) };
        self.0.core().notify(&subscription.waker);
        Ok(Watch::Event { event, is_ready: Box::new(move || subscription.is_ready()) })
    }
}

/// Makes a task wake `waker` when it ends, until this is dropped.
struct Subscription<'a, R> {
    task: &'a Task<R>,
    waker: Waker,
}

impl<R> Subscription<'_, R> {
    fn is_ready(&self) -> bool {
        self.task.ready()
    }
}

impl<R> Drop for Subscription<'_, R> {
    fn drop(&mut self) {
        self.task.0.core().forget(&self.waker);
    }
}

pub(super) mod sealed {
    use std::task::Waker;

    pub trait AnyTask {
        fn successful(&self) -> Option<bool>;
        fn notify(&self, waker: &Waker) -> bool;
        fn forget(&self, waker: &Waker);
    }

    impl<R> AnyTask for crate::Task<R> {
        fn successful(&self) -> Option<bool> {
            self.successful()
        }

        fn notify(&self, waker: &Waker) -> bool {
            self.0.core().notify(waker)
        }

        fn forget(&self, waker: &Waker) {
            self.0.core().forget(waker);
        }
    }

    impl<T: AnyTask + ?Sized> AnyTask for &T {
        fn successful(&self) -> Option<bool> {
            (**self).successful()
        }

        fn notify(&self, waker: &Waker) -> bool {
            (**self).notify(waker)
        }

        fn forget(&self, waker: &Waker) {
            (**self).forget(waker);
        }
    }
}
