//! One queue and its users: threads, or processes that are stopped now and then.

use std::{io, time::Duration};

use ipc::Queue;
use proc_core::{Process, ProcessError, Signal};
use sync::process::Barrier;

use crate::{
    check::{Violation, violations},
    history::{Event, What},
    work::{Message, Part, Pattern, drain, work},
};

/// Who uses the queue, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) scope: Scope,
    pub(crate) is_pinned: bool,
    pub(crate) pattern: Pattern,
    /// How many messages fit in; 0 for a queue that grows.
    pub(crate) capacity: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Threads,
    Processes,
    /// Processes that get SIGSTOP at random times, and SIGCONT a little later.
    Stopped,
}

impl Scope {
    pub(crate) const ALL: [Self; 3] = [Self::Threads, Self::Processes, Self::Stopped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Stopped => "stopped",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) n_calls: u64,
    pub(crate) n_empty: u64,
    pub(crate) n_full: u64,
    pub(crate) n_stops: u64,
    pub(crate) violations: Vec<Violation>,
}

const N_WORKERS: u64 = 4;

/// A queue without a capacity grows soon, and to more than all the calls of a chunk can put.
const FIRST_SECTION: u32 = 16;

/// Makes about `n_calls` calls on one queue, and judges them.
pub(crate) fn run<M: Message>(setting: Setting, n_calls: u64, seed: u64) -> io::Result<Outcome> {
    let queue = Queue::<M>::builder().maxsize(setting.capacity).first_section(FIRST_SECTION).build()?;
    let start = Barrier::new(N_WORKERS as u32)?;
    let parts: Vec<Part> = (0..N_WORKERS)
        .map(|who| Part {
            who: who + 1,
            pattern: setting.pattern,
            n_calls: n_calls / N_WORKERS,
            seed: (seed ^ (who + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17),
            is_pinned: setting.is_pinned,
        })
        .collect();
    let mut outcome = Outcome::default();
    let mut events = match setting.scope {
        Scope::Threads => by_threads(&queue, &parts, &start),
        Scope::Processes => by_processes(&queue, &parts, &start, None, &mut outcome).map_err(io::Error::other)?,
        Scope::Stopped => by_processes(&queue, &parts, &start, Some(seed), &mut outcome).map_err(io::Error::other)?,
    };
    events.extend(drain(&queue));
    outcome.n_calls = events.len() as u64;
    outcome.n_empty = events.iter().filter(|event| event.what == What::Empty).count() as u64;
    outcome.n_full = events.iter().filter(|event| event.what == What::Full).count() as u64;
    // More than all calls can put.
    let capacity = if setting.capacity == 0 { 1 << 40 } else { setting.capacity };
    outcome.violations = violations(&events, capacity);
    Ok(outcome)
}

fn by_threads<M: Message>(queue: &Queue<M>, parts: &[Part], barrier: &Barrier) -> Vec<Event> {
    std::thread::scope(|scope| {
        let start = |part: Part| scope.spawn(move || work(queue, part, barrier));
        let (first, rest): (Vec<Part>, Vec<Part>) = parts.iter().copied().partition(Part::ends_by_itself);
        let rest: Vec<_> = rest.into_iter().map(start).collect();
        let first: Vec<_> = first.into_iter().map(start).collect();
        let join = |threads: Vec<std::thread::ScopedJoinHandle<'_, Vec<Event>>>| {
            threads.into_iter().flat_map(|thread| thread.join().expect("a worker does not panic")).collect::<Vec<_>>()
        };
        let mut events = join(first);
        if !rest.is_empty() {
            queue.close();
            events.extend(join(rest));
        }
        events
    })
}

/// A process with its own handle of the queue.
fn worker<M: Message>(queue: Queue<M>, part: Part, start: Barrier) -> Vec<Event> {
    work(&queue, part, &start)
}

fn by_processes<M: Message>(
    queue: &Queue<M>,
    parts: &[Part],
    barrier: &Barrier,
    stops: Option<u64>,
    outcome: &mut Outcome,
) -> Result<Vec<Event>, ProcessError> {
    let start = |part: Part| Process::spawn(worker::<M>, (queue.clone(), part, barrier.clone()));
    let (first, rest): (Vec<Part>, Vec<Part>) = parts.iter().copied().partition(Part::ends_by_itself);
    let rest = rest.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let first = first.into_iter().map(start).collect::<Result<Vec<_>, _>>()?;
    if let Some(seed) = stops {
        outcome.n_stops += stop_some(&first, &rest, seed)?;
    }
    let mut events = Vec::new();
    for process in first {
        events.extend(process.join()?);
    }
    if !rest.is_empty() {
        queue.close();
        for process in rest {
            events.extend(process.join()?);
        }
    }
    Ok(events)
}

/// Stops one at a time, for up to two milliseconds, until the first have ended. Returns how often.
fn stop_some(first: &[Process<Vec<Event>>], rest: &[Process<Vec<Event>>], seed: u64) -> Result<u64, ProcessError> {
    let (mut random, mut n_stops) = (seed | 1, 0);
    let mut next = |n: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % n
    };
    while first.iter().any(|worker| worker.is_alive()) {
        let all = || first.iter().chain(rest);
        let Some(victim) = all().nth(next(all().count() as u64) as usize) else { break };
        if victim.is_alive() && victim.signal(Signal::SIGSTOP).is_ok() {
            n_stops += 1;
            // Until a worker has ended or the time is over; it stands still meanwhile.
            let _ = victim.wait_timeout(Duration::from_micros(next(2000)))?;
            let _ = victim.signal(Signal::SIGCONT);
        }
        let _ = victim.wait_timeout(Duration::from_micros(next(500)))?;
    }
    Ok(n_stops)
}
