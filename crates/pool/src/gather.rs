//! Many chunks as one task: `map_async`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::AcqRel},
    },
    task::{Wake, Waker},
};

use crate::{
    Task, TaskError,
    stream::{Chunk, Cut, Submit},
    task::{Core, Handle, discard, next_id},
};

/// Gives all of `input` to a pool; the task ends with all results in order, or with the first failure.
pub(crate) fn gather<I: Iterator, R: Send + 'static>(
    input: I,
    cut: Cut,
    mut submit: Submit<I::Item, R>,
) -> Task<Vec<R>> {
    let items: Vec<_> = input.collect();
    let size = cut.chunk_size.unwrap_or_else(|| items.len().div_ceil(4 * cut.n_workers()));
    let size = size.max(1);
    let mut tasks = Vec::with_capacity(items.len().div_ceil(size));
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        tasks.push(submit(items.by_ref().take(size).collect()));
    }
    let n_left = AtomicUsize::new(tasks.len());
    let gather = Arc::new(Gather { tasks, n_left, core: Core::new(next_id()) });
    if gather.tasks.is_empty() {
        gather.core.complete(Ok(Vec::new()));
    }
    for task in &gather.tasks {
        let waker = Waker::from(Arc::new(Part(gather.clone())));
        if task.0.core().notify(&waker) {
            waker.wake();
        }
    }
    Task(gather)
}

struct Gather<R> {
    tasks: Vec<Task<Chunk<R>>>,
    /// How many of them have not ended. Each takes itself off once, and the one that brings it to 0 joins the results.
    /// `AcqRel`: that one sees what all others did before.
    n_left: AtomicUsize,
    core: Core<Vec<R>>,
}

impl<R> Gather<R> {
    fn merge(&self) -> Result<Vec<R>, TaskError> {
        let mut all = Vec::new();
        for task in &self.tasks {
            let failure = match task.get() {
                Ok(mut chunk) if chunk.failures.is_empty() => {
                    all.append(&mut chunk.values);
                    continue;
                }
                Ok(mut chunk) => {
                    discard(chunk.values);
                    chunk.failures.swap_remove(0).1
                }
                Err(why) => why,
            };
            discard(all);
            return Err(failure);
        }
        Ok(all)
    }
}

impl<R: Send> Handle<Vec<R>> for Gather<R> {
    fn core(&self) -> &Core<Vec<R>> {
        &self.core
    }

    fn cancel(&self) -> bool {
        self.tasks.iter().filter(|task| task.cancel()).count() > 0
    }

    fn is_running(&self) -> bool {
        self.tasks.iter().any(|task| task.running())
    }
}

/// One chunk's end.
struct Part<R>(Arc<Gather<R>>);

impl<R: Send> Wake for Part<R> {
    fn wake(self: Arc<Self>) {
        let gather = &self.0;
        if gather.n_left.fetch_sub(1, AcqRel) == 1 {
            gather.core.complete(gather.merge());
        }
    }
}
