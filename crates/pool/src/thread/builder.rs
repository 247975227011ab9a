//! The settings of a pool of threads.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;

use super::{ThreadPool, shared::Threads};
use crate::{Call, PoolError, bound::Bound, stream::Cut};

/// Settings of a [`ThreadPool`] to be.
///
/// # Examples
/// ```
/// let pool = pool::ThreadPool::builder().workers(2).max_pending(1000).build()?;
/// assert_eq!(pool.apply(|n: u64| n + 1, (1,))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ThreadPoolBuilder {
    name: String,
    n_workers: usize,
    cut: Cut,
    max_pending: Option<usize>,
    initializer: Option<Initializer>,
    #[cfg(feature = "trace")]
    trace: Option<crate::Trace>,
}

struct Initializer(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Initializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initializer")
    }
}

impl ThreadPool {
    /// Starts `n_workers` threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(n_workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(n_workers).build()
    }

    /// Settings for a pool.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder {
            name: "pool".into(),
            n_workers: proc_core::cpu_count(),
            cut: Cut::default(),
            max_pending: None,
            initializer: None,
            #[cfg(feature = "trace")]
            trace: None,
        }
    }
}

impl ThreadPoolBuilder {
    /// How many threads; by default [`cpu_count`](proc_core::cpu_count).
    pub fn workers(self, n: usize) -> Self {
        Self { n_workers: n, ..self }
    }

    /// What the threads' names begin with; by default `pool`.
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Makes every thread call `f(args…)` before its first task.
    pub fn initializer<F, A>(self, f: F, args: A) -> Self
    where
        F: Call<A> + Send + Sync + 'static,
        A: Clone + Send + Sync + 'static,
    {
        let call = move || {
            f.call(args.clone());
        };
        Self { initializer: Some(Initializer(Arc::new(call))), ..self }
    }

    /// Items of `map` and its like that make one task. By default it adapts to their speed: about 0.8 ms a task, and
    /// smaller towards the end of the input.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(self, n_items: usize) -> Self {
        Self { cut: Cut { chunk_size: Some(n_items), ..self.cut }, ..self }
    }

    /// Most items that `imap` reads ahead of what it has yielded; by default four tasks a worker.
    #[doc(alias = "buffersize")]
    pub fn window(self, n_items: usize) -> Self {
        Self { cut: Cut { window: Some(n_items), ..self.cut }, ..self }
    }

    /// Most tasks of `apply_async` and its like that may be given and have not ended; by default any number. With as many,
    /// `apply_async` blocks until one ends, and [`try_apply_async`](ThreadPool::try_apply_async) gives its task back.
    /// It does not block on the pool's own threads, which would wait for themselves.
    ///
    /// Maps are not counted: they have their [`window`](Self::window).
    pub fn max_pending(self, n_tasks: usize) -> Self {
        Self { max_pending: Some(n_tasks), ..self }
    }

    /// Adds what the threads run to `trace`.
    #[cfg(feature = "trace")]
    pub fn trace(self, trace: &crate::Trace) -> Self {
        Self { trace: Some(trace.clone()), ..self }
    }

    /// Starts the threads, and waits for their initializers.
    ///
    /// # Errors
    /// If a thread cannot be started, or an initializer panicked; [`PoolError::Setting`] if a number is 0 that must not
    /// be.
    pub fn build(self) -> Result<ThreadPool, PoolError> {
        self.cut.check(self.n_workers)?;
        PoolError::refuse_zero("max_pending", self.max_pending)?;
        let initializer = self.initializer.map(|f| f.0);
        #[cfg(feature = "trace")]
        let initializer = traced(self.trace, initializer);
        let (shared, threads) = Threads::start(&self.name, self.n_workers, initializer)?;
        let cut = Cut { n_workers: Arc::new(self.n_workers.into()), ..self.cut };
        Ok(ThreadPool { shared, threads: Mutex::new(threads), bound: self.max_pending.map(Bound::new), cut })
    }
}

/// What each thread calls first: to become a row of the trace, if there is one, and the initializer.
#[cfg(feature = "trace")]
fn traced(
    trace: Option<crate::Trace>,
    initializer: Option<Arc<dyn Fn() + Send + Sync>>,
) -> Option<Arc<dyn Fn() + Send + Sync>> {
    let Some(trace) = trace else { return initializer };
    Some(Arc::new(move || {
        trace.enter_this_thread();
        initializer.iter().for_each(|f| f());
    }))
}
