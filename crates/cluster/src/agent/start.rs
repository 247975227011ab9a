//! How an agent's thread begins.

use std::{sync::mpsc::Sender, time::Instant};

use pool::PoolError;
use proc_core::function::Function;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    doubts::Doubts,
    held::Hand,
    puller::Puller,
    run::{AgentConfig, AgentInputs, AgentLoop, Running, Source, Stop, TaskFetches},
};
use crate::link;

/// Runs until it is stopped. `begun` is told when it can take tasks.
pub(super) fn run(config: AgentConfig, stops: UnboundedReceiver<Stop>, begun: &Sender<()>) -> Result<(), PoolError> {
    // Not while tasks wait for it, whose server would take this host for lost.
    Function::read_list();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = link::connect(&config.address, "agent", config.patience).await?;
        let inbox = client.new_inbox();
        let subscribe = async |subject: String| {
            client.subscribe(subject).await.map_err(|e| PoolError::Cluster(format!("no subscription: {e}")))
        };
        let inputs = AgentInputs {
            tasks: subscribe(format!("{inbox}.t.*")).await?,
            confirmations: subscribe(format!("{inbox}.c.*")).await?,
            control: subscribe(config.names.control()).await?,
            wholes: subscribe(format!("{inbox}.w.*")).await?,
            stops,
        };
        let n_ahead = 2 * config.n_slots;
        let source = |name| Source { name, puller: Puller::new(Instant::now()) };
        let names = [config.names.own_queue()].into_iter().chain(config.functions.iter().map(|(name, _)| name.clone()));
        let sources = names.map(source).collect();
        let agent = AgentLoop {
            config,
            host: host_name(),
            client,
            inbox,
            hand: Hand::default(),
            doubts: Doubts::default(),
            verdicts: Vec::new(),
            running: Running::new(),
            fetches: TaskFetches::new(),
            sources,
            n_ahead,
            stop: None,
            failed: None,
            told: None,
            apart: None,
        };
        // The caller may have gone; then it stops this agent.
        let _ = begun.send(());
        agent.run(inputs).await
    })
}

fn host_name() -> String {
    // Without a name it is told from others by its pid.
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}
