//! The coordinator's thread.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{self, Sender},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Subject, Subscriber, connection::State as Connection};
use bytes::Bytes;
use futures_util::{Future, StreamExt as _, stream::FuturesUnordered};
use kernel::helper;
use pool::{PoolError, TaskError};
use serde_json::Value;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    ledger::Outgoing,
    members::{Host, Members},
    shared::{Shared, Wake},
    watch::Watch,
};
use crate::{
    address::Address,
    large::{self, Missing, Stub},
    link::{self, Storage},
    message::{self, Recall, Verdict},
    names::Names,
};

/// What a coordinator needs to begin.
#[derive(Clone, Debug)]
pub(crate) struct Start {
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
/// Between two comparisons of the ledger with the server, while results are wanting.
const AUDIT: Duration = Duration::from_secs(1);
/// Between two looks whether stream and consumer are there, while nothing gets on.
const SET_UP: Duration = Duration::from_secs(5);
/// How long an agent that has a long verdict may take for a piece of it.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);
/// For the last words.
const FAREWELL: Duration = Duration::from_secs(2);

/// Connects, and starts the thread. The second value is notified at the thread's end.
pub(crate) fn start(start: Start) -> Result<(Arc<Shared>, mpsc::Receiver<()>), PoolError> {
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(begin_and_run(start, &begun)),
            Err(e) => Err(e.into()),
        };
        if let Err(e) = outcome {
            // Whoever waits for it may have gone.
            let _ = begun.send(Err(e));
        }
        drop(ended);
    };
    helper::spawn("cluster", run)?;
    let shared = has_begun.recv().map_err(|_| PoolError::Cluster("the pool's thread panicked".into()))??;
    Ok((shared, has_ended))
}

async fn begin_and_run(start: Start, begun: &Sender<Result<Arc<Shared>, PoolError>>) -> Result<(), PoolError> {
    let client = link::connect(&start.address, "coordinator", start.patience).await?;
    link::set_up_patiently(&client, &start.names, &start.storage, start.patience).await?;
    let inbox = client.new_inbox();
    let coordinator = inbox.rsplit('.').next().unwrap_or_default().to_owned();
    let subscribe = async |subject: String| {
        client.subscribe(subject).await.map_err(|e| PoolError::Cluster(format!("no subscription: {e}")))
    };
    let inputs = Inputs {
        acks: subscribe(format!("{inbox}.*")).await?,
        verdicts: subscribe(start.names.results(&coordinator)).await?,
        beats: subscribe(start.names.all_beats()).await?,
        wholes: subscribe(start.names.whole(&coordinator, "*")).await?,
    };
    let (wake, wakes) = unbounded_channel();
    let shared = Shared::new(start.names.clone(), coordinator, wake);
    let now = Instant::now();
    let run = Run {
        start,
        client,
        inbox,
        shared,
        members: Members::default(),
        watch: Watch::new(now),
        gets_on: false,
        refusal: None,
        audited: now,
        set_up: now,
        audit: None,
        fetches: Fetches::new(),
        fetched_now: HashSet::new(),
    };
    if begun.send(Ok(run.shared.clone())).is_ok() {
        run.run(inputs, wakes).await;
    }
    Ok(())
}

struct Inputs {
    /// That the server has stored a task.
    acks: Subscriber,
    verdicts: Subscriber,
    beats: Subscriber,
    /// Who wants the whole of a task.
    wholes: Subscriber,
}

struct Run {
    start: Start,
    client: Client,
    inbox: String,
    shared: Arc<Shared>,
    members: Members,
    watch: Watch,
    /// Whether the server has stored a task, or an agent has ended one, since the last look.
    gets_on: bool,
    /// Why the server did not store a task, since it stored one last.
    refusal: Option<String>,
    audited: Instant,
    /// When stream and consumer were seen to be there last.
    set_up: Instant,
    audit: Option<JoinHandle<Vec<u64>>>,
    /// Long verdicts, on their way.
    fetches: Fetches,
    /// Whose they are.
    fetched_now: HashSet<u64>,
}

/// Of a task, where to confirm it, and what came.
type Fetches = FuturesUnordered<Pin<Box<dyn Future<Output = (u64, Subject, Result<Bytes, Missing>)> + Send>>>;

