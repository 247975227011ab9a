//! What a coordinator listens to for the jobs that it does.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;

use super::queue::Queue;

struct JobSubscription {
    queue: Arc<Queue>,
    verdicts: Subscriber,
    /// Requests for the whole of a task.
    wholes: Subscriber,
}

pub(super) enum Heard {
    Verdict(Message),
    Wanted(Message),
}

#[derive(Default)]
pub(super) struct Jobs(Vec<JobSubscription>);

impl Jobs {
    pub(super) fn add(&mut self, queue: Arc<Queue>, verdicts: Subscriber, wholes: Subscriber) {
        self.0.push(JobSubscription { queue, verdicts, wholes });
    }

    /// Stops listening to jobs that no handle waits for.
    pub(super) fn forget_idle(&mut self) {
        self.0.retain(|job| Arc::strong_count(&job.queue) > 1);
    }

    /// The next message of any of them.
    pub(super) async fn next(&mut self) -> (Arc<Queue>, Heard) {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Arc<Queue>, Heard)> {
        for JobSubscription { queue, verdicts, wholes } in &mut self.0 {
            if let Poll::Ready(Some(verdict)) = verdicts.poll_next_unpin(context) {
                return Poll::Ready((queue.clone(), Heard::Verdict(verdict)));
            }
            if let Poll::Ready(Some(wanted)) = wholes.poll_next_unpin(context) {
                return Poll::Ready((queue.clone(), Heard::Wanted(wanted)));
            }
        }
        Poll::Pending
    }
}
