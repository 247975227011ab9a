//! Messages with tasks of coordinators that were not there for a whole lease, until it is known whether they are.

use std::{collections::HashMap, sync::Arc};

use async_nats::{Message, Subject};

/// By the coordinator.
#[derive(Default)]
pub(super) struct Doubts(HashMap<Arc<str>, Vec<Message>>);

impl Doubts {
    /// Whether it is the first of its coordinator.
    pub(super) fn add(&mut self, coordinator: Arc<str>, message: Message) -> bool {
        let messages = self.0.entry(coordinator).or_default();
        messages.push(message);
        messages.len() == 1
    }

    /// All of a coordinator.
    pub(super) fn remove(&mut self, coordinator: &str) -> Vec<Message> {
        self.0.remove(coordinator).unwrap_or_default()
    }

    pub(super) fn coordinators(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Where to tell the server that they are not forgotten.
    pub(super) fn acks(&self) -> Vec<Subject> {
        self.0.values().flatten().filter_map(|message| message.reply.clone()).collect()
    }
}
