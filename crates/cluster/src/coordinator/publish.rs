//! A task's way to the server: it is published, and acknowledged there.

use std::time::Instant;

use async_nats::{HeaderMap, Message, connection::State as Connection};
use bytes::Bytes;
use serde::Deserialize;

use super::{kept, ledger::Publication, queue::Queue, run::CoordinatorLoop};
use crate::{
    large::{self, Stub},
    message,
};

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

impl CoordinatorLoop {
    /// Publishes as much as the window allows.
    pub(super) async fn send(&self) {
        if !self.shared.state.lock().ledger.has_room() {
            return;
        }
        let max_bytes = large::whole(self.client.max_payload());
        // What the client cannot send it keeps, and it takes no more than fits: it is not asked while it cannot send.
        while self.client.connection_state() == Connection::Connected {
            let next = self.shared.state.lock().ledger.next(max_bytes, Instant::now());
            let Some(Publication { queue, span, attempt, n_lost, mut parcels }) = next else { return };
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("{}/{span}/{attempt}", self.shared.coordinator));
            if n_lost > 0 {
                headers.insert(message::N_LOST, n_lost.to_string());
            }
            let reply = format!("{}.{span}", self.inbox);
            let subject = queue.subject_of(span.last());
            let payload = match parcels.len() {
                1 => {
                    let (task, parcel) = parcels.remove(0);
                    self.short(&queue, task, parcel)
                }
                _ => message::join(parcels.iter().map(|(_, parcel)| parcel)),
            };
            let sent = self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await;
            if sent.is_err() {
                self.shared.state.lock().ledger.refused(span, Instant::now());
            }
        }
    }

    /// What is sent of a task: itself, or its stub.
    pub(super) fn short(&self, queue: &Queue, task: u64, parcel: Bytes) -> Bytes {
        if parcel.len() <= large::whole(self.client.max_payload()) {
            return parcel;
        }
        let (coordinator, task) = queue.key(&self.shared.coordinator, task);
        let (coordinator, len) = (coordinator.to_owned(), parcel.len() as u64);
        let stub = Stub { queue: queue.name.clone(), coordinator, task, len };
        message::encode_stub(&stub).unwrap_or(parcel)
    }

    /// The server has stored a message, or refuses to.
    pub(super) fn acknowledged(&mut self, ack: &Message) {
        let Some(span) = ack.subject.rsplit('.').next().and_then(|span| span.parse().ok()) else { return };
        let refusal = match (ack.status, serde_json::from_slice::<Answer>(&ack.payload)) {
            (None, Ok(answer)) => answer.error.map(|error| error.description),
            _ => Some("it has no stream for them".to_owned()),
        };
        let ledger = &mut self.shared.state.lock().ledger;
        if refusal.is_none() {
            ledger.stored(span);
            self.gets_on = true;
        } else {
            ledger.refused(span, Instant::now());
        }
        self.refusal = refusal;
    }

    /// An agent wants a piece of a long task.
    pub(super) async fn give_piece(&self, wanted: Message) {
        let Some(reply) = wanted.reply else { return };
        let task = kept::number(&wanted.subject);
        let whole = task.and_then(|task| self.shared.state.lock().ledger.whole(task)).unwrap_or_default();
        // If it does not get there, the agent asks again.
        let _ = self.client.publish(reply, large::piece(&whole, &wanted.payload, self.client.max_payload())).await;
    }
}
