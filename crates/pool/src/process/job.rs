//! A task, from both sides: the pool's, which runs it, and the waiter's, which wants its result.

use std::sync::Arc;

use kernel::{futex::Deadline, handover};
use proc_core::function::Function;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    shared::Shared,
    work::{End, Header, Verdict, Work},
};
use crate::{
    TaskError,
    bound::Permit,
    label::Label,
    task::{Core, Handle, Stored, discard, next_id, passed},
    terms::Terms,
};

/// What a task consists of: one call, or one for each of many items.
pub(super) trait Kind: Send + Sync + 'static {
    type Output: Send + 'static;

    /// For a task on many items: the item to begin with, and whether results are to be tagged.
    fn stream(&self) -> Option<u32>;

    /// Takes in what a worker left behind.
    fn take(&self, end: End, arena: &[u8]) -> Next<Self::Output>;

    /// Skips the call that a worker died of.
    fn give_up(&self, why: TaskError) -> Next<Self::Output>;

    /// The result, if no further call is made.
    fn finish(&self) -> Result<Self::Output, TaskError>;

    /// How many calls ended with a value, and how many without.
    fn count(&self, result: &Result<Self::Output, TaskError>) -> (usize, usize);
}

/// How a task goes on.
pub(super) enum Next<R> {
    Done(Result<R, TaskError>),
    /// With the next of its items.
    More,
    /// Its worker died.
    Died {
        why: Box<TaskError>,
        has_progressed: bool,
    },
}

pub(super) struct Job<K: Kind> {
    header: Header,
    pool: Arc<Shared>,
    core: Core<K::Output>,
    kind: K,
}

impl<K: Kind> Job<K> {
    /// A task to be given to `pool`. The arguments end here, with the panic of their drop caught.
    pub(super) fn new<A: Serialize + DeserializeOwned>(
        pool: &Arc<Shared>,
        kind: K,
        (function, label): (Function, Label),
        args: A,
        permit: Option<Permit>,
        terms: Option<Arc<Terms>>,
    ) -> Result<Arc<Self>, TaskError> {
        let mut bytes = Vec::with_capacity(PAYLOAD_BYTES);
        if let Some(limit) = terms.as_ref().and_then(|terms| terms.memory_limit) {
            bytes.extend_from_slice(&limit.to_ne_bytes());
        }
        bytes.extend_from_slice(&function.to_bytes());
        let packed = handover::pack_owned_behind(bytes, &args);
        discard(args);
        let packed = packed.map_err(|e| TaskError::Encode(e.to_string()))?;
        let id = next_id();
        let header = Header::new(id, label, packed, permit, terms);
        Ok(Arc::new(Self { header, pool: pool.clone(), core: Core::new(id), kind }))
    }

    /// Stores the result; on the pool's thread for callbacks if there are any, which take their time.
    fn complete(self: Arc<Self>, result: Result<K::Output, TaskError>) -> Verdict {
        self.header.release();
        let (n_done, n_failed) = self.kind.count(&result);
        self.pool.count(n_done, n_failed);
        match self.core.complete_unless_awaited(result) {
            Ok(Stored::Sleepers) => Verdict::Wake(self),
            Ok(Stored::Yes | Stored::No) => Verdict::Over,
            Err(result) => {
                let pool = self.pool.clone();
                pool.callbacks.run(Box::new(move || {
                    self.core.complete(result);
                }));
                Verdict::Over
            }
        }
    }
}

/// Room for the function and a few numbers, to be asked for once.
const PAYLOAD_BYTES: usize = 40;

impl<K: Kind> Work for Job<K> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn stream(&self) -> Option<u32> {
        self.kind.stream()
    }

    fn is_over(&self) -> bool {
        self.core.is_done()
    }

    fn ended(self: Arc<Self>, end: End, arena: &[u8]) -> Verdict {
        let mut next = self.kind.take(end, arena);
        if let Next::Died { why, has_progressed } = next {
            if has_progressed {
                self.header.forget_deaths();
            }
            next = match self.header.died(*why, &self.pool.settings) {
                Ok(delay) if !self.is_over() => return Verdict::Retry(self, delay),
                Ok(_) => Next::More,
                Err(why) => self.kind.give_up(why),
            };
        }
        match next {
            Next::Done(result) => self.complete(result),
            _ if self.is_over() => {
                let result = self.kind.finish();
                self.complete(result)
            }
            _ => {
                self.header.forget_deaths();
                Verdict::Again(self)
            }
        }
    }

    fn refuse(self: Arc<Self>, why: TaskError) {
        if let Verdict::Wake(task) = self.complete(Err(why)) {
            task.wake();
        }
    }

    fn wake(&self) {
        self.core.wake();
    }
}

impl<K: Kind> Handle<K::Output> for Job<K> {
    fn core(&self) -> &Core<K::Output> {
        &self.core
    }

    fn cancel(&self) -> bool {
        let cancelled = self.core.complete(Err(TaskError::Cancelled));
        if cancelled && self.pool.is_owner() {
            self.pool.withdraw(&self.header);
            self.header.release();
        }
        cancelled
    }

    fn recall(&self) -> bool {
        if self.core.is_done() || !self.pool.is_owner() || !self.pool.take_out(&self.header) {
            return false;
        }
        self.header.release();
        self.core.complete(Err(TaskError::Cancelled))
    }

    fn is_running(&self) -> bool {
        !self.core.is_done() && self.pool.is_running(&self.header)
    }

    fn wait(&self, deadline: Option<Deadline>) -> bool {
        if !self.pool.is_owner() {
            // A fork of the owner: no result will come here.
            self.core.complete(Err(TaskError::Closed));
        }
        if passed(deadline) {
            return self.core.is_done();
        }
        self.pool.help(&|| self.core.is_done() || passed(deadline));
        self.core.sleep(deadline)
    }
}
