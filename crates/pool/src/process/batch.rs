//! What is done without the lock.

use std::sync::Arc;

use super::work::{End, Verdict, Work};
use crate::TaskError;

/// What came out of lanes under the lock, to be dealt with after it.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) arena: Vec<u8>,
    pub(super) ended: Vec<(Arc<dyn Work>, End)>,
    pub(super) refused: Vec<(Arc<dyn Work>, TaskError)>,
}

impl Batch {
    pub(super) fn refuse(&mut self, work: Arc<dyn Work>, why: TaskError) {
        self.refused.push((work, why));
    }

    /// Deals with all of it; tells of each task what is to be done with it.
    pub(super) fn settle(self, mut then: impl FnMut(Verdict)) {
        let Self { arena, ended, refused } = self;
        for (work, why) in refused {
            work.refuse(why);
        }
        for (work, end) in ended {
            then(work.ended(end, &arena));
        }
    }

    /// How many tasks have ended in it, one way or another.
    pub(super) fn n_ended(&self) -> usize {
        self.ended.len()
    }
}
