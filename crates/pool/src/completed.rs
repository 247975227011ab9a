//! Waiting for many tasks at once.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    io, iter, mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use kernel::{
    futex::{self, Deadline, Wait},
    wait::{Bell, Waitable, Watch},
    waker::wake,
};
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

/// A [`Task`] of whatever result, or a reference to one: what [`wait`] and [`wait_tasks`] take.
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

/// Has a task wake `waker` when it ends, until this is dropped.
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

mod sealed {
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
pub fn wait(tasks: &[&dyn AnyTask], until: Until, timeout: Option<Duration>) -> bool {
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
/// Takes tasks, or references to tasks: `&Task<R>`, or `&dyn AnyTask` for those of several results.
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
pub fn wait_tasks<T: AnyTask>(
    tasks: impl IntoIterator<Item = T>,
    until: Until,
    timeout: Option<Duration>,
) -> Waited<T> {
    let tasks: Vec<T> = tasks.into_iter().collect();
    wait_for(&tasks, until, timeout);
    Waited::sort(tasks)
}

/// As [`wait_tasks`], as a future, for any runtime or none. Dropped before its end, it leaves nothing behind in a task; hand
/// it references to keep the tasks.
///
/// # Examples
/// ```
/// use pool::{Task, TaskError, Until, wait_tasks_async};
///
/// async fn first_of(a: &Task<u32>, b: &Task<u32>) -> Result<u32, TaskError> {
///     let waited = wait_tasks_async([a, b], Until::Any).await;
///     waited.done[0].get()
/// }
/// ```
pub fn wait_tasks_async<T: AnyTask>(tasks: impl IntoIterator<Item = T>, until: Until) -> WaitTasks<T> {
    WaitTasks { tasks: tasks.into_iter().collect(), until, waiting: None }
}

/// The future of [`wait_tasks_async`].
#[must_use = "futures do nothing unless polled"]
pub struct WaitTasks<T: AnyTask> {
    tasks: Vec<T>,
    until: Until,
    waiting: Option<Waiting>,
}

// The tasks are moved out at the end, never pinned.
impl<T: AnyTask> Unpin for WaitTasks<T> {}

impl<T: AnyTask> Future for WaitTasks<T> {
    type Output = Waited<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Waited<T>> {
        let Self { tasks, until, waiting } = self.get_mut();
        let holds = match waiting {
            None if until.holds(tasks) => true,
            None => waiting.insert(Waiting::begin(tasks, *until)).poll(tasks, context.waker()),
            Some(waiting) => waiting.poll(tasks, context.waker()),
        };
        if !holds {
            return Poll::Pending;
        }
        if let Some(waiting) = waiting.take() {
            waiting.end(tasks);
        }
        Poll::Ready(Waited::sort(mem::take(tasks)))
    }
}

impl<T: AnyTask> Drop for WaitTasks<T> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.end(&self.tasks);
        }
    }
}

impl<T: AnyTask> fmt::Debug for WaitTasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitTasks").field("n_tasks", &self.tasks.len()).field("until", &self.until).finish()
    }
}

impl<T: AnyTask> Waited<T> {
    fn sort(tasks: Vec<T>) -> Self {
        let (done, not_done) = tasks.into_iter().partition(|task| task.successful().is_some());
        Self { done, not_done }
    }
}

impl Until {
    fn holds<T: AnyTask>(self, tasks: &[T]) -> bool {
        let mut ends = tasks.iter().map(|task| task.successful());
        match self {
            Self::Any => tasks.is_empty() || ends.any(|end| end.is_some()),
            Self::All => ends.all(|end| end.is_some()),
            Self::FirstError => {
                let n_done = tasks.len() - ends.clone().filter(Option::is_none).count();
                n_done == tasks.len() || ends.any(|end| end == Some(false))
            }
        }
    }
}

/// Tasks that have been told whom to wake. From then on only those that have ended are looked at.
struct Waiting {
    until: Until,
    ready: Arc<Ready>,
    wakers: Vec<Waker>,
    /// How many have not been seen to end.
    pending: usize,
}

impl Waiting {
    fn begin<T: AnyTask>(tasks: &[T], until: Until) -> Self {
        let ready = Arc::new(Ready::new(if until == Until::All { tasks.len() } else { 1 }));
        let wakers: Vec<Waker> = (0..tasks.len()).map(|index| ready.waker(index)).collect();
        for (index, task) in tasks.iter().enumerate() {
            if task.notify(&wakers[index]) {
                ready.push(index);
            }
        }
        Self { until, ready, wakers, pending: tasks.len() }
    }

    /// Blocks until `until` holds (true) or the deadline has passed (false).
    fn wait<T: AnyTask>(&mut self, tasks: &[T], deadline: Option<Deadline>) -> bool {
        while self.ready.wait(deadline) {
            if self.take(tasks) {
                return true;
            }
        }
        false
    }

    /// Whether `until` holds; if not, has `waker` woken when it may.
    fn poll<T: AnyTask>(&mut self, tasks: &[T], waker: &Waker) -> bool {
        while self.ready.poll(waker) {
            if self.take(tasks) {
                return true;
            }
        }
        false
    }

    /// Looks at what is ready: whether `until` holds now.
    fn take<T: AnyTask>(&mut self, tasks: &[T]) -> bool {
        if self.until == Until::All {
            self.pending = 0;
        }
        while self.pending > 0
            && let Some(index) = self.ready.pop()
        {
            self.pending -= 1;
            if self.until == Until::Any || tasks[index].successful() == Some(false) {
                return true;
            }
        }
        self.pending == 0
    }

