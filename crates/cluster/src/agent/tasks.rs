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
    held::{Held, Key, LEASE, Packed},
    run::{AgentLoop, Stop, Work},
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

impl AgentLoop {
    /// A task has come.
    pub(super) async fn take(&mut self, message: Message) {
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
            held.told = Instant::now();
            return;
        }
        if self.stop.is_some() {
            // At once it might come here again, as long as the last pull lasts, and count as a delivery each time.
            return self.tell(ack, Ack::Later).await;
        }
        self.hand
            .held
            .insert(key.clone(), Held { ack, told: Instant::now(), fingerprint: None, work: None, verdict: None });
        if let Some(parcel) = parcel {
            return self.begin(key, parcel).await;
        }
        let len = stub.map_or(0, |stub| stub.len);
        let (client, from) = (self.client.clone(), self.config.names.whole(&key.0, &key.1.to_string()));
        self.fetches.push(Box::pin(async move {
            let whole = large::fetch(&client, &from, len, LEASE).await;
            (key, whole)
        }));
    }

    /// A long task has come, or is wanted no more.
    pub(super) async fn fetched(&mut self, key: &Key, whole: Result<Bytes, Missing>) {
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
        let n_given = self.hand.held.get(&key).and_then(|held| n_given(&held.ack)).unwrap_or(1);
        // This time is no loss of a host.
        let n_lost = n_given.saturating_sub(1);
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
