//! Settings of a pool.

use std::time::Duration;

use pool::{
    PoolError,
    engine::{Cut, Terms},
};

use super::{ClusterPool, defaults::Defaults};
use crate::{
    address::{Address, server_settings},
    coordinator::{self, CoordinatorConfig},
    link::Storage,
    local::Local,
    names::{DEFAULT_POOL, Names},
};

/// Says what a [`ClusterPool`] is to be like.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
///
/// let pool = cluster::ClusterPool::builder().retries(2).task_timeout(Duration::from_secs(60)).connect("nats://127.0.0.1:4222")?;
/// assert_eq!(pool.apply(|n: u64| n + 1, (1,))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `connect` or `local`"]
pub struct ClusterPoolBuilder {
    name: String,
    address: Address,
    patience: Duration,
    n_replicas: usize,
    host_timeout: Option<Duration>,
    agent_timeout: Duration,
    host_retries: u32,
    terms: Terms,
    cut: Cut,
}

/// Of a server and agents on one machine, none of which is reached by a network.
const LOCAL_HOST_TIMEOUT: Duration = Duration::from_secs(3);
const HOST_TIMEOUT: Duration = Duration::from_secs(10);
/// Agents tell the server that they live once a second.
const LEAST_HOST_TIMEOUT: Duration = Duration::from_secs(2);

impl ClusterPool {
    /// The pool of the server at `url`, such as `nats://10.0.0.1:4222`, or of several ones of a cluster, separated by commas. Blocks until the server answers, for at most 10
    /// seconds. Agents may come and go at any time.
    ///
    /// # Errors
    /// [`PoolError::Cluster`] if the server cannot be reached, or does not run with JetStream.
    pub fn connect(url: impl Into<String>) -> Result<Self, PoolError> {
        Self::builder().connect(url)
    }

    /// A server of its own on this machine, with `n_agents` agents of one worker each: for tests and first steps.
    ///
    /// The server is the program that the environment's `NATS_SERVER_BIN` names, or `nats-server` on the `PATH`. It listens
    /// on the loopback interface, for clients with a token that only this pool and its agents have, and keeps its files in a
    /// directory of its own below [`std::env::temp_dir`]. Blocks until all agents are there.
    ///
    /// # Errors
    /// [`PoolError::Cluster`] if there is no such program, or it does not start.
    ///
    /// # Crash safety
    /// Server, agents and directory go with this process, however it ends. A server or an agent that is killed is started
    /// again.
    pub fn local(n_agents: usize) -> Result<Self, PoolError> {
        Self::builder().local(n_agents)
    }

    /// Settings for a pool.
    pub fn builder() -> ClusterPoolBuilder {
        ClusterPoolBuilder::new()
    }
}

server_settings!(ClusterPoolBuilder);

impl ClusterPoolBuilder {
    fn new() -> Self {
        Self {
            name: DEFAULT_POOL.into(),
            address: Address::default(),
            n_replicas: 1,
            patience: Duration::from_secs(10),
            host_timeout: None,
            agent_timeout: Duration::from_secs(30),
            host_retries: 20,
            terms: Terms::default(),
            cut: Cut::default(),
        }
    }

    /// The pool's name: agents and coordinators of the same name share the work. By default `default`. Letters, digits, `_` and
    /// `-`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long an agent may say nothing before the server gives its tasks to others; by default 10 seconds, or 3 for a
    /// [`local`](Self::local) pool, and at least 2. It is a setting of the server's: of several pools of one name, that of the
    /// last holds.
    #[doc(alias = "ack_wait")]
    pub fn host_timeout(mut self, timeout: Duration) -> Self {
        self.host_timeout = Some(timeout.max(LEAST_HOST_TIMEOUT));
        self
    }

    /// On how many servers of a cluster each task is kept; by default 1, and at most 5. With 3, any one of them may be lost. It
    /// holds for a pool's name from its first use on.
    pub fn replicas(mut self, n_servers: usize) -> Self {
        self.n_replicas = n_servers.max(1);
        self
    }

