//! What a pool's handle and its thread share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use pool::{
    PoolError, TaskError,
    engine::{Callbacks, HasInputs, Inputs, Open},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    kept::Begun,
    ledger::{Finish, Ledger},
    members::Host,
    queue::{MAX_TASKS_OF_JOB, Queue},
};
use crate::{
    message::{Ends, Verdict},
    names::{JobName, Names, QueueName},
};

pub(crate) struct Shared {
    pub(crate) names: Names,
    /// Tells this pool from all others that share the server.
    pub(crate) coordinator: String,
    pub(crate) state: Mutex<State>,
    /// Rung whenever something has left the ledger or the inputs.
    pub(crate) changed: Condvar,
    pub(crate) inputs: Inputs,
    pub(crate) callbacks: Callbacks,
    pub(crate) n_done: AtomicU64,
    pub(crate) n_failed: AtomicU64,
    /// That of this build.
    pub(crate) own: Arc<Queue>,
    wake: UnboundedSender<Wake>,
}

/// What the thread is to do.
#[derive(Debug)]
pub(crate) enum Wake {
    /// There are tasks to be sent.
    Tasks,
    /// There are tasks of a queue that there have been none of.
    Opened(QueueName),
    /// A program begins with a job, and is to be told what there is of it.
    Begun(Arc<Queue>, mpsc::Sender<Result<Begun, PoolError>>),
    /// A job and its results are wanted no more.
    Forgotten(JobName, mpsc::Sender<Result<(), PoolError>>),
    /// The result that is kept of a job's task is none of its own.
    Stale(Arc<Queue>, u64),
    /// A task was taken back.
    Cancelled(u64),
    /// All were; and then it ends.
    Terminated,
    /// It ends.
    Stop,
}

/// What a task is in its job.
pub(crate) struct InJob {
    pub(crate) fingerprint: u64,
    /// The server has had it from an earlier program.
    pub(crate) is_stored: bool,
    /// What the server keeps is another one's result.
    pub(crate) is_stale: bool,
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) ledger: Ledger,
    pub(crate) hosts: Vec<Host>,
    /// All that tasks were ever given to, that of this build first.
    pub(crate) queues: Vec<Arc<Queue>>,
    /// Whether the thread has been told to look at the ledger.
    is_woken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    Closed,
    Terminated,
}

impl Shared {
    pub(crate) fn new(names: Names, coordinator: String, wake: UnboundedSender<Wake>) -> Arc<Self> {
        let own = Arc::new(Queue::new(names.own_queue(), &names, &coordinator));
        Arc::new(Self {
            names,
            coordinator,
            state: Mutex::new(State {
                phase: Phase::Open,
                ledger: Ledger::default(),
                hosts: Vec::new(),
                queues: vec![own.clone()],
                is_woken: false,
            }),
            changed: Condvar::new(),
            inputs: Inputs::default(),
            callbacks: Callbacks::default(),
            n_done: AtomicU64::new(0),
            n_failed: AtomicU64::new(0),
            own,
            wake,
        })
    }

    pub(crate) fn wake(&self, what: Wake) {
        // Fails once the thread has ended, and there is nothing to do then.
        let _ = self.wake.send(what);
    }

    /// The queue of this name, which is opened if there was none.
    pub(crate) fn queue(&self, name: QueueName) -> Arc<Queue> {
        let mut state = self.state.lock();
        if let Some(queue) = state.queues.iter().find(|queue| queue.name == name) {
            return queue.clone();
        }
        let queue = Arc::new(Queue::new(name.clone(), &self.names, &self.coordinator));
        state.queues.push(queue.clone());
        drop(state);
        self.wake(Wake::Opened(name));
        queue
    }

    /// What the server has of a job, and the queue for the rest of its tasks. Blocks until it has said so.
    pub(crate) fn begin(&self, job: JobName) -> Result<(Arc<Queue>, Begun), PoolError> {
        // Other tasks have lower numbers.
        static NEXT: AtomicU64 = AtomicU64::new(MAX_TASKS_OF_JOB);
        let queue = Arc::new(Queue::of_job(job, NEXT.fetch_add(MAX_TASKS_OF_JOB, Relaxed), &self.own, &self.names));
        let (tell, told) = mpsc::channel();
        self.wake(Wake::Begun(queue.clone(), tell));
        let begun = told.recv().map_err(|_| PoolError::Closed)??;
        Ok((queue, begun))
    }

    /// Makes the server forget a job. Blocks until it has.
    pub(crate) fn forget(&self, job: JobName) -> Result<(), PoolError> {
        let (tell, told) = mpsc::channel();
        self.wake(Wake::Forgotten(job, tell));
        told.recv().map_err(|_| PoolError::Closed)?
    }

