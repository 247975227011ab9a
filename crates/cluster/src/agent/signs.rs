//! Signs of life: that an agent is there, and works on what it has in hand.

use std::time::{Duration, Instant};

use async_nats::connection::State as Connection;
use bytes::Bytes;
use tokio::time::timeout;

use super::{
    ack::Ack,
    run::{AgentLoop, Stop},
};
use crate::message::{self, Beat};

/// How often coordinators and the server are told that the agent lives, and works on what it holds.
const BEAT: Duration = Duration::from_secs(1);
/// How long an agent that is to end waits for a server to come back.
const ALONE: Duration = Duration::from_secs(5);
/// No coordinator has this name.
const NOBODY: &str = "nobody";
/// For the last words.
const FAREWELL: Duration = Duration::from_secs(2);

impl AgentLoop {
    pub(super) async fn look(&mut self, now: Instant) {
        if self.client.connection_state() != Connection::Connected {
            self.sources.iter_mut().for_each(|source| source.puller.forget());
            let apart = now.duration_since(*self.apart.get_or_insert(now));
            // Without a server it cannot give its tasks back. The server gives them to others once it is there again.
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
            for ack in self.hand.untold(BEAT / 2, now).into_iter().chain(self.doubts.acks()) {
                self.tell(ack, Ack::Working).await;
            }
            self.ask_again().await;
        }
    }

    pub(super) async fn beat(&self, leaves: bool) {
        let beat = Beat {
            agent: self.inbox.clone(),
            build: self.config.names.build().to_owned(),
            host: self.host.clone(),
            pid: std::process::id(),
            slots: self.config.n_slots,
            functions: self.sources.iter().filter_map(|source| source.name.function()).map(str::to_owned).collect(),
            n_held: self.hand.held.len(),
            leaves,
        };
        if let Ok(beat) = message::encode(&beat) {
            self.publish(self.config.names.beats(), None, beat).await;
        }
    }

    pub(super) async fn take_leave(&self) {
        let last_words = async {
            self.beat(true).await;
            // A connection that has ended has the server drop what it has not read: acknowledgements, whose tasks would run again.
            // So it is waited for until it says that nobody is there, who is asked last.
            let _ = self.client.request(self.config.names.results(NOBODY), Bytes::new()).await;
        };
        if self.client.connection_state() == Connection::Connected {
            let _ = timeout(FAREWELL, last_words).await;
        }
    }
}
