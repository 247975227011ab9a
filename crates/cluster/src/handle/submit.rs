//! How tasks get from a pool's handle into its ledger.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use pool::{
    Executor, PoolError, Stats, Task, TaskError,
    engine::{Chunk, Cut, Promise, Remote, Submit, Terms},
};
use proc_core::{Target, function::Function};
use serde::{Serialize, de::DeserializeOwned};

use super::{ClusterPool, call};
use crate::{
    coordinator::{Finish, InJob, Queue, Shared},
    large,
    message::{self, Parcel, ParcelTerms},
};

impl Executor for ClusterPool {
    fn cut_of_maps(&self) -> Cut {
        self.cut.clone()
    }

    fn give_task<F, A>(&self, f: F, args: A, terms: Terms) -> Task<F::Output>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let terms = self.defaults.complete(terms);
        let function = Function::of(f).map_err(|_| TaskError::ForeignCode);
        let call = function.and_then(|function| Ok((Some(function), vec![call::pack(args)?])));
        give_one(&self.shared, &self.shared.own, call, terms)
    }

    fn feed<F, A, R>(&self, f: F, terms: Terms) -> Submit<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let function = Function::of(move |item: A| f(item)).map(Some).map_err(|_| TaskError::ForeignCode);
        feed(
            &self.shared,
            &self.shared.own,
            function,
            self.defaults.complete(terms),
            |item| call::pack((item,)),
            |_| None,
        )
    }

    fn close(&self) {
        self.close();
    }

    fn terminate(&self) {
        self.terminate();
    }

    fn join(&self) -> Result<(), PoolError> {
        self.join()
    }

    fn stats(&self) -> Stats {
        self.stats()
    }
}

impl Remote for ClusterPool {}

/// Which function, and the packed arguments of each call.
pub(super) type Call = (Option<Function>, Vec<Vec<u8>>);

/// Gives one call.
pub(super) fn give_one<R: DeserializeOwned + Send + 'static>(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    call: Result<Call, TaskError>,
    terms: ParcelTerms,
) -> Task<R> {
    let build = shared.names.build();
    give(shared, queue, call, None, false, terms, |verdict| {
        let result = verdict.and_then(|verdict| call::result(verdict, build));
        let n = if result.is_ok() { (1, 0) } else { (0, 1) };
        (result, n)
    })
}

/// A task of a job.
pub(super) struct Kept {
    pub(super) task: u64,
    /// Of what its result comes of.
    pub(super) fingerprint: u64,
    pub(super) stage: Stage,
}

/// How far a task has come before this program has begun.
pub(super) enum Stage {
    /// There is nothing.
    New,
    /// The server has it.
    Pending,
    /// It has a result.
    Done(message::Verdict),
    /// It has a result that is to be had anew.
    Stale,
}

/// What gives the chunks of one map.
pub(super) fn feed<A: Send + 'static, R: DeserializeOwned + Send + 'static>(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    function: Result<Option<Function>, TaskError>,
    terms: ParcelTerms,
    pack: impl Fn(A) -> Result<Vec<u8>, TaskError> + Send + 'static,
    mut keep: impl FnMut(&Call) -> Option<Kept> + Send + 'static,
) -> Submit<A, R> {
    let (shared, queue) = (shared.clone(), queue.clone());
    let mut open = shared.open_input();
    let mut n_given = 0;
    let build = shared.names.build();
    Box::new(move |items| {
        let n_calls = items.len();
        if let Some(open) = &mut open {
            open.is_read();
        }
        let pack = |(at, item)| match pack(item) {
            Err(TaskError::Encode(why)) => Err(TaskError::Encode(format!("item {} of the input: {why}", n_given + at))),
            packed => packed,
        };
        let calls = items.into_iter().enumerate().map(pack).collect::<Result<_, _>>();
        n_given += n_calls;
        let call = function.clone().and_then(|function| Ok((function, calls?)));
        let kept = call.as_ref().map_or(None, &mut keep);
        give(&shared, &queue, call, kept, open.is_some(), terms.clone(), move |verdict| {
            let chunk: Result<Chunk<R>, _> = verdict.and_then(|verdict| call::chunk(verdict, n_calls, build));
            let n = chunk.as_ref().map_or((0, n_calls), |chunk| (chunk.values.len(), chunk.failures.len()));
            (chunk, n)
        })
    })
}

/// Gives one task; `read` makes of its verdict a result, and counts the calls that ended with a value, and without.
fn give<R: Send + 'static>(
    shared: &Arc<Shared>,
    queue: &Arc<Queue>,
    call: Result<Call, TaskError>,
    kept: Option<Kept>,
    is_of_input: bool,
    terms: ParcelTerms,
    read: impl FnOnce(Result<message::Verdict, TaskError>) -> (Result<R, TaskError>, (usize, usize)) + Send + 'static,
) -> Task<R> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = match (&queue.job, &kept) {
        (Some(job), Some(kept)) => job.base + kept.task,
        _ => NEXT.fetch_add(1, Relaxed),
    };
    let for_cancel = shared.clone();
    let (promise, task) = Promise::new(terms.name.as_deref().map(Into::into), move || for_cancel.cancel(number));
    let for_end = shared.clone();
    let finish: Finish = Box::new(move |verdict| {
        let (result, (n_done, n_failed)) = read(verdict);
        for_end.count(n_done, n_failed);
        promise.keep(result, &for_end.callbacks);
    });
    let (fingerprint, in_job) = match kept {
        None => (None, None),
        Some(Kept { stage: Stage::Done(verdict), .. }) => {
            finish(Ok(verdict));
            return task;
        }
        Some(Kept { fingerprint, stage, .. }) => {
            let (is_stored, is_stale) = (matches!(stage, Stage::Pending), matches!(stage, Stage::Stale));
            (Some(fingerprint), Some(InJob { fingerprint, is_stored, is_stale }))
        }
    };
    match call.and_then(|call| parcel(shared, queue, number, call, fingerprint, terms)) {
        Ok(parcel) => shared.submit(queue, number, parcel, in_job, is_of_input, finish),
        Err(why) => finish(Err(why)),
    }
    task
}

fn parcel(
    shared: &Shared,
    queue: &Queue,
    task: u64,
    (function, calls): Call,
    fingerprint: Option<u64>,
    terms: ParcelTerms,
) -> Result<Bytes, TaskError> {
    let (coordinator, task) = queue.key(&shared.coordinator, task);
    let parcel = Parcel {
        queue: queue.name.clone(),
        coordinator: coordinator.to_owned(),
        task,
        fingerprint,
        function,
        terms,
        calls,
    };
    let bytes = message::encode(&parcel).map_err(|e| TaskError::Encode(e.to_string()))?;
    if bytes.len() > large::LONGEST {
        let why = format!("the arguments take {} bytes, and no more than {} can go", bytes.len(), large::LONGEST);
        return Err(TaskError::Encode(why));
    }
    Ok(bytes)
}
