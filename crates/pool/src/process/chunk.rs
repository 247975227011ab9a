//! A task of one call for each of many items.

use std::{sync::Arc, time::Duration};

use kernel::handover;
use parking_lot::Mutex;
use proc_core::function::{CallError, Function};
use serde::{Serialize, de::DeserializeOwned};
use wire::TypeInfo;

use super::{
    codec::{self, decode_all, decode_each, decode_or_skip},
    errors::{caught, failure, undecodable},
    items::Items,
    job::{Job, Kind, Next},
    shared::Shared,
    work::End,
    worker::{self, FAILURE, ITEM_FAILURE, ITEM_VALUE, Returned, TAGGED, VALUE},
};
use crate::{TaskError, label::Label, stream::Chunk, task::discard, terms::Terms};

/// Calls that each return an `R`.
pub(super) struct Many<R> {
    n_items: u32,
    so_far: Mutex<SoFar<R>>,
}

struct SoFar<R> {
    /// The item to go on with.
    next: u32,
    /// An item has failed: from the next round on results are tagged, so that further failures do not end the round.
    is_tagged: bool,
    /// How many items of the input come before the first, for errors.
    n_before: usize,
    chunk: Chunk<R>,
}

/// The task that calls `f` for each of `items`.
pub(super) fn job<F, A, R>(
    pool: &Arc<Shared>,
    f: F,
    items: Items<A>,
    terms: Option<Arc<Terms>>,
) -> Result<Arc<Job<Many<R>>>, TaskError>
where
    F: Fn(A) -> R + Copy + 'static,
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let target = move |items: Items<A>| worker::run_chunk(items, f);
    let n_items = u32::try_from(items.items.len()).ok().filter(|n| *n < TAGGED);
    let n_items = n_items.ok_or_else(|| TaskError::Encode("a chunk of so many items".into()))?;
    let function = Function::of(target).map_err(|_| TaskError::ForeignCode)?;
    let so_far = Mutex::new(SoFar { next: 0, is_tagged: false, n_before: items.n_before, chunk: Chunk::new(0) });
    Job::new(pool, Many { n_items, so_far }, (function, Label::of(&f)), (items,), None, terms)
}

impl<R> Kind for Many<R>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    type Output = Chunk<R>;

    fn stream(&self) -> Option<u32> {
        let so_far = self.so_far.lock();
        Some(so_far.next | if so_far.is_tagged { TAGGED } else { 0 })
    }

    fn take(&self, mut end: End, arena: &[u8]) -> Next<Chunk<R>> {
        let mut so_far = self.so_far.lock();
        let before = so_far.next;
        if let Err(e) = caught(|| so_far.absorb(&mut end, arena, self.n_items)) {
            return Next::Done(Err(e));
        }
        let is_all = so_far.next == self.n_items;
        match end.result {
            Err(why) if !is_all => Next::Died { why, has_progressed: so_far.next > before },
            Ok((FAILURE, Ok(range))) => Next::Done(Err(failure(&arena[range]))),
            Ok((_, Err(e))) => Next::Done(Err(undecodable(e))),
            Ok(_) if so_far.next == before => Next::Done(Err(TaskError::Decode("no results".into()))),
            Ok(_) if !is_all => Next::More,
            _ => Next::Done(Ok(so_far.take_chunk())),
        }
    }

    fn give_up(&self, why: TaskError) -> Next<Chunk<R>> {
        let mut so_far = self.so_far.lock();
        so_far.fail(why);
        if so_far.next == self.n_items { Next::Done(Ok(so_far.take_chunk())) } else { Next::More }
    }

    fn finish(&self) -> Result<Chunk<R>, TaskError> {
        Ok(self.so_far.lock().take_chunk())
    }

    fn count(&self, result: &Result<Chunk<R>, TaskError>) -> (usize, usize) {
        match result {
            Ok(chunk) => (chunk.values.len(), chunk.failures.len()),
            Err(_) => (0, self.n_items as usize),
        }
    }
}

impl<R> Drop for SoFar<R> {
    /// What has come of a task that was cancelled.
    fn drop(&mut self) {
        discard(self.take_chunk());
    }
}