    /// Enters a task. One of a map that was begun while the pool was open is taken by a closed one.
    pub(crate) fn submit(
        &self,
        queue: &Arc<Queue>,
        task: u64,
        parcel: Bytes,
        kept: Option<InJob>,
        is_of_input: bool,
        finish: Finish,
    ) {
        let mut state = self.state.lock();
        let is_taken = match state.phase {
            Phase::Open => true,
            Phase::Closed => is_of_input,
            Phase::Terminated => false,
        };
        if !is_taken {
            let why =
                if state.phase == Phase::Terminated && is_of_input { TaskError::Cancelled } else { TaskError::Closed };
            drop(state);
            return finish(Err(why));
        }
        state.ledger.enter(queue, task, parcel, finish);
        if let Some(InJob { fingerprint, is_stored, is_stale }) = kept {
            state.ledger.keep(task, fingerprint, is_stored || is_stale);
            if is_stale {
                self.wake(Wake::Stale(queue.clone(), task));
            }
        }
        let is_asleep = !std::mem::replace(&mut state.is_woken, true);
        drop(state);
        if is_asleep {
            self.wake(Wake::Tasks);
        }
    }

    /// To be called by the thread before it looks at the ledger.
    pub(crate) fn is_looking(&self) {
        self.state.lock().is_woken = false;
    }

    /// Takes a task out of the ledger, if it is there, and ends it.
    pub(crate) fn end(&self, task: u64, how: impl FnOnce() -> Result<Verdict, TaskError>) -> bool {
        let finish = self.state.lock().ledger.leave(task);
        let was_there = finish.is_some();
        if let Some(finish) = finish {
            finish(how());
            self.changed.notify_all();
        }
        was_there
    }

    /// Records verdicts: of each task the first. One that an agent has given back is given again.
    pub(crate) fn judge(&self, verdicts: Vec<Verdict>) {
        let mut state = self.state.lock();
        let ledger = &mut state.ledger;
        let mut ended = Vec::with_capacity(verdicts.len());
        for verdict in verdicts {
            if let Ends::GivenBack { n_lost } = verdict.ends {
                ledger.give_alone(verdict.task, n_lost);
                continue;
            }
            if verdict.has_values() {
                ledger.learn(verdict.task, verdict.busy);
            }
            if let Some(finish) = ledger.leave(verdict.task) {
                ended.push((finish, verdict));
            }
        }
        drop(state);
        if !ended.is_empty() {
            ended.into_iter().for_each(|(finish, verdict)| finish(Ok(verdict)));
            self.changed.notify_all();
        }
    }

    /// Ends all tasks, or all of one queue.
    pub(crate) fn end_all(&self, queue: Option<&Arc<Queue>>, why: &TaskError) {
        let mut state = self.state.lock();
        let all = match queue {
            Some(queue) => state.ledger.leave_queue(queue),
            None => state.ledger.leave_all(),
        };
        drop(state);
        all.into_iter().for_each(|finish| finish(Err(why.clone())));
        self.changed.notify_all();
    }

    pub(crate) fn cancel(&self, task: u64) -> bool {
        let was_there = self.end(task, || Err(TaskError::Cancelled));
        if was_there {
            self.wake(Wake::Cancelled(task));
        }
        was_there
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closed;
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn terminate(&self) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.phase, Phase::Terminated);
        drop(state);
        if before != Phase::Terminated {
            self.end_all(None, &TaskError::Cancelled);
            self.wake(Wake::Terminated);
        }
    }

    pub(crate) fn open_input(self: &Arc<Self>) -> Option<Open<Self>> {
        let state = self.state.lock();
        (state.phase == Phase::Open).then(|| Open::new(self))
    }

    /// Waits until nothing is left to do, but for inputs that only this thread could read.
    ///
    /// # Errors
    /// If the pool is open.
    pub(crate) fn wait_done(&self) -> Result<(), PoolError> {
        let mut state = self.state.lock();
        loop {
            match state.phase {
                Phase::Open => return Err(PoolError::StillOpen),
                Phase::Terminated => return Ok(()),
                Phase::Closed if state.ledger.is_empty() && self.inputs.all_wait_for_this_thread() => return Ok(()),
                Phase::Closed => self.changed.wait(&mut state),
            }
        }
    }

    /// Waits until there is a host, for at most `timeout`.
    pub(crate) fn wait_for_hosts(&self, n_hosts: usize, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        while state.hosts.len() < n_hosts {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.hosts.len() >= n_hosts;
            }
        }
        true
    }

    pub(crate) fn count(&self, n_done: usize, n_failed: usize) {
        self.n_done.fetch_add(n_done as u64, Relaxed);
        self.n_failed.fetch_add(n_failed as u64, Relaxed);
    }
}

impl HasInputs for Shared {
    fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    fn left(&self) {
        // Under the lock, so that no thread that has just looked at the inputs goes to sleep after this.
        drop(self.state.lock());
        self.changed.notify_all();
    }
}
