//! What runs in a worker process.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use kernel::handover::{self, Packed};
use lane::{Claim, LaneHandle, MAX_RESULT_FDS, Stream};
use nix::errno::Errno;
use proc_core::{
    Panic, Signal, current_process, enter_confinement,
    function::{CallError, Function},
    is_to_be_confined,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::{OneByOne, TypeInfo, plain_bytes};

use super::{
    codec::{Form, encode},
    items::Items,
    memory::{Gauge, Limiter},
    stamps::Stamps,
    work::LIMITED_TASK,
};

/// The tag of a result that is the packed value.
pub(super) const VALUE: u32 = 0;
/// The tag of a result that is a packed [`CallError`].
pub(super) const FAILURE: u32 = 1;

/// Beside the tag of a result: the worker has more memory than it may keep.
pub(super) const TOO_LARGE: u32 = 1 << 31;

/// The tag of the initializer: a worker in which it fails runs nothing else.
pub(super) const INITIALIZER: u32 = 1;

/// Buffers above this are given back after a large task.
const KEEP_BYTES: usize = 1 << 20;

/// What a worker process runs: one task after another, until its owner has no more.
pub(super) fn run(
    lane: LaneHandle,
    stamps: Stamps,
    memory_limit: Option<u64>,
    recycle_above: Option<u64>,
    confines_after_initializer: bool,
) {
    // Without descriptors nothing can be done here; the owner learns of this worker's end.
    let Ok(mut lane) = lane.open() else { return };
    // A service or a terminal sends these to all its processes at once. The owner decides whether the tasks are to end now.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let _ = current_process().disregard(signal);
    }
    let mut limiter = Limiter::new(memory_limit, is_to_be_confined());
    let mut gauge = recycle_above.and_then(Gauge::new);
    // All that is needed later has been opened by now.
    if !confines_after_initializer {
        enter_confinement();
    }
    let (mut task, mut result) = (Vec::new(), Packed::default());
    while let Some(mut claim) = lane.claim() {
        stamps.begin(claim.slot());
        result.bytes.clear();
        result.fds.clear();
        let read = claim.read(&mut task).and_then(|()| claim.fds());
        if read.as_ref().is_err_and(|e| e.raw_os_error() == Some(Errno::EBADF as i32)) {
            // An earlier task has closed all descriptors: this task is for another worker.
            return claim.give_back();
        }
        let called = read.map_err(|e| CallError::Arguments(e.to_string()));
        let called = called.and_then(|fds| {
            let mut task = &task[..];
            let limit = if claim.tag() == LIMITED_TASK { Some(take_limit(&mut task)?) } else { None };
            if let Some(had) = limiter.begin(limit)? {
                claim.note(had);
            }
            call(&claim, task, fds, &mut result)
        });
        stamps.end(claim.slot());
        if limiter.is_set() {
            // It says nothing of the next task, which may be seen here before it has noted anything.
            claim.note(0);
        }
        if claim.tag() == INITIALIZER && called.is_ok() {
            // Before the owner takes this worker for one that has started.
            enter_confinement();
        }
        let unfit = called.is_err() && claim.tag() == INITIALIZER;
        // Each worker has the memory that its initializer took: a replacement would not help.
        let is_too_large = claim.tag() != INITIALIZER && gauge.as_mut().is_some_and(Gauge::exceeds);
        let mark = if is_too_large { TOO_LARGE } else { 0 };
        let ended = match called {
            Ok(()) => {
                let finished = claim.finish_with(VALUE | mark, &result.bytes, &result.fds);
                finished.or_else(|e| fail(&mut claim, CallError::Value(unsendable(&e)), mark))
            }
            Err(e) => fail(&mut claim, e, mark),
        };
        if ended.is_err() || unfit {
            // If not even a line of text can be stored, the owner learns of this worker's end instead.
            return;
        }
        for buffer in [&mut task, &mut result.bytes] {
            if buffer.capacity() > KEEP_BYTES {
                *buffer = Vec::new();
            }
        }
    }
}

fn fail(claim: &mut Claim<'_>, error: CallError, mark: u32) -> io::Result<()> {
    let error = match error {
        CallError::Foreign(e) => CallError::Arguments(e.to_string()),
        error => error,
    };
    let mut packed = Vec::new();
    wire::encode_named(&error, &mut packed).map_err(io::Error::other)?;
    claim.finish(FAILURE | mark, &packed)
}

thread_local! {
    static STREAM: RefCell<Option<Stream>> = const { RefCell::new(None) };
}

/// What `E2BIG` and its like mean here.
fn unsendable(e: &io::Error) -> String {
    match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::E2BIG) => {
            format!("it holds more descriptors than the {MAX_RESULT_FDS} that go along with a result")
        }
        Some(Errno::ETOOMANYREFS) => "as many descriptors are on their way as RLIMIT_NOFILE allows".into(),
        _ => e.to_string(),
    }
}

fn take_limit(task: &mut &[u8]) -> Result<u64, CallError> {
    let (limit, rest) = task.split_first_chunk().ok_or_else(|| CallError::Arguments("they are cut off".into()))?;
    *task = rest;
    Ok(u64::from_ne_bytes(*limit))
}

