//! Functions that are known by their names, on agents that may be other programs.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use pool::{
    Imap, ImapUnordered, PoolError, Task, TaskError,
    engine::{self, Cut, Terms},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{ClusterPool, call, submit};
use crate::{coordinator::Queue, names::QueueName};

/// A function that agents have [registered](crate::AgentBuilder::register) under a name: `A` is the tuple of its arguments,
/// `R` what it returns.
///
/// The agents may be another build, or another program. So what travels is the name, and values with the names of their
/// fields and variants, which both sides check against their types as they read them, by the rules of serde: a number that does
/// not fit, a missing field, or an unknown variant is an error of that task. Fields that one side alone knows are what its
/// `Deserialize` makes of them, which by default ignores them.
///
/// # Examples
/// ```no_run
/// use std::collections::HashMap;
///
/// use cluster::ClusterPool;
///
/// let pool = ClusterPool::connect("nats://10.0.0.1:4222")?;
/// let count = pool.function::<(String,), HashMap<String, u64>>("count_words")?;
/// let words = count.apply(("to be or not to be".into(),))?;
/// assert_eq!(words["be"], 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RegisteredFunction<'p, A, R> {
    pool: &'p ClusterPool,
    queue: Arc<Queue>,
    terms: Terms,
    types: PhantomData<fn(A) -> R>,
}

impl ClusterPool {
    /// The function that agents have [registered](crate::AgentBuilder::register) under this name. Its tasks wait for such an
    /// agent for as long as [`agent_timeout`](crate::ClusterPoolBuilder::agent_timeout) says.
    ///
    /// # Errors
    /// If it is no name: up to 64 letters, digits, `_` and `-`.
    pub fn function<A, R>(&self, name: &str) -> Result<RegisteredFunction<'_, A, R>, PoolError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: DeserializeOwned + Send + 'static,
    {
        let queue = self.shared.queue(QueueName::of_function(name)?);
        Ok(RegisteredFunction { pool: self, queue, terms: Terms::default(), types: PhantomData })
    }
}

impl<A, R> RegisteredFunction<'_, A, R>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: DeserializeOwned + Send + 'static,
{
    /// The longest that one of its calls may take, as of a task of the pool.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often a call is tried again after the worker process that ran it died.
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// How many bytes of private memory a call may take on top of what its worker has.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }

    /// Calls it in a worker, and waits for what it returns.
    ///
    /// # Errors
    /// As [`ClusterPool::apply`].
    pub fn apply(&self, args: A) -> Result<R, TaskError> {
        self.apply_async(args).get()
    }

    /// Gives a call to the pool, and returns at once.
    #[doc(alias = "submit")]
    pub fn apply_async(&self, args: A) -> Task<R> {
        let call = call::pack_named(args).map(|args| (None, vec![args]));
        submit::give_one(&self.pool.shared, &self.queue, call, self.pool.defaults.complete(self.terms.clone()))
    }

    /// Calls it with each tuple of arguments; the results are in their order. Waits for all of them.
    ///
    /// # Errors
    /// The first that failed; the rest may or may not have run.
    pub fn starmap(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, TaskError> {
        engine::map(items.into_iter(), self.cut(), self.feed())
    }

    /// As [`starmap`](Self::starmap), lazily: reads `items` only as far ahead as the pool's window allows.
    #[doc(alias = "imap")]
    pub fn istarmap<I: IntoIterator<Item = A>>(&self, items: I) -> Imap<I::IntoIter, R> {
        engine::imap(items.into_iter(), self.cut(), self.feed())
    }

    /// As [`istarmap`](Self::istarmap), but yields each result as soon as it is there.
    #[doc(alias = "imap_unordered")]
    pub fn istarmap_unordered<I: IntoIterator<Item = A>>(&self, items: I) -> ImapUnordered<I::IntoIter, R> {
        engine::imap_unordered(items.into_iter(), self.cut(), self.feed())
    }

    fn cut(&self) -> Cut {
        let of_pool = self.pool.cut.clone();
        let chunk_size = of_pool.chunk_size.or(self.terms.timeout.map(|_| 1));
        Cut { chunk_size, n_workers: self.queue.n_workers.clone(), ..of_pool }
    }

    fn feed(&self) -> engine::Submit<A, R> {
        let terms = self.pool.defaults.complete(self.terms.clone());
        submit::feed(&self.pool.shared, &self.queue, Ok(None), terms, call::pack_named, |_| None)
    }
}

impl<A, R> fmt::Debug for RegisteredFunction<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredFunction").field("name", &self.queue.name.function()).finish_non_exhaustive()
    }
}
