//! What the tasks of pools ran, when and where.

mod events;
pub(crate) mod threads;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

pub use self::events::{Arg, Events, Slice};

/// What the workers of one or several pools have run: one row a worker, one slice a task with its function's name.
///
/// A handle: clones are the same trace. A pool is told of it by its builder's `trace`
/// ([of processes](crate::ProcessPoolBuilder::trace), [of threads](crate::ThreadPoolBuilder::trace)), and
/// [`write`](Self::write) writes what viewers like Perfetto and `chrome://tracing` open.
///
/// A slice is from before a worker decodes the arguments to after it has encoded the result; of `map` and its like, a chunk
/// of items is one. The worker takes the time itself, so a slice is right to within a microsecond. Of a task that was tried
/// again each attempt is a slice.
///
/// A task costs two reads of the clock, and some hundred bytes in this process until the trace is dropped. After
/// 1,048,576 slices nothing is added any more; how many are missing stands in the file.
///
/// # Crash safety
/// The slice of a task that a worker died of ends where its pool saw that, and says how the worker died.
///
/// # Examples
/// ```
/// use pool::{ProcessPool, Trace};
///
/// let trace = Trace::new();
/// let pool = ProcessPool::builder().workers(2).trace(&trace).build()?;
/// pool.map(|n| n + 1, [1, 2, 3])?;
/// let mut file = Vec::new();
/// assert!(trace.write(&mut file)? >= 1, "slices");
/// assert!(file.starts_with(b"{\"traceEvents\":["));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Moment,
    kept: Mutex<Recording>,
}

#[derive(Debug, Default)]
struct Recording {
    events: Events,
    n_missing: u64,
}

/// Slices that are kept at most.
const MAX_SLICES: usize = 1 << 20;

/// A time on the clock that all processes of a machine have in common: nanoseconds, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        Self(now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)).max(1))
    }

    pub(crate) fn to_word(self) -> u64 {
        self.0
    }

    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self(word))
    }

    fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What is known of a task that has ended.
pub(crate) struct TaskSpan {
    /// The thread that it ran on; of a process its pid.
    pub(crate) row: u32,
    pub(crate) function: &'static str,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    pub(crate) args: Vec<(&'static str, Arg)>,
}

impl Trace {
    /// A trace of nothing, which begins now.
    #[allow(clippy::new_without_default, reason = "it begins somewhere in time, and that is to be seen")]
    pub fn new() -> Self {
        Self(Arc::new(Inner { begun: Moment::now(), kept: Mutex::default() }))
    }

    /// Writes what has ended so far, as JSON in the Trace Event Format. Returns how many slices that are.
    ///
    /// Tasks that are running are not among them: for all of a pool, [`join`](crate::ProcessPool::join) it first; nor are those
    /// that a [`terminate`](crate::ProcessPool::terminate) cut off. It can be written again and again; pools that end a task meanwhile
    /// wait while the slices are copied, some 100 ms for a million.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: impl Write) -> io::Result<usize> {
        let (events, n_missing) = {
            let kept = self.0.kept.lock();
            (kept.events.clone(), kept.n_missing)
        };
        let by = ("by", Arg::Text("pool, from inside".into()));
        events.write(out, &[by, ("tasks not kept", Arg::Number(n_missing))])
    }

    /// Adds a row: a worker that has started.
    pub(crate) fn add_row(&self, row: u32, name: &str) {
        let process = std::process::id();
        let mut kept = self.0.kept.lock();
        kept.events.name_process(process, own_name);
        kept.events.name_row(process, row, || format!("{name} ({row})"));
    }

    /// Adds a slice.
    pub(crate) fn add(&self, ended: TaskSpan) {
        let mut kept = self.0.kept.lock();
        if kept.events.n_slices() == MAX_SLICES {
            kept.n_missing += 1;
            return;
        }
        let begin = ended.begin.max(self.0.begun);
        kept.events.add(Slice {
            process: std::process::id(),
            row: ended.row,
            name: ended.function.into(),
            begin: begin.since(self.0.begun),
            length: ended.end.since(begin),
            args: ended.args,
        });
    }
}

/// What this program is called.
fn own_name() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name().unwrap_or_default();
    if name.is_empty() { "program".into() } else { name.to_string_lossy().into_owned() }
}
