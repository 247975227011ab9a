//! What is said of all tasks of a pool.

use pool::engine::Terms;

/// Terms of tasks that have none of their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults(pub(super) Terms);

impl Defaults {
    /// The terms of a task, with these where it has none.
    pub(super) fn complete(&self, terms: Terms) -> Terms {
        let Terms { timeout, retries, memory_limit, name } = terms;
        Terms {
            timeout: timeout.or(self.0.timeout),
            retries: retries.or(self.0.retries),
            memory_limit: memory_limit.or(self.0.memory_limit),
            name,
        }
    }
}
