//! Tasks of a process pool, from the side of the pool: what goes out, and what comes of it.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::*},
    },
    time::Duration,
};

use kernel::{
    futex::Deadline,
    handover::{self, Packed},
};
use parking_lot::Mutex;
use proc_core::{
    Panic, Target,
    function::{CallError, Function},
};
use serde::{Serialize, de::DeserializeOwned};
use wire::TypeInfo;

use super::{
    codec::{decode, decode_all},
    items::Items,
    shared::Shared,
    worker::{self, FAILURE, ITEM_FAILURE, ITEM_VALUE, Returned, TAGGED, VALUE},
};
use crate::{
    TaskError,
    bound::Permit,
    stream::Chunk,
    task::{Core, Handle, Stored, next_id, passed},
};

/// A task, whatever it is about.
pub(super) trait Work: Send + Sync {
    fn header(&self) -> &Header;

    /// The item to begin with, of a task on many, and whether [`TAGGED`].
    fn stream(&self) -> Option<u32> {
        None
    }

    /// Whether its result is known, so that it need not run.
    fn is_over(&self) -> bool;

    /// A worker ended it.
    fn ended(self: Arc<Self>, left: Left<'_>) -> Verdict;

    /// Its worker died while running it.
    fn lost(self: Arc<Self>, left: Left<'_>, why: TaskError) -> Verdict;

    /// It will not run.
    fn refuse(self: Arc<Self>, why: TaskError);

    /// Wakes those who sleep until its result is known.
    fn wake(&self);
}

/// What all tasks have.
pub(super) struct Header {
    pub(super) pool: Arc<Shared>,
    pub(super) id: u64,
    /// The packed function and its packed arguments.
    payload: Vec<u8>,
    /// What most tasks have nothing of.
    kept: Option<Box<Mutex<Kept>>>,
    /// Where it is, as [`Place`] packs it; changed under the pool's lock.
    pub(super) place: AtomicU32,
    /// Where it is in the order in which tasks were given; changed under the pool's lock, 0 before.
    pub(super) turn: AtomicU64,
    /// How often a worker died of it.
    deaths: AtomicU32,
}

/// What is kept until a task's end.
#[derive(Default)]
struct Kept {
    /// The descriptors among the arguments.
    fds: Vec<OwnedFd>,
    _permit: Option<Permit>,
}

/// What a worker left behind for a task.
pub(super) struct Left<'a> {
    /// The tag and the bytes of the result; `None` if it died before.
    pub(super) result: Option<(u32, io::Result<&'a [u8]>)>,
    /// How many items of a stream were published, and their bytes.
    pub(super) progress: Option<(u32, &'a [u8])>,
    /// The descriptors that came along.
    pub(super) fds: io::Result<Vec<OwnedFd>>,
}

/// What is to be done with a task.
pub(super) enum Verdict {
    /// Nothing: its result is known.
    Over,
    /// Its result is known: those who sleep until then are to be woken.
    Wake(Arc<dyn Work>),
    /// It is to run (on) at once.
    Again(Arc<dyn Work>),
    /// It is to run again after a while.
    Retry(Arc<dyn Work>, Duration),
}

impl Verdict {
    /// Wakes at once those who are to be woken.
    fn wake(self) {
        if let Self::Wake(task) = self {
            task.wake();
        }
    }
}

impl Header {
    fn new(pool: &Arc<Shared>, id: u64, Packed { bytes, fds }: Packed, permit: Option<Permit>) -> Self {
        let kept = (!fds.is_empty() || permit.is_some()).then(|| Box::new(Mutex::new(Kept { fds, _permit: permit })));
        Self {
            pool: pool.clone(),
            id,
            payload: bytes,
            kept,
            place: AtomicU32::new(0),
            turn: AtomicU64::new(0),
            deaths: AtomicU32::new(0),
        }
    }

    /// What a worker is to be given.
    pub(super) fn with_fds<R>(&self, give: impl FnOnce(&[u8], &[BorrowedFd<'_>]) -> R) -> R {
        let Some(kept) = &self.kept else { return give(&self.payload, &[]) };
        let kept = kept.lock();
        give(&self.payload, &kept.fds.iter().map(AsFd::as_fd).collect::<Vec<_>>())
    }

    /// Closes its descriptors and gives its permit back: no worker will be given it any more.
    fn release(&self) {
        if let Some(kept) = &self.kept {
            drop(std::mem::take(&mut *kept.lock()));
        }
    }

    /// Counts a death: after how long to try again, or with which error not to.
    fn died(&self, why: TaskError) -> Result<Duration, TaskError> {
        let retries = self.pool.settings.retries;
        if retries == 0 || !matches!(why, TaskError::WorkerDied { .. }) {
            return Err(why);
        }
        let deaths = self.deaths.fetch_add(1, Relaxed);
        if deaths >= retries {
            return Err(TaskError::Quarantined);
        }
        Ok(self.pool.settings.retry_delay.saturating_mul(1 << deaths.min(10)))
    }
}

/// One call.
pub(super) struct Job<R> {
    header: Header,
    core: Core<R>,
}

impl<R> Job<R>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    pub(super) fn new<F, A>(pool: &Arc<Shared>, f: F, args: A, permit: Option<Permit>) -> Result<Arc<Self>, TaskError>
    where
        F: Target<A, Output = R>,
        A: Serialize + DeserializeOwned,
    {
        let packed = pack(Function::of(f).map_err(|_| TaskError::ForeignCode)?, args)?;
        let id = next_id();
        Ok(Arc::new(Self { header: Header::new(pool, id, packed, permit), core: Core::new(id) }))
    }

    fn complete(self: Arc<Self>, result: Result<R, TaskError>) -> Verdict {
        self.header.release();
        self.header.pool.count(result.is_ok().into(), result.is_err().into());
        complete(self, result)
    }
}

impl<R> Work for Job<R>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    fn header(&self) -> &Header {
        &self.header
    }

    fn is_over(&self) -> bool {
        self.core.is_done()
    }

    fn ended(self: Arc<Self>, left: Left<'_>) -> Verdict {
        let result = match left.result {
            Some((FAILURE, Ok(bytes))) => Err(failure(bytes)),
            Some((_, Ok(bytes))) => caught(|| match left.fds {
                // Most results: nothing in them asks for the context of a hand-over.
                Ok(fds) if fds.is_empty() && !TypeInfo::of::<R>().may_hold_handles() => {
                    wire::decode(bytes).map_err(undecodable)
                }
                Ok(fds) => handover::unpack(bytes, fds).map_err(undecodable),
                Err(e) => Err(undecodable(e)),
            }),
            Some((_, Err(e))) => Err(undecodable(e)),
            None => Err(TaskError::Decode("there is none".into())),
        };
        self.complete(result)
    }

    fn lost(self: Arc<Self>, _left: Left<'_>, why: TaskError) -> Verdict {
        match self.header.died(why) {
            Ok(delay) if !self.is_over() => Verdict::Retry(self, delay),
            Ok(_) => Verdict::Over,
            Err(why) => self.complete(Err(why)),
        }
    }

    fn refuse(self: Arc<Self>, why: TaskError) {
        self.complete(Err(why)).wake();
    }

    fn wake(&self) {
        self.core.wake();
    }
}

/// One call for each of many items.
pub(super) struct ChunkJob<R> {
    header: Header,
    core: Core<Chunk<R>>,
    n_items: u32,
    so_far: Mutex<SoFar<R>>,
}

struct SoFar<R> {
    /// The item to go on with.
    next: u32,
    /// An item has failed: from the next round on results are tagged, so that others may without ending it.
    is_tagged: bool,
    chunk: Chunk<R>,
}

impl<R> ChunkJob<R>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    pub(super) fn new<F, A>(pool: &Arc<Shared>, f: F, items: Vec<A>) -> Result<Arc<Self>, TaskError>
    where
        F: Fn(A) -> R + Copy + 'static,
        A: Serialize + DeserializeOwned + 'static,
    {
        let target = move |items: Items<A>| worker::run_chunk(items, f);
        let n_items = u32::try_from(items.len()).ok().filter(|n| *n < TAGGED);
        let n_items = n_items.ok_or_else(|| TaskError::Encode("a chunk of so many items".into()))?;
        let packed = pack(Function::of(target).map_err(|_| TaskError::ForeignCode)?, (Items(items),))?;
        let id = next_id();
        let chunk = Chunk::new(0);
        Ok(Arc::new(Self {
            header: Header::new(pool, id, packed, None),
            core: Core::new(id),
            n_items,
            so_far: Mutex::new(SoFar { next: 0, is_tagged: false, chunk }),
        }))
    }

    fn complete(self: Arc<Self>, result: Result<Chunk<R>, TaskError>) -> Verdict {
        self.header.release();
        match &result {
            Ok(chunk) => self.header.pool.count(chunk.values.len(), chunk.failures.len()),
            Err(_) => self.header.pool.count(0, self.n_items as usize),
        }
        complete(self, result)
    }

    /// Takes in what was published; an error if it is not what a worker publishes.
    fn absorb(&self, so_far: &mut SoFar<R>, left: &mut Left<'_>) -> Result<(), TaskError> {
        match std::mem::replace(&mut left.fds, Ok(Vec::new())) {
            Ok(fds) if fds.is_empty() => self.absorb_all(so_far, left),
            Ok(fds) => handover::receiving(fds, || self.absorb_all(so_far, left)),
            Err(e) => Err(undecodable(e)),
        }
    }

    fn absorb_all(&self, so_far: &mut SoFar<R>, left: &Left<'_>) -> Result<(), TaskError> {
        let (n_items, mut bytes) = left.progress.unwrap_or((0, &[]));
        if n_items > self.n_items - so_far.next {
            return Err(TaskError::Decode("more results than items".into()));
        }
        if n_items > 0 {
            self.header.deaths.store(0, Relaxed);
        }
        so_far.push_all(n_items, &mut bytes)?;
        if !bytes.is_empty() {
            return Err(TaskError::Decode("bytes are left over".into()));
        }
        if let Some((VALUE, Ok(returned))) = &left.result {
            let returned: Returned = wire::decode(returned).map_err(undecodable)?;
            so_far.chunk.busy += Duration::from_nanos(returned.nanos);
            so_far.chunk.n_rounds += usize::from(!matches!(returned.last, Some(Err(_))));
            match returned.last {
                Some(_) if so_far.next == self.n_items => {
                    return Err(TaskError::Decode("more results than items".into()));
                }
                Some(Ok(packed)) => so_far.push(&mut &packed[..])?,
                Some(Err(why)) => {
                    so_far.fail(why.into());
                    so_far.is_tagged = true;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn verdict(self: Arc<Self>, error: Option<TaskError>) -> Verdict {
        let result = {
            let mut so_far = self.so_far.lock();
            if error.is_none() && so_far.next < self.n_items && !self.core.is_done() {
                drop(so_far);
                return Verdict::Again(self);
            }
            error.map_or_else(|| Ok(std::mem::replace(&mut so_far.chunk, Chunk::new(0))), Err)
        };
        self.complete(result)
    }
}

impl<R: Serialize + DeserializeOwned + 'static> SoFar<R> {
    /// Takes in the results of the next items.
    fn push_all(&mut self, n_items: u32, bytes: &mut &[u8]) -> Result<(), TaskError> {
        if self.is_tagged {
            return (0..n_items).try_for_each(|_| self.push(bytes));
        }
        if n_items == 0 {
            return Ok(());
        }
        decode_all(n_items as usize, bytes, &mut self.chunk.values).map_err(undecodable)?;
        self.next += n_items;
        Ok(())
    }

    /// Takes in the next item's result from the front of `bytes`.
    fn push(&mut self, bytes: &mut &[u8]) -> Result<(), TaskError> {
        if self.is_tagged && self.push_failure(bytes)? {
            return Ok(());
        }
        self.chunk.values.push(decode(bytes).map_err(undecodable)?);
        self.next += 1;
        Ok(())
    }

    /// Takes the tag, and the failure if it is one (true).
    fn push_failure(&mut self, bytes: &mut &[u8]) -> Result<bool, TaskError> {
        match bytes.split_off_first() {
            Some(&ITEM_VALUE) => Ok(false),
            Some(&ITEM_FAILURE) => {
                let why = wire::take::<CallError>(bytes).map_err(undecodable)?;
                self.fail(why.into());
                Ok(true)
            }
            _ => Err(TaskError::Decode("an item's result is neither value nor failure".into())),
        }
    }
}

impl<R> SoFar<R> {
    fn fail(&mut self, why: TaskError) {
        self.chunk.failures.push((self.next as usize, why));
        self.next += 1;
    }
}

impl<R> Work for ChunkJob<R>
where
    R: Serialize + DeserializeOwned + Send + 'static,
{
    fn header(&self) -> &Header {
        &self.header
    }

    fn stream(&self) -> Option<u32> {
        let so_far = self.so_far.lock();
        Some(so_far.next | if so_far.is_tagged { TAGGED } else { 0 })
    }

    fn is_over(&self) -> bool {
        self.core.is_done()
    }

    fn ended(self: Arc<Self>, mut left: Left<'_>) -> Verdict {
        let error = {
            let mut so_far = self.so_far.lock();
            let before = so_far.next;
            let absorbed = caught(|| self.absorb(&mut so_far, &mut left));
            match (absorbed, &left.result) {
                (Err(e), _) => Some(e),
                (_, Some((FAILURE, Ok(bytes)))) => Some(failure(bytes)),
                (_, Some((_, Err(e)))) => Some(undecodable(e)),
                _ if so_far.next == before => Some(TaskError::Decode("no results".into())),
                _ => None,
            }
        };
        self.verdict(error)
    }

    fn lost(self: Arc<Self>, mut left: Left<'_>, why: TaskError) -> Verdict {
        let error = {
            let mut so_far = self.so_far.lock();
            match caught(|| self.absorb(&mut so_far, &mut left)) {
                Err(e) => Some(e),
                Ok(()) if so_far.next == self.n_items => None,
                Ok(()) => match self.header.died(why) {
                    Ok(delay) if !self.core.is_done() => {
                        drop(so_far);
                        return Verdict::Retry(self, delay);
                    }
                    Ok(_) => None,
                    Err(why) => {
                        so_far.fail(why);
                        self.header.deaths.store(0, Relaxed);
                        None
                    }
                },
            }
        };
        self.verdict(error)
    }

    fn refuse(self: Arc<Self>, why: TaskError) {
        self.complete(Err(why)).wake();
    }

    fn wake(&self) {
        self.core.wake();
    }
}

/// Both kinds, for those who wait.
macro_rules! impl_handle {
    ($job:ident => $result:ty) => {
        impl<R> Handle<$result> for $job<R>
        where
            R: Serialize + DeserializeOwned + Send + 'static,
        {
            fn core(&self) -> &Core<$result> {
                &self.core
            }

            fn cancel(&self) -> bool {
                let cancelled = self.core.complete(Err(TaskError::Cancelled));
                if cancelled && self.header.pool.is_owner() {
                    self.header.pool.withdraw(&self.header);
                    self.header.release();
                }
                cancelled
            }

            fn is_running(&self) -> bool {
                !self.core.is_done() && self.header.pool.is_running(&self.header)
            }

            fn wait(&self, deadline: Option<Deadline>) -> bool {
                if !self.header.pool.is_owner() {
                    // A fork of the owner: nobody will bring a result here.
                    self.core.complete(Err(TaskError::Closed));
                }
                if passed(deadline) {
                    return self.core.is_done();
                }
                self.header.pool.help(&|| self.core.is_done() || passed(deadline));
                self.core.sleep(deadline)
            }
        }
    };
}
impl_handle!(Job => R);
impl_handle!(ChunkJob => Chunk<R>);

/// A job with a place for its result.
trait HasCore<R> {
    fn parts(&self) -> (&Header, &Core<R>);
}

impl<R> HasCore<R> for Job<R> {
    fn parts(&self) -> (&Header, &Core<R>) {
        (&self.header, &self.core)
    }
}

impl<R> HasCore<Chunk<R>> for ChunkJob<R> {
    fn parts(&self) -> (&Header, &Core<Chunk<R>>) {
        (&self.header, &self.core)
    }
}

/// Stores a result; on the pool's thread for callbacks if there are any, which take their time.
fn complete<R, J>(job: Arc<J>, result: Result<R, TaskError>) -> Verdict
where
    R: Send + 'static,
    J: Work + HasCore<R> + 'static,
{
    let (header, core) = job.parts();
    match core.complete_unless_awaited(result) {
        Ok(Stored::Sleepers) => Verdict::Wake(job),
        Ok(Stored::Yes | Stored::No) => Verdict::Over,
        Err(result) => {
            let pool = header.pool.clone();
            pool.callbacks.run(Box::new(move || {
                job.parts().1.complete(result);
            }));
            Verdict::Over
        }
    }
}

/// Decodes with its panic caught: it is the user's code, on a thread of whoever is here.
fn caught<T>(decode: impl FnOnce() -> Result<T, TaskError>) -> Result<T, TaskError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|payload| Err(undecodable(format!("panicked: {}", Panic::of(payload).message))))
}

/// Room for the function and a few numbers, to be asked for once.
const PAYLOAD_BYTES: usize = 40;

/// What goes to a worker. The arguments end here, with the panic of their drop caught.
fn pack<A: Serialize + DeserializeOwned>(function: Function, args: A) -> Result<Packed, TaskError> {
    let mut bytes = Vec::with_capacity(PAYLOAD_BYTES);
    bytes.extend_from_slice(&function.to_bytes());
    let packed = handover::pack_owned_behind(bytes, &args);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(args))).map_err(Panic::of);
    packed.map_err(|e| TaskError::Encode(e.to_string()))
}

fn undecodable(why: impl fmt::Display) -> TaskError {
    TaskError::Decode(why.to_string())
}

pub(super) fn failure(bytes: &[u8]) -> TaskError {
    match wire::decode::<CallError>(bytes) {
        Ok(error) => error.into(),
        Err(e) => undecodable(e),
    }
}

impl From<CallError> for TaskError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Panicked(panic) => panic.into(),
            CallError::Value(why) | CallError::Arguments(why) => Self::Encode(why),
            CallError::Foreign(_) => Self::ForeignCode,
        }
    }
}
