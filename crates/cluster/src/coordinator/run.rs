//! The coordinator's thread, once it is connected.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Subject, Subscriber, connection::State as Connection};
use bytes::Bytes;
use futures_util::{Future, FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    jobs::{Heard, Jobs},
    members::Members,
    queue::Queue,
    recalls,
    shared::{Shared, Wake},
    watch::Watch,
};
use crate::{
    address::Address,
    large::Missing,
    link::{self, Storage},
    message::{self, Verdict},
    names::Names,
};

/// What a coordinator needs to begin.
#[derive(Clone, Debug)]
pub(crate) struct CoordinatorConfig {
    pub(crate) address: Address,
    pub(crate) names: Names,
    /// How long the server may take to be there.
    pub(crate) patience: Duration,
    pub(crate) storage: Storage,
    /// How long tasks wait while none of them gets on.
    pub(crate) agent_timeout: Duration,
}

/// Between two looks at the ledger and the members.
const LOOK: Duration = Duration::from_millis(100);
/// For the last words.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct CoordinatorInputs {
    /// That the server has stored a task.
    pub(super) acks: Subscriber,
    pub(super) verdicts: Subscriber,
    pub(super) beats: Subscriber,
    /// Requests for the whole of a task.
    pub(super) wholes: Subscriber,
    pub(super) jobs: Jobs,
    /// Verdicts on tasks of jobs that were not heard of.
    pub(super) founds: UnboundedReceiver<(Arc<Queue>, Verdict)>,
}

pub(super) struct CoordinatorLoop {
    pub(super) config: CoordinatorConfig,
    pub(super) client: Client,
    pub(super) inbox: String,
    pub(super) shared: Arc<Shared>,
    pub(super) members: Members,
    /// One for each queue of which there are tasks.
    pub(super) watches: Vec<(Arc<Queue>, Watch)>,
    /// Whether the server has stored a task, or an agent has ended one, since the last look.
    pub(super) gets_on: bool,
    /// Why the server did not store a task, since it stored one last.
    pub(super) refusal: Option<String>,
    pub(super) audited: Instant,
    /// When stream and consumer were seen to be there last.
    pub(super) set_up: Instant,
    pub(super) audit: Option<JoinHandle<Vec<(u64, u32)>>>,
    pub(super) jobs_audited: Instant,
    pub(super) job_audits: Vec<JoinHandle<()>>,
    /// Where comparisons tell which verdicts there are.
    pub(super) found: UnboundedSender<(Arc<Queue>, Verdict)>,
    /// Tasks that agents are to be told to let go of.
    pub(super) recalls: UnboundedSender<u64>,
    /// Long verdicts, on their way.
    pub(super) fetches: VerdictFetches,
    /// Whose they are.
    pub(super) fetched_now: HashSet<u64>,
}

/// Of a task, where to confirm it, and what came.
pub(super) type VerdictFetches =
    FuturesUnordered<Pin<Box<dyn Future<Output = (u64, Subject, Result<Bytes, Missing>)> + Send>>>;

impl CoordinatorLoop {
    pub(super) async fn run(mut self, mut inputs: CoordinatorInputs, mut wakes: UnboundedReceiver<Wake>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                verdict = inputs.verdicts.next() => match verdict {
                    Some(verdict) => self.take(verdict).await,
                    None => break,
                },
                Some((task, reply, whole)) = self.fetches.next() => self.fetched(task, reply, whole).await,
                wanted = inputs.wholes.next() => if let Some(wanted) = wanted {
                    self.give_piece(wanted).await;
                },
                (queue, heard) = inputs.jobs.next() => match heard {
                    Heard::Verdict(verdict) => if let Some(verdict) = message::decode(&verdict.payload) {
                        self.judge_kept(&queue, verdict);
                    },
                    Heard::Wanted(wanted) => self.give_piece_of_job(&queue, wanted).await,
                },
                Some((queue, verdict)) = inputs.founds.recv() => self.judge_kept(&queue, verdict),
                ack = inputs.acks.next() => if let Some(ack) = ack {
                    self.acknowledged(&ack);
                    while let Some(Some(ack)) = inputs.acks.next().now_or_never() {
                        self.acknowledged(&ack);
                    }
                },
                beat = inputs.beats.next() => if let Some(beat) = beat.and_then(|beat| message::decode(&beat.payload)) {
                    self.members.heard(beat, Instant::now());
                    self.show_members();
                },
                wake = wakes.recv() => match wake {
                    Some(Wake::Tasks) => self.shared.is_looking(),
                    Some(Wake::Opened(queue)) => self.set_up(vec![queue]),
                    Some(Wake::Begun(queue, tell)) => self.begin(&mut inputs.jobs, queue, tell).await,
                    Some(Wake::Forgotten(job, tell)) => self.forget(job, tell).await,
                    Some(Wake::Stale(queue, task)) => self.replace(&queue, task),
                    // Fails at the program's end alone.
                    Some(Wake::Cancelled(task)) => drop(self.recalls.send(task)),
                    Some(Wake::Terminated) => return self.take_leave(true).await,
                    Some(Wake::Stop) | None => return self.take_leave(false).await,
                },
                _ = look.tick() => {
                    self.look(Instant::now()).await;
                    inputs.jobs.forget_idle();
                },
            }
            self.send().await;
        }
    }

    pub(super) async fn take_leave(&self, has_tasks: bool) {
        let names = &self.config.names;
        let last_words = async {
            if has_tasks {
                let _ = link::purge(&self.client, &names.stream(), &names.all_tasks_of(&self.shared.coordinator)).await;
                recalls::recall(&self.client, &self.shared, None).await;
            }
            let _ = self.client.flush().await;
        };
        if self.client.connection_state() == Connection::Connected {
            let _ = timeout(FAREWELL, last_words).await;
        }
    }
}
