//! What the workers of a program ran, as a trace: one row a worker, one slice a task.
//!
//! The format is the [Trace Event Format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU),
//! which Perfetto and chrome://tracing open. It is made by looking where each worker is, some hundred times a second: a
//! slice begins and ends at a look, so its times are right to within one pause between two looks, and a task that came and
//! went in between has no slice. Such are counted, and said in the slice that follows.

use std::{
    collections::{HashMap, HashSet},
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use lane::inspect::Step;
use nix::libc;
use serde_json::{Value, json};

use crate::{
    model::Snapshot,
    process,
    scan::{self, ScanError},
    symbols::{ProgramFile, Programs},
};

/// Between two looks for workers that are new, or have gone.
const CENSUS: Duration = Duration::from_millis(100);

/// A worker that is followed.
struct Followed {
    owner: u32,
    pid: u32,
    lane: File,
    spill: Option<File>,
    next: u64,
    program: Option<ProgramFile>,
    running: Option<Slice>,
    n_unseen: u64,
}

/// A task, from when it was seen.
struct Slice {
    number: u64,
    /// Where in the program's text its function is, if that could be read.
    function: Option<u64>,
    since: Duration,
    /// Tasks before it that were not seen.
    n_unseen: u64,
}

struct Tracer {
    begun: Instant,
    workers: HashMap<u64, Followed>,
    programs: Programs,
    events: Vec<Value>,
    /// Which of them are called after which function.
    nameless: Vec<(usize, Option<ProgramFile>, Option<u64>)>,
    n_unseen: u64,
    /// Rows that have a name.
    named: HashSet<(u32, u32)>,
}

/// Looks at a program for a time, and writes what it saw to a new file. Returns how many slices that are.
///
/// # Errors
/// If the file cannot be written, or the program cannot be seen. A program that ends meanwhile ends the trace.
pub(crate) fn trace(
    root: u32,
    path: &Path,
    time: Duration,
    pause: Duration,
) -> Result<usize, Box<dyn std::error::Error>> {
    let file = File::create_new(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut tracer = Tracer {
        begun: Instant::now(),
        workers: HashMap::new(),
        programs: Programs::default(),
        events: Vec::new(),
        nameless: Vec::new(),
        n_unseen: 0,
        named: HashSet::new(),
    };
    tracer.programs.load(root);
    tracer.begun = Instant::now();
    let mut census_due = Duration::ZERO;
    while tracer.begun.elapsed() < time {
        let now = tracer.begun.elapsed();
        if now >= census_due {
            match scan::scan(root, None) {
                Ok(snapshot) => tracer.take_census(&snapshot),
                Err(ScanError::Gone) => break,
                Err(e) => return Err(e.into()),
            }
            census_due = tracer.begun.elapsed() + CENSUS;
        }
        tracer.look();
        thread::sleep(pause);
    }
    tracer.finish(file, pause)
}

impl Tracer {
    /// Begins to follow workers that are new, and lets go of those that have gone, so that their memory can go.
    fn take_census(&mut self, snapshot: &Snapshot) {
        let now = self.begun.elapsed();
        let rows: Vec<_> =
            snapshot.pools.iter().flat_map(|pool| pool.workers.iter().map(move |worker| (pool, worker))).collect();
        let gone: Vec<u64> =
            self.workers.keys().copied().filter(|lane| !rows.iter().any(|(_, worker)| worker.lane == *lane)).collect();
        for lane in gone {
            if let Some(worker) = self.workers.remove(&lane) {
                self.end_slice(&worker, now);
            }
        }
        for (pool, worker) in rows {
            if self.workers.contains_key(&worker.lane) {
                continue;
            }
            let Ok(open) = process::open_files(worker.pid) else { continue };
            let file = |is_it: &dyn Fn(&process::MemoryFile) -> bool| {
                let memory = open.memory.iter().find(|memory| is_it(memory))?;
                let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&memory.path).ok()?;
                (file.metadata().ok()?.ino() == memory.inode).then_some(file)
            };
            let Some(lane) = file(&|memory| memory.inode == worker.lane) else { continue };
            // From the task that it is at, as far as the census saw.
            let Ok(view) = lane::inspect::lane(&lane) else { continue };
            let next =
                view.running.map_or_else(|| lane::inspect::first_unended(&lane).unwrap_or(0), |task| task.number);
            self.name_rows(snapshot, pool.owner, worker.pid, &worker.name);
            let spill = file(&|memory| memory.name == "lane-spill");
            let (owner, pid) = (pool.owner, worker.pid);
            let program = self.programs.load(pid);
            let followed = Followed { owner, pid, lane, spill, next, program, running: None, n_unseen: 0 };
            self.workers.insert(worker.lane, followed);
        }
    }

    fn name_rows(&mut self, snapshot: &Snapshot, owner: u32, worker: u32, name: &str) {
        if self.named.insert((owner, owner)) {
            let row = snapshot.processes.iter().find(|row| row.pid == owner);
            let name = row.map_or("program", |row| row.name.as_str());
            self.events
                .push(json!({"ph": "M", "name": "process_name", "pid": owner, "tid": owner, "args": {"name": name}}));
        }
        if self.named.insert((owner, worker)) {
            let name = format!("{name} ({worker})");
            self.events
                .push(json!({"ph": "M", "name": "thread_name", "pid": owner, "tid": worker, "args": {"name": name}}));
        }
    }

    /// Looks where each worker is.
    fn look(&mut self) {
        let lanes: Vec<u64> = self.workers.keys().copied().collect();
        for lane in lanes {
            let now = self.begun.elapsed();
            let Some(mut worker) = self.workers.remove(&lane) else { continue };
            if let Ok(step) = lane::inspect::step(&worker.lane, worker.next) {
                self.take_step(&mut worker, step, now);
            }
            self.workers.insert(lane, worker);
        }
    }

    fn take_step(&mut self, worker: &mut Followed, step: Step, now: Duration) {
        let Step { n_passed, running, next } = step;
        if let (Some(slice), Some(task)) = (&worker.running, &running)
            && slice.number == task.number
        {
            return;
        }
        // Of those that have ended, one may have been seen.
        let n_unseen = n_passed.saturating_sub(u64::from(worker.running.is_some()));
        worker.n_unseen += n_unseen;
        self.n_unseen += n_unseen;
        worker.next = next;
        self.end_slice(worker, now);
        worker.running = running.map(|task| {
            let begin = match task.spilled_at {
                None => Some(task.begin),
                Some(at) => worker.spill.as_ref().and_then(|spill| lane::inspect::spilled(spill, at).ok()),
            };
            let function = begin.map(|begin| pool::inspect::function_of(task.tag, begin).0);
            Slice { number: task.number, function, since: now, n_unseen: std::mem::take(&mut worker.n_unseen) }
        });
    }

    fn end_slice(&mut self, worker: &Followed, now: Duration) {
        let Some(slice) = &worker.running else { return };
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        // The name is looked up at the end: that takes a moment.
        self.nameless.push((self.events.len(), worker.program, slice.function));
        self.events.push(json!({
            "ph": "X", "cat": "task", "name": "task", "pid": worker.owner, "tid": worker.pid,
            "ts": micros(slice.since), "dur": micros(now.saturating_sub(slice.since)),
            "args": {"number": slice.number, "tasks not seen before it": slice.n_unseen},
        }));
    }

    fn finish(mut self, file: File, pause: Duration) -> Result<usize, Box<dyn std::error::Error>> {
        let now = self.begun.elapsed();
        for (_, worker) in std::mem::take(&mut self.workers) {
            self.end_slice(&worker, now);
        }
        for (event, file, function) in std::mem::take(&mut self.nameless) {
            if let (Some(file), Some(function)) = (file, function)
                && let Some(symbols) = self.programs.loaded(file)
            {
                self.events[event]["name"] = symbols.name(function).into();
            }
        }
        let n_slices = self.events.iter().filter(|event| event["ph"] == "X").count();
        let trace = json!({
            "traceEvents": self.events,
            "displayTimeUnit": "ms",
            "otherData": {
                "by": "top, by looking",
                "milliseconds from look to look": pause.as_secs_f64() * 1000.0,
                "tasks not seen": self.n_unseen,
            },
        });
        let mut out = BufWriter::new(file);
        serde_json::to_writer(&mut out, &trace).map_err(io::Error::other)?;
        out.flush()?;
        Ok(n_slices)
    }
}
