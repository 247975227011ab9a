//! Functions, arguments and results, to bytes and back.

use std::{any::type_name, fmt};

use pool::{TaskError, engine::Chunk};
use proc_core::{Panic, handover};
use serde::{Serialize, de::DeserializeOwned};

use crate::message::{Ends, Verdict};

/// Packs the arguments of one call, which end here.
pub(crate) fn pack<A: Serialize + DeserializeOwned>(args: A) -> Result<Vec<u8>, TaskError> {
    pack_by(args, |args| handover::pack_owned(args))
}

/// The same, with all names, for another build.
pub(crate) fn pack_named<A: Serialize>(args: A) -> Result<Vec<u8>, TaskError> {
    pack_by(args, |args| handover::pack_named(args))
}

fn pack_by<A>(args: A, pack: impl Fn(&A) -> Result<handover::Packed, handover::Error>) -> Result<Vec<u8>, TaskError> {
    let packed = pack(&args);
    let _ = Panic::catch(|| drop(args));
    let packed = packed.map_err(|e| TaskError::Encode(e.to_string()))?;
    if !packed.fds.is_empty() {
        let why = format!("a handle in {} means nothing on another machine", type_name::<A>());
        return Err(TaskError::Encode(why));
    }
    Ok(packed.bytes)
}

fn unpack<R: DeserializeOwned>(packed: &[u8]) -> Result<R, TaskError> {
    // The user's code, on a thread that has other tasks to care for.
    Panic::catch(|| handover::unpack(packed, Vec::new()).map_err(undecodable))
        .unwrap_or_else(|panic| Err(undecodable(format_args!("panicked: {}", panic.message))))
}

fn undecodable(why: impl fmt::Display) -> TaskError {
    TaskError::Decode(why.to_string())
}

/// What a verdict says of the one call of a task. `build` is this program's.
pub(crate) fn result<R: DeserializeOwned>(verdict: Verdict, build: &str) -> Result<R, TaskError> {
    let is_same_build = verdict.build.as_deref() == Some(build);
    let end = match verdict.ends {
        Ends::All(end) => *end,
        Ends::Each(mut ends) if ends.len() == 1 => ends.swap_remove(0),
        Ends::Each(_) | Ends::GivenBack { .. } => return Err(undecodable("more or fewer results than calls")),
    };
    unpack(&end.into_value(is_same_build)?)
}

/// What a verdict says of a task's `n_calls` calls.
pub(crate) fn chunk<R: DeserializeOwned>(verdict: Verdict, n_calls: usize, build: &str) -> Result<Chunk<R>, TaskError> {
    let is_same_build = verdict.build.as_deref() == Some(build);
    let ends = match verdict.ends {
        Ends::All(end) => {
            return Err(end.into_value(is_same_build).err().unwrap_or_else(|| undecodable("one result for all")));
        }
        Ends::Each(ends) if ends.len() == n_calls => ends,
        Ends::Each(_) | Ends::GivenBack { .. } => return Err(undecodable("more or fewer results than calls")),
    };
    let mut chunk =
        Chunk { values: Vec::with_capacity(n_calls), failures: Vec::new(), busy: verdict.busy, n_rounds: 1 };
    for (at, end) in ends.into_iter().enumerate() {
        match end.into_value(is_same_build).and_then(|packed| unpack(&packed)) {
            Ok(value) => chunk.values.push(value),
            Err(why) => chunk.failures.push((at, why)),
        }
    }
    Ok(chunk)
}
