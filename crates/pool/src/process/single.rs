//! A task of one call.

use std::{marker::PhantomData, sync::Arc};

use kernel::handover;
use proc_core::{Target, function::Function};
use serde::{Serialize, de::DeserializeOwned};
use wire::TypeInfo;

use super::{
    errors::{caught, failure, undecodable},
    job::{Job, Kind, Next},
    shared::Shared,
    work::End,
    worker::FAILURE,
};
use crate::{TaskError, bound::Permit, label::Label, terms::Terms};

/// One call that returns an `R`.
pub(super) struct Single<R>(PhantomData<fn() -> R>);

/// The task that calls `f(args…)`.
pub(super) fn job<F, A>(
    pool: &Arc<Shared>,
    f: F,
    args: A,
    permit: Option<Permit>,
    terms: Option<Arc<Terms>>,
) -> Result<Arc<Job<Single<F::Output>>>, TaskError>
where
    F: Target<A>,
    A: Serialize + DeserializeOwned,
    F::Output: Serialize + DeserializeOwned + Send + 'static,
{
    let function = Function::of(f).map_err(|_| TaskError::ForeignCode)?;
    Job::new(pool, Single(PhantomData), (function, Label::of(&f)), args, permit, terms)
}

impl<R> Kind for Single<R>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    type Output = R;

    fn stream(&self) -> Option<u32> {
        None
    }

    fn take(&self, end: End, arena: &[u8]) -> Next<R> {
        Next::Done(match end.result {
            Err(why) => return Next::Died { why, has_progressed: false },
            Ok((FAILURE, Ok(range))) => Err(failure(&arena[range])),
            Ok((_, Ok(range))) => caught(|| match end.fds {
                // Most results: nothing in them asks for the context of a hand-over.
                Ok(fds) if fds.is_empty() && !TypeInfo::of::<R>().may_hold_handles() => {
                    wire::decode(&arena[range]).map_err(undecodable)
                }
                Ok(fds) => handover::unpack(&arena[range], fds).map_err(undecodable),
                Err(e) => Err(undecodable(e)),
            }),
            Ok((_, Err(e))) => Err(undecodable(e)),
        })
    }

    fn give_up(&self, why: TaskError) -> Next<R> {
        Next::Done(Err(why))
    }

    fn finish(&self) -> Result<R, TaskError> {
        Err(TaskError::Cancelled)
    }

    fn count(&self, result: &Result<R, TaskError>) -> (usize, usize) {
        (result.is_ok().into(), result.is_err().into())
    }
}
