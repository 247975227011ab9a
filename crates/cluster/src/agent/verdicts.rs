//! A verdict's way from an agent: to its coordinator until that confirms it, and then the server is told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Message, StatusCode};
use bytes::Bytes;

use super::{ack::Ack, alive::ALIVE, held::Key, run::AgentLoop};
use crate::{
    large::{self, Stub},
    message::{self, End, Ends, Verdict},
};

/// Verdicts in one message at most.
const MAX_TOGETHER: usize = 1024;

impl AgentLoop {
    pub(super) async fn decide(&mut self, key: &Key, busy: Duration, ends: Ends) {
        let kept = self.hand.held.get(key).and_then(|held| held.fingerprint);
        let fingerprint = kept.unwrap_or(0);
        // What is kept goes in one message.
        let longest = if kept.is_some() { self.client.max_payload() } else { large::LONGEST };
        let gives_back = matches!(ends, Ends::GivenBack { .. });
        let build = (!ends.are_values()).then(|| self.config.names.build().to_owned());
        let message = match message::encode(&Verdict { task: key.1, fingerprint, busy, build, ends }) {
            Ok(message) if message.len() <= longest => Ok(message),
            Ok(message) => Err(format!("the result takes {} bytes, and no more than {longest} can go", message.len())),
            Err(e) => Err(e.to_string()),
        };
        let message = message.or_else(|why| {
            let ends = Ends::All(Box::new(End::Refused(why)));
            message::encode(&Verdict { task: key.1, fingerprint, busy, build: None, ends })
        });
        let message = message.expect("a short text can be encoded");
        let Some(number) = self.hand.decide(key, message.clone(), gives_back, Instant::now()) else { return };
        if kept.is_some() || message.len() > large::whole(self.client.max_payload()) {
            self.send(key, number, message).await;
        } else {
            self.verdicts.push((key.0.clone(), number, message));
        }
    }

    /// Sends the short verdicts that there are: those for one coordinator as one message, which it confirms at once.
    pub(super) async fn tell_verdicts(&mut self) {
        let verdicts = std::mem::take(&mut self.verdicts);
        let mut rest = &verdicts[..];
        let max_bytes = large::whole(self.client.max_payload());
        while let Some((coordinator, first, _)) = rest.first() {
            let (mut next, mut len) = (*first, 0);
            let goes_along = |(other, number, verdict): &&(Arc<str>, u64, Bytes)| {
                len += message::len_joined(verdict);
                let goes = other == coordinator && *number == next && (next == *first || len <= max_bytes);
                next += u64::from(goes);
                goes
            };
            let n_together = rest.iter().take(MAX_TOGETHER).take_while(goes_along).count();
            let (together, others) = rest.split_at(n_together);
            let reply = format!("{}.c.{first}-{}", self.inbox, first + together.len() as u64 - 1);
            let joined = message::join(together.iter().map(|(_, _, verdict)| verdict));
            self.publish(self.config.names.results(coordinator), Some(reply), joined).await;
            rest = others;
        }
    }

    /// Sends a verdict, or its stub; that of a job's task to the server, which keeps it.
    pub(super) async fn send(&self, key: &Key, number: u64, verdict: Bytes) {
        let (coordinator, task) = key;
        let is_kept = self.hand.held.get(key).is_some_and(|held| held.fingerprint.is_some());
        let reply = format!("{}.c.{number}", self.inbox);
        if is_kept {
            return self.publish(self.config.names.kept(coordinator, *task), Some(reply), verdict).await;
        }
        let mut short = verdict;
        if short.len() > large::whole(self.client.max_payload()) {
            let (queue, len) = (self.config.names.own_queue(), short.len() as u64);
            let stub = Stub { queue, coordinator: coordinator.to_string(), task: *task, len };
            short = message::encode_stub(&stub).unwrap_or(short);
        }
        self.publish(self.config.names.results(coordinator), Some(reply), short).await;
    }

    /// The coordinator has confirmed a verdict, or there is none; or the server has stored a job's.
    pub(super) async fn answered(&mut self, message: &Message) {
        let Some(word) = message.subject.rsplit('.').next() else { return };
        if let Some(coordinator) = word.strip_prefix(ALIVE) {
            return self.is_alive(coordinator, message).await;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { return };
        if message.status != Some(StatusCode::NO_RESPONDERS) && is_refused(&message.payload) {
            // It is sent again.
            return;
        }
        for number in (first..=last).take(MAX_TOGETHER) {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                if let Some(ack) = self.hand.unheard(number, Instant::now()) {
                    self.tell(ack, Ack::Never).await;
                }
            } else if let Some(ack) = self.hand.confirmed(number) {
                self.tell(ack, Ack::Done).await;
            }
        }
    }

    /// The coordinator wants a piece of a long verdict.
    pub(super) async fn give_piece(&self, wanted: Message) {
        let Some(reply) = wanted.reply else { return };
        let number = wanted.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let whole = number.and_then(|number| self.hand.verdict(number)).cloned().unwrap_or_default();
        let piece = large::piece(&whole, &wanted.payload, self.client.max_payload());
        self.publish(reply, None, piece).await;
    }
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
