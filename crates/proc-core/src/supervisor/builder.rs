//! How a supervisor is started.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{channel, sync_channel},
    },
    time::Duration,
};

use kernel::{fds, helper};

use super::{
    Supervisor,
    error::SupervisorError,
    run::{Backoff, Run},
    shared::Shared,
    spec::{ChildSpec, Strategy},
};
use crate::lock::lock;

/// Events that are not received are kept up to this number; later ones are dropped. The channel has room for all from the first on,
/// and touches it: some 60 KB each supervisor.
const LONGEST_BACKLOG: usize = 1 << 10;

impl Supervisor {
    /// A supervisor that is told what to do before it starts.
    pub fn builder() -> SupervisorBuilder {
        let period = Duration::from_secs(5);
        let (strategy, backoff) = (Strategy::default(), Backoff::default());
        SupervisorBuilder { strategy, intensity: 1, period, backoff, children: Vec::new() }
    }
}

/// What a supervisor is to do.
///
/// # Examples
/// ```
/// use proc_core::supervisor::{ChildSpec, Strategy, Supervisor};
/// use std::time::Duration;
///
/// fn serve(port: u16) {
///     std::thread::sleep(Duration::from_secs(u64::from(port)));
/// }
///
/// let supervisor = Supervisor::builder()
///     .strategy(Strategy::OneForAll) // when one dies, all are started again
///     .intensity(3, Duration::from_secs(60)) // and at the fourth death in a minute, given up
///     .child(ChildSpec::new("server", serve, (8080,)))
///     .start()?;
/// drop(supervisor); // stops them
/// # Ok::<(), proc_core::supervisor::SupervisorError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct SupervisorBuilder {
    strategy: Strategy,
    intensity: usize,
    period: Duration,
    backoff: Backoff,
    children: Vec<ChildSpec>,
}

impl SupervisorBuilder {
    /// Which children are restarted when one has died.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// If there are more than `restarts` within `period`, the supervisor stops all children and gives up. One in five
    /// seconds unless told otherwise.
    pub fn intensity(mut self, restarts: usize, period: Duration) -> Self {
        (self.intensity, self.period) = (restarts, period);
        self
    }

    /// How long to wait before a child is restarted: `first` after its first death, and twice as long after each further one,
    /// up to `most`. A child that has run for as long as `most` begins anew. Not at all unless told otherwise.
    ///
    /// Meanwhile the others run on; [`restart_child`](Supervisor::restart_child) starts it at once. Only restarts count for
    /// [`intensity`](Self::intensity), so its period has to be long enough for some.
    pub fn backoff(mut self, first: Duration, most: Duration) -> Self {
        self.backoff = Backoff { first, most: most.max(first) };
        self
    }

    /// Adds a child; they are started in this order.
    pub fn child(mut self, spec: ChildSpec) -> Self {
        self.children.push(spec);
        self
    }

    /// Starts all children, and then watches over them on a helper thread.
    ///
    /// # Errors
    /// If a child cannot be started, or the thread; the children before it are stopped then. If two have the same id.
    pub fn start(self) -> Result<Supervisor, SupervisorError> {
        let (woken, wake) = fds::pipe().map_err(SupervisorError::System)?;
        let (report, events) = sync_channel(LONGEST_BACKLOG);
        let (send, commands) = channel();
        let shared = Shared::new(wake, send);
        let mut run = Run::new(self.strategy, (self.intensity, self.period), self.backoff, report, Arc::clone(&shared));
        for spec in self.children {
            if let Err(e) = run.start_child(spec) {
                run.stop_all();
                return Err(e);
            }
        }
        shared.stop_at_exit();
        let run = Arc::new(Mutex::new(Some(run)));
        let started = helper::spawn("proc-core-superv", {
            let run = Arc::clone(&run);
            move || {
                let run = lock(&run).take();
                run.expect("taken by nobody else once the thread runs").run(woken, &commands);
            }
        });
        if let Err(e) = started {
            lock(&run).take().into_iter().for_each(|mut run| run.stop_all());
            return Err(SupervisorError::System(e));
        }
        Ok(Supervisor { shared, events })
    }
}