fn call(claim: &Claim<'_>, task: &[u8], fds: Vec<OwnedFd>, result: &mut Packed) -> Result<(), CallError> {
    let mut args = task;
    let function = Function::take(&mut args).ok_or_else(|| CallError::Arguments("they are cut off".into()))?;
    if !claim.has_stream() {
        return function.call(args, fds, result);
    }
    STREAM.set(Some(claim.stream()));
    function.call(args, fds, result)
}

/// Beside the item to begin with: each result follows one of these bytes, which says whether it is a value or a failure.
pub(super) const TAGGED: u32 = 1 << 31;
pub(super) const ITEM_VALUE: u8 = 0;
/// Before a packed [`CallError`].
pub(super) const ITEM_FAILURE: u8 = 1;

/// What a chunk returns beside its stream.
#[derive(Serialize, Deserialize)]
pub(super) struct Returned {
    /// How long it took.
    pub(super) nanos: u64,
    /// The result of the item at which the chunk ended early: a packed value that had no room in the stream, or, where
    /// results have no tags, the first failure.
    pub(super) last: Option<Result<Vec<u8>, CallError>>,
}

/// With so many descriptors in a stream, the rest of the chunk goes into another round. So there is room for the descriptors
/// of the next item, and the owner need not hold those of a whole chunk at a time.
const ENOUGH_FDS: usize = 64;

/// Encodes a result, and sends its descriptors ahead.
fn send_handles<R: Serialize + DeserializeOwned>(
    stream: &mut Stream,
    result: &R,
    packed: &mut Vec<u8>,
) -> Result<(), CallError> {
    let fds = handover::pack_among(packed, stream.n_fds(), result).map_err(|e| CallError::Value(e.to_string()))?;
    if fds.is_empty() { Ok(()) } else { stream.send_fds(&fds).map_err(|e| CallError::Value(unsendable(&e))) }
}

/// Works on the items of a chunk, from where the stream says.
pub(super) fn run_chunk<A, R: Serialize + DeserializeOwned>(items: Items<A>, f: impl Fn(A) -> R) -> Returned {
    let begun = Instant::now();
    let mut stream = STREAM.take().expect("the call of a chunk comes with a stream");
    let is_tagged = stream.first() & TAGGED != 0;
    let first = (stream.first() & !TAGGED) as usize;
    let n_all = items.items.len() + items.unread.len();
    let n_unread = items.unread.iter().filter(|(place, _)| *place < first).count();
    let mut unread = items.unread.into_iter();
    unread.by_ref().take(n_unread).for_each(drop);
    let mut items = items.items.into_iter();
    items.by_ref().take(first - n_unread).for_each(drop);
    let may_hold_handles = TypeInfo::of::<R>().may_hold_handles();
    let mut packed = Vec::with_capacity(64);
    let mut form = Form::Each;
    let mut one_by_one = OneByOne::of();
    let last = loop {
        // One guard up to the next item that fails: it costs more than a tiny call.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let place = n_all - items.len() - unread.len();
            let n_up_to_unread = unread.as_slice().first().map_or(usize::MAX, |(unread, _)| unread - place);
            for item in items.by_ref().take(n_up_to_unread) {
                let result = f(item);
                // A number lies in memory as it goes.
                if !is_tagged && let Some(number) = plain_bytes(std::slice::from_ref(&result)) {
                    if stream.publish(number) {
                        continue;
                    }
                    packed.clear();
                    packed.extend_from_slice(number);
                    return Ok(false);
                }
                let is_first = !is_tagged && stream.n_items() == 0;
                if let Form::Each = form
                    && !(is_tagged || is_first || may_hold_handles)
                {
                    let value = one_by_one.encode(&result).map_err(|e| CallError::Value(e.to_string()))?;
                    if stream.publish(value) {
                        continue;
                    }
                    packed.clear();
                    packed.extend_from_slice(value);
                    return Ok(false);
                }
                if is_first && !may_hold_handles {
                    form = Form::of(&result);
                }
                let is_packed = match &form {
                    Form::Flat(flat) => flat.encode_over(&result, &mut packed),
                    Form::Each => {
                        packed.clear();
                        if is_tagged {
                            packed.push(ITEM_VALUE);
                        }
                        if may_hold_handles {
                            send_handles(&mut stream, &result, &mut packed)?;
                        } else {
                            encode(&result, &mut packed).map_err(|e| CallError::Value(e.to_string()))?;
                        }
                        true
                    }
                };
                if is_first {
                    packed.splice(..0, form.word());
                }
                if !is_packed || !stream.publish(&packed) {
                    // It goes alone.
                    if let Form::Flat(_) = form {
                        packed.clear();
                        encode(&result, &mut packed).map_err(|e| CallError::Value(e.to_string()))?;
                    } else if is_first {
                        packed.drain(..form.word().len());
                    }
                    return Ok(false);
                }
                if stream.n_fds() >= ENOUGH_FDS {
                    return Ok(true);
                }
            }
            unread.next().map_or(Ok(true), |(_, why)| Err(CallError::Arguments(why)))
        }));
        match ran.unwrap_or_else(|payload| Err(CallError::Panicked(Panic::of(payload)))) {
            Ok(true) => break None,
            Ok(false) => break Some(Ok(packed)),
            Err(why) if !is_tagged => break Some(Err(why)),
            Err(why) => {
                packed = vec![ITEM_FAILURE];
                wire::encode_named(&why, &mut packed).expect("text encodes into memory");
                if !stream.publish(&packed) {
                    break Some(Ok(packed));
                }
            }
        }
    };
    Returned { nanos: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX), last }
}
