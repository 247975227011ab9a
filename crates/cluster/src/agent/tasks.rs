//! A task's way through an agent: from its delivery to its end in the local pool.

use std::{
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Message;
use bytes::Bytes;
use pool::{
    Executor as _, TaskError,
    engine::{self, Chunk},
};
use proc_core::function::Function;

use super::{
    ack::{Ack, n_given},
    held::{Held, Key, LEASE, Packed, Work},
    run::{AgentLoop, Stop},
    worker,
};
use crate::{
    large::{self, Missing, Stub},
    message::{self, End, Ends, Parcel},
    names::{self, QueueName},
};

/// Work that is taken ahead: enough to bridge a round trip.
const AHEAD: Duration = Duration::from_millis(20);
/// Tasks that are taken ahead at most.
const MAX_AHEAD: usize = 256;

/// What a worker is to call.
enum Callee {
    /// What lies at this place.
    Placed(Function),
    /// What was registered.
    Registered(Function),
}

/// A task as it comes.
enum Arrival {
    Whole(Parcel),
    /// The rest is to be fetched.
    Stub(Stub),
}

impl Arrival {
    /// The tasks of a message; `None` if it is something else.
    fn all(payload: &[u8]) -> Option<Vec<Self>> {
        if let Some(joined) = message::split(payload) {
            return joined.into_iter().map(|parcel| message::decode(parcel).map(Self::Whole)).collect();
        }
        let whole = message::decode(payload).map(Self::Whole);
        Some(vec![whole.or_else(|| message::decode_stub(payload).map(Self::Stub))?])
    }

    /// Its queue, its coordinator and that one's number of it.
    fn of(&self) -> (&QueueName, &str, u64) {
        match self {
            Self::Whole(parcel) => (&parcel.queue, &parcel.coordinator, parcel.task),
            Self::Stub(stub) => (&stub.queue, &stub.coordinator, stub.task),
        }
    }
}

impl AgentLoop {
    /// A message with tasks has come.
    pub(super) async fn take(&mut self, message: Message) {
        let Some(ack) = message.reply.clone() else { return };
        let before = message.headers.as_ref().and_then(|headers| headers.get(message::N_LOST)?.as_str().parse().ok());
        // This time is no loss of a host.
        let n_lost = n_given(&ack).map_or(0, |n| n.saturating_sub(1)).saturating_add(before.unwrap_or(0));
        let Some(arrivals) = Arrival::all(&message.payload) else { return self.tell(ack, Ack::Never).await };
        // A task for another build, or of a function that is not known, is none of ours, whatever subject it came by.
        let is_ours = |arrival: &Arrival| {
            let (queue, coordinator, _) = arrival.of();
            self.sources.iter().any(|source| source.name == *queue) && names::is_word(coordinator)
        };
        if !arrivals.iter().all(is_ours) {
            return self.tell(ack, Ack::Never).await;
        }
        if let Some(source) =
            arrivals.first().and_then(|first| self.sources.iter_mut().find(|s| s.name == *first.of().0))
        {
            source.puller.learn(arrivals.len());
        }
        // A message has tasks of one coordinator.
        if let Some(first) = arrivals.first() {
            let (coordinator, _) = self.hand.key(first.of().1, 0);
            match self.hand.is_dead(&coordinator) {
                true if self.stop.is_some() => return self.tell(ack, Ack::Later).await,
                true => return self.doubt(coordinator, message).await,
                false => {}
            }
        }
        let is_batch = arrivals.len() > 1;
        let delivery = self.hand.deliver(ack, n_lost, is_batch, Instant::now());
        let mut answer = Ack::Never;
        for arrival in arrivals {
            let (_, coordinator, task) = arrival.of();
            let key = self.hand.key(coordinator, task);
            if !is_batch && let Some(ack) = self.hand.comes_alone(&key) {
                self.tell(ack, Ack::Done).await;
            }
            if self.hand.is_done(&key) {
                answer = Ack::Done;
                continue;
            }
            if self.hand.is_recalled(&key) || !self.hand.hold(&key, delivery) {
                continue;
            }
            match arrival {
                // A host was lost with the batch, by one of its tasks perhaps; and some may have ended there.
                _ if is_batch && (n_lost > 0 || self.stop.is_some()) => self.give_back(&key, n_lost).await,
                // At once it might come here again, as long as the last pull lasts, and count as a delivery each time.
                _ if self.stop.is_some() => self.let_go(&key, Ack::Later).await,
                Arrival::Whole(parcel) => self.begin(key, parcel).await,
                Arrival::Stub(stub) => self.fetch(key, stub.len),
            }
        }
        if let Some(ack) = self.hand.refuse(delivery) {
            self.tell(ack, answer).await;
        }
    }

    fn fetch(&self, key: Key, len: u64) {
        let (client, from) = (self.client.clone(), self.config.names.whole(&key.0, &key.1.to_string()));
        self.fetches.push(Box::pin(async move {
            let whole = large::fetch(&client, &from, len, LEASE).await;
            (key, whole)
        }));
    }

    /// Has the coordinator give a task of a batch alone. If too many hosts were lost with it, the next agent says so: it may have
    /// been taken out of the batch before, and run elsewhere.
    pub(super) async fn give_back(&mut self, key: &Key, n_lost: u64) {
        self.decide(key, Duration::ZERO, Ends::GivenBack { n_lost }).await;
    }

    /// A long task has come, or is wanted no more.
    pub(super) async fn fetched(&mut self, key: &Key, whole: Result<Bytes, Missing>) {
        let is_awaited = |held: &Held| held.work.is_none() && held.verdict.is_none();
        if !self.hand.held.get(key).is_some_and(is_awaited) {
            return;
        }
        if whole.as_ref().is_err_and(|why| *why == Missing::Unreachable) && !names::is_job(&key.0) {
            // It is asked whether it is there when the task comes again.
            self.hand.presume_dead(&key.0);
            return self.let_go(key, Ack::Later).await;
        }
        let parcel = whole.ok().and_then(|whole| message::decode::<Parcel>(&whole));
        match parcel.filter(|parcel| parcel.task == key.1) {
            Some(parcel) => self.begin(key.clone(), parcel).await,
            None => self.let_go(key, Ack::Never).await,
        }
    }

    /// Gives a task to the local pool.
    pub(super) async fn begin(&mut self, key: Key, parcel: Parcel) {
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
        let n_lost = self.hand.n_lost(&key);
        if n_lost > u64::from(terms.host_retries) {
            let ends = Ends::All(Box::new(End::HostLost { n_given: n_lost }));
            return self.decide(&key, Duration::ZERO, ends).await;
        }
        let (local, terms) = (&self.config.local, terms.into());
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

    /// What a task is to call. A place comes from a network, where a client that may give tasks can make one up; and it
    /// means nothing but in a task for this build.
    ///
    /// # Errors
    /// Why nothing is to be called.
    fn callee(&self, queue: &QueueName, place: Option<Function>) -> Result<Callee, &'static str> {
        if let Some((_, function)) = self.config.functions.iter().find(|(name, _)| name == queue) {
            return Ok(Callee::Registered(*function));
        }
        let function = place.filter(|_| *queue == self.config.names.own_queue()).ok_or("the task names no function")?;
        match function.is_listed() {
            Some(true) => Ok(Callee::Placed(function)),
            Some(false) => Err("the program has no such function"),
            None if self.config.trusts_places => Ok(Callee::Placed(function)),
            None => Err(
                "the agent's program was stripped of its symbols, so that functions cannot be told from other places in it \
                 (`AgentBuilder::trust_places`)",
            ),
        }
    }

    /// A task has ended in the local pool.
    pub(super) async fn ended(&mut self, key: &Key, work: &Work, result: Result<Chunk<Packed>, TaskError>) {
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

    /// Long tasks are not taken ahead, as other agents could begin with them at once.
    pub(super) fn learn(&mut self, busy: Duration) {
        let each = busy.max(Duration::from_micros(1)).as_nanos();
        let wanted = usize::try_from(AHEAD.as_nanos() * self.config.n_slots as u128 / each).unwrap_or(MAX_AHEAD);
        let wanted = wanted.clamp(self.config.n_slots + 1, MAX_AHEAD.max(self.config.n_slots + 1));
        // Grows and shrinks by steps: one task says little of the next.
        self.n_ahead = (self.n_ahead * 7 + wanted).div_ceil(8);
    }
}
