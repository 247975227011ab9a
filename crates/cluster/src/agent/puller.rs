//! Takes tasks from the consumer, as many as there is room for.
//!
//! The server is asked for a number of messages, and sends them under their own subjects, so that it cannot be seen which
//! request one belongs to. So one number, the credit, says how many the server may still send, whatever requests they
//! were asked for by. Where its word is lost with a server, it is made up for by silence: a server that has requests sends
//! heartbeats.

use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode};
use serde_json::json;

/// How long the server keeps a request.
const EXPIRES: Duration = Duration::from_secs(5);
/// Between two looks for a consumer that is not there.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it says that it has one.
const HEARTBEAT: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Puller {
    credit: usize,
    heard: Instant,
    /// After an error: when to ask again.
    not_before: Option<Instant>,
    /// How long to wait after the next one.
    pause: Duration,
    /// When a task came last.
    given: Option<Instant>,
    /// Tasks in a message of late, in eighths.
    eighths: usize,
}

impl Puller {
    pub(super) fn new(now: Instant) -> Self {
        Self { credit: 0, heard: now, not_before: None, pause: HEARTBEAT, given: None, eighths: 8 }
    }

    /// Takes note of what has come; true if it is a task.
    pub(super) fn heard(&mut self, message: &Message, now: Instant) -> bool {
        self.heard = now;
        let Some(status) = message.status else {
            self.credit = self.credit.saturating_sub(1);
            self.pause = HEARTBEAT;
            self.given = Some(now);
            return true;
        };
        if status == StatusCode::IDLE_HEARTBEAT {
            return false;
        }
        let given_back = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        match given_back.and_then(|n| n.as_str().parse::<usize>().ok()) {
            Some(n) => self.credit = self.credit.saturating_sub(n),
            // There is no consumer (yet), or it takes no requests.
            None => {
                self.credit = 0;
                self.not_before = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
        false
    }

    /// What to ask the server for, if there is room for so many more tasks. It is not asked for fewer than `least`: a request
    /// costs as much as a task.
    pub(super) fn request(&mut self, room: usize, least: usize, now: Instant) -> Option<String> {
        if self.credit > 0 && now.duration_since(self.heard) > HEARTBEAT * 5 / 2 {
            self.credit = 0;
        }
        if self.not_before.is_some_and(|then| now < then) || room.saturating_sub(self.credit) < least.max(1) {
            return None;
        }
        self.not_before = None;
        self.heard = now;
        let batch = room - self.credit;
        self.credit = room;
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Some(json!({ "batch": batch, "expires": nanos(EXPIRES), "idle_heartbeat": nanos(HEARTBEAT) }).to_string())
    }

    /// A message has come with so many tasks.
    pub(super) fn learn(&mut self, n_tasks: usize) {
        self.eighths = self.eighths - self.eighths / 8 + n_tasks;
    }

    /// How many tasks a message has, by those that have come of late.
    pub(super) fn n_together(&self) -> usize {
        (self.eighths / 8).max(1)
    }

    /// Whether tasks have come of late.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.given.is_some_and(|given| now.duration_since(given) < Duration::from_secs(1))
    }

    /// There may be a consumer where there was none.
    pub(super) fn look_again(&mut self) {
        self.not_before = None;
        self.pause = HEARTBEAT;
    }

    /// The connection was lost, and the requests with it.
    pub(super) fn forget(&mut self) {
        self.credit = 0;
        self.look_again();
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    fn message(status: Option<StatusCode>, given_back: Option<&str>) -> Message {
        let headers = given_back.map(|n| {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Pending-Messages", n);
            headers
        });
        Message {
            subject: "s".into(),
            reply: None,
            payload: bytes::Bytes::new(),
            headers,
            status,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn asks_for_what_was_taken_and_given_back() {
        let now = Instant::now();
        let mut puller = Puller::new(now);
        assert!(puller.request(4, 2, now).unwrap().contains("\"batch\":4"));
        assert!(puller.request(4, 2, now).is_none());
        assert!(puller.heard(&message(None, None), now));
        assert!(puller.request(4, 2, now).is_none());
        assert!(puller.heard(&message(None, None), now));
        assert!(puller.request(4, 2, now).unwrap().contains("\"batch\":2"));
        assert!(!puller.heard(&message(Some(StatusCode::TIMEOUT), Some("3")), now));
        assert!(puller.request(4, 2, now).unwrap().contains("\"batch\":3"));
    }

    #[test]
    fn silence_voids_the_credit_and_heartbeats_keep_it() {
        let now = Instant::now();
        let mut puller = Puller::new(now);
        puller.request(4, 2, now).unwrap();
        puller.heard(&message(Some(StatusCode::IDLE_HEARTBEAT), None), now + HEARTBEAT);
        assert!(puller.request(4, 2, now + HEARTBEAT * 2).is_none());
        assert!(puller.request(4, 2, now + HEARTBEAT * 4).unwrap().contains("\"batch\":4"));
    }

    #[test]
    fn waits_a_little_where_there_is_no_consumer() {
        let now = Instant::now();
        let mut puller = Puller::new(now);
        puller.request(4, 2, now).unwrap();
        puller.heard(&message(Some(StatusCode::NO_RESPONDERS), None), now);
        assert!(puller.request(4, 2, now).is_none());
        assert!(puller.request(4, 2, now + HEARTBEAT).is_some());
    }
}
