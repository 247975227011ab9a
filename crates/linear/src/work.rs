//! What a user of the queue does, and notes.

use std::time::Duration;

use ipc::{GetError, GetTimeoutError, PutTimeoutError, Queue, TryGetError, TryPutError};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sync::process::Barrier;

use crate::history::{Event, What, note};

/// A pattern of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pattern {
    /// Puts and gets at random, without waiting or with a short time limit.
    Mixed,
    /// Puts one, then tries to get one: a queue is never empty for who has put more than was taken.
    Echo,
    /// Some only put, one by one or several at once; the others only get, until the queue is closed.
    Stream,
}

impl Pattern {
    pub(crate) const ALL: [Self; 3] = [Self::Mixed, Self::Echo, Self::Stream];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Echo => "echo",
            Self::Stream => "stream",
        }
    }
}

/// What one of the workers is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) who: u64,
    pub(crate) pattern: Pattern,
    pub(crate) n_calls: u64,
    pub(crate) seed: u64,
    /// Whether all workers share one CPU.
    pub(crate) is_pinned: bool,
}

impl Part {
    /// Whether it ends by itself, and not because the queue is closed.
    pub(crate) fn ends_by_itself(&self) -> bool {
        self.pattern != Pattern::Stream || self.who.is_multiple_of(2)
    }
}

/// A message that carries a value, and can tell whether it arrived whole.
pub(crate) trait Message: Serialize + DeserializeOwned + Send + 'static {
    fn of(value: u64) -> Self;
    fn value(self) -> Option<u64>;
}

impl Message for u64 {
    fn of(value: u64) -> Self {
        value
    }

    fn value(self) -> Option<u64> {
        Some(self)
    }
}

/// Fits into a slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Pair(u64, u64);

impl Message for Pair {
    fn of(value: u64) -> Self {
        Self(value, !value)
    }

    fn value(self) -> Option<u64> {
        (self.1 == !self.0).then_some(self.0)
    }
}

/// Too long for a slot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Large(u64, Vec<u64>);

impl Message for Large {
    fn of(value: u64) -> Self {
        Self(value, vec![value; 150])
    }

    fn value(self) -> Option<u64> {
        (self.1.len() == 150 && self.1.iter().all(|word| *word == self.0)).then_some(self.0)
    }
}

const SHORT: Duration = Duration::from_micros(100);
/// Longer than anybody is stopped; a queue that is wedged must not wedge the judge.
const LONG: Duration = Duration::from_secs(2);

/// Waits until all workers are there, does its part, and returns what was done.
pub(crate) fn work<M: Message>(queue: &Queue<M>, part: Part, start: &Barrier) -> Vec<Event> {
    if part.is_pinned {
        pin();
    }
    let mut worker = Worker { queue, next: part.who << 40, random: part.seed | 1, events: Vec::new() };
    // If one of the workers has died, the others go on without it.
    let _ = start.wait();
    match part.pattern {
        Pattern::Mixed => {
            for _ in 0..part.n_calls {
                worker.something();
            }
        }
        Pattern::Echo => {
            for _ in 0..part.n_calls / 2 {
                worker.put(LONG);
                worker.try_get();
            }
        }
        Pattern::Stream if part.ends_by_itself() => {
            while worker.next < (part.who << 40) + part.n_calls {
                worker.put_some();
            }
        }
        Pattern::Stream => while worker.get_some() {},
    }
    worker.events
}

/// After the work: takes what is left, until the queue is empty.
pub(crate) fn drain<M: Message>(queue: &Queue<M>) -> Vec<Event> {
    let mut worker = Worker { queue, next: 0, random: 1, events: Vec::new() };
    while worker.try_get() {}
    worker.events
}

fn pin() {
    let mut first = CpuSet::new();
    // If it cannot be pinned, it works all the same.
    let _ = first.set(0).and_then(|()| sched_setaffinity(Pid::from_raw(0), &first));
}

struct Worker<'a, M> {
    queue: &'a Queue<M>,
    next: u64,
    random: u64,
    events: Vec<Event>,
}

impl<M: Message> Worker<'_, M> {
    fn random(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    fn something(&mut self) {
        match self.random(8) {
            0..3 => self.try_put(),
            3 => self.put(SHORT),
            4..7 => {
                self.try_get();
            }
            _ => self.get(SHORT),
        }
    }

    fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn try_put(&mut self) {
        let (queue, value) = (self.queue, self.next());
        note(&mut self.events, || match queue.try_put(M::of(value)) {
            Ok(()) => Some(What::Put(vec![value])),
            Err(TryPutError::Full(_)) => Some(What::Full),
            Err(_) => Some(What::Torn),
        });
    }

    fn put(&mut self, limit: Duration) {
        let (queue, value) = (self.queue, self.next());
        note(&mut self.events, || match queue.put_timeout(M::of(value), limit) {
            Ok(()) => Some(What::Put(vec![value])),
            Err(PutTimeoutError::TimedOut(_)) => Some(What::Full),
            Err(_) => Some(What::Torn),
        });
    }

    fn put_some(&mut self) {
        let n = 1 + self.random(4).saturating_sub(1);
        let (queue, values) = (self.queue, (0..n).map(|_| self.next()).collect::<Vec<_>>());
        note(&mut self.events, || {
            let done = match values[..] {
                [value] => queue.put(M::of(value)).is_ok(),
                _ => queue.put_many(values.iter().map(|value| M::of(*value))).is_ok(),
            };
            Some(if done { What::Put(values) } else { What::Torn })
        });
    }

    /// Whether there was something.
    fn try_get(&mut self) -> bool {
        let queue = self.queue;
        note(&mut self.events, || match queue.try_get() {
            Ok(message) => Some(taken([message])),
            Err(TryGetError::Empty | TryGetError::Closed) => Some(What::Empty),
            Err(_) => Some(What::Torn),
        });
        !matches!(self.events.last(), Some(Event { what: What::Empty, .. }))
    }

    fn get(&mut self, limit: Duration) {
        let queue = self.queue;
        note(&mut self.events, || match queue.get_timeout(limit) {
            Ok(message) => Some(taken([message])),
            Err(GetTimeoutError::TimedOut) => Some(What::Empty),
            Err(_) => Some(What::Torn),
        });
    }

    /// Whether the queue is open, or was not empty.
    fn get_some(&mut self) -> bool {
        let (queue, n) = (self.queue, self.random(6) as usize);
        note(&mut self.events, || {
            let got = if n < 2 { queue.get().map(|message| vec![message]) } else { queue.get_many(n) };
            match got {
                Ok(messages) => Some(taken(messages)),
                Err(GetError::Closed) => Some(What::Empty),
                Err(_) => Some(What::Torn),
            }
        });
        !matches!(self.events.last(), Some(Event { what: What::Empty, .. }))
    }
}

fn taken<M: Message>(messages: impl IntoIterator<Item = M>) -> What {
    messages.into_iter().map(M::value).collect::<Option<Vec<_>>>().map_or(What::Torn, What::Got)
}
