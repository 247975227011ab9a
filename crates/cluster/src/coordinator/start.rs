//! How a coordinator's thread begins.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    time::Instant,
};

use kernel::helper;
use pool::PoolError;
use tokio::sync::mpsc::unbounded_channel;

use super::{
    jobs::Jobs,
    members::Members,
    recalls,
    run::{CoordinatorConfig, CoordinatorInputs, CoordinatorLoop, VerdictFetches},
    shared::Shared,
};
use crate::link;

/// Connects, and starts the thread. The second value is notified at the thread's end.
pub(crate) fn start(config: CoordinatorConfig) -> Result<(Arc<Shared>, mpsc::Receiver<()>), PoolError> {
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(begin_and_run(config, &begun)),
            Err(e) => Err(e.into()),
        };
        if let Err(e) = outcome {
            // The caller that waits for it may have gone.
            let _ = begun.send(Err(e));
        }
        drop(ended);
    };
    helper::spawn("cluster", run)?;
    let shared = has_begun.recv().map_err(|_| PoolError::Cluster("the pool's thread panicked".into()))??;
    Ok((shared, has_ended))
}

async fn begin_and_run(
    config: CoordinatorConfig,
    begun: &Sender<Result<Arc<Shared>, PoolError>>,
) -> Result<(), PoolError> {
    let client = link::connect(&config.address, "coordinator", config.patience).await?;
    link::set_up_patiently(&client, &config.names, &[config.names.own_queue()], &config.storage, config.patience)
        .await?;
    let inbox = client.new_inbox();
    let coordinator = inbox.rsplit('.').next().unwrap_or_default().to_owned();
    let subscribe = async |subject: String| {
        client.subscribe(subject).await.map_err(|e| PoolError::Cluster(format!("no subscription: {e}")))
    };
    let (found, founds) = unbounded_channel();
    let inputs = CoordinatorInputs {
        acks: subscribe(format!("{inbox}.*")).await?,
        verdicts: subscribe(config.names.results(&coordinator)).await?,
        beats: subscribe(config.names.all_beats()).await?,
        wholes: subscribe(config.names.whole(&coordinator, "*")).await?,
        jobs: Jobs::default(),
        founds,
    };
    let (wake, wakes) = unbounded_channel();
    let shared = Shared::new(config.names.clone(), coordinator, wake);
    let (now, recalls) = (Instant::now(), recalls::start(client.clone(), shared.clone()));
    let run = CoordinatorLoop {
        config,
        client,
        inbox,
        shared,
        members: Members::default(),
        watches: Vec::new(),
        gets_on: false,
        refusal: None,
        audited: now,
        set_up: now,
        audit: None,
        jobs_audited: now,
        job_audits: Vec::new(),
        found,
        recalls,
        fetches: VerdictFetches::new(),
        fetched_now: HashSet::new(),
    };
    if begun.send(Ok(run.shared.clone())).is_ok() {
        run.run(inputs, wakes).await;
    }
    Ok(())
}
