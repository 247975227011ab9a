//! The agent's thread.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, mpsc::Sender},
    time::{Duration, Instant},
};

use async_nats::{Client, Message, StatusCode, Subject, Subscriber, connection::State as Connection};
use bytes::Bytes;
use futures_util::{Future, FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use pool::{
    Executor as _, PoolError, ProcessPool, Task, TaskError,
    engine::{self, Chunk},
};
use proc_core::function::Function;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    held::{Hand, Held, Key, LEASE, Packed},
    puller::Puller,
    worker,
};
use crate::{
    address::Address,
    large::{self, Missing, Stub},
    link,
    message::{self, Beat, Control, End, Ends, Parcel, Verdict},
    names::{self, Names, QueueName},
};

/// What an agent needs to begin.
pub(super) struct Start {
    pub(super) address: Address,
    pub(super) names: Names,
    pub(super) n_slots: usize,
    pub(super) patience: Duration,
    pub(super) local: ProcessPool,
    /// Calls what is not known to be a function.
    pub(super) trusts_places: bool,
    /// What tasks of any build may call.
    pub(super) functions: Vec<(QueueName, Function)>,
}

/// How an agent is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// When what runs has ended.
    Drain,
    Now,
}

/// Between two looks at what is in hand.
const LOOK: Duration = Duration::from_millis(100);
/// How often coordinators and the server are told that the agent lives, and works on what it holds.
const BEAT: Duration = Duration::from_secs(1);
/// Work that is taken ahead: enough to bridge a round trip.
const AHEAD: Duration = Duration::from_millis(20);
/// Tasks that are taken ahead at most.
const MAX_AHEAD: usize = 256;
/// Verdicts in one message at most.
const MAX_TOGETHER: usize = 1024;
/// How long who is to end waits for a server to come back.
const ALONE: Duration = Duration::from_secs(5);
/// For the last words.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a worker is to call.
enum Callee {
    /// What lies at this place.
    Placed(Function),
    /// What was registered.
    Registered(Function),
}

type Work = Arc<Task<Chunk<Packed>>>;
type Running = FuturesUnordered<Pin<Box<dyn Future<Output = (Key, Work, Result<Chunk<Packed>, TaskError>)>>>>;

type Fetches = FuturesUnordered<Pin<Box<dyn Future<Output = (Key, Result<Bytes, Missing>)>>>>;

/// Runs until it is stopped. `begun` is told when it can take tasks.
pub(super) fn run(start: Start, stops: UnboundedReceiver<Stop>, begun: &Sender<()>) -> Result<(), PoolError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = link::connect(&start.address, "agent", start.patience).await?;
        let inbox = client.new_inbox();
        let subscribe = async |subject: String| {
            client.subscribe(subject).await.map_err(|e| PoolError::Cluster(format!("no subscription: {e}")))
        };
        let inputs = Inputs {
            tasks: subscribe(format!("{inbox}.t.*")).await?,
            confirmations: subscribe(format!("{inbox}.c.*")).await?,
            control: subscribe(start.names.control()).await?,
            wholes: subscribe(format!("{inbox}.w.*")).await?,
            stops,
        };
        let n_ahead = 2 * start.n_slots;
        let source = |name| Source { name, puller: Puller::new(Instant::now()) };
        let names = [start.names.own_queue()].into_iter().chain(start.functions.iter().map(|(name, _)| name.clone()));
        let sources = names.map(source).collect();
        let agent = Run {
            start,
            host: host_name(),
            client,
            inbox,
            hand: Hand::default(),
            verdicts: Vec::new(),
            running: Running::new(),
            fetches: Fetches::new(),
            sources,
            n_ahead,
            stop: None,
            failed: None,
            told: None,
            apart: None,
        };
        // Whoever wanted to know may have gone; it stops this one then.
        let _ = begun.send(());
        agent.run(inputs).await
    })
}

struct Inputs {
    tasks: Subscriber,
    confirmations: Subscriber,
    control: Subscriber,
    /// Who wants the whole of a verdict.
    wholes: Subscriber,
    stops: UnboundedReceiver<Stop>,
}

