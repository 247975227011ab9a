//! A verdict's way from an agent into the ledger, and its confirmation.

use std::time::Duration;

use async_nats::{Message, Subject};
use bytes::Bytes;

use super::run::CoordinatorLoop;
use crate::{
    large::{self, Missing, Stub},
    message::{self, Verdict},
};

/// How long an agent that has a long verdict may take for a piece of it.
const FETCH_PATIENCE: Duration = Duration::from_secs(10);

impl CoordinatorLoop {
    /// Verdicts, or the stub of one.
    pub(super) async fn take(&mut self, message: Message) {
        let Some(reply) = message.reply else { return };
        if let Some(joined) = message::split(&message.payload) {
            let verdicts: Option<Vec<Verdict>> = joined.into_iter().map(message::decode).collect();
            let Some(verdicts) = verdicts else { return };
            self.gets_on = true;
            self.shared.judge(verdicts);
            return self.confirm(reply).await;
        }
        if let Some(verdict) = message::decode::<Verdict>(&message.payload) {
            return self.judge(verdict, reply).await;
        }
        let Some(Stub { task, len, .. }) = message::decode_stub(&message.payload) else { return };
        if self.shared.state.lock().ledger.whole(task).is_none() {
            // There was another one before.
            return self.confirm(reply).await;
        }
        // The agent sends it again while it waits.
        if self.fetched_now.insert(task) {
            let (client, from) = (self.client.clone(), large::place_of_verdict(&reply));
            self.fetches.push(Box::pin(async move {
                let whole = large::fetch(&client, &from, len, FETCH_PATIENCE).await;
                (task, reply, whole)
            }));
        }
    }

    /// A long verdict has come, or its agent was lost.
    pub(super) async fn fetched(&mut self, task: u64, reply: Subject, whole: Result<Bytes, Missing>) {
        self.fetched_now.remove(&task);
        let verdict = whole.ok().and_then(|whole| message::decode::<Verdict>(&whole));
        if let Some(verdict) = verdict.filter(|verdict| verdict.task == task) {
            self.judge(verdict, reply).await;
        }
    }

    /// Records a verdict, if it is the first, and confirms it in any case: only then its message leaves the server.
    pub(super) async fn judge(&mut self, verdict: Verdict, reply: Subject) {
        self.gets_on = true;
        self.shared.judge(vec![verdict]);
        self.confirm(reply).await;
    }

    pub(super) async fn confirm(&self, reply: Subject) {
        // If it does not get there, the agent asks again.
        let _ = self.client.publish(reply, Bytes::new()).await;
    }
}