impl Run {
    async fn run(mut self, mut inputs: Inputs, mut wakes: UnboundedReceiver<Wake>) {
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
                ack = inputs.acks.next() => if let Some(ack) = ack {
                    self.acknowledged(&ack);
                },
                beat = inputs.beats.next() => if let Some(beat) = beat.and_then(|beat| message::decode(&beat.payload)) {
                    self.members.heard(beat, Instant::now());
                    self.show_members();
                },
                wake = wakes.recv() => match wake {
                    Some(Wake::Tasks) => self.shared.is_looking(),
                    Some(Wake::Cancelled(task)) => self.recall(Some(task)).await,
                    Some(Wake::Terminated) => return self.take_leave(true).await,
                    Some(Wake::Stop) | None => return self.take_leave(false).await,
                },
                _ = look.tick() => self.look(Instant::now()).await,
            }
            self.send().await;
        }
    }

    /// Publishes as much as the window allows.
    async fn send(&self) {
        // What the client cannot send it keeps, and it takes no more than fits: it is not asked while it cannot send.
        while self.client.connection_state() == Connection::Connected {
            let next = self.shared.state.lock().ledger.next(Instant::now());
            let Some(Outgoing { task, attempt, parcel }) = next else { return };
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("{}/{task}/{attempt}", self.shared.coordinator));
            let subject = self.shared.names.tasks_of(&self.shared.coordinator);
            let reply = format!("{}.{task}", self.inbox);
            let sent =
                self.client.publish_with_reply_and_headers(subject, reply, headers, self.short(task, parcel)).await;
            if sent.is_err() {
                self.shared.state.lock().ledger.refused(task, Instant::now());
            }
        }
    }

    /// What is sent of a task: itself, or its stub.
    fn short(&self, task: u64, parcel: Bytes) -> Bytes {
        if parcel.len() <= large::WHOLE {
            return parcel;
        }
        let stub = Stub {
            build: self.start.names.build().to_owned(),
            coordinator: self.shared.coordinator.clone(),
            task,
            len: parcel.len() as u64,
        };
        message::encode_stub(&stub).unwrap_or(parcel)
    }

    /// An agent wants a piece of a long task.
    async fn give_piece(&self, wanted: Message) {
        let Some(reply) = wanted.reply else { return };
        let task = wanted.subject.rsplit('.').next().and_then(|task| task.parse().ok());
        let whole = task.and_then(|task| self.shared.state.lock().ledger.whole(task)).unwrap_or_default();
        // If it does not get there, the agent asks again.
        let _ = self.client.publish(reply, large::piece(&whole, &wanted.payload, self.client.max_payload())).await;
    }

    /// The server has stored a task, or refuses to.
    fn acknowledged(&mut self, ack: &Message) {
        let Some(task) = ack.subject.rsplit('.').next().and_then(|task| task.parse().ok()) else { return };
        let refusal = match (ack.status, serde_json::from_slice::<Value>(&ack.payload)) {
            (None, Ok(answer)) => answer.get("error").map(|error| match error["description"].as_str() {
                Some(why) => why.to_owned(),
                None => error.to_string(),
            }),
            _ => Some("it has no stream for them".to_owned()),
        };
        let ledger = &mut self.shared.state.lock().ledger;
        if refusal.is_none() {
            ledger.stored(task);
            self.gets_on = true;
        } else {
            ledger.refused(task, Instant::now());
        }
        self.refusal = refusal;
    }

    /// A verdict, or its stub.
    async fn take(&mut self, message: Message) {
        let Some(reply) = message.reply else { return };
        if let Some(verdict) = message::decode::<Verdict>(&message.payload) {
            return self.judge(verdict, reply).await;
        }
        let Some(Stub { task, len, .. }) = message::decode_stub(&message.payload) else { return };
        if self.shared.state.lock().ledger.whole(task).is_none() {
            // There was another one before.
            return self.confirm(reply).await;
        }
        // The agent sends it again while it waits.
        if self.fetched_now.insert(task) {
            let (client, from) = (self.client.clone(), large::place_of_verdict(&reply));
            self.fetches.push(Box::pin(async move {
                let whole = large::fetch(&client, &from, len, FETCH_PATIENCE).await;
                (task, reply, whole)
            }));
        }
    }

    /// A long verdict has come, or its agent was lost.
    async fn fetched(&mut self, task: u64, reply: Subject, whole: Result<Bytes, Missing>) {
        self.fetched_now.remove(&task);
        let verdict = whole.ok().and_then(|whole| message::decode::<Verdict>(&whole));
        if let Some(verdict) = verdict.filter(|verdict| verdict.task == task) {
            self.judge(verdict, reply).await;
        }
    }

    /// Records a verdict, if it is the first, and confirms it in any case: only then its message leaves the server.
    async fn judge(&mut self, verdict: Verdict, reply: Subject) {
        self.gets_on = true;
        self.shared.end(verdict.task, || Ok(verdict));
        self.confirm(reply).await;
    }

    async fn confirm(&self, reply: Subject) {
        // If it does not get there, the agent asks again.
        let _ = self.client.publish(reply, Bytes::new()).await;
    }

    /// Tells the agents to let go of a task, or all.
    async fn recall(&self, task: Option<u64>) {
        let recall = Recall { coordinator: self.shared.coordinator.clone(), task };
        if let Ok(recall) = message::encode(&recall) {
            let _ = self.client.publish(self.shared.names.control(), recall).await;
        }
    }

    async fn look(&mut self, now: Instant) {
        self.members.forget(now);
        self.show_members();
        let is_idle = {
            let mut state = self.shared.state.lock();
            state.ledger.look_again(now);
            state.ledger.is_empty()
        };
        let hosts = self.members.hosts(self.start.names.build());
        let works = self.gets_on || hosts.iter().any(|host| host.n_held > 0);
        self.gets_on = false;
        let still = self.watch.look(is_idle || works && !hosts.is_empty(), now);
        if still > self.start.agent_timeout {
            self.give_up(&hosts);
            self.watch = Watch::new(now);
        }
        self.audit(now, still).await;
    }

    /// No task has got on for as long as was said.
    fn give_up(&mut self, hosts: &[Host]) {
        let is_connected = self.client.connection_state() == Connection::Connected;
        let what = match &self.refusal {
            _ if !is_connected => "no connection to the server".to_owned(),
            Some(why) => format!("the server stores no task, since {why},"),
            None if hosts.is_empty() => {
                let build = self.start.names.build();
                match &self.members.strangers(build)[..] {
                    [] => format!("no agent of this build ({build}), and none of any other,"),
                    [one, rest @ ..] => format!(
                        "no agent of this build ({build}), but {} of another, such as pid {} on {},",
                        rest.len() + 1,
                        one.pid,
                        one.name
                    ),
                }
            }
            None if self.shared.state.lock().ledger.all_stored().is_empty() => {
                "no word of the server that it has stored a task (what may this pool's user do?)".to_owned()
            }
            None => format!("no task taken by any of the {} agents (what may their user do?)", hosts.len()),
        };
        let why = format!("{what} for {:?}", self.start.agent_timeout);
        self.shared.end_all(&TaskError::Broken(PoolError::Cluster(why)));
        let (client, names) = (self.client.clone(), self.start.names.clone());
        let coordinator = self.shared.coordinator.clone();
        tokio::spawn(async move { drop(link::purge(&client, &names, &coordinator).await) });
    }

    /// Compares the ledger with the server: a task that was stored there, is there no more, and has no verdict, was lost.
    ///
    /// Where nothing gets on, somebody may have deleted the consumer, which is made again then.
    async fn audit(&mut self, now: Instant, still: Duration) {
        if let Some(audit) = self.audit.take_if(|audit| audit.is_finished()) {
            let lost = audit.await.unwrap_or_default();
            self.shared.state.lock().ledger.resubmit(&lost);
            self.audited = now;
        }
        if self.audit.is_some() || now.duration_since(self.audited) < AUDIT {
            return;
        }
        let sets_up = still > AUDIT && now.duration_since(self.set_up) > SET_UP;
        if sets_up {
            self.set_up = now;
        }
        // Before the server is asked: what is stored after that does not count.
        let stored = self.shared.state.lock().ledger.all_stored();
        if stored.is_empty() && !sets_up {
            return;
        }
        let (client, start, shared) = (self.client.clone(), self.start.clone(), self.shared.clone());
        self.audit = Some(tokio::spawn(async move {
            if sets_up {
                // If that fails, it is tried again.
                let _ = link::set_up(&client, &start.names, &start.storage).await;
            }
            match link::n_stored(&client, &start.names, &shared.coordinator).await {
                Ok(0) => stored,
                Err(refusal) if refusal.is_not_found() => {
                    // The server has lost everything.
                    let made = link::set_up(&client, &start.names, &start.storage).await;
                    if made.is_ok() { stored } else { Vec::new() }
                }
                _ => Vec::new(),
            }
        }));
    }

    fn show_members(&self) {
        let hosts = self.members.hosts(self.start.names.build());
        let n_slots: usize = hosts.iter().map(|host| host.n_slots).sum();
        self.shared.n_workers.store(n_slots.max(1), Relaxed);
        let mut state = self.shared.state.lock();
        if state.hosts != hosts {
            state.hosts = hosts;
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    async fn take_leave(&self, has_tasks: bool) {
        let last_words = async {
            if has_tasks {
                let _ = link::purge(&self.client, &self.start.names, &self.shared.coordinator).await;
                self.recall(None).await;
            }
            let _ = self.client.flush().await;
        };
        if self.client.connection_state() == Connection::Connected {
            let _ = timeout(FAREWELL, last_words).await;
        }
    }
}