    /// How long tasks wait while none of them gets on: there is no agent of this build, or no server, or the server stores
    /// no task, or no agent takes one; by default 30 seconds. Where there are agents, it is 5 seconds at least. Then they end in
    /// [`TaskError::Broken`](pool::TaskError::Broken), which says what was wanting, and how many agents of other builds there are.
    pub fn agent_timeout(mut self, timeout: Duration) -> Self {
        self.agent_timeout = timeout;
        self
    }

    /// How often a task is given to another host after the one that had it was lost; by default 20 times. Then it ends in
    /// [`TaskError::HostLost`](pool::TaskError::HostLost). A task that a lost host had in hand counts, begun or not; and so
    /// does one that was given back by an agent that was told to end.
    pub fn host_retries(mut self, n: u32) -> Self {
        self.host_retries = n;
        self
    }

    /// The longest that a task may run in its worker, as of a [`ProcessPool`](pool::ProcessPoolBuilder::task_timeout).
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How often a task is tried again after the worker process that ran it died, as of a
    /// [`ProcessPool`](pool::ProcessPoolBuilder::retries). That a task runs again after its host was lost does not count.
    pub fn retries(mut self, n: u32) -> Self {
        self.terms.retries = Some(n);
        self
    }

    /// How much private memory a task may take, as of a [`ProcessPool`](pool::ProcessPoolBuilder::memory_limit).
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }

    /// Items of `map` and its like that make one task. By default it adapts to their speed.
    #[doc(alias = "chunksize")]
    pub fn chunk_size(mut self, n_items: usize) -> Self {
        self.cut.chunk_size = Some(n_items.max(1));
        self
    }

    /// Most items that `imap` reads ahead of what it has yielded; by default four tasks a worker.
    #[doc(alias = "buffersize")]
    pub fn window(mut self, n_items: usize) -> Self {
        self.cut.window = Some(n_items.max(1));
        self
    }

    /// As [`ClusterPool::connect`].
    ///
    /// # Errors
    /// As there; if the name is none.
    pub fn connect(self, url: impl Into<String>) -> Result<ClusterPool, PoolError> {
        let address = Address { urls: url.into(), ..self.address.clone() };
        self.start(address, HOST_TIMEOUT, None)
    }

    /// As [`ClusterPool::local`].
    ///
    /// # Errors
    /// As there; if the name is none.
    pub fn local(self, n_agents: usize) -> Result<ClusterPool, PoolError> {
        if n_agents == 0 {
            return Err(PoolError::Setting("agents"));
        }
        let local = Local::start(&self.name, n_agents)?;
        let patience = self.patience;
        let pool = self.start(local.address().clone(), LOCAL_HOST_TIMEOUT, Some(local))?;
        if pool.wait_for_hosts(n_agents, patience) {
            Ok(pool)
        } else {
            Err(PoolError::Cluster(format!("not all agents have come within {patience:?}")))
        }
    }

    fn start(
        mut self,
        address: Address,
        host_timeout: Duration,
        local: Option<Local>,
    ) -> Result<ClusterPool, PoolError> {
        let config = CoordinatorConfig {
            address,
            names: Names::new(&self.name)?,
            patience: self.patience,
            storage: Storage { n_replicas: self.n_replicas, host_timeout: self.host_timeout.unwrap_or(host_timeout) },
            agent_timeout: self.agent_timeout,
        };
        let (shared, ended) = coordinator::start(config)?;
        self.cut.n_workers = shared.own.n_workers.clone();
        if self.terms.timeout.is_some() && self.cut.chunk_size.is_none() {
            self.cut.chunk_size = Some(1);
        }
        Ok(ClusterPool::new(
            shared,
            self.cut,
            Defaults { terms: self.terms, host_retries: self.host_retries },
            ended,
            local,
        ))
    }
}
