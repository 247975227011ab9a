//! Whether a coordinator that was not there for a whole lease is there.
//!
//! One that was stopped, or cut off, comes back. So it is asked before its tasks are dropped.

use std::sync::Arc;

use async_nats::{Message, StatusCode};

use super::{ack::Ack, run::AgentLoop};
use crate::message;

/// What its answer to that question has in the place of a verdict's number.
pub(super) const ALIVE: &str = "alive-";

impl AgentLoop {
    /// A message with tasks of a coordinator that seemed dead has come.
    pub(super) async fn doubt(&mut self, coordinator: Arc<str>, message: Message) {
        if self.doubts.add(coordinator.clone(), message) {
            self.ask_whether_alive(&coordinator).await;
        }
    }

    /// No verdicts are confirmed, too.
    async fn ask_whether_alive(&self, coordinator: &str) {
        let reply = format!("{}.c.{ALIVE}{coordinator}", self.inbox);
        self.publish(self.config.names.results(coordinator), Some(reply), message::join([].iter())).await;
    }

    pub(super) async fn ask_again(&self) {
        for coordinator in self.doubts.coordinators() {
            self.ask_whether_alive(coordinator).await;
        }
    }

    /// A coordinator is there, or none is.
    pub(super) async fn is_alive(&mut self, coordinator: &str, answer: &Message) {
        let messages = self.doubts.remove(coordinator);
        if messages.is_empty() {
            return;
        }
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
