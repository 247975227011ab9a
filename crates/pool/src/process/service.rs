//! The pool's own thread in the owner: starts workers, reaps them, keeps the time, and takes results that no other thread
//! takes. It sleeps in one `poll(2)` on the bell and on all workers.

use std::{
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use lane::OwnerLane;
use nix::poll::{PollFd, PollFlags, ppoll};
use proc_core::{Process, ProcessHandle, template::Template};

use super::{
    batch::Batch,
    events::event,
    seat::Worker,
    shared::Shared,
    stamps::Row,
    state::{BATCH, Phase},
    worker,
};
use crate::{PoolError, TaskError};

pub(super) fn run(shared: &Shared) {
    let mut dead = Vec::new();
    loop {
        shared.unring();
        let turn = turn(shared, &dead);
        let was_full = turn.batch.n_ended() >= BATCH;
        let more = shared.settle(turn.batch) || was_full;
        turn.vacant.into_iter().for_each(|seat| start(shared, seat));
        if turn.over && shared.n_settling() == 0 {
            return shared.gone();
        }
        shared.turned();
        dead = if more { look(shared, Wait::For(Some(Duration::ZERO))) } else { sleep(shared) };
    }
}

/// What is to be done after a turn, without the lock.
struct TurnEnd {
    batch: Batch,
    vacant: Vec<usize>,
    over: bool,
}

fn turn(shared: &Shared, dead: &[u64]) -> TurnEnd {
    let mut batch = Batch::default();
    let mut state = shared.state.lock();
    state.wake_service();
    for worker in dead {
        state.reap(*worker, &mut batch);
    }
    shared.take_inbox(&mut state, &mut batch);
    state.timers(Instant::now(), &shared.settings);
    state.step(&mut batch);
    if let Some(why) = state.broken().cloned()
        && !state.is_dismissed()
    {
        state.enter(Phase::Closed);
        event!(error, why = why.to_string(), "pool is broken");
        shared.mark_broken();
        state.fail_all(&TaskError::Broken(why), &mut batch);
    }
    shared.note(&mut state, &batch);
    shared.tell(&state);
    TurnEnd { batch, vacant: state.vacant(Instant::now()), over: state.is_over() }
}

fn start(shared: &Shared, seat: usize) {
    if !shared.state.lock().is_vacant(seat) {
        return;
    }
    let started = try_start(shared, seat);
    let mut state = shared.state.lock();
    match started {
        Ok((process, lane, row)) => state.seat(seat, process, lane, row, &shared.settings),
        Err(why) => state.start_failed(seat, &why),
    }
    drop(state);
    shared.ring();
}

fn try_start(shared: &Shared, seat: usize) -> Result<(Process<()>, OwnerLane, Row), PoolError> {
    let settings = &shared.settings;
    let (row, stamps) = Row::new(settings)?;
    let (mut lane, handle) = OwnerLane::new(shared.bell.try_clone()?)?;
    let initializer = &settings.initializer;
    lane.push_with(worker::INITIALIZER, None, &initializer.bytes, &initializer.fds())?;
    let builder = settings.worker.as_ref().map_or_else(Process::builder, Template::builder);
    let builder = builder.name(format!("{}-{seat}", settings.name)).daemon(true).process_group();
    let mut builder = builder.defer_confinement();
    if !settings.cpus.is_empty() {
        builder = builder.cpu_affinity([settings.cpus[seat % settings.cpus.len()]]);
    }
    if let Some(method) = settings.start_method {
        builder = builder.start_method(method);
    }
    if let Some(server) = &settings.fork_server {
        builder = builder.fork_server(server);
    }
    if let Some(line) = settings.stdout.clone() {
        builder = builder.stdout_lines(move |worker, text| line(worker, text));
    }
    if let Some(line) = settings.stderr.clone() {
        builder = builder.stderr_lines(move |worker, text| line(worker, text));
    }
    #[cfg(feature = "log")]
    if let Some(wanted) = settings.forward_logs {
        builder = builder.forward_logs(wanted);
    }
    let process = builder
        .spawn(
            worker::run,
            (handle, stamps, settings.terms.memory_limit, settings.recycle_above, settings.confines_after_initializer),
        )
        .map_err(|e| PoolError::Start(Arc::new(e)))?;
    let row = row.started(process.pid(), process.name());
    Ok((process, lane, row))
}

/// How long to wait for something to happen.
enum Wait {
    /// At most for so long.
    For(Option<Duration>),
    /// For so long, since all workers have tasks in hand. Tasks that come meanwhile are given out by their givers, or wait:
    /// a thread that gives many would find the lock taken again and again if the service saw to each.
    Doze(Duration),
}

/// Sleeps until something happens; returns the workers that have ended.
fn sleep(shared: &Shared) -> Vec<u64> {
    let wait = {
        let mut state = shared.state.lock();
        let now = Instant::now();
        let next = state.timers(now, &shared.settings);
        match state.may_doze() {
            Some(doze) if state.workers().any(Worker::is_idle) => Wait::For(Some(doze)),
            Some(doze) => Wait::Doze(doze),
            None if !state.put_service_to_sleep(next) => Wait::For(Some(Duration::ZERO)),
            None => Wait::For(next.map(|at| at.saturating_duration_since(now))),
        }
    };
    look(shared, wait)
}

fn look(shared: &Shared, wait: Wait) -> Vec<u64> {
    let workers: Vec<(u64, ProcessHandle)> = {
        let state = shared.state.lock();
        let lost = state.out_of_reach();
        if !lost.is_empty() {
            return lost;
        }
        state.processes()
    };
    let patience = match wait {
        Wait::Doze(doze) => Some(doze),
        // A task may have come while this thread had the lock: its giver relies on this look.
        Wait::For(_) if shared.has_new_tasks() => Some(Duration::ZERO),
        Wait::For(patience) => patience,
    };
    let mut fds = vec![PollFd::new(shared.bell.as_fd(), PollFlags::POLLIN)];
    fds.extend(workers.iter().map(|(_, process)| PollFd::new(process.as_fd(), PollFlags::POLLIN)));
    // An interrupted or failed poll shows nothing; the next turn looks again.
    if ppoll(&mut fds, patience.map(Into::into), None).is_err() {
        return Vec::new();
    }
    let ended = workers.iter().zip(&fds[1..]).filter(|(_, fd)| fd.any() == Some(true));
    let ended = ended.map(|((worker, process), _)| {
        // What it has logged comes before its task's error; and not under the pool's lock, which a logger may want.
        process.drain_output();
        *worker
    });
    ended.collect()
}
