//! What the workers of a program ran, as a trace: one row a worker, one slice a task.
//!
//! It is made by looking where each worker is, some hundred times a second: a slice begins and ends at a look, so its times
//! are right to within one pause between two looks, and a task that came and went in between has no slice. Such are counted,
//! and said in the slice that follows. A pool that keeps a trace itself (feature `trace` of `pool`) misses none; both write
//! the same form.

use std::{
    collections::HashMap,
    fs::File,
    io::BufWriter,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use lane::inspect::Step;
use pool::trace_events::{self, Arg, Events};

use crate::{
    model::Snapshot,
    process,
    scan::{self, Root, ScanError},
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
    events: Events,
    /// Which of its slices are called after which function.
    nameless: Vec<(usize, Option<ProgramFile>, Option<u64>)>,
    n_unseen: u64,
}

/// Looks at a program for a time, and writes what it saw to a new file. Returns how many slices that are.
///
/// # Errors
/// If the file cannot be written, or the program cannot be seen. A program that ends meanwhile ends the trace.
pub(crate) fn trace(
    root: Root,
    path: &Path,
    time: Duration,
    pause: Duration,
) -> Result<usize, Box<dyn std::error::Error>> {
    let file = File::create_new(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    let mut tracer = Tracer {
        begun: Instant::now(),
        workers: HashMap::new(),
        programs: Programs::default(),
        events: Events::default(),
        nameless: Vec::new(),
        n_unseen: 0,
    };
    tracer.programs.load(root.pid);
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
                memory.open().ok()
            };
            let Some(lane) = file(&|memory| memory.inode == worker.lane) else { continue };
            // From the task that it is at, as far as the census saw.
            let Ok(view) = lane::inspect::lane(&lane) else { continue };
            let next =
                view.running.map_or_else(|| lane::inspect::first_unended(&lane).unwrap_or(0), |task| task.number);
            self.events.name_process(pool.owner, || {
                let row = snapshot.processes.iter().find(|row| row.pid == pool.owner);
                row.map_or_else(|| "program".into(), |row| row.name.clone())
            });
            self.events.name_row(pool.owner, worker.pid, || format!("{} ({})", worker.name, worker.pid));
            let spill = file(&|memory| memory.name == "lane-spill");
            let (owner, pid) = (pool.owner, worker.pid);
            let program = self.programs.load(pid);
            let followed = Followed { owner, pid, lane, spill, next, program, running: None, n_unseen: 0 };
            self.workers.insert(worker.lane, followed);
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
        let number = self.events.add(trace_events::Slice {
            process: worker.owner,
            row: worker.pid,
            name: "task".into(),
            begin: slice.since,
            length: now.saturating_sub(slice.since),
            args: vec![
                ("number", Arg::Number(slice.number)),
                ("tasks not seen before it", Arg::Number(slice.n_unseen)),
            ],
        });
        // The name is looked up at the end: that takes a moment.
        self.nameless.push((number, worker.program, slice.function));
    }

    fn finish(mut self, file: File, pause: Duration) -> Result<usize, Box<dyn std::error::Error>> {
        let now = self.begun.elapsed();
        for (_, worker) in std::mem::take(&mut self.workers) {
            self.end_slice(&worker, now);
        }
        for (slice, file, function) in std::mem::take(&mut self.nameless) {
            if let (Some(file), Some(function)) = (file, function)
                && let Some(symbols) = self.programs.loaded(file)
            {
                self.events.rename(slice, symbols.name(function));
            }
        }
        let about = [
            ("by", Arg::Text("top, by looking".into())),
            ("milliseconds from look to look", Arg::Number(pause.as_millis() as u64)),
            ("tasks not seen", Arg::Number(self.n_unseen)),
        ];
        Ok(self.events.write(BufWriter::new(file), &about)?)
    }
}
