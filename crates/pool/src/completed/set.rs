//! Tasks under way.

use std::{sync::Arc, task::Waker};

use kernel::futex::Deadline;

use super::ready::Ready;
use crate::Task;

/// Tasks under way, each with a tag, to be taken out in the order in which they end.
pub(crate) struct Set<R> {
    tasks: Vec<Option<Entered<R>>>,
    free: Vec<usize>,
    pending: usize,
    ready: Arc<Ready>,
}

struct Entered<R> {
    tag: usize,
    task: Task<R>,
    waker: Waker,
}

impl<R> Default for Set<R> {
    fn default() -> Self {
        Self { tasks: Vec::new(), free: Vec::new(), pending: 0, ready: Arc::new(Ready::new(1)) }
    }
}

impl<R> Set<R> {
    pub(crate) fn len(&self) -> usize {
        self.pending
    }

    pub(crate) fn insert(&mut self, tag: usize, task: Task<R>) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        });
        let waker = self.ready.waker(index);
        if task.0.core().notify(&waker) {
            self.ready.push(index);
        }
        self.tasks[index] = Some(Entered { tag, task, waker });
        self.pending += 1;
    }

    /// Blocks until one of them has ended; `None` if there is none left.
    pub(crate) fn next(&mut self) -> Option<(usize, Task<R>)> {
        if self.pending == 0 {
            return None;
        }
        self.ready.wait(None);
        let index = self.ready.pop()?;
        self.pending -= 1;
        self.free.push(index);
        self.tasks[index].take().map(|entered| (entered.tag, entered.task))
    }

    /// Blocks until [`next`](Self::next) would not (true), or the deadline has passed (false).
    pub(crate) fn wait(&self, deadline: Option<Deadline>) -> bool {
        self.pending == 0 || self.ready.wait(deadline)
    }

    /// Whether [`next`](Self::next) would not block; if not, has `waker` woken when it would not.
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        self.pending == 0 || self.ready.poll(waker)
    }

    /// Those that were not taken out, in the order given.
    pub(super) fn into_tasks(self) -> Vec<Task<R>> {
        let entered = self.tasks.into_iter().flatten();
        entered
            .map(|Entered { task, waker, .. }| {
                task.0.core().forget(&waker);
                task
            })
            .collect()
    }
}
