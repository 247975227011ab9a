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
    coordinator::{Finish, Shared},
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
        let call = function.and_then(|function| Ok((function, vec![call::pack(args)?])));
        give(&self.shared, call, false, terms, |verdict| {
            let result = verdict.and_then(call::result);
            let n = if result.is_ok() { (1, 0) } else { (0, 1) };
            (result, n)
        })
    }

    fn feed<F, A, R>(&self, f: F, terms: Terms) -> Submit<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let (shared, terms) = (self.shared.clone(), self.defaults.complete(terms));
        let mut open = shared.open_input();
        let mut n_given = 0;
        Box::new(move |items| {
            let n_calls = items.len();
            if let Some(open) = &mut open {
                open.is_read();
            }
            let function = Function::of(move |item: A| f(item)).map_err(|_| TaskError::ForeignCode);
            let pack = |(at, item)| match call::pack((item,)) {
                Err(TaskError::Encode(why)) => {
                    Err(TaskError::Encode(format!("item {} of the input: {why}", n_given + at)))
                }
                packed => packed,
            };
            let calls = items.into_iter().enumerate().map(pack).collect::<Result<_, _>>();
            n_given += n_calls;
            let call = function.and_then(|function| Ok((function, calls?)));
            give(&shared, call, open.is_some(), terms.clone(), move |verdict| {
                let chunk: Result<Chunk<R>, _> = verdict.and_then(|verdict| call::chunk(verdict, n_calls));
                let n = chunk.as_ref().map_or((0, n_calls), |chunk| (chunk.values.len(), chunk.failures.len()));
                (chunk, n)
            })
        })
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

/// Gives one task; `read` makes of its verdict a result, and counts the calls that ended with a value, and without.
fn give<R: Send + 'static>(
    shared: &Arc<Shared>,
    call: Result<(Function, Vec<Vec<u8>>), TaskError>,
    is_of_input: bool,
    terms: ParcelTerms,
    read: impl FnOnce(Result<message::Verdict, TaskError>) -> (Result<R, TaskError>, (usize, usize)) + Send + 'static,
) -> Task<R> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    let for_cancel = shared.clone();
    let (promise, task) = Promise::new(terms.name.as_deref().map(Into::into), move || for_cancel.cancel(number));
    let for_end = shared.clone();
    let finish: Finish = Box::new(move |verdict| {
        let (result, (n_done, n_failed)) = read(verdict);
        for_end.count(n_done, n_failed);
        promise.keep(result, &for_end.callbacks);
    });
    match call.and_then(|(function, calls)| parcel(shared, number, function, calls, terms)) {
        Ok(parcel) => shared.submit(number, parcel, is_of_input, finish),
        Err(why) => finish(Err(why)),
    }
    task
}

fn parcel(
    shared: &Shared,
    task: u64,
    function: Function,
    calls: Vec<Vec<u8>>,
    terms: ParcelTerms,
) -> Result<Bytes, TaskError> {
    let parcel = Parcel {
        build: shared.names.build().to_owned(),
        coordinator: shared.coordinator.clone(),
        task,
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
