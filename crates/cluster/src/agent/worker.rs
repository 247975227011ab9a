//! What a worker of an agent's local pool does.

use pool::{TaskError, engine::Chunk};
use proc_core::{
    Target,
    function::{CallError, ForeignCode, Function},
    handover,
};
use serde::{Serialize, de::DeserializeOwned};

use super::held::Packed;
use crate::message::{End, Ends};

const HANDLE: &str = "a handle in it means nothing on another machine";

/// Calls `function` with packed arguments; what it returns is packed, too.
///
/// The function is a place in this program, and the agent has made sure that it was sent by the same build of it.
pub(super) fn call((function, args): (Function, Vec<u8>)) -> Packed {
    let mut value = handover::Packed::default();
    function.call(&args, Vec::new(), &mut value)?;
    if !value.fds.is_empty() {
        return Err(CallError::Value(HANDLE.into()));
    }
    Ok(value.bytes)
}

/// Calls a function that was [`registered`], with arguments that have their names; and so has what it returns.
pub(super) fn call_registered((function, args): (Function, Vec<u8>)) -> Packed {
    let args = handover::pack_owned(&(args,)).map_err(|e| CallError::Arguments(e.to_string()))?;
    let packed = call((function, args.bytes))?;
    handover::unpack::<Packed>(&packed, Vec::new()).map_err(|e| CallError::Value(e.to_string()))?
}

/// `f` as a function that takes and returns values with their names.
pub(super) fn registered<F, A>(f: F) -> Result<Function, ForeignCode>
where
    F: Target<A>,
    A: DeserializeOwned + 'static,
    F::Output: Serialize + 'static,
{
    Function::of(move |args: Vec<u8>| -> Packed {
        let args = handover::unpack(&args, Vec::new()).map_err(|e| CallError::Arguments(e.to_string()))?;
        let value = handover::pack_named(&f.call(args)).map_err(|e| CallError::Value(e.to_string()))?;
        if value.fds.is_empty() { Ok(value.bytes) } else { Err(CallError::Value(HANDLE.into())) }
    })
}

/// Crash reports in one verdict at most: they take kilobytes, and a job's verdict has to go in one message.
const MAX_REPORTS: usize = 16;

/// What is told of a chunk of calls.
pub(super) fn ends(chunk: Chunk<Packed>) -> Ends {
    let Chunk { values, mut failures, .. } = chunk;
    for (_, why) in failures.iter_mut().skip(MAX_REPORTS) {
        if let TaskError::WorkerDied { crash, .. } = why {
            *crash = None;
        }
    }
    let mut ends: Vec<End> = Vec::with_capacity(values.len() + failures.len());
    let mut values = values.into_iter().map(|value| value.map_or_else(End::Failed, End::Value));
    for (at, why) in failures {
        ends.extend(values.by_ref().take(at - ends.len()));
        ends.push(End::of(why));
    }
    ends.extend(values);
    Ends::Each(ends)
}
