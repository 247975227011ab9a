//! [`Executor`] for processes.

use proc_core::Target;
use serde::{Serialize, de::DeserializeOwned};

use super::ProcessPool;
use crate::{
    Executor, PoolError, Stats, Task,
    bound::Bound,
    stream::{Cut, Submit},
    terms::{Named, Terms},
};

impl Executor for ProcessPool {
    fn cut_of_maps(&self) -> Cut {
        self.cut()
    }

    fn give_task<F, A>(&self, f: F, args: A, terms: Terms) -> Task<F::Output>
    where
        F: Target<A> + Send,
        A: Serialize + DeserializeOwned + Send + 'static,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        let permit = self.bound.as_ref().map(Bound::acquire);
        Named::task(terms.name.clone(), self.give(f, args, permit, terms))
    }

    fn feed<F, A, R>(&self, f: F, terms: Terms) -> Submit<A, R>
    where
        F: Fn(A) -> R + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.feeder(f, terms)
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
