//! [`Executor`] for threads, which have no use for terms but the name.

use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use super::ThreadPool;
use crate::{
    Executor, PoolError, Stats, Task,
    stream::{Cut, Submit},
    terms::{Named, Terms},
};

impl Executor for ThreadPool {
    fn cut_of_maps(&self) -> Cut {
        self.cut.clone()
    }

    fn give_task<F, A>(&self, f: F, args: A, terms: Terms) -> Task<F::Output>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        Named::task(terms.name, self.give(move |args| f.call(args), (args,), self.permit()))
    }

    fn feed<F, A, R>(&self, f: F, _: Terms) -> Submit<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.submit(f)
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
