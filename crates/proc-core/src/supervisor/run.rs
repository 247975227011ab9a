//! What a supervisor does all day.

use std::{
    collections::VecDeque,
    io::{PipeReader, Read},
    ops::Deref,
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    error::SupervisorError,
    shared::{Command, Shared, StopReason},
    spec::{ChildInfo, ChildSpec, Event, Restart, Shutdown, Strategy},
};
use crate::{ProcessHandle, lock::lock};

pub(super) struct Run {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    backoff: Backoff,
    /// In the order of their start.
    children: Vec<Supervised>,
    /// When there were restarts, within the last period.
    restarts: VecDeque<Instant>,
    report: SyncSender<Event>,
    shared: Arc<Shared>,
}

struct Supervised {
    spec: ChildSpec,
    process: Option<Box<dyn Deref<Target = ProcessHandle> + Send>>,
    starts: u64,
    /// When it was started last.
    started: Instant,
    /// How often it has died since it ran for long.
    n_deaths: u32,
    /// When to start it again, if that is to be.
    due: Option<Instant>,
}

/// How long to wait before a restart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

impl Backoff {
    /// After so many deaths in a row.
    fn after(self, n_deaths: u32) -> Duration {
        let doubled = 1_u32.checked_shl(n_deaths.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }
}

impl Run {
    pub(super) fn new(
        strategy: Strategy,
        (intensity, period): (usize, Duration),
        backoff: Backoff,
        report: SyncSender<Event>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { strategy, intensity, period, backoff, children: Vec::new(), restarts: VecDeque::new(), report, shared }
    }

    pub(super) fn run(mut self, mut woken: PipeReader, commands: &Receiver<Command>) {
        let end = loop {
            if self.children.iter().all(Supervised::is_over) {
                break StopReason::Stopped;
            }
            let mut fds = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            let running = self.children.iter().filter_map(|child| child.process.as_ref());
            fds.extend(running.map(|process| PollFd::new(process.as_fd(), PollFlags::POLLIN)));
            let ready = poll(&mut fds, self.until_due());
            let rung = ready.is_ok() && fds[0].any() == Some(true);
            drop(fds);
            if rung {
                let _ = woken.read(&mut [0; 64]);
            }
            if commands.try_iter().any(|command| self.obey(command)) {
                break StopReason::Stopped;
            }
            if let Err(id) = self.look_after_the_dead().and_then(|()| self.restart_the_due()) {
                break StopReason::TooManyRestarts { id };
            }
        };
        self.stop_all();
        *lock(&self.shared.end) = Some(end);
        self.shared.ended.notify_all();
    }

    /// Whether it was the command to stop.
    fn obey(&mut self, command: Command) -> bool {
        // The caller may be gone by now.
        match command {
            Command::Which(reply) => drop(reply.send(self.children.iter().map(Supervised::info).collect())),
            Command::Start(spec, reply) => drop(reply.send(self.start_child(spec))),
            Command::Terminate(id, reply) => drop(reply.send(self.find(id).map(|i| self.stop(i)))),
            Command::Restart(id, reply) => {
                let found = self.find(id);
                drop(
                    reply.send(
                        found.and_then(|i| if self.children[i].process.is_none() { self.start(i) } else { Ok(()) }),
                    ),
                );
            }
            Command::Delete(id, reply) => {
                let found = self.find(id);
                drop(reply.send(found.map(|i| {
                    self.stop(i);
                    drop(self.children.remove(i));
                })));
            }
            Command::Replace(spec, reply) => drop(reply.send(self.replace(spec))),
            Command::Stop => return true,
        }
        false
    }

    pub(super) fn start_child(&mut self, spec: ChildSpec) -> Result<(), SupervisorError> {
        if self.children.iter().any(|child| child.spec.id == spec.id) {
            return Err(SupervisorError::AlreadyPresent { id: spec.id });
        }
        let (process, starts, started, n_deaths, due) = (None, 0, Instant::now(), 0, None);
        self.children.push(Supervised { spec, process, starts, started, n_deaths, due });
        let started = self.start(self.children.len() - 1);
        if started.is_err() {
            self.children.pop();
        }
        started
    }

    fn replace(&mut self, spec: ChildSpec) -> Result<(), SupervisorError> {
        let i = self.find(spec.id.clone())?;
        self.stop(i);
        let old = std::mem::replace(&mut self.children[i].spec, spec);
        self.children[i].n_deaths = 0;
        let started = self.start(i);
        if started.is_err() {
            self.children[i].spec = old;
        }
        started
    }

    /// Stops all, the last one first.
    pub(super) fn stop_all(&mut self) {
        (0..self.children.len()).rev().for_each(|i| self.stop(i));
    }