impl<R: Serialize + DeserializeOwned + 'static> SoFar<R> {
    /// Takes in what was published; an error if it is not what a worker publishes.
    fn absorb(&mut self, end: &mut End, arena: &[u8], n_items: u32) -> Result<(), TaskError> {
        match std::mem::replace(&mut end.fds, Ok(Vec::new())) {
            Ok(fds) if fds.is_empty() => self.absorb_all(end, arena, n_items),
            Ok(fds) => handover::receiving(fds, || self.absorb_all(end, arena, n_items)),
            Err(e) => Err(undecodable(e)),
        }
    }

    fn absorb_all(&mut self, end: &End, arena: &[u8], n_items: u32) -> Result<(), TaskError> {
        if let Some(progress) = &end.progress {
            if progress.n_items > n_items - self.next {
                return Err(TaskError::Decode("more results than items".into()));
            }
            let mut bytes = &arena[progress.bytes.clone()];
            self.push_all(progress.n_items, &mut bytes)?;
            if !bytes.is_empty() {
                return Err(TaskError::Decode("bytes are left over".into()));
            }
        }
        if let Ok((VALUE, Ok(range))) = &end.result {
            let returned: Returned = wire::decode(&arena[range.clone()]).map_err(undecodable)?;
            self.chunk.busy += Duration::from_nanos(returned.nanos);
            self.chunk.n_rounds += usize::from(!matches!(returned.last, Some(Err(_))));
            match returned.last {
                Some(_) if self.next == n_items => {
                    return Err(TaskError::Decode("more results than items".into()));
                }
                Some(Ok(packed)) => self.push(&mut &packed[..])?,
                Some(Err(why)) => {
                    self.fail_with(why);
                    self.is_tagged = true;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Takes in the results of the next items.
    fn push_all(&mut self, n_items: u32, bytes: &mut &[u8]) -> Result<(), TaskError> {
        if self.is_tagged {
            return (0..n_items).try_for_each(|_| self.push(bytes));
        }
        if n_items == 0 {
            return Ok(());
        }
        let (row, n_values) = (*bytes, self.chunk.values.len());
        let Err(why) = codec::caught(|| decode_all(n_items as usize, bytes, &mut self.chunk.values)) else {
            self.next += n_items;
            return Ok(());
        };
        if TypeInfo::of::<R>().may_hold_handles() {
            // They cannot be taken twice.
            return Err(undecodable(why));
        }
        self.chunk.values.truncate(n_values);
        *bytes = row;
        decode_each(n_items as usize, bytes, |value| self.push_decoded(value)).map_err(|_| undecodable(why))
    }

    /// Takes in the next item's result from the front of `bytes`.
    fn push(&mut self, bytes: &mut &[u8]) -> Result<(), TaskError> {
        if self.is_tagged && self.push_failure(bytes)? {
            return Ok(());
        }
        self.push_decoded(decode_or_skip(bytes).map_err(undecodable)?);
        Ok(())
    }

    /// Takes the tag, and the failure if it is one (true).
    fn push_failure(&mut self, bytes: &mut &[u8]) -> Result<bool, TaskError> {
        match bytes.split_off_first() {
            Some(&ITEM_VALUE) => Ok(false),
            Some(&ITEM_FAILURE) => {
                let why = wire::take::<CallError>(bytes).map_err(undecodable)?;
                self.fail_with(why);
                Ok(true)
            }
            _ => Err(TaskError::Decode("an item's result is neither value nor failure".into())),
        }
    }
}

impl<R> SoFar<R> {
    /// The next item's call ended so.
    fn fail_with(&mut self, why: CallError) {
        let item = self.n_before + self.next as usize;
        let why = match why {
            CallError::Value(why) => CallError::Value(format!("the result for item {item} of the input: {why}")),
            CallError::Arguments(why) => CallError::Arguments(format!("item {item} of the input: {why}")),
            why => why,
        };
        self.fail(why.into());
    }

    /// The next item's result, or why it is none.
    fn push_decoded(&mut self, value: Result<R, String>) {
        match value {
            Ok(value) => {
                self.chunk.values.push(value);
                self.next += 1;
            }
            Err(why) => self.fail(undecodable(why)),
        }
    }

    fn fail(&mut self, why: TaskError) {
        self.chunk.failures.push((self.next as usize, why));
        self.next += 1;
    }

    fn take_chunk(&mut self) -> Chunk<R> {
        std::mem::replace(&mut self.chunk, Chunk::new(0))
    }
}
