//! Maps over iterators, for both kinds of pools: items go out in chunks, a bounded number of them at a time.

mod chunk;
mod cut;
mod feed;
mod inputs;
mod iterators;
mod results;
mod under_way;

use std::collections::VecDeque;

use kernel::futex::Deadline;

use self::{results::Results, under_way::UnderWay};
use crate::TaskError;

pub use self::{
    chunk::Chunk,
    cut::Cut,
    feed::Submit,
    inputs::{HasInputs, Inputs, Open},
    iterators::{Imap, ImapStream, ImapUnordered, ImapUnorderedStream, TimedOut},
};

/// All results in the order of the input, or the first failure. What is under way at the deadline is cancelled.
pub(crate) fn map<I: Iterator, R>(
    input: I,
    cut: Cut,
    submit: Submit<I::Item, R>,
    deadline: Option<Deadline>,
) -> Result<Vec<R>, TaskError> {
    let mut results: Results<I, R, VecDeque<_>> = Results::new(input, cut, submit);
    let mut all = Vec::with_capacity(results.feed.input.size_hint().0);
    loop {
        results.fill();
        // The caller wants all results, not single ones: wake up for several at a time.
        if results.out.front().is_some_and(|(_, first)| !first.ready()) {
            results.out[results.out.len() / 2].1.0.wait(deadline);
            if !results.out.wait(deadline) {
                results.out.iter().for_each(|(_, task)| _ = task.cancel());
                return Err(TaskError::TimedOut);
            }
        }
        let Some((n_items, task)) = results.out.next() else {
            results.feed.end();
            return Ok(all);
        };
        let mut chunk = results.feed.done(&task)?;
        if !chunk.failures.is_empty() {
            return Err(chunk.failures.swap_remove(0).1);
        }
        results.feed.items_out -= n_items;
        all.append(&mut chunk.values);
    }
}