struct Source {
    name: QueueName,
    puller: Puller,
}

struct Run {
    start: Start,
    host: String,
    client: Client,
    inbox: String,
    hand: Hand,
    /// Those that are not sent yet: for whom, and their numbers.
    verdicts: Vec<(Arc<str>, u64, Bytes)>,
    running: Running,
    /// Long tasks, on their way.
    fetches: Fetches,
    /// Where tasks come from: those of this build first.
    sources: Vec<Source>,
    /// How many tasks to have in hand.
    n_ahead: usize,
    stop: Option<Stop>,
    /// Why it cannot go on.
    failed: Option<PoolError>,
    /// When it last told that it lives.
    told: Option<Instant>,
    /// Since when there is no server.
    apart: Option<Instant>,
}

impl Run {
    async fn run(mut self, mut inputs: Inputs) -> Result<(), PoolError> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            tokio::select! {
                message = inputs.tasks.next() => if let Some(message) = message
                    && self.heard(&message)
                {
                    self.take(message).await;
                },
                message = inputs.confirmations.next() => if let Some(message) = message {
                    self.answered(&message).await;
                },
                message = inputs.control.next() => if let Some(message) = message {
                    self.told(&message).await;
                },
                message = inputs.wholes.next() => if let Some(message) = message {
                    self.give_piece(message).await;
                },
                Some((key, whole)) = self.fetches.next() => self.fetched(&key, whole).await,
                Some((key, work, result)) = self.running.next() => {
                    self.ended(&key, &work, result).await;
                    // What has ended meanwhile is told together with it.
                    while let Some(Some((key, work, result))) = self.running.next().now_or_never() {
                        self.ended(&key, &work, result).await;
                    }
                },
                stop = inputs.stops.recv() => self.stop(stop.unwrap_or(Stop::Now)).await,
                _ = look.tick() => self.look(Instant::now()).await,
            }
            self.tell_verdicts().await;
            self.pull().await;
        }
        self.take_leave().await;
        self.failed.map_or(Ok(()), Err)
    }

    fn is_over(&self) -> bool {
        match self.stop {
            None => false,
            Some(Stop::Drain) => self.hand.held.is_empty(),
            Some(Stop::Now) => true,
        }
    }

    async fn pull(&mut self) {
        if self.stop.is_some() || self.client.connection_state() != Connection::Connected {
            return;
        }
        let room = self.n_ahead.saturating_sub(self.hand.held.len());
        // When half of them have gone, or a worker is about to have none.
        let least = self.n_ahead - (self.n_ahead / 2).max(self.start.n_slots).min(self.n_ahead);
        let now = Instant::now();
        // Those that have tasks share the room. The others are asked for one, to see when they have.
        let n_busy = self.sources.iter().filter(|source| source.puller.is_busy(now)).count();
        let is_only = self.sources.len() == 1;
        for at in 0..self.sources.len() {
            let Source { name, puller } = &mut self.sources[at];
            let share = if is_only || puller.is_busy(now) { n_busy.max(1) } else { room };
            let Some(request) = puller.request(room.div_ceil(share.max(1)), least.div_ceil(share.max(1)), now) else {
                continue;
            };
            let names = &self.start.names;
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", names.stream(), names.consumer(name));
            self.publish(subject, Some(format!("{}.t.{at}", self.inbox)), request.into()).await;
        }
    }

    /// Takes note of what has come from a consumer; true if it is a task. Such a message has the subject that it was
    /// published under, any other that of the request.
    fn heard(&mut self, message: &Message) -> bool {
        let subject = message.subject.as_str();
        let source = match self.start.names.queue_of(subject) {
            Some(queue) => self.sources.iter_mut().find(|source| source.name.as_str() == queue),
            None => {
                let at = subject.rsplit('.').next().and_then(|at| at.parse().ok());
                at.and_then(|at: usize| self.sources.get_mut(at))
            }
        };
        source.is_some_and(|source| source.puller.heard(message, Instant::now()))
    }

    /// A task has come.
    async fn take(&mut self, message: Message) {
        let Some(ack) = message.reply else { return };
        let parcel = message::decode::<Parcel>(&message.payload);
        let stub = if parcel.is_none() { message::decode_stub::<Stub>(&message.payload) } else { None };
        let (queue, key) = match (&parcel, &stub) {
            (Some(parcel), _) => (&parcel.queue, self.hand.key(&parcel.coordinator, parcel.task)),
            (None, Some(stub)) => (&stub.queue, self.hand.key(&stub.coordinator, stub.task)),
            (None, None) => return self.tell(ack, Ack::Never).await,
        };
        // A task for another build, or of a function that is not known, is none of ours, whatever subject it came by.
        if self.sources.iter().all(|source| source.name != *queue) || !names::is_word(&key.0) {
            return self.tell(ack, Ack::Never).await;
        }
        if self.hand.is_done(&key) {
            return self.tell(ack, Ack::Done).await;
        }
        if self.hand.is_dead(&key.0) || self.hand.is_recalled(&key) {
            return self.tell(ack, Ack::Never).await;
        }
        if let Some(held) = self.hand.held.get_mut(&key) {
            // The server took this agent for lost. From now on it waits for the acknowledgement of this delivery.
            held.ack = ack;
            return;
        }
        if self.stop.is_some() {
            // At once it might come here again, as long as the last pull lasts, and count as a delivery each time.
            return self.tell(ack, Ack::Later).await;
        }
        self.hand.held.insert(key.clone(), Held { ack, fingerprint: None, work: None, verdict: None });
        if let Some(parcel) = parcel {
            return self.begin(key, parcel).await;
        }
        let len = stub.map_or(0, |stub| stub.len);
        let (client, from) = (self.client.clone(), self.start.names.whole(&key.0, &key.1.to_string()));
        self.fetches.push(Box::pin(async move {
            let whole = large::fetch(&client, &from, len, LEASE).await;
            (key, whole)
        }));
    }

    /// A long task has come, or is wanted no more.
    async fn fetched(&mut self, key: &Key, whole: Result<Bytes, Missing>) {
        let is_awaited = |held: &Held| held.work.is_none() && held.verdict.is_none();
        if !self.hand.held.get(key).is_some_and(is_awaited) {
            return;
        }
        let parcel = whole.ok().and_then(|whole| message::decode::<Parcel>(&whole));
        match parcel.filter(|parcel| parcel.task == key.1) {
            Some(parcel) => self.begin(key.clone(), parcel).await,
            None => self.let_go(key, Ack::Never).await,
        }
    }

    /// The coordinator wants a piece of a long verdict.
    async fn give_piece(&self, wanted: Message) {
        let Some(reply) = wanted.reply else { return };
        let number = wanted.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let whole = number.and_then(|number| self.hand.verdict(number)).cloned().unwrap_or_default();
        let piece = large::piece(&whole, &wanted.payload, self.client.max_payload());
        self.publish(reply, None, piece).await;
    }

    /// Gives a task to the local pool.
    async fn begin(&mut self, key: Key, parcel: Parcel) {
        let Parcel { queue, function, terms, calls, fingerprint, .. } = parcel;
        if let Some(held) = self.hand.held.get_mut(&key) {
            held.fingerprint = fingerprint;
        }
        let callee = match self.callee(&queue, function) {
            Ok(callee) => callee,
            Err(why) => {
                let ends = Ends::All(Box::new(End::Refused(why.into())));
                return self.decide(&key, Duration::ZERO, ends).await;
            }
        };
        let n_given = self.hand.held.get(&key).and_then(|held| n_given(&held.ack)).unwrap_or(1);
        // This time is no loss of a host.
        let n_lost = n_given.saturating_sub(1);
        if n_lost > u64::from(terms.host_retries) {
            let ends = Ends::All(Box::new(End::HostLost { n_given: n_lost }));
            return self.decide(&key, Duration::ZERO, ends).await;
        }
        let (local, terms) = (&self.start.local, terms.into());
        let with = |function| calls.into_iter().map(|args| (function, args)).collect();
        let task = Arc::new(match callee {
            Callee::Placed(function) => local.feed(worker::call, terms)(with(function)),
            Callee::Registered(function) => local.feed(worker::call_registered, terms)(with(function)),
        });
        if let Some(held) = self.hand.held.get_mut(&key) {
            held.work = Some(task.clone());
        }
        self.running.push(Box::pin(async move {
            let result = poll_fn(|context| engine::poll(&task, context)).await;
            (key, task, result)
        }));
    }

    /// What a task is to call. A place comes from a network, where whoever may give tasks can make one up; and it
    /// means nothing but in a task for this build.
    ///
    /// # Errors
    /// Why nothing is to be called.
    fn callee(&self, queue: &QueueName, place: Option<Function>) -> Result<Callee, &'static str> {
        if let Some((_, function)) = self.start.functions.iter().find(|(name, _)| name == queue) {
            return Ok(Callee::Registered(*function));
        }
        let function = place.filter(|_| *queue == self.start.names.own_queue()).ok_or("the task names no function")?;
        match function.is_listed() {
            Some(true) => Ok(Callee::Placed(function)),
            Some(false) => Err("the program has no such function"),
            None if self.start.trusts_places => Ok(Callee::Placed(function)),
            None => Err(
                "the agent's program was stripped of its symbols, so that functions cannot be told from other places in it \
                 (`AgentBuilder::trust_places`)",
            ),
        }
    }

    /// A task has ended in the local pool.
    async fn ended(&mut self, key: &Key, work: &Work, result: Result<Chunk<Packed>, TaskError>) {
        let held = self.hand.held.get(key).and_then(|held| held.work.as_ref());
        if !held.is_some_and(|held| Arc::ptr_eq(held, work)) {
            // It was taken back meanwhile, and perhaps given again.
            return;
        }
        let (busy, ends) = match result {
            Ok(chunk) => {
                self.learn(chunk.busy);
                (chunk.busy, worker::ends(chunk))
            }
            Err(TaskError::Broken(why)) => {
                self.failed = Some(why);
                return self.stop(Stop::Now).await;
            }
            Err(why) => (Duration::ZERO, Ends::All(Box::new(End::of(why)))),
        };
        self.decide(key, busy, ends).await;
    }

    /// Tasks that take long are not taken ahead of those who could begin with them at once.
    fn learn(&mut self, busy: Duration) {
        let each = busy.max(Duration::from_micros(1)).as_nanos();
        let wanted = usize::try_from(AHEAD.as_nanos() * self.start.n_slots as u128 / each).unwrap_or(MAX_AHEAD);
        let wanted = wanted.clamp(self.start.n_slots + 1, MAX_AHEAD.max(self.start.n_slots + 1));
        // Grows and shrinks by steps: one task says little of the next.
        self.n_ahead = (self.n_ahead * 7 + wanted).div_ceil(8);
    }

    async fn decide(&mut self, key: &Key, busy: Duration, ends: Ends) {
        let kept = self.hand.held.get(key).and_then(|held| held.fingerprint);
        let fingerprint = kept.unwrap_or(0);
        // What is kept goes in one message.
        let longest = if kept.is_some() { self.client.max_payload() } else { large::LONGEST };
        let message = match message::encode(&Verdict { task: key.1, fingerprint, busy, ends }) {
            Ok(message) if message.len() <= longest => Ok(message),
            Ok(message) => Err(format!("the result takes {} bytes, and no more than {longest} can go", message.len())),
            Err(e) => Err(e.to_string()),
        };
        let message = message.or_else(|why| {
            let ends = Ends::All(Box::new(End::Refused(why)));
            message::encode(&Verdict { task: key.1, fingerprint, busy, ends })
        });
        let message = message.expect("a short text can be encoded");
        let Some(number) = self.hand.decide(key, message.clone(), Instant::now()) else { return };
        if kept.is_some() || message.len() > large::WHOLE {
            self.send(key, number, message).await;
        } else {
            self.verdicts.push((key.0.clone(), number, message));
        }
    }

    /// Sends the short verdicts that there are: those for one coordinator as one message, which it confirms at once.
    async fn tell_verdicts(&mut self) {
        let verdicts = std::mem::take(&mut self.verdicts);
        let mut rest = &verdicts[..];
        while let Some((coordinator, first, _)) = rest.first() {
            let (mut next, mut len) = (*first, 0);
            let goes_along = |(other, number, verdict): &&(Arc<str>, u64, Bytes)| {
                len += verdict.len();
                let goes = other == coordinator && *number == next && (next == *first || len <= large::WHOLE);
                next += u64::from(goes);
                goes
            };
            let n_together = rest.iter().take(MAX_TOGETHER).take_while(goes_along).count();
            let (together, others) = rest.split_at(n_together);
            let reply = format!("{}.c.{first}-{}", self.inbox, first + together.len() as u64 - 1);
            let joined = message::join(together.iter().map(|(_, _, verdict)| verdict));
            self.publish(self.start.names.results(coordinator), Some(reply), joined).await;
            rest = others;
        }
    }

    /// Sends a verdict, or its stub; that of a job's task to the server, which keeps it.
    async fn send(&self, key: &Key, number: u64, verdict: Bytes) {
        let (coordinator, task) = key;
        let is_kept = self.hand.held.get(key).is_some_and(|held| held.fingerprint.is_some());
        let reply = format!("{}.c.{number}", self.inbox);
        if is_kept {
            return self.publish(self.start.names.kept(coordinator, *task), Some(reply), verdict).await;
        }
        let mut short = verdict;
        if short.len() > large::WHOLE {
            let (queue, len) = (self.start.names.own_queue(), short.len() as u64);
            let stub = Stub { queue, coordinator: coordinator.to_string(), task: *task, len };
            short = message::encode_stub(&stub).unwrap_or(short);
        }
        self.publish(self.start.names.results(coordinator), Some(reply), short).await;
    }

    /// The coordinator has confirmed a verdict, or there is none; or the server has stored a job's.
    async fn answered(&mut self, message: &Message) {
        let Some(word) = message.subject.rsplit('.').next() else { return };
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { return };
        if message.status != Some(StatusCode::NO_RESPONDERS) && is_refused(&message.payload) {
            // It is sent again.
            return;
        }
        for number in (first..=last).take(MAX_TOGETHER) {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                if let Some(held) = self.hand.unheard(number, Instant::now()) {
                    self.tell(held.ack, Ack::Never).await;
                }
            } else if let Some(held) = self.hand.confirmed(number) {
                self.tell(held.ack, Ack::Done).await;
            }
        }
    }

    /// A coordinator takes tasks back, or gives those of a new kind.
    async fn told(&mut self, message: &Message) {
        let (coordinator, task) = match message::decode(&message.payload) {
            Some(Control::Recall { coordinator, task }) => (coordinator, task),
            Some(Control::Opened) => return self.sources.iter_mut().for_each(|source| source.puller.look_again()),
            None => return,
        };
        let is_meant = |key: &Key, _: &Held| *key.0 == *coordinator && task.is_none_or(|task| task == key.1);
        for key in self.hand.keys(is_meant) {
            self.let_go(&key, Ack::Never).await;
        }
        // The rest may be on its way. A job may be begun anew.
        if !names::is_job(&coordinator) {
            self.hand.recall(&coordinator, task);
        }
    }

    async fn let_go(&mut self, key: &Key, how: Ack) {
        let Some(held) = self.hand.let_go(key) else { return };
        if let Some(work) = held.work {
            work.cancel();
        }
        self.tell(held.ack, how).await;
    }

    async fn stop(&mut self, stop: Stop) {
        if self.stop == Some(Stop::Now) {
            return;
        }
        self.stop = Some(stop);
        let gives_back = |_: &Key, held: &Held| match stop {
            Stop::Now => true,
            Stop::Drain => held.work.as_ref().is_some_and(|work| !work.running()),
        };
        for key in self.hand.keys(gives_back) {
            self.let_go(&key, Ack::Again).await;
        }
    }

    async fn look(&mut self, now: Instant) {
        if self.client.connection_state() != Connection::Connected {
            self.sources.iter_mut().for_each(|source| source.puller.forget());
            let apart = now.duration_since(*self.apart.get_or_insert(now));
            // What it has can be told to nobody. Others are given it once there is a server again.
            if self.stop == Some(Stop::Drain) && apart >= ALONE {
                self.stop(Stop::Now).await;
            }
            return;
        }
        self.apart = None;
        for (key, number, verdict) in self.hand.overdue(now) {
            self.send(&key, number, verdict).await;
        }
        if self.told.is_none_or(|told| now.duration_since(told) >= BEAT) {
            self.told = Some(now);
            self.beat(false).await;
            for held in self.hand.held.values() {
                self.tell(held.ack.clone(), Ack::Working).await;
            }
        }
    }

    async fn beat(&self, leaves: bool) {
        let beat = Beat {
            agent: self.inbox.clone(),
            build: self.start.names.build().to_owned(),
            host: self.host.clone(),
            pid: std::process::id(),
            slots: self.start.n_slots,
            functions: self.sources.iter().filter_map(|source| source.name.function()).map(str::to_owned).collect(),
            n_held: self.hand.held.len(),
            leaves,
        };
        if let Ok(beat) = message::encode(&beat) {
            self.publish(self.start.names.beats(), None, beat).await;
        }
    }

    async fn take_leave(&self) {
        let last_words = async {
            self.beat(true).await;
            let _ = self.client.flush().await;
        };
        if self.client.connection_state() == Connection::Connected {
            let _ = timeout(FAREWELL, last_words).await;
        }
    }

    async fn tell(&self, ack: Subject, what: Ack) {
        let word: &'static [u8] = match what {
            Ack::Done => b"+ACK",
            Ack::Again => b"-NAK",
            Ack::Later => br#"-NAK {"delay": 1000000000}"#,
            Ack::Working => b"+WPI",
            Ack::Never => b"+TERM",
        };
        self.publish(ack, None, Bytes::from_static(word)).await;
    }

    /// If it cannot be sent, whoever waits for it gets it at the next look, or the task comes again.
    async fn publish(&self, subject: impl Into<Subject>, reply: Option<String>, payload: Bytes) {
        let subject = subject.into();
        let _ = match reply {
            Some(reply) => self.client.publish_with_reply(subject, reply, payload).await,
            None => self.client.publish(subject, payload).await,
        };
    }
}

