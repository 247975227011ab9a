//! A server and agents on this machine, for one pool alone.
//!
//! The server is a child of a *guard*, a process that the pool's supervisor starts beside the agents. The agents die with
//! their owner by the kernel's hand; the guard survives it for a moment: it sees that its pipe has lost its writer, kills the
//! server and removes its files. So nothing is left behind, whichever process is killed: the server dies with its guard, the
//! supervisor starts the guard again as long as there is an owner, and the next guard removes what is left of both.

mod directory;
mod guard;
mod program;

use std::{
    io::{PipeReader, PipeWriter, Read as _},
    sync::Arc,
    time::Duration,
};

use kernel::fds;
use parking_lot::Mutex;
use pool::PoolError;
use proc_core::{
    Fd, Process, ProcessError,
    supervisor::{ChildSpec, Supervisor, SupervisorError},
};

use self::guard::Server;
use crate::{Agent, address::Address};

#[derive(Debug)]
pub(crate) struct Local {
    address: Address,
    server: Server,
    /// Stops them all when it is dropped, the server last. Alone it could not be shared between threads.
    _supervisor: Mutex<Supervisor>,
    /// Its end is what a guard takes for the end of this process.
    _life: PipeWriter,
}

/// More deaths in this time are no accidents.
const RESTARTS: (usize, Duration) = (200, Duration::from_secs(10));
/// How long an agent looks for its server.
const PATIENCE: Duration = Duration::from_secs(60);

impl Local {
    pub(crate) fn start(pool: &str, n_agents: usize) -> Result<Self, PoolError> {
        let none = |why: &dyn std::fmt::Display| PoolError::Cluster(format!("no server can be started: {why}"));
        directory::remove_abandoned();
        let program = program::find()?;
        let (owner, life) = fds::pipe().map_err(|e| none(&e))?;
        let (port, report) = fds::pipe().map_err(|e| none(&e))?;
        let server = Server::new(program).map_err(|e| none(&e))?;

        let guarded = Arc::new(Mutex::new(server));
        let report = Mutex::new(Some(report));
        let spec = {
            let guarded = guarded.clone();
            ChildSpec::from_fn("cluster-guard", move || {
                let server = guarded.lock().clone();
                start_guard(server, &owner, report.lock().take())
            })
        };
        let supervisor = Supervisor::builder().intensity(RESTARTS.0, RESTARTS.1).child(spec);
        let supervisor = supervisor.start().map_err(|e| none(&e))?;
        let port = read_port(port)?;
        guarded.lock().port = port;

        let address =
            Address { token: Some(guarded.lock().token.clone()), ..Address::new(format!("nats://127.0.0.1:{port}")) };
        let start_agent = |i: usize| -> Result<(), SupervisorError> {
            supervisor.start_child(ChildSpec::new(
                format!("cluster-agent-{i}"),
                run_agent,
                (address.clone(), pool.to_owned()),
            ))
        };
        (0..n_agents).try_for_each(start_agent).map_err(|e| none(&e))?;
        let server = guarded.lock().clone();
        Ok(Self { address, server, _supervisor: Mutex::new(supervisor), _life: life })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn server_pid(&self) -> Option<u32> {
        self.server.pid()
    }
}

/// What an agent's process does, until it is killed.
fn run_agent(address: Address, pool: String) -> Result<(), String> {
    let Address { urls: url, token, .. } = address;
    let mut agent = Agent::builder(url).pool(pool).slots(1).connect_timeout(PATIENCE);
    if let Some(token) = token {
        agent = agent.token(token);
    }
    agent.start().and_then(|agent| agent.wait()).map_err(|e| e.to_string())
}

fn start_guard(
    server: Server,
    owner: &PipeReader,
    report: Option<PipeWriter>,
) -> Result<Process<Result<(), String>>, ProcessError> {
    let owner =
        owner.try_clone().map_err(|source| ProcessError::Start { operation: "copy a descriptor".into(), source })?;
    let builder = Process::builder().name("cluster-guard").daemon(true).death_link(false);
    builder.spawn(guard::run, (server, Fd::from(owner), report.map(Fd::from)))
}

/// What the first guard reports.
fn read_port(mut report: PipeReader) -> Result<u16, PoolError> {
    let mut text = String::new();
    // What could be read says enough.
    let _ = report.read_to_string(&mut text);
    text.parse().map_err(|_| {
        let why = if text.is_empty() { "its guard died" } else { text.as_str() };
        PoolError::Cluster(format!("no server can be started: {why}"))
    })
}
