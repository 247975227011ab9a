//! The coordinator's thread.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Subject, Subscriber, connection::State as Connection};
use bytes::Bytes;
use futures_util::{Future, FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use kernel::helper;
use pool::{PoolError, TaskError};
use serde::Deserialize;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    jobs::{Heard, Jobs},
    kept::{self, Begun, Found},
    ledger::Outgoing,
    members::Members,
    queue::Queue,
    shared::{Shared, Wake},
    watch::Watch,
};
use crate::{
    address::Address,
    large::{self, Missing, Stub},
    link::{self, Storage},
    message::{self, Control, Verdict},
    names::{JobName, Names, QueueName},
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
/// Between two comparisons of the ledger with what the server has of jobs, which it lists task by task.
const AUDIT_OF_JOBS: Duration = Duration::from_secs(3);
/// An agent that is there has taken a task by then, and has told so: it tells once a second what it has in hand.
const TAKES_FOR_SURE: Duration = Duration::from_secs(5);
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
    link::set_up_patiently(&client, &start.names, &[start.names.own_queue()], &start.storage, start.patience).await?;
    let inbox = client.new_inbox();
    let coordinator = inbox.rsplit('.').next().unwrap_or_default().to_owned();
    let subscribe = async |subject: String| {
        client.subscribe(subject).await.map_err(|e| PoolError::Cluster(format!("no subscription: {e}")))
    };
    let (found, founds) = unbounded_channel();
    let inputs = Inputs {
        acks: subscribe(format!("{inbox}.*")).await?,
        verdicts: subscribe(start.names.results(&coordinator)).await?,
        beats: subscribe(start.names.all_beats()).await?,
        wholes: subscribe(start.names.whole(&coordinator, "*")).await?,
        jobs: Jobs::default(),
        founds,
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
        watches: Vec::new(),
        gets_on: false,
        refusal: None,
        audited: now,
        set_up: now,
        audit: None,
        jobs_audited: now,
        job_audits: Vec::new(),
        found,
        fetches: Fetches::new(),
        fetched_now: HashSet::new(),
    };
    if begun.send(Ok(run.shared.clone())).is_ok() {
        run.run(inputs, wakes).await;
    }
    Ok(())
}

/// What the server says of a task: there is more in it.
#[derive(Deserialize)]
struct Answer {
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    description: String,
}

struct Inputs {
    /// That the server has stored a task.
    acks: Subscriber,
    verdicts: Subscriber,
    beats: Subscriber,
    /// Who wants the whole of a task.
    wholes: Subscriber,
    jobs: Jobs,
    /// Verdicts on tasks of jobs that were not heard of.
    founds: UnboundedReceiver<(Arc<Queue>, Verdict)>,
}

struct Run {
    start: Start,
    client: Client,
    inbox: String,
    shared: Arc<Shared>,
    members: Members,
    /// One for each queue of which there are tasks.
    watches: Vec<(Arc<Queue>, Watch)>,
    /// Whether the server has stored a task, or an agent has ended one, since the last look.
    gets_on: bool,
    /// Why the server did not store a task, since it stored one last.
    refusal: Option<String>,
    audited: Instant,
    /// When stream and consumer were seen to be there last.
    set_up: Instant,
    audit: Option<JoinHandle<Vec<u64>>>,
    jobs_audited: Instant,
    job_audits: Vec<JoinHandle<()>>,
    /// Where comparisons tell which verdicts there are.
    found: UnboundedSender<(Arc<Queue>, Verdict)>,
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
                    Some(Wake::Cancelled(task)) => self.recall(Some(task)).await,
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

