//! Abnormal ends: tasks that are withdrawn, workers that are killed or have died, the end of the pool.

use std::{
    os::unix::process::ExitStatusExt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use lane::SlotState;
use proc_core::{CrashCause, ProcessError};

use super::State;
use crate::{
    PoolError, TaskError,
    process::{
        batch::Batch,
        events::event,
        seat::{Life, Place, Seat},
        work::{End, Header},
    },
    stats::Death,
};

const MAX_DEATHS: usize = 64;
const MAX_FAILED_STARTS: usize = 8;

impl State {
    /// Makes all workers leave, for good.
    pub(in crate::process) fn dismiss_all(&mut self) {
        self.dismissed = true;
        for seat in &mut self.seats {
            match seat {
                Seat::Taken(worker) if !worker.is_leaving() => worker.leave(false),
                Seat::Vacant(_) | Seat::Resting => *seat = Seat::Closed,
                _ => {}
            }
        }
    }

    /// Ends everything: all tasks are refused, all workers killed.
    pub(in crate::process) fn fail_all(&mut self, why: &TaskError, batch: &mut Batch) {
        self.dismissed = true;
        let delayed = std::mem::take(&mut self.delayed).into_iter().map(|delayed| delayed.work);
        batch.refused.extend(self.backlog.drain(..).chain(delayed).map(|work| (work, why.clone())));
        for seat in &mut self.seats {
            match seat {
                Seat::Taken(worker) => {
                    let held = worker.held.iter_mut().filter_map(Option::take);
                    batch.refused.extend(held.map(|work| (work, why.clone())));
                    // For one that cannot be killed.
                    match worker.life {
                        Life::Killed { .. } => worker.lane.stop(),
                        _ => worker.leave(false),
                    }
                    worker.is_out_of_reach = worker.process.kill().is_err();
                }
                Seat::Vacant(_) | Seat::Resting => *seat = Seat::Closed,
                Seat::Closed => {}
            }
        }
    }

    /// Whether a worker has begun with the task in this place.
    pub(in crate::process) fn is_running(&self, packed_place: u32) -> bool {
        let Some(place) = Place::unpack(packed_place) else { return false };
        let Some(Seat::Taken(worker)) = self.seats.get(place.seat) else { return false };
        worker.lane.slots().any(|(slot, state)| slot == place.slot && state == SlotState::Taken)
    }

    /// Takes a task out that no worker has begun with; false if one has, or if it is over.
    pub(in crate::process) fn take_out(&mut self, header: &Header) -> bool {
        if let Some(place) = Place::unpack(header.place.load(Relaxed)) {
            let Some(Seat::Taken(worker)) = self.seats.get_mut(place.seat) else { return false };
            return worker.recall(place.slot).is_some();
        }
        let waiting = self.backlog.iter().position(|work| work.header().id == header.id);
        waiting.is_some_and(|at| self.backlog.remove(at).is_some())
    }

    /// Takes a task away from its worker; kills the worker if it is running the task.
    pub(in crate::process) fn withdraw(&mut self, packed_place: u32) {
        let Some(place) = Place::unpack(packed_place) else { return };
        let Some(Seat::Taken(worker)) = self.seats.get_mut(place.seat) else { return };
        if worker.recall(place.slot).is_none() {
            self.kill_for_task(place.seat, place.slot, TaskError::Cancelled);
        }
    }

    /// Kills a worker for the task that it is running, and for no other: the rest is taken back before.
    pub(super) fn kill_for_task(&mut self, seat: usize, slot: usize, why: TaskError) {
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        if matches!(worker.life, Life::Killed { .. }) {
            return;
        }
        let others: Vec<usize> = worker.lane.slots().map(|(slot, _)| slot).filter(|other| *other != slot).collect();
        let recalled: Vec<_> = others.into_iter().rev().filter_map(|other| worker.recall(other)).collect();
        recalled.into_iter().for_each(|work| self.queue(work));
        let Seat::Taken(worker) = &mut self.seats[seat] else { return };
        // What runs now runs to its end or ours: there is nothing else in the lane.
        let running = worker.lane.slots().find(|(_, state)| matches!(state, SlotState::Taken | SlotState::Corrupt));
        if running.is_some_and(|(running, _)| running == slot) {
            event!(info, pid = worker.process.pid(), why = why.to_string(), "worker is killed for its task");
            // An initializer is no task: its worker has failed to start.
            if !worker.is_starting() {
                worker.life = Life::Killed { slot, why };
            }
            worker.is_out_of_reach = worker.process.kill().is_err();
        }
    }

    /// The workers that will not end though they should.
    pub(in crate::process) fn out_of_reach(&self) -> Vec<u64> {
        self.workers().filter(|worker| worker.is_out_of_reach).map(|worker| worker.id).collect()
    }

    /// Deals with a worker that has ended: takes what it published, and only then decides on the rest.
    pub(in crate::process) fn reap(&mut self, worker: u64, batch: &mut Batch) {
        let Some(seat) = self.seat_of(worker) else { return };
        self.collect(seat, batch, usize::MAX);
        let Seat::Taken(mut worker) = std::mem::replace(&mut self.seats[seat], Seat::Vacant(None)) else { return };
        // Its group first: what it started and left behind.
        let _ = worker.process.kill();
        let status = worker.process.try_wait().ok().flatten();
        let (signal, code) = status.map_or((None, None), |status| (status.signal(), status.code()));
        let pid = worker.process.pid();
        let crash = signal.and_then(|_| worker.process.crash_report());
        let ran_out = crash.as_ref().is_some_and(|crash| crash.cause() == CrashCause::AllocationFailed);
        let slots: Vec<_> = worker.lane.slots().collect();
        let mut victim = None;
        for (slot, state) in slots.into_iter().rev() {
            let Some(work) = worker.held[slot].take() else { continue };
            work.header().place.store(0, Relaxed);
            if state == SlotState::Ready {
                self.queue(work);
                continue;
            }
            victim = Some((work.header().id, work.header().name().map(String::from)));
            let why = match &worker.life {
                Life::Killed { slot: killed, why } if *killed == slot => why.clone(),
                // A worker aborts for many reasons; only one of them has to do with the limit.
                _ if work.header().memory_limit(&self.terms).is_some() && ran_out => TaskError::MemoryLimit,
                _ => TaskError::WorkerDied {
                    pid,
                    signal,
                    code,
                    crash: crash.clone(),
                    task: work.header().name().map(Into::into),
                },
            };
            worker.row.ended(slot, Some(work.header()), Some(&why));
            let progress = worker.lane.progress(slot, &mut batch.arena);
            let fds = worker.lane.progress_fds(slot);
            batch.ended.push((work, End { result: Err(Box::new(why)), progress, fds }));
        }
        if worker.is_starting() {
            // Without a status it may run on, out of reach: that is not waited for.
            let ended = if status.is_some() { worker.process.join() } else { Ok(()) };
            let why = match ended {
                Err(refused @ ProcessError::Setup { .. }) => PoolError::Start(Arc::new(refused)),
                _ => {
                    let how = signal.map_or("exited".into(), |signal| format!("was killed by signal {signal}"));
                    PoolError::RestartStorm(format!("worker {pid} {how} before its first task"))
                }
            };
            self.start_failed(seat, &why);
            // What the kernel refuses the first worker, it refuses them all.
            if matches!(why, PoolError::Start(_)) && !self.has_had_workers {
                self.broken = Some(why);
            }
        }
        let left = matches!(worker.life, Life::Leaving { .. }) && victim.is_none();
        if left {
            event!(debug, pid = pid, "worker left");
        } else {
            let (task, name) = victim.unzip();
            event!(warn, pid = pid, signal = signal, task = task, "worker died");
            self.n_deaths += 1;
            self.deaths.push_back(Death { pid, signal, code, task, name: name.flatten(), crash });
            self.deaths.drain(..self.deaths.len().saturating_sub(MAX_DEATHS));
        }
        if self.dismissed || seat >= self.n_wanted {
            self.seats[seat] = Seat::Closed;
        } else if matches!(worker.life, Life::Leaving { is_idle: true })
            && self.backlog.is_empty()
            && self.workers().all(|other| other.lane.len() <= 1)
        {
            self.seats[seat] = Seat::Resting;
        } else {
            self.restarts += 1;
        }
    }

    /// Puts the next start off, further each time; too many in a row break the pool.
    pub(in crate::process) fn start_failed(&mut self, seat: usize, why: &PoolError) {
        if self.dismissed || !self.is_vacant(seat) {
            return;
        }
        self.n_failed_starts += 1;
        if why.is_for_good() || self.n_failed_starts as usize > MAX_FAILED_STARTS + 2 * self.n_wanted {
            self.broken = Some(why.clone());
        }
        let delay = Duration::from_millis(1 << (self.n_failed_starts / 2).min(8));
        self.seats[seat] = Seat::Vacant(Some(Instant::now() + delay));
    }
}
