//! Maps that outlive the program that has begun them.

use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use pool::{
    Imap, ImapUnordered, PoolError, TaskError,
    engine::{self, Cut, Submit, Terms},
};
use proc_core::function::Function;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ClusterPool, call,
    submit::{self, Call, Kept, Stage},
};
use crate::{
    coordinator::{Begun, Queue},
    names::JobName,
};

/// A map whose tasks and results the server keeps under a name, whatever becomes of the program that has begun it.
///
/// A program that is started again and does the same map under the same name gets the results that are there, and gives the
/// server those items that it has no task of. Meanwhile the agents have gone on. An item whose function, arguments or build of
/// the program are others than those that the result came of is done again; and so is one that failed.
///
/// Results stay until they are [forgotten](Self::forget), or for a week.
///
/// All of the input is read at once. A result may take as many bytes as the server lets a message have, by default a mebibyte;
/// arguments of more than 128 KiB stay with this program, so that their tasks wait for it.
///
/// # Crash safety
/// As of a [`ClusterPool`]; and this program, too, may be killed at any time. Each item has one result; it may run more than
/// once.
///
/// # Examples
/// ```no_run
/// fn render(frame: u32) -> Vec<u8> {
///     vec![0; 1000 + frame as usize]
/// }
///
/// let pool = cluster::ClusterPool::connect("nats://10.0.0.1:4222")?;
/// let job = pool.job("film-7")?;
/// let frames = job.map(render, 0..2000)?;
/// std::fs::write("film", frames.concat())?;
/// job.forget()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Job<'p> {
    pool: &'p ClusterPool,
    name: JobName,
    chunk_size: usize,
    terms: Terms,
}

impl ClusterPool {
    /// The job of this name, begun or not.
    ///
    /// # Errors
    /// If it is no name: up to 64 letters, digits, `_` and `-`.
    pub fn job(&self, name: &str) -> Result<Job<'_>, PoolError> {
        let chunk_size = self.cut.chunk_size.unwrap_or(1);
        Ok(Job { pool: self, name: JobName::new(name)?, chunk_size, terms: Terms::default() })
    }
}

impl Job<'_> {
    /// Items that make one task; by default one, or what the pool says. What was kept with another size is done again.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, n_items: usize) -> Self {
        self.chunk_size = n_items.max(1);
        self
    }

    /// The longest that one of its tasks may run in its worker.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often a task is tried again after the worker process that ran it died.
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// All results, in the order of the items. Waits for all of them.
    ///
    /// # Errors
    /// The first item's that failed; the rest go on.
    pub fn map<F, I, R>(&self, f: F, items: I) -> Result<Vec<R>, TaskError>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let feed = self.feed(f).map_err(TaskError::Broken)?;
        engine::map(items.into_iter(), self.cut(), feed)
    }

    /// The results, in the order of the items.
    ///
    /// # Errors
    /// [`PoolError::Cluster`] if the server does not say what it has of the job.
    pub fn imap<F, I, R>(&self, f: F, items: I) -> Result<Imap<I::IntoIter, R>, PoolError>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Ok(engine::imap(items.into_iter(), self.cut(), self.feed(f)?))
    }

    /// The results, each as soon as it is there.
    ///
    /// # Errors
    /// As [`imap`](Self::imap).
    pub fn imap_unordered<F, I, R>(&self, f: F, items: I) -> Result<ImapUnordered<I::IntoIter, R>, PoolError>
    where
        F: Fn(I::Item) -> R + Copy + Send + Sync + 'static,
        I: IntoIterator<Item: Serialize + DeserializeOwned + Send + 'static>,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        Ok(engine::imap_unordered(items.into_iter(), self.cut(), self.feed(f)?))
    }

    /// Takes back what has not been done, and has the server forget the results. Blocks until it has.
    ///
    /// # Errors
    /// [`PoolError::Cluster`] if it does not say so.
    pub fn forget(&self) -> Result<(), PoolError> {
        self.pool.shared.forget(self.name.clone())
    }

    fn cut(&self) -> Cut {
        Cut { chunk_size: Some(self.chunk_size), window: Some(usize::MAX), ..self.pool.cut.clone() }
    }

    fn feed<F, A, R>(&self, f: F) -> Result<Submit<A, R>, PoolError>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let (queue, mut begun) = self.pool.shared.begin(self.name.clone())?;
        let function = Function::of(move |item: A| f(item)).map(Some).map_err(|_| TaskError::ForeignCode);
        let terms = self.pool.defaults.complete(self.terms.clone());
        let own = self.pool.shared.own.clone();
        let mut at = 0;
        let keep = move |call: &Call| {
            let (task, fingerprint) = (at, fingerprint(&own, call));
            at += 1;
            Some(Kept { task, fingerprint, stage: stage(&mut begun, task, fingerprint) })
        };
        Ok(submit::feed(&self.pool.shared, &queue, function, terms, |item| call::pack((item,)), keep))
    }
}

fn stage(begun: &mut Begun, task: u64, fingerprint: u64) -> Stage {
    match begun.verdicts.remove(&task) {
        Some(verdict) if verdict.fingerprint == fingerprint && verdict.has_values() => Stage::Done(verdict),
        Some(_) => Stage::Stale,
        None if begun.pending.contains(&task) => Stage::Pending,
        None => Stage::New,
    }
}

/// What tells a task from one of another build, another function or other arguments.
fn fingerprint(own: &Queue, (function, calls): &Call) -> u64 {
    let mut hasher = DefaultHasher::new();
    (own.name.as_str(), function.map(Function::to_bytes), calls).hash(&mut hasher);
    hasher.finish()
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}