    fn end<T: AnyTask>(self, tasks: &[T]) {
        if self.pending > 0 {
            tasks.iter().zip(&self.wakers).for_each(|(task, waker)| task.forget(waker));
        }
    }
}

fn wait_for<T: AnyTask>(tasks: &[T], until: Until, timeout: Option<Duration>) -> bool {
    let deadline = timeout.and_then(Deadline::after);
    let holds = until.holds(tasks);
    if holds || deadline.is_some_and(|deadline| deadline.has_passed()) {
        return holds;
    }
    let mut waiting = Waiting::begin(tasks, until);
    let holds = waiting.wait(tasks, deadline);
    waiting.end(tasks);
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

    /// The tasks as a [`Stream`](futures_core::Stream), on any runtime. Dropped, it cancels no task.
    pub fn into_stream(self) -> AsCompletedStream<R> {
        AsCompletedStream(self)
    }

    fn next_before(&mut self, deadline: Option<Deadline>) -> Option<Task<R>> {
        self.0.wait(deadline).then(|| self.next()).flatten()
    }
}

/// The stream of [`AsCompleted::into_stream`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct AsCompletedStream<R>(AsCompleted<R>);

impl<R> futures_core::Stream for AsCompletedStream<R> {
    type Item = Task<R>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Task<R>>> {
        if self.0.0.poll(context.waker()) { Poll::Ready(self.0.next()) } else { Poll::Pending }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
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
struct Ready {
    /// With so many there is something to look at.
    n_wanted: usize,
    state: Mutex<ReadyState>,
    /// Counts the pushes that somebody may wait for; sleepers wait for it to change.
    pushed: AtomicU32,
    sleeping: AtomicU32,
}

#[derive(Default)]
struct ReadyState {
    indices: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Ready {
    fn new(n_wanted: usize) -> Self {
        Self { n_wanted, state: Mutex::default(), pushed: AtomicU32::new(0), sleeping: AtomicU32::new(0) }
    }

    fn waker(self: &Arc<Self>, index: usize) -> Waker {
        Waker::from(Arc::new(Entry { ready: self.clone(), index }))
    }

    fn push(&self, index: usize) {
        let waker = {
            let mut state = self.state.lock();
            state.indices.push_back(index);
            if !self.is_enough(&state) {
                return;
            }
            state.waker.take()
        };
        // `SeqCst`: pairs with the sleeper's announcement, which looks at the count after it.
        self.pushed.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) != 0 {
            futex::wake(&self.pushed, 1);
        }
        waker.into_iter().for_each(wake);
    }

    fn is_enough(&self, state: &ReadyState) -> bool {
        state.indices.len() >= self.n_wanted
    }

    fn pop(&self) -> Option<usize> {
        self.state.lock().indices.pop_front()
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        loop {
            let pushed = self.pushed.load(SeqCst);
            if self.is_enough(&self.state.lock()) {
                return true;
            }
            self.sleeping.store(1, SeqCst);
            let woken = futex::wait(&self.pushed, pushed, deadline);
            self.sleeping.store(0, SeqCst);
            if woken == Wait::TimedOut {
                return self.is_enough(&self.state.lock());
            }
        }
    }

    fn poll(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        let is_enough = self.is_enough(&state);
        if !is_enough {
            state.waker = Some(waker.clone());
        }
        is_enough
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

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;
    use crate::{
        TaskError,
        task::{Core, Handle},
    };

    struct Bare(Core<u8>);

    impl Handle<u8> for Bare {
        fn core(&self) -> &Core<u8> {
            &self.0
        }
        fn cancel(&self) -> bool {
            false
        }
        fn is_running(&self) -> bool {
            false
        }
    }

    /// A task that counts how often somebody looks whether it has ended.
    struct Watched<'a>(Task<u8>, &'a Cell<usize>);

    impl AnyTask for Watched<'_> {}
    impl sealed::AnyTask for Watched<'_> {
        fn successful(&self) -> Option<bool> {
            self.1.set(self.1.get() + 1);
            self.0.successful()
        }
        fn notify(&self, waker: &Waker) -> bool {
            sealed::AnyTask::notify(&self.0, waker)
        }
        fn forget(&self, waker: &Waker) {
            sealed::AnyTask::forget(&self.0, waker);
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    const N_TASKS: usize = 500;

    /// Ends the tasks one by one, all but the last with a value, and polls after each: how often each poll looked at a
    /// task, and how often it was woken for that.
    fn poll_through(until: Until) -> (Vec<usize>, usize) {
        let bare: Vec<_> = (0..N_TASKS).map(|n| Arc::new(Bare(Core::new(n as u64)))).collect();
        let n_looks = Cell::new(0);
        let tasks = bare.iter().map(|bare| Watched(Task(bare.clone()), &n_looks));
        let mut future = wait_tasks_async(tasks, until);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut poll = || {
            let ready = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_ready();
            (n_looks.replace(0), ready)
        };
        assert!(!poll().1);
        let last = bare.last().unwrap();
        let looks = bare[..N_TASKS - 1].iter().map(|bare| {
            assert!(bare.0.complete(Ok(7)));
            let (n_looks, ready) = poll();
            assert!(!ready);
            n_looks
        });
        let looks = looks.collect();
        assert!(last.0.complete(Err(TaskError::Cancelled)));
        assert!(poll().1);
        (looks, woken.0.load(Relaxed))
    }

    #[test]
    fn a_poll_looks_at_no_more_tasks_than_have_ended() {
        assert_eq!(poll_through(Until::All), (vec![0; N_TASKS - 1], 1));
        assert_eq!(poll_through(Until::FirstError), (vec![1; N_TASKS - 1], N_TASKS));
    }
}
