//! What is done without the lock.

use std::{io, ops::Range, os::fd::OwnedFd, sync::Arc};

use lane::Progress;

use super::work::{Left, Verdict, Work};
use crate::TaskError;

/// What came out of lanes under the lock, to be dealt with after it.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) arena: Vec<u8>,
    pub(super) ended: Vec<Ended>,
    pub(super) refused: Vec<(Arc<dyn Work>, TaskError)>,
}

pub(super) struct Ended {
    pub(super) work: Arc<dyn Work>,
    pub(super) result: Option<(u32, io::Result<Range<usize>>)>,
    pub(super) progress: Option<Progress>,
    /// The descriptors that came along with either.
    pub(super) fds: io::Result<Vec<OwnedFd>>,
    /// Why it ended without a result.
    pub(super) lost: Option<Box<TaskError>>,
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
        for Ended { work, result, progress, fds, lost } in ended {
            let left = Left {
                result: result.map(|(tag, range)| (tag, range.map(|range| &arena[range]))),
                progress: progress.map(|progress| (progress.n_items, &arena[progress.bytes])),
                fds,
            };
            then(match lost {
                Some(why) => work.lost(left, *why),
                None => work.ended(left),
            });
        }
    }

    /// How many tasks have ended in it, one way or another.
    pub(super) fn n_ended(&self) -> usize {
        self.ended.len()
    }
}
