//! Fork servers beside the one that each process has: [`ForkServer`].

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    SLOTS, Slot,
    preload::{Loader, Preload},
};
use crate::{
    error::ProcessError,
    function::{Function, Target},
    lock::lock,
};
use kernel::handover;

/// A fork server of one's own: its children share what it has loaded before.
///
/// It is a process like that of [`StartMethod::ForkServer`](crate::StartMethod::ForkServer): this program, executed
/// again, with one thread. Its loader runs in it once, before it makes children. They find what it returned with
/// [`preloaded`](crate::preloaded()), in memory that they share until they write to it. Any number of servers can be there at once.
/// A clone is a handle to the same server; it ends with the last one, and its children go on.
///
/// # What a start costs
/// What the loader has allocated is moved into a memory file, at the same addresses. So a start takes as long as from a
/// server that has loaded nothing, whatever the size: a fork has no page tables to copy. A child that reads what was loaded
/// takes a page fault for each 64 KiB of it, once, and one for each page that it writes to.
///
/// This is done for memory of the C library's allocator, which is Rust's default, on glibc. Not moved is what another global
/// allocator has, what the loader maps itself, and up to 2 MiB; and nothing where the kernel counts every mapping
/// (`vm.overcommit_memory` 2), or the size of files is limited to less (`RLIMIT_FSIZE`). All that works as well, but each start
/// takes about 0.1 ms for each MiB of it that the server has touched. To move 1 GiB takes a second or two, once.
///
/// In the children of such a server, the C library's allocator takes pieces of up to 32 MiB from its heap, not from mappings of
/// their own; and if the loader had threads, all threads of a child share that heap.
///
/// # What a loader may leave
/// Memory and open descriptors. It must join its threads. Locks must not be held. Its children are made without the C library's
/// `fork`: what libraries have registered with `pthread_atfork` does not run in them. So each child has the state of a
/// random number generator that the loader has used. What this workspace has of a process (handles of queues, say) is
/// made anew in each child as after every fork.
///
/// The server does not end when it is idle: a program that waits for any child until there is none (`waitpid(-1)`) drops it first.
///
/// # Crash safety
/// A server dies with its owner. If it is killed, the next start replaces it, which loads again and takes as long. A start, or a
/// load, that is under way then begins anew, and fails after the third load that was killed. Children that run are not concerned.
/// In a forked child of its owner ([`Process::fork`](crate::Process::fork)) the first start makes a server of its own, which
/// loads too.
///
/// # Examples
/// ```
/// use proc_core::{ForkServer, Process, preloaded};
///
/// fn load() -> Vec<String> {
///     (0..1000).map(|n| format!("entry {n}")).collect()
/// }
///
/// let server = ForkServer::builder().preload(load, ()).build()?;
/// let lookup = |n: usize| preloaded::<Vec<String>>().map(|entries| entries[n].clone());
/// let process = Process::builder().fork_server(&server).spawn(lookup, (7,))?;
/// assert_eq!(process.join()?.as_deref(), Some("entry 7"));
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
#[derive(Clone)]
#[doc(alias = "set_forkserver_preload")]
pub struct ForkServer(Arc<Owned>);

/// Ends the server when it is dropped.
struct Owned {
    /// By which each process finds its own.
    number: u64,
    plan: Arc<Preload>,
}

/// Says what a [`ForkServer`] is to be like before it is started.
///
/// # Examples
/// ```
/// use proc_core::{ForkServer, Process, preloaded};
///
/// let server = ForkServer::builder().preload(|n: usize| vec![7_u8; n], (1000,)).build()?;
/// let child = Process::builder().fork_server(&server).spawn(|| preloaded::<Vec<u8>>().map(|bytes| bytes[999]), ())?;
/// assert_eq!(child.join()?, Some(7));
/// # Ok::<(), proc_core::ProcessError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder starts nothing until `build`"]
pub struct ForkServerBuilder {
    loader: Result<Option<Loader>, ProcessError>,
    limit: Duration,
}

impl ForkServer {
    /// A builder.
    pub fn builder() -> ForkServerBuilder {
        ForkServerBuilder { loader: Ok(None), limit: Duration::from_secs(300) }
    }

    /// Starts another server, which loads anew, and has it make all children from then on; the former one ends. Children that it
    /// has made go on, and keep what they share of its memory. Blocks until the new one has loaded; starts go on meanwhile.
    ///
    /// # Errors
    /// As [`ForkServerBuilder::build`]; the former server stays then.
    pub fn reload(&self) -> Result<(), ProcessError> {
        super::renew(&self.slot())
    }

    /// The pid of the server; `None` if it has ended and has not been replaced yet. Blocks while it is replaced.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.slot().helper).as_ref().filter(|helper| !helper.has_ended()).map(|helper| helper.process.pid)
    }

    /// This process's place for it.
    pub(crate) fn slot(&self) -> Arc<Slot> {
        let Owned { number, plan } = &*self.0;
        let mut slots = lock(SLOTS.get());
        let slot = || Arc::new(Slot { plan: Some(Arc::clone(plan)), ..Slot::default() });
        Arc::clone(slots.entry(*number).or_insert_with(slot))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let slot = lock(SLOTS.get()).remove(&self.number);
        if let Some(slot) = slot
            && let Some(helper) = lock(&slot.helper).take()
        {
            let _ = helper.end();
        }
    }
}

impl fmt::Debug for ForkServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkServer").field("number", &self.0.number).finish_non_exhaustive()
    }
}

impl ForkServerBuilder {
    /// Has the server call `load` with `args`, and keep what it returns, before it makes children. The last one counts.
    ///
    /// `load` is any function of 0 to 8 arguments, or a closure that captures nothing; `args` are handed over, and kept for a
    /// server that takes this one's place. What fails in `load` is to panic.
    pub fn preload<F, A>(mut self, load: F, args: A) -> Self
    where
        F: Target<A>,
        A: Serialize + DeserializeOwned,
        F::Output: Sync + 'static,
    {
        let function = Function::of_loader(load).map_err(ProcessError::ForeignCode);
        self.loader = function.and_then(|function| {
            let args = handover::pack_owned(&args).map_err(ProcessError::Arguments)?;
            Ok(Some(Loader { function, args }))
        });
        self
    }

    /// How long the loader may take, five minutes by default.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts the server. Blocks until it has loaded.
    ///
    /// # Errors
    /// [`ProcessError::Preload`] if the loader panics, exits, crashes, takes too long, or leaves threads running; and if the server
    /// cannot be started. Then there is none.
    pub fn build(self) -> Result<ForkServer, ProcessError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let plan = Arc::new(Preload { loader: self.loader?, limit: self.limit });
        let server = ForkServer(Arc::new(Owned { number: NUMBERS.fetch_add(1, Relaxed), plan }));
        server.reload()?;
        Ok(server)
    }
}
