//! Waiting for many tasks at once.

use std::{
    collections::VecDeque,
    fmt, iter,
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

/// What [`wait`] and [`wait_tasks`] wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One task has ended.
    #[doc(alias = "FIRST_COMPLETED")]
    Any,
    /// Every task has ended.
    #[doc(alias = "ALL_COMPLETED")]
    All,
    /// One task has failed, or every task has ended.
    #[doc(alias = "FIRST_EXCEPTION")]
    FirstError,
}

/// A [`Task`] of whatever result, or a reference to one.
pub trait Waitable: sealed::Waitable {}
impl<R> Waitable for Task<R> {}
impl<T: Waitable + ?Sized> Waitable for &T {}

mod sealed {
    use std::task::Waker;

    pub trait Waitable {
        fn successful(&self) -> Option<bool>;
        fn notify(&self, waker: &Waker) -> bool;
        fn forget(&self, waker: &Waker);
    }

    impl<R> Waitable for crate::Task<R> {
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

    impl<T: Waitable + ?Sized> Waitable for &T {
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

/// Blocks until `until` holds of `tasks` (true), for at most `timeout` (false); `None` waits for as long as it takes.
///
/// The tasks may come from several pools. Which of them have ended, [`Task::ready`] tells, or [`wait_tasks`] instead.
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
    wait_for(tasks, until, timeout)
}

/// What [`wait_tasks`] found, each part in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited<T> {
    /// Tasks that have ended, with a result or without.
    pub done: Vec<T>,
    /// Tasks that have not.
    pub not_done: Vec<T>,
}

/// Blocks until `until` holds of `tasks`, for at most `timeout`, and gives them back: those that have ended, and those
/// that have not. Leaves nothing behind in a task, so that it can be called again and again.
///
/// Takes tasks, or references to tasks: `&Task<R>`, or `&dyn Waitable` for those of several results.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use pool::{ThreadPool, Until, wait_tasks};
/// let pool = ThreadPool::new(2)?;
/// let mut tasks: Vec<_> = (0..10).map(|n| pool.apply_async(move || n, ())).collect();
/// let mut sum = 0;
/// while !tasks.is_empty() {
///     let waited = wait_tasks(tasks, Until::Any, Some(Duration::from_secs(1)));
///     sum += waited.done.iter().map(|task| task.get()).sum::<Result<u32, _>>()?;
///     tasks = waited.not_done;
/// }
/// assert_eq!(sum, 45);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_tasks<T: Waitable>(
    tasks: impl IntoIterator<Item = T>,
    until: Until,
    timeout: Option<Duration>,
) -> Waited<T> {
    let tasks: Vec<T> = tasks.into_iter().collect();
    wait_for(&tasks, until, timeout);
    let (done, not_done) = tasks.into_iter().partition(|task| task.successful().is_some());
    Waited { done, not_done }
}

fn wait_for<T: Waitable>(tasks: &[T], until: Until, timeout: Option<Duration>) -> bool {
    let deadline = timeout.and_then(Deadline::after);
    let mut ends = tasks.iter().map(|task| task.successful());
    let holds = match until {
        Until::Any => tasks.is_empty() || ends.any(|end| end.is_some()),
        Until::All => ends.all(|end| end.is_some()),
        Until::FirstError => {
            let n_done = tasks.len() - ends.clone().filter(Option::is_none).count();
            n_done == tasks.len() || ends.any(|end| end == Some(false))
        }
    };
    if holds || deadline.is_some_and(|deadline| deadline.has_passed()) {
        return holds;
    }
    let ready = Arc::new(Ready::default());
    let wakers: Vec<Waker> = (0..tasks.len()).map(|index| ready.waker(index)).collect();
    for (index, task) in tasks.iter().enumerate() {
        if task.notify(&wakers[index]) {
            ready.push(index);
        }
    }
    let mut pending = tasks.len();
    let holds = loop {
        let Some(index) = ready.pop(deadline) else { break false };
        pending -= 1;
        let failed = tasks[index].successful() == Some(false);
        if pending == 0 || until == Until::Any || until == Until::FirstError && failed {
            break true;
        }
    };
    if pending > 0 {
        tasks.iter().zip(&wakers).for_each(|(task, waker)| task.forget(waker));
    }
    holds
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

impl<R> AsCompleted<R> {
    /// As `next`, for at most `timeout`; `None` if there is none left, or none has ended by then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Task<R>> {
        self.next_before(Deadline::after(timeout))
    }

    /// Yields the tasks that end within `timeout` from now. Those that do not, stay.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use pool::{ThreadPool, as_completed};
    /// let pool = ThreadPool::new(2)?;
    /// let (quick, slow) = (pool.apply_async(|| 1, ()), pool.apply_async(|| 2, ()));
    /// let mut tasks = as_completed([quick, slow]);
    /// for task in tasks.within(Duration::from_secs(5)) {
    ///     println!("{}", task.get()?);
    /// }
    /// for late in tasks.into_pending() {
    ///     late.cancel();
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "timeout")]
    pub fn within(&mut self, timeout: Duration) -> impl Iterator<Item = Task<R>> {
        let deadline = Deadline::after(timeout);
        iter::from_fn(move || self.next_before(deadline))
    }

    /// Gives back the tasks that were not yielded, in the order given.
    pub fn into_pending(self) -> Vec<Task<R>> {
        self.0.into_tasks()
    }

    fn next_before(&mut self, deadline: Option<Deadline>) -> Option<Task<R>> {
        self.0.wait(deadline).then(|| self.next()).flatten()
    }
}

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
        let index = self.ready.pop(None)?;
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

    fn into_tasks(self) -> Vec<Task<R>> {
        let entered = self.tasks.into_iter().flatten();
        entered
            .map(|Entered { task, waker, .. }| {
                task.0.core().forget(&waker);
                task
            })
            .collect()
    }
}

/// Which tasks have ended and were not looked at yet. One thread at a time looks.
#[derive(Default)]
struct Ready {
    state: Mutex<ReadyState>,
    /// Counts the pushes; sleepers wait for it to change.
    pushed: AtomicU32,
    sleeping: AtomicU32,
}

#[derive(Default)]
struct ReadyState {
    indices: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Ready {
    fn waker(self: &Arc<Self>, index: usize) -> Waker {
        Waker::from(Arc::new(Entry { ready: self.clone(), index }))
    }

    fn push(&self, index: usize) {
        let waker = {
            let mut state = self.state.lock();
            state.indices.push_back(index);
            state.waker.take()
        };
        // `SeqCst`: pairs with the sleeper's announcement, which looks at the count after it.
        self.pushed.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) != 0 {
            futex::wake(&self.pushed, 1);
        }
        waker.into_iter().for_each(Waker::wake);
    }

    fn pop(&self, deadline: Option<Deadline>) -> Option<usize> {
        self.wait(deadline).then(|| self.state.lock().indices.pop_front()).flatten()
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        loop {
            let pushed = self.pushed.load(SeqCst);
            if !self.state.lock().indices.is_empty() {
                return true;
            }
            self.sleeping.store(1, SeqCst);
            let woken = futex::wait(&self.pushed, pushed, deadline);
            self.sleeping.store(0, SeqCst);
            if woken == Wait::TimedOut {
                return !self.state.lock().indices.is_empty();
            }
        }
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.indices.is_empty() {
            state.waker = Some(waker.clone());
        }
        !state.indices.is_empty()
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
