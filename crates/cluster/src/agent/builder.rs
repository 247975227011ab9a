//! Agents, from the side of the program that starts one.

use std::{
    collections::BTreeMap,
    io::PipeReader,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use kernel::{fds, helper};
use parking_lot::Mutex;
use pool::{PoolError, ProcessPool, ProcessPoolBuilder};
use proc_core::{
    Target, cpu_count,
    function::{ForeignCode, Function},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    run::{AgentConfig, Stop},
    start, worker,
};
use crate::{
    address::{Address, server_settings},
    names::{DEFAULT_POOL, Names, QueueName},
};

/// Runs a cluster's tasks on this host, in a [`ProcessPool`] of its own.
///
/// It serves those coordinators that run the same build of the same program. So an agent is this very program, started on each
/// host. What it has [registered](AgentBuilder::register) by name, it does for any others, too.
///
/// Dropping it stops it at once: tasks in hand are given back, and run elsewhere.
///
/// # Crash safety
/// A worker that dies costs the task that it was running, as in any [`ProcessPool`], or a retry. If the agent itself is
/// killed, its workers die with it, and the server gives its tasks to other agents once it has said nothing for the
/// coordinator's [`host_timeout`](crate::ClusterPoolBuilder::host_timeout): they run **at least once**, and each has one
/// result. If the server is gone, the agent goes on, and delivers what it has done when the server is back.
///
/// # Examples
/// ```no_run
/// let agent = cluster::Agent::builder("nats://10.0.0.1:4222").slots(8).start()?;
/// agent.wait()?;
/// # Ok::<(), pool::PoolError>(())
/// ```
#[derive(Debug)]
#[must_use = "an agent stops when it is dropped"]
pub struct Agent {
    stop: UnboundedSender<Stop>,
    ended: Mutex<Option<Receiver<Result<(), PoolError>>>>,
    /// Has no writer any more once it has ended.
    pub(super) end: PipeReader,
}

/// Says what an agent is to be like.
///
/// # Examples
/// ```no_run
/// // Until SIGTERM or SIGINT.
/// cluster::Agent::builder("nats://127.0.0.1:4222").pool("films").slots(8).serve()?;
/// # Ok::<(), pool::PoolError>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct AgentBuilder {
    address: Address,
    pool: String,
    n_slots: usize,
    local: ProcessPoolBuilder,
    patience: Duration,
    trusts_places: bool,
    functions: BTreeMap<String, Result<Function, ForeignCode>>,
}

impl Agent {
    /// Settings for an agent of the server at `url`, or of several ones of a cluster, separated by commas.
    pub fn builder(url: impl Into<String>) -> AgentBuilder {
        AgentBuilder {
            address: Address::new(url),
            pool: DEFAULT_POOL.into(),
            n_slots: cpu_count(),
            local: ProcessPool::builder(),
            patience: Duration::from_secs(10),
            trusts_places: false,
            functions: BTreeMap::new(),
        }
    }

    /// Tells it to take no further tasks, give back those that no worker has begun, and end when the others have. Returns at
    /// once.
    #[doc(alias = "drain")]
    pub fn stop(&self) {
        // If this fails, it has ended.
        let _ = self.stop.send(Stop::Drain);
    }

    /// Blocks until it has ended, after [`stop`](Self::stop) or because it cannot go on.
    ///
    /// # Errors
    /// Why it could not go on: what broke its local pool.
    pub fn wait(&self) -> Result<(), PoolError> {
        let mut ended = self.ended.lock();
        match ended.take().map(|ended| ended.recv()) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(PoolError::Cluster("the agent's thread panicked".into())),
            None => Ok(()),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.stop.send(Stop::Now);
        // The program did not ask for the outcome.
        let _ = self.wait();
    }
}

server_settings!(AgentBuilder);

impl AgentBuilder {
    /// The name of the pool whose tasks it runs; by default that of [`ClusterPool`](crate::ClusterPool).
    pub fn pool(mut self, name: impl Into<String>) -> Self {
        self.pool = name.into();
        self
    }

    /// How many tasks it runs at a time; by default as many as there are CPUs.
    pub fn slots(mut self, n: usize) -> Self {
        self.n_slots = n;
        self
    }

    /// Lets pools of any build call `f` by this name: see [`ClusterPool::function`](crate::ClusterPool::function). A name that
    /// was registered before is this function's now. All agents that know a name share its tasks.
    ///
    /// # Examples
    /// ```no_run
    /// fn count_words(text: String) -> usize {
    ///     text.split_whitespace().count()
    /// }
    ///
    /// let agent = cluster::Agent::builder("nats://10.0.0.1:4222").register("count_words", count_words);
    /// agent.serve()?;
    /// # Ok::<(), pool::PoolError>(())
    /// ```
    pub fn register<F, A>(mut self, name: impl Into<String>, f: F) -> Self
    where
        F: Target<A> + Send,
        A: DeserializeOwned + 'static,
        F::Output: Serialize + 'static,
    {
        self.functions.insert(name.into(), worker::registered(f));
        self
    }

    /// What its local pool is to be like: initializer, preload, limits, what a worker may do. Its number of workers is that
    /// of the [`slots`](Self::slots), and tasks' own terms come before its own.
    pub fn local(mut self, pool: ProcessPoolBuilder) -> Self {
        self.local = pool;
        self
    }

    /// Whether it calls functions that it cannot look up in the program's symbols, because those were stripped; by default
    /// not.
    ///
    /// A task names its function by a place in the program. A client that may give tasks to the server can name another place,
    /// where no function begins, and make the worker do what no Rust program does. With symbols, a place that is no function's
    /// is refused. Without, this is for servers whose users could as well log in on the agent's host.
    pub fn trust_places(mut self, trusts: bool) -> Self {
        self.trusts_places = trusts;
        self
    }

    /// Starts its workers, connects, and begins.
    ///
    /// # Errors
    /// [`PoolError::Cluster`] if the server cannot be reached, or a function cannot be registered: its name is not of up to 64
    /// letters, digits, `_` and `-`, or it is not part of this program's own code; what [`ProcessPoolBuilder::build`] reports.
    pub fn start(self) -> Result<Agent, PoolError> {
        let names = Names::new(&self.pool)?;
        let register = |(name, function): (String, Result<Function, ForeignCode>)| {
            let function = function.map_err(|why| PoolError::Cluster(format!("{name}: {why}")))?;
            Ok((QueueName::of_function(&name)?, function))
        };
        let functions = self.functions.into_iter().map(register).collect::<Result<Vec<_>, PoolError>>()?;
        let local = self.local.workers(self.n_slots).build()?;
        let (stop, stops) = unbounded_channel();
        let (begun, has_begun) = channel();
        let (tell, ended) = channel();
        let (end, lives) = fds::pipe()?;
        let config = AgentConfig {
            address: self.address,
            names,
            n_slots: self.n_slots,
            patience: self.patience,
            local,
            trusts_places: self.trusts_places,
            functions,
        };
        helper::spawn("cluster-agent", move || {
            // Fails if the handle is gone.
            let _ = tell.send(start::run(config, stops, &begun));
            drop(lives);
        })?;
        // Without a word it has ended already, and told why.
        match has_begun.recv() {
            Ok(()) => Ok(Agent { stop, ended: Mutex::new(Some(ended)), end }),
            Err(_) => Err(match ended.recv() {
                Ok(Err(why)) => why,
                _ => PoolError::Cluster("the agent's thread panicked".into()),
            }),
        }
    }
}
