//! The comparison of the ledger with what the server has.

use std::time::{Duration, Instant};

use super::run::CoordinatorLoop;
use crate::{link, names::QueueName};

/// Between two comparisons of the ledger with the server, while results are wanting.
const AUDIT: Duration = Duration::from_secs(1);
/// Between two looks whether stream and consumer are there, while nothing gets on.
const SET_UP: Duration = Duration::from_secs(5);

impl CoordinatorLoop {
    /// Compares the ledger with the server: a task that was stored there, is there no more, and has no verdict, was lost.
    ///
    /// If nothing makes progress, the consumer may have been deleted; then it is made again.
    pub(super) async fn audit(&mut self, now: Instant, still: Duration) {
        if let Some(audit) = self.audit.take_if(|audit| audit.is_finished()) {
            let lost = audit.await.unwrap_or_default();
            self.shared.state.lock().ledger.resubmit_attempts(&lost);
            self.audited = now;
        }
        if self.audit.is_some() || now.duration_since(self.audited) < AUDIT {
            return;
        }
        if still > AUDIT && now.duration_since(self.set_up) > SET_UP {
            self.set_up = now;
            self.set_up(self.queue_names());
        }
        // Before the server is asked: what is stored after that does not count.
        let stored = self.shared.state.lock().ledger.all_stored();
        if stored.is_empty() {
            return;
        }
        let (client, config, shared) = (self.client.clone(), self.config.clone(), self.shared.clone());
        let queues = self.queue_names();
        self.audit = Some(tokio::spawn(async move {
            match link::n_stored(&client, &config.names, &shared.coordinator).await {
                Ok(0) => stored,
                Err(refusal) if refusal.is_not_found() => {
                    // The server has lost everything.
                    let made = link::set_up(&client, &config.names, &queues, &config.storage).await;
                    if made.is_ok() { stored } else { Vec::new() }
                }
                _ => Vec::new(),
            }
        }));
    }

    /// Makes what queues need on the server, in the background.
    pub(super) fn set_up(&self, queues: Vec<QueueName>) {
        let (client, config) = (self.client.clone(), self.config.clone());
        // What fails is tried again while nothing gets on.
        tokio::spawn(async move { drop(link::set_up(&client, &config.names, &queues, &config.storage).await) });
    }

    pub(super) fn queue_names(&self) -> Vec<QueueName> {
        self.shared.state.lock().queues.iter().map(|queue| queue.name.clone()).collect()
    }
}
