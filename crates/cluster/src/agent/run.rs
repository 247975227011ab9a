//! The agent's thread, once it is connected.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subject, Subscriber, connection::State as Connection};
use bytes::Bytes;
use futures_util::{Future, FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use pool::{
    PoolError, ProcessPool, TaskError,
    engine::{self, Chunk},
};
use proc_core::function::Function;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};

use super::{
    ack::Ack,
    doubts::Doubts,
    held::{Hand, Held, Key, Packed, Work},
    puller::Puller,
};
use crate::{
    address::Address,
    large::Missing,
    message::{self, Control},
    names::{self, Names, QueueName},
};

/// What an agent needs to begin.
pub(super) struct AgentConfig {
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

/// Messages that the server may be asked for at a time, on an agent of few slots.
const MAX_ASKED_FOR: usize = 32;
/// Between two looks at what is in hand.
const LOOK: Duration = Duration::from_millis(100);

pub(super) type Running =
    FuturesUnordered<Pin<Box<dyn Future<Output = (Key, Work, Result<Chunk<Packed>, TaskError>)>>>>;
pub(super) type TaskFetches = FuturesUnordered<Pin<Box<dyn Future<Output = (Key, Result<Bytes, Missing>)>>>>;

pub(super) struct AgentInputs {
    pub(super) tasks: Subscriber,
    pub(super) confirmations: Subscriber,
    pub(super) control: Subscriber,
    /// Requests for the whole of a verdict.
    pub(super) wholes: Subscriber,
    pub(super) stops: UnboundedReceiver<Stop>,
}

pub(super) struct Source {
    pub(super) name: QueueName,
    pub(super) puller: Puller,
}

pub(super) struct AgentLoop {
    pub(super) config: AgentConfig,
    pub(super) host: String,
    pub(super) client: Client,
    pub(super) inbox: String,
    pub(super) hand: Hand,
    pub(super) doubts: Doubts,
    /// Those that are not sent yet: for whom, and their numbers.
    pub(super) verdicts: Vec<(Arc<str>, u64, Bytes)>,
    pub(super) running: Running,
    /// Long tasks, on their way.
    pub(super) fetches: TaskFetches,
    /// Where tasks come from: those of this build first.
    pub(super) sources: Vec<Source>,
    /// How many tasks to have in hand.
    pub(super) n_ahead: usize,
    pub(super) stop: Option<Stop>,
    /// Why it cannot go on.
    pub(super) failed: Option<PoolError>,
    /// When it last told that it lives.
    pub(super) told: Option<Instant>,
    /// Since when there is no server.
    pub(super) apart: Option<Instant>,
}

impl AgentLoop {
    pub(super) async fn run(mut self, mut inputs: AgentInputs) -> Result<(), PoolError> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over() {
            tokio::select! {
                message = inputs.tasks.next() => {
                    // What has come together is begun with together, and so are acknowledgements sent.
                    let mut next = message;
                    while let Some(message) = next {
                        if self.heard(&message) {
                            self.take(message).await;
                        }
                        next = inputs.tasks.next().now_or_never().flatten();
                    }
                },
                message = inputs.confirmations.next() => {
                    let mut next = message;
                    while let Some(message) = next {
                        self.answered(&message).await;
                        next = inputs.confirmations.next().now_or_never().flatten();
                    }
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
        let room = self.n_ahead.saturating_sub(self.hand.held.len() + self.doubts.len());
        // When half of them have gone, or a worker is about to have none.
        let least = self.n_ahead - (self.n_ahead / 2).max(self.config.n_slots).min(self.n_ahead);
        let now = Instant::now();
        // Those that have tasks share the room. The others are asked for one, to see when they have.
        let n_busy = self.sources.iter().filter(|source| source.puller.is_busy(now)).count();
        let is_only = self.sources.len() == 1;
        for at in 0..self.sources.len() {
            let Source { name, puller } = &mut self.sources[at];
            let share = if is_only || puller.is_busy(now) { n_busy.max(1) } else { room };
            let n_messages = |n_tasks: usize| n_tasks.div_ceil(share.max(1) * puller.n_together());
            // The next ones may have many tasks each, whatever those before had.
            let most = MAX_ASKED_FOR.max(2 * self.config.n_slots);
            let (room, least) = (n_messages(room).min(most), n_messages(least).min(most / 2));
            let Some(request) = puller.request(room, least, now) else { continue };
            let names = &self.config.names;
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", names.stream(), names.consumer(name));
            self.publish(subject, Some(format!("{}.t.{at}", self.inbox)), request.into()).await;
        }
    }

    /// Takes note of what has come from a consumer; true if it is a task. Such a message has the subject that it was
    /// published under, any other that of the request.
    fn heard(&mut self, message: &Message) -> bool {
        let subject = message.subject.as_str();
        let source = match self.config.names.queue_of(subject) {
            Some(queue) => self.sources.iter_mut().find(|source| source.name.as_str() == queue),
            None => {
                let at = subject.rsplit('.').next().and_then(|at| at.parse().ok());
                at.and_then(|at: usize| self.sources.get_mut(at))
            }
        };
        source.is_some_and(|source| source.puller.heard(message, Instant::now()))
    }

    /// A coordinator takes tasks back, or gives those of a new kind.
    pub(super) async fn told(&mut self, message: &Message) {
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

    pub(super) async fn let_go(&mut self, key: &Key, how: Ack) {
        let (work, ack) = self.hand.let_go(key);
        if let Some(work) = work {
            work.cancel();
        }
        if let Some(ack) = ack {
            self.tell(ack, how).await;
        }
    }

    pub(super) async fn stop(&mut self, stop: Stop) {
        if self.stop == Some(Stop::Now) {
            return;
        }
        self.stop = Some(stop);
        self.give_doubts_back().await;
        for key in self.hand.keys(|_, _| true) {
            if stop == Stop::Now {
                self.let_go(&key, Ack::Again).await;
                continue;
            }
            let work = self.hand.held.get(&key).and_then(|held| held.work.clone());
            if !work.is_some_and(|work| engine::recall(&work)) {
                // It runs, or it has run.
                continue;
            }
            // The server has a batch in one message, of which other tasks run.
            if self.hand.is_of_batch(&key) {
                // As the server counts what it has to give again.
                self.give_back(&key, self.hand.n_lost(&key).saturating_add(1)).await;
            } else {
                self.let_go(&key, Ack::Again).await;
            }
        }
    }

    pub(super) async fn tell(&self, ack: Subject, what: Ack) {
        let word: &'static [u8] = match what {
            Ack::Done => b"+ACK",
            Ack::Again => b"-NAK",
            Ack::Later => br#"-NAK {"delay": 1000000000}"#,
            Ack::Working => b"+WPI",
            Ack::Never => b"+TERM",
        };
        self.publish(ack, None, Bytes::from_static(word)).await;
    }

    /// If it cannot be sent, the coordinator gets it at the next look, or the task comes again.
    pub(super) async fn publish(&self, subject: impl Into<Subject>, reply: Option<String>, payload: Bytes) {
        let subject = subject.into();
        let _ = match reply {
            Some(reply) => self.client.publish_with_reply(subject, reply, payload).await,
            None => self.client.publish(subject, payload).await,
        };
    }
}
