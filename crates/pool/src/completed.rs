//! Waiting for many tasks at once.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::*},
    },
    task::{Wake, Waker},
    time::Duration,
};

use kernel::futex::{self, Deadline, Wait};
use parking_lot::Mutex;

use crate::Task;

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One task has ended.
    Any,
    /// Every task has ended.
    All,
    /// One task has failed, or every task has ended.
    FirstError,
}

/// A [`Task`] of whatever result.
pub trait Waitable: sealed::Waitable {}
impl<R> Waitable for Task<R> {}

mod sealed {
    use std::task::Waker;

    pub trait Waitable {
        fn successful(&self) -> Option<bool>;
        fn notify(&self, waker: &Waker) -> bool;
    }

    impl<R> Waitable for crate::Task<R> {
        fn successful(&self) -> Option<bool> {
            self.successful()
        }

        fn notify(&self, waker: &Waker) -> bool {
            self.0.core().notify(waker)
        }
    }
}

/// Blocks until `until` holds of `tasks` (true), for at most `timeout` (false); `None` waits for as long as it takes.
///
/// The tasks may come from several pools. Which of them have ended, [`Task::ready`] tells.
///
/// # Examples
/// ```
/// use pool::{ThreadPool, Until, wait};
/// let pool = ThreadPool::new(2)?;
/// let (a, b) = (pool.apply_async(|| 1, ()), pool.apply_async(|| "two", ()));
/// assert!(wait(&[&a, &b], Until::All, None));
/// assert_eq!((a.get()?, b.get()?), (1, "two"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(tasks: &[&dyn Waitable], until: Until, timeout: Option<Duration>) -> bool {
    let deadline = timeout.and_then(Deadline::after);
    let ready = Arc::new(Ready::default());
    for (index, task) in tasks.iter().enumerate() {
        if task.notify(&ready.waker(index)) {
            ready.push(index);
        }
    }
    let mut pending = tasks.len();
    while pending > 0 {
        let Some(index) = ready.pop(deadline) else { return false };
        pending -= 1;
        let failed = tasks[index].successful() == Some(false);
        if until == Until::Any || until == Until::FirstError && failed {
            break;
        }
    }
    true
}

/// Yields `tasks` in the order in which they end. `next` blocks until the next one has ended.
///
/// # Examples
/// ```
/// use pool::{ThreadPool, as_completed};
/// let pool = ThreadPool::new(2)?;
/// let tasks = [3_u32, 4].map(|n| pool.apply_async(move || n * n, ()));
/// let mut squares: Vec<u32> = as_completed(tasks).map(|task| task.get()).collect::<Result<_, _>>()?;
/// squares.sort();
/// assert_eq!(squares, [9, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn as_completed<R>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    let mut set = Set::default();
    tasks.into_iter().for_each(|task| set.insert(0, task));
    AsCompleted(set)
}

/// The iterator of [`as_completed`].
pub struct AsCompleted<R>(Set<R>);

impl<R> Iterator for AsCompleted<R> {
    type Item = Task<R>;

    fn next(&mut self) -> Option<Task<R>> {
        self.0.next().map(|(_, task)| task)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.pending, Some(self.0.pending))
    }
}

impl<R> ExactSizeIterator for AsCompleted<R> {}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.0.pending).finish()
    }
}

/// Tasks under way, each with a tag, to be taken out in the order in which they end.
pub(crate) struct Set<R> {
    tasks: Vec<Option<(usize, Task<R>)>>,
    free: Vec<usize>,
    pending: usize,
    ready: Arc<Ready>,
}

impl<R> Default for Set<R> {
    fn default() -> Self {
        Self { tasks: Vec::new(), free: Vec::new(), pending: 0, ready: Arc::default() }
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
        if task.0.core().notify(&self.ready.waker(index)) {
            self.ready.push(index);
        }
        self.tasks[index] = Some((tag, task));
        self.pending += 1;
    }

    /// Blocks until one of them has ended; `None` if there is none left.
    pub(crate) fn next(&mut self) -> Option<(usize, Task<R>)> {
        if self.pending == 0 {
            return None;
        }
        let index = self.ready.pop(None)?;
        self.pending -= 1;
        self.free.push(index);
        self.tasks[index].take()
    }
}

/// Which tasks have ended and were not looked at yet.
#[derive(Default)]
struct Ready {
    indices: Mutex<VecDeque<usize>>,
    /// Counts the pushes; sleepers wait for it to change.
    pushed: AtomicU32,
    sleeping: AtomicU32,
}

impl Ready {
    fn waker(self: &Arc<Self>, index: usize) -> Waker {
        Waker::from(Arc::new(Entry { ready: self.clone(), index }))
    }

    fn push(&self, index: usize) {
        self.indices.lock().push_back(index);
        self.pushed.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) != 0 {
            futex::wake(&self.pushed, 1);
        }
    }

    /// For one thread at a time.
    fn pop(&self, deadline: Option<Deadline>) -> Option<usize> {
        loop {
            let pushed = self.pushed.load(SeqCst);
            if let Some(index) = self.indices.lock().pop_front() {
                return Some(index);
            }
            self.sleeping.store(1, SeqCst);
            let woken = futex::wait(&self.pushed, pushed, deadline);
            self.sleeping.store(0, SeqCst);
            if woken == Wait::TimedOut {
                return self.indices.lock().pop_front();
            }
        }
    }
}

struct Entry {
    ready: Arc<Ready>,
    index: usize,
}

impl Wake for Entry {
    fn wake(self: Arc<Self>) {
        self.ready.push(self.index);
    }
}
