//! Tasks that were taken back, on their way to the agents.

use std::sync::Arc;

use async_nats::Client;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::shared::Shared;
use crate::message::{self, Control};

/// So many wait in the client at most, which keeps what it cannot send, and takes no more than fits.
const AT_ONCE: usize = 1024;

/// Where to say which tasks agents are to be told to let go of. There may be any number of them, and no server: nobody waits.
pub(super) fn start(client: Client, shared: Arc<Shared>) -> UnboundedSender<u64> {
    let (recall, recalled) = unbounded_channel();
    tokio::spawn(tell(client, shared, recalled));
    recall
}

async fn tell(client: Client, shared: Arc<Shared>, mut recalled: UnboundedReceiver<u64>) {
    let mut tasks = Vec::with_capacity(AT_ONCE);
    while recalled.recv_many(&mut tasks, AT_ONCE).await > 0 {
        for task in tasks.drain(..) {
            recall(&client, &shared, Some(task)).await;
        }
        // Fails with the connection, which is made anew.
        let _ = client.flush().await;
    }
}

/// Tells the agents to let go of a task, or all.
pub(super) async fn recall(client: &Client, shared: &Shared, task: Option<u64>) {
    let recall = Control::Recall { coordinator: shared.coordinator.clone(), task };
    if let Ok(recall) = message::encode(&recall) {
        // What does not get there runs for nothing.
        let _ = client.publish(shared.names.control(), recall).await;
    }
}
