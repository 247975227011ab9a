//! What a worker of an agent's local pool does.

use pool::engine::Chunk;
use proc_core::{
    function::{CallError, Function},
    handover,
};

use super::held::Packed;
use crate::message::{End, Ends, Verdict};

/// Calls `function` with packed arguments; what it returns is packed, too.
///
/// The function is a place in this program, and the agent has made sure that it was sent by the same build of it.
pub(super) fn call((function, args): (Function, Vec<u8>)) -> Packed {
    let mut value = handover::Packed::default();
    function.call(&args, Vec::new(), &mut value)?;
    if !value.fds.is_empty() {
        return Err(CallError::Value("a handle in it means nothing on another machine".into()));
    }
    Ok(value.bytes)
}

/// What is told of a chunk of calls.
pub(super) fn verdict(task: u64, chunk: Chunk<Packed>) -> Verdict {
    let Chunk { values, failures, busy, .. } = chunk;
    let mut ends: Vec<End> = Vec::with_capacity(values.len() + failures.len());
    let mut values = values.into_iter().map(|value| value.map_or_else(End::Failed, End::Value));
    for (at, why) in failures {
        ends.extend(values.by_ref().take(at - ends.len()));
        ends.push(End::of(why));
    }
    ends.extend(values);
    Verdict { task, busy, ends: Ends::Each(ends) }
}
