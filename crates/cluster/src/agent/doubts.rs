//! Tasks of coordinators that were not there for a whole lease.
//!
//! One that was stopped, or cut off, comes back. So it is asked whether it is there before its tasks are dropped.

use std::{collections::HashMap, sync::Arc};

use async_nats::{Message, StatusCode, Subject};

use super::{ack::Ack, run::AgentLoop};
use crate::message;

/// What its answer to that question has in the place of a verdict's number.
pub(super) const ALIVE: &str = "alive-";

/// Messages with such tasks, until there is an answer.
#[derive(Default)]
pub(super) struct Doubts(HashMap<Arc<str>, Vec<Message>>);

impl Doubts {
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Where to tell the server that they are not forgotten.
    pub(super) fn acks(&self) -> Vec<Subject> {
        self.0.values().flatten().filter_map(|message| message.reply.clone()).collect()
    }
}

impl AgentLoop {
    /// A message with tasks of a coordinator that seemed dead has come.
    pub(super) async fn doubt(&mut self, coordinator: Arc<str>, message: Message) {
        let messages = self.doubts.0.entry(coordinator.clone()).or_default();
        messages.push(message);
        if messages.len() == 1 {
            self.ask_whether_alive(&coordinator).await;
        }
    }

    /// No verdicts are confirmed, too.
    async fn ask_whether_alive(&self, coordinator: &str) {
        let reply = format!("{}.c.{ALIVE}{coordinator}", self.inbox);
        self.publish(self.config.names.results(coordinator), Some(reply), message::join([].iter())).await;
    }

    pub(super) async fn ask_again(&self) {
        for coordinator in self.doubts.0.keys() {
            self.ask_whether_alive(coordinator).await;
        }
    }

    /// A coordinator is there, or none is.
    pub(super) async fn is_alive(&mut self, coordinator: &str, answer: &Message) {
        let Some(messages) = self.doubts.0.remove(coordinator) else { return };
        let is_dead = answer.status == Some(StatusCode::NO_RESPONDERS);
        if !is_dead {
            self.hand.revive(coordinator);
        }
        for message in messages {
            match message.reply.clone() {
                Some(ack) if is_dead => self.tell(ack, Ack::Never).await,
                _ => self.take(message).await,
            }
        }
    }

    /// They are for another agent.
    pub(super) async fn give_doubts_back(&mut self) {
        let doubts = std::mem::take(&mut self.doubts);
        for ack in doubts.acks() {
            self.tell(ack, Ack::Again).await;
        }
    }
}