    /// `Err` names the child that died once too often.
    fn look_after_the_dead(&mut self) -> Result<(), String> {
        while let Some(i) = self.children.iter().position(Supervised::is_dead) {
            let child = &mut self.children[i];
            let Some(process) = child.process.take() else { continue };
            let status = process.wait().ok();
            self.tell(Event::Exited { id: self.children[i].spec.id.clone(), pid: process.pid(), status });
            let again = match self.children[i].spec.restart {
                Restart::Permanent => true,
                Restart::Transient => status.is_none_or(|status| !status.success()),
                Restart::Temporary => false,
            };
            if again {
                self.restart_in_time(i)?;
            }
        }
        Ok(())
    }

    /// Restarts a child that has died, or notes when to.
    fn restart_in_time(&mut self, dead: usize) -> Result<(), String> {
        let child = &mut self.children[dead];
        if child.started.elapsed() >= self.backoff.most {
            child.n_deaths = 0;
        }
        child.n_deaths += 1;
        let wait = self.backoff.after(child.n_deaths);
        if wait.is_zero() {
            return self.restart(dead);
        }
        child.due = Instant::now().checked_add(wait);
        Ok(())
    }

    fn restart_the_due(&mut self) -> Result<(), String> {
        let is_due = |child: &Supervised| child.due.is_some_and(|due| due <= Instant::now());
        while let Some(i) = self.children.iter().position(is_due) {
            self.children[i].due = None;
            self.restart(i)?;
        }
        Ok(())
    }

    /// How long to sleep if nothing else happens.
    fn until_due(&self) -> PollTimeout {
        let Some(due) = self.children.iter().filter_map(|child| child.due).min() else { return PollTimeout::NONE };
        // Not too early: up to the next millisecond.
        let left = due.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn restart(&mut self, dead: usize) -> Result<(), String> {
        loop {
            self.count_restart(dead)?;
            let concerned = match self.strategy {
                Strategy::OneForOne => dead..dead + 1,
                Strategy::OneForAll => 0..self.children.len(),
                Strategy::RestForOne => dead..self.children.len(),
            };
            concerned.clone().rev().for_each(|i| self.stop(i));
            let failed = concerned
                .filter(|i| self.children[*i].spec.restart != Restart::Temporary)
                .collect::<Vec<_>>()
                .into_iter()
                .find_map(|i| self.start(i).err().map(|e| (i, e)));
            // A child that cannot be started is one that has died again.
            let Some((i, error)) = failed else { return Ok(()) };
            self.tell(Event::NotStarted { id: self.children[i].spec.id.clone(), reason: error.to_string() });
            if !self.backoff.first.is_zero() {
                return self.restart_in_time(i);
            }
        }
    }

    fn count_restart(&mut self, dead: usize) -> Result<(), String> {
        let now = Instant::now();
        self.restarts.push_back(now);
        self.restarts.retain(|then| now.duration_since(*then) <= self.period);
        if self.restarts.len() > self.intensity { Err(self.children[dead].spec.id.clone()) } else { Ok(()) }
    }

    fn start(&mut self, i: usize) -> Result<(), SupervisorError> {
        let child = &mut self.children[i];
        let id = child.spec.id.clone();
        let process = (child.spec.start)()
            .map_err(|source| SupervisorError::NotStarted { id: id.clone(), source: Box::new(source) })?;
        let pid = process.pid();
        child.process = Some(process);
        child.starts += 1;
        (child.started, child.due) = (Instant::now(), None);
        self.tell(Event::Started { id, pid });
        Ok(())
    }

    fn stop(&mut self, i: usize) {
        let child = &mut self.children[i];
        child.due = None;
        let Some(process) = child.process.take() else { return };
        // One that has ended is reaped, and nothing else can go wrong here.
        let _ = match child.spec.shutdown {
            Shutdown::BrutalKill => process.kill().and_then(|()| process.wait()),
            Shutdown::Timeout(grace) => process.stop(grace),
            Shutdown::Infinity => process.terminate().and_then(|()| process.wait()),
        };
        let id = child.spec.id.clone();
        self.tell(Event::Stopped { id, pid: process.pid() });
    }

    fn find(&self, id: String) -> Result<usize, SupervisorError> {
        self.children.iter().position(|child| child.spec.id == id).ok_or(SupervisorError::NotFound { id })
    }

    fn tell(&self, event: Event) {
        // The program may not be listening, or not fast enough.
        let _ = self.report.try_send(event);
    }
}

impl Supervised {
    /// Whether it does not run, and will not.
    fn is_over(&self) -> bool {
        self.process.is_none() && self.due.is_none() && self.spec.restart != Restart::Permanent
    }

    fn is_dead(&self) -> bool {
        self.process.as_ref().is_some_and(|process| !process.is_alive())
    }

    fn info(&self) -> ChildInfo {
        ChildInfo {
            id: self.spec.id.clone(),
            pid: self.process.as_ref().map(|process| process.pid()),
            restarts: self.starts.saturating_sub(1),
        }
    }
}
