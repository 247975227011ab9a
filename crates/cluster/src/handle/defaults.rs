//! What is said of all tasks of a pool.

use pool::engine::Terms;

use crate::message::ParcelTerms;

/// Terms of tasks that have none of their own.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) terms: Terms,
    pub(super) host_retries: u32,
}

impl Defaults {
    /// The terms of a task, with these where it has none.
    pub(super) fn complete(&self, terms: Terms) -> ParcelTerms {
        let Terms { timeout, retries, memory_limit, name } = terms;
        let terms = Terms {
            timeout: timeout.or(self.terms.timeout),
            retries: retries.or(self.terms.retries),
            memory_limit: memory_limit.or(self.terms.memory_limit),
            name,
        };
        ParcelTerms::new(terms, self.host_retries)
    }
}