    /// Publishes as much as the window allows.
    async fn send(&self) {
        // What the client cannot send it keeps, and it takes no more than fits: it is not asked while it cannot send.
        while self.client.connection_state() == Connection::Connected {
            let next = self.shared.state.lock().ledger.next(Instant::now());
            let Some(Outgoing { queue, task, attempt, parcel }) = next else { return };
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("{}/{task}/{attempt}", self.shared.coordinator));
            let reply = format!("{}.{task}", self.inbox);
            let short = self.short(&queue, task, parcel);
            let subject = queue.subject_of(task);
            let sent = self.client.publish_with_reply_and_headers(subject, reply, headers, short).await;
            if sent.is_err() {
                self.shared.state.lock().ledger.refused(task, Instant::now());
            }
        }
    }

    /// What is sent of a task: itself, or its stub.
    fn short(&self, queue: &Queue, task: u64, parcel: Bytes) -> Bytes {
        if parcel.len() <= large::WHOLE {
            return parcel;
        }
        let (coordinator, task) = queue.key(&self.shared.coordinator, task);
        let (coordinator, len) = (coordinator.to_owned(), parcel.len() as u64);
        let stub = Stub { queue: queue.name.clone(), coordinator, task, len };
        message::encode_stub(&stub).unwrap_or(parcel)
    }

    /// An agent wants a piece of a long task.
    async fn give_piece(&self, wanted: Message) {
        let Some(reply) = wanted.reply else { return };
        let task = kept::number(&wanted.subject);
        let whole = task.and_then(|task| self.shared.state.lock().ledger.whole(task)).unwrap_or_default();
        // If it does not get there, the agent asks again.
        let _ = self.client.publish(reply, large::piece(&whole, &wanted.payload, self.client.max_payload())).await;
    }

    /// The server has stored a task, or refuses to.
    fn acknowledged(&mut self, ack: &Message) {
        let Some(task) = ack.subject.rsplit('.').next().and_then(|task| task.parse().ok()) else { return };
        let refusal = match (ack.status, serde_json::from_slice::<Answer>(&ack.payload)) {
            (None, Ok(answer)) => answer.error.map(|error| error.description),
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

    /// Verdicts, or the stub of one.
    async fn take(&mut self, message: Message) {
        let Some(reply) = message.reply else { return };
        if let Some(joined) = message::split(&message.payload) {
            let verdicts: Option<Vec<Verdict>> = joined.into_iter().map(message::decode).collect();
            let Some(verdicts) = verdicts else { return };
            self.gets_on = true;
            for verdict in verdicts {
                self.shared.end(verdict.task, || Ok(verdict));
            }
            return self.confirm(reply).await;
        }
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

    /// The same, of a job. Another program may have the task, and answers then.
    async fn give_piece_of_job(&self, queue: &Queue, wanted: Message) {
        let (Some(job), Some(task), Some(reply)) = (&queue.job, kept::number(&wanted.subject), wanted.reply) else {
            return;
        };
        let Some(task) = job.own_number(task) else { return };
        let whole = self.shared.state.lock().ledger.whole(task);
        if let Some(whole) = whole {
            let _ = self.client.publish(reply, large::piece(&whole, &wanted.payload, self.client.max_payload())).await;
        }
    }

    /// Listens to what comes of a job, and looks what there is of it.
    async fn begin(&mut self, jobs: &mut Jobs, queue: Arc<Queue>, tell: Sender<Result<Begun, PoolError>>) {
        let Some(job) = &queue.job else { return };
        let verdicts = self.client.subscribe(self.start.names.all_kept(&job.name)).await;
        let wholes = self.client.subscribe(self.start.names.whole(job.name.as_str(), "*")).await;
        let (Ok(verdicts), Ok(wholes)) = (verdicts, wholes) else { return };
        jobs.add(queue.clone(), verdicts, wholes);
        let (client, start) = (self.client.clone(), self.start.clone());
        tokio::spawn(async move {
            let Some(job) = &queue.job else { return };
            let begun = async {
                link::set_up_results(&client, &start.names, &start.storage).await?;
                kept::begin(&client, &start.names, &job.name, &queue.name).await
            };
            // Whoever wants to know waits for it.
            let _ = tell.send(begun.await.map_err(PoolError::from));
        });
    }

    /// Takes a job's tasks back, and removes what the server has of it.
    async fn forget(&self, job: JobName, tell: Sender<Result<(), PoolError>>) {
        let recall = Control::Recall { coordinator: job.as_str().to_owned(), task: None };
        if let Ok(recall) = message::encode(&recall) {
            let _ = self.client.publish(self.shared.names.control(), recall).await;
        }
        let (client, start) = (self.client.clone(), self.start.clone());
        tokio::spawn(async move {
            let names = &start.names;
            let forgotten = async {
                link::purge(&client, &names.stream(), &names.all_tasks_of_job(&job)).await?;
                match link::purge(&client, &names.results_stream(), &names.all_kept(&job)).await {
                    Err(refusal) if refusal.is_not_found() => Ok(()),
                    outcome => outcome,
                }
            };
            let _ = tell.send(forgotten.await.map_err(PoolError::from));
        });
    }

    /// Records a verdict that the server keeps, if it is the first. That of another function, or of other arguments, is replaced.
    fn judge_kept(&mut self, queue: &Arc<Queue>, verdict: Verdict) {
        self.gets_on = true;
        let Some(task) = queue.job.as_ref().and_then(|job| job.own_number(verdict.task)) else { return };
        let is_own = self.shared.state.lock().ledger.is_own(task, verdict.fingerprint);
        match is_own {
            Some(true) => drop(self.shared.end(task, || Ok(verdict))),
            Some(false) => self.replace(queue, task),
            None => {}
        }
    }

    /// Removes the result that is kept of a task, and gives the task once more.
    fn replace(&self, queue: &Arc<Queue>, task: u64) {
        let (client, names, shared) = (self.client.clone(), self.start.names.clone(), self.shared.clone());
        let queue = queue.clone();
        tokio::spawn(async move {
            let (job, number) = queue.key(&shared.coordinator, task);
            // If that fails, the next comparison finds it once more.
            if link::purge(&client, &names.results_stream(), &names.kept(job, number)).await.is_ok() {
                shared.state.lock().ledger.give_again(&[task]);
                shared.wake(Wake::Tasks);
            }
        });
    }

    /// Compares the ledger with what the server has of jobs.
    fn audit_jobs(&mut self, queues: &[Arc<Queue>], now: Instant) {
        self.job_audits.retain(|audit| !audit.is_finished());
        if !self.job_audits.is_empty() || now.duration_since(self.jobs_audited) < AUDIT_OF_JOBS {
            return;
        }
        self.jobs_audited = now;
        for queue in queues {
            let Some(base) = queue.job.as_ref().map(|job| job.base) else { continue };
            let stored = self.shared.state.lock().ledger.stored_of(queue);
            let waited_for = stored.into_iter().map(|task| task - base).collect();
            let (client, start, shared) = (self.client.clone(), self.start.clone(), self.shared.clone());
            let (queue, found) = (queue.clone(), self.found.clone());
            self.job_audits.push(tokio::spawn(async move {
                let Some(job) = &queue.job else { return };
                match kept::compare(&client, &start.names, &job.name, waited_for).await {
                    Ok(Found { verdicts, spoilt, lost }) => {
                        let lost: Vec<u64> = lost.into_iter().map(|task| task + base).collect();
                        shared.state.lock().ledger.resubmit(&lost);
                        shared.wake(Wake::Tasks);
                        spoilt.into_iter().for_each(|task| shared.wake(Wake::Stale(queue.clone(), task + base)));
                        verdicts.into_iter().for_each(|verdict| _ = found.send((queue.clone(), verdict)));
                    }
                    Err(refusal) if refusal.is_not_found() => {
                        // If it cannot be made, the next comparison says so once more.
                        let _ = link::set_up_results(&client, &start.names, &start.storage).await;
                    }
                    Err(_) => {}
                }
            }));
        }
    }

    /// Tells the agents to let go of a task, or all.
    async fn recall(&self, task: Option<u64>) {
        let recall = Control::Recall { coordinator: self.shared.coordinator.clone(), task };
        if let Ok(recall) = message::encode(&recall) {
            let _ = self.client.publish(self.shared.names.control(), recall).await;
        }
    }

    async fn look(&mut self, now: Instant) {
        self.members.forget(now);
        self.show_members();
        let queues = {
            let mut state = self.shared.state.lock();
            state.ledger.look_again(now);
            state.ledger.queues()
        };
        self.watches.retain(|(watched, _)| queues.iter().any(|queue| Arc::ptr_eq(queue, watched)));
        let mut longest = Duration::ZERO;
        for queue in &queues {
            if !self.watches.iter().any(|(watched, _)| Arc::ptr_eq(watched, queue)) {
                self.watches.push((queue.clone(), Watch::new(now)));
            }
        }
        for at in 0..self.watches.len() {
            let (queue, watch) = &mut self.watches[at];
            let hosts = self.members.hosts(&queue.name);
            let gets_on = !hosts.is_empty() && (self.gets_on || hosts.iter().any(|host| host.n_held > 0));
            let still = watch.look(gets_on, !hosts.is_empty(), now);
            longest = longest.max(still);
            let least = if hosts.is_empty() { Duration::ZERO } else { TAKES_FOR_SURE };
            let patience = self.start.agent_timeout.max(least);
            if still > patience {
                *watch = Watch::new(now);
                let queue = queue.clone();
                self.give_up(&queue, patience);
            }
        }
        self.gets_on = false;
        self.audit_jobs(&queues, now);
        self.audit(now, longest).await;
    }

    /// None of a queue's tasks has got on for as long as was said.
    fn give_up(&mut self, queue: &Arc<Queue>, patience: Duration) {
        let is_connected = self.client.connection_state() == Connection::Connected;
        let n_hosts = self.members.hosts(&queue.name).len();
        let what = match &self.refusal {
            _ if !is_connected => "no connection to the server".to_owned(),
            Some(why) => format!("the server stores no task, since {why},"),
            None if n_hosts == 0 => self.who_is_wanting(&queue.name),
            None if !self.shared.state.lock().ledger.has_stored(queue) => {
                "no word of the server that it has stored a task (what may this pool's user do?)".to_owned()
            }
            None => format!("no task taken by any of the {n_hosts} agents (what may their user do?)"),
        };
        let why = format!("{what} for {patience:?}");
        self.shared.end_all(Some(queue), &TaskError::Broken(PoolError::Cluster(why)));
        if queue.job.is_none() {
            let (client, stream, subjects) = (self.client.clone(), self.start.names.stream(), queue.subjects());
            tokio::spawn(async move { drop(link::purge(&client, &stream, &subjects).await) });
        }
    }

    fn who_is_wanting(&self, queue: &QueueName) -> String {
        let wanted = match queue.function() {
            Some(name) => format!("no agent that has registered {name:?}"),
            None => format!("no agent of this build ({})", queue.as_str()),
        };
        match &self.members.strangers(queue)[..] {
            [] => format!("{wanted}, and no other,"),
            [one, rest @ ..] => {
                format!("{wanted}, but {} others, such as pid {} on {},", rest.len() + 1, one.pid, one.name)
            }
        }
    }

    /// Makes what queues need on the server, in the background.
    fn set_up(&self, queues: Vec<QueueName>) {
        let (client, start) = (self.client.clone(), self.start.clone());
        // What fails is tried again while nothing gets on.
        tokio::spawn(async move { drop(link::set_up(&client, &start.names, &queues, &start.storage).await) });
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
        if still > AUDIT && now.duration_since(self.set_up) > SET_UP {
            self.set_up = now;
            self.set_up(self.queue_names());
        }
        // Before the server is asked: what is stored after that does not count.
        let stored = self.shared.state.lock().ledger.all_stored();
        if stored.is_empty() {
            return;
        }
        let (client, start, shared) = (self.client.clone(), self.start.clone(), self.shared.clone());
        let queues = self.queue_names();
        self.audit = Some(tokio::spawn(async move {
            match link::n_stored(&client, &start.names, &shared.coordinator).await {
                Ok(0) => stored,
                Err(refusal) if refusal.is_not_found() => {
                    // The server has lost everything.
                    let made = link::set_up(&client, &start.names, &queues, &start.storage).await;
                    if made.is_ok() { stored } else { Vec::new() }
                }
                _ => Vec::new(),
            }
        }));
    }

    fn queue_names(&self) -> Vec<QueueName> {
        self.shared.state.lock().queues.iter().map(|queue| queue.name.clone()).collect()
    }

    fn show_members(&self) {
        let mut state = self.shared.state.lock();
        for queue in &state.queues {
            queue.show(self.members.n_slots(&queue.name));
        }
        let hosts = self.members.hosts(&self.shared.own.name);
        if state.hosts != hosts {
            state.hosts = hosts;
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    async fn take_leave(&self, has_tasks: bool) {
        let names = &self.start.names;
        let last_words = async {
            if has_tasks {
                let _ = link::purge(&self.client, &names.stream(), &names.all_tasks_of(&self.shared.coordinator)).await;
                self.recall(None).await;
            }
            let _ = self.client.flush().await;
        };
        if self.client.connection_state() == Connection::Connected {
            let _ = timeout(FAREWELL, last_words).await;
        }
    }
}