/// What the server is told of a task that it has given.
#[derive(Clone, Copy)]
enum Ack {
    Done,
    /// Give it to somebody.
    Again,
    /// The same, a second later.
    Later,
    /// It is being worked on.
    Working,
    /// Nobody wants it.
    Never,
}

/// Whether an answer says that the server has not stored a verdict, and has none of that task. A coordinator's is empty.
fn is_refused(answer: &[u8]) -> bool {
    if answer.is_empty() {
        return false;
    }
    let answer: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let why = answer.as_ref().and_then(|answer| answer["error"]["description"].as_str());
    why.is_some_and(|why| !why.contains("maximum messages per subject"))
}

/// How many times the server has given a task, by the subject of its acknowledgement: `$JS.ACK`, then stream, consumer and
/// number; later servers put domain and account before the stream.
fn n_given(ack: &str) -> Option<u64> {
    let words: Vec<&str> = ack.split('.').collect();
    words.get(if words.len() > 9 { 6 } else { 4 })?.parse().ok()
}

fn host_name() -> String {
    // Without a name it is told from others by its pid.
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_by_both_forms_of_acknowledgements() {
        assert_eq!(n_given("$JS.ACK.MP_p.b1.3.10.11.1700000000.5"), Some(3));
        assert_eq!(n_given("$JS.ACK._.hash.MP_p.b1.4.10.11.1700000000.5.x"), Some(4));
        assert_eq!(n_given("$JS.ACK.x"), None);
    }
}
