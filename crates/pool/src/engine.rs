//! What a pool of another kind is made of, so that its tasks, maps and builders are those of the pools here: for `cluster`.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    Imap, ImapUnordered, Task, TaskError, stream,
    task::{Core, Handle, next_id},
};

pub use crate::{
    callbacks::Callbacks,
    remote::Remote,
    stream::{Chunk, Cut, HasInputs, Inputs, Open, Submit},
    terms::Terms,
};

/// The other end of a [`Task`], for code outside of this crate that works on it.
pub struct Promise<R>(Arc<Promised<R>>);

struct Promised<R> {
    core: Core<R>,
    name: Option<Arc<str>>,
    cancel: Box<dyn Fn() -> bool + Send + Sync>,
}

impl<R: Send + 'static> Promise<R> {
    /// A task, and what completes it. `cancel` is called by [`Task::cancel`], and says whether the task has ended by that.
    pub fn new(name: Option<Arc<str>>, cancel: impl Fn() -> bool + Send + Sync + 'static) -> (Self, Task<R>) {
        let promised = Arc::new(Promised { core: Core::new(next_id()), name, cancel: Box::new(cancel) });
        (Self(promised.clone()), Task(promised))
    }

    /// Ends the task. Callbacks run in `callbacks`, which take their time.
    pub fn keep(self, result: Result<R, TaskError>, callbacks: &Callbacks) {
        match self.0.core.complete_unless_awaited(result) {
            Ok(_) => self.0.core.wake(),
            Err(result) => callbacks.run(Box::new(move || {
                self.0.core.complete(result);
            })),
        }
    }
}

impl<R> fmt::Debug for Promise<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl<R: Send> Handle<R> for Promised<R> {
    fn core(&self) -> &Core<R> {
        &self.core
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn cancel(&self) -> bool {
        !self.core.is_done() && (self.cancel)()
    }

    fn is_running(&self) -> bool {
        false
    }
}

/// All results of a map, in the order of its input, or the first failure.
///
/// # Errors
/// That failure.
pub fn map<I: Iterator, R>(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Result<Vec<R>, TaskError> {
    stream::map(input, cut, submit, None)
}

/// The results of a map, lazily, in the order of its input.
pub fn imap<I: Iterator, R>(input: I, cut: Cut, submit: Submit<I::Item, R>) -> Imap<I, R> {
    Imap::new(input, cut, submit)
}

/// The results of a map, lazily, each as soon as it is there.
pub fn imap_unordered<I: Iterator, R>(input: I, cut: Cut, submit: Submit<I::Item, R>) -> ImapUnordered<I, R> {
    ImapUnordered::new(input, cut, submit)
}

/// Cancels a task of a [`ProcessPool`](crate::ProcessPool), unless a worker has begun with it (false) or it has ended. A task of
/// many items that a worker has done a part of may count as not begun.
pub fn recall<R>(task: &Task<R>) -> bool {
    task.0.recall()
}

/// As the task's own future, without taking the task: others may look at it meanwhile, and cancel it.
pub fn poll<R>(task: &Task<R>, context: &mut Context<'_>) -> Poll<Result<R, TaskError>> {
    let core = task.0.core();
    if core.poll(context.waker()) { Poll::Ready(core.take()) } else { Poll::Pending }
}
