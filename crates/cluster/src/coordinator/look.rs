//! What a coordinator looks at several times a second: which agents are there, and whether tasks get on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::connection::State as Connection;
use pool::{PoolError, TaskError};

use super::{queue::Queue, run::CoordinatorLoop, watch::Watch};
use crate::{link, names::QueueName};

/// An agent that is there has taken a task by then, and has told so: it tells once a second what it has in hand.
const TAKES_FOR_SURE: Duration = Duration::from_secs(5);

impl CoordinatorLoop {
    pub(super) async fn look(&mut self, now: Instant) {
        self.members.forget(now);
        self.show_members();
        let queues = {
            let mut state = self.shared.state.lock();
            state.ledger.look_again(now);
            state.ledger.queues()
        };
        self.watches.retain(|(watched, _)| queues.iter().any(|queue| Arc::ptr_eq(queue, watched)));
        let mut longest = Duration::ZERO;
        for queue in &queues {
            if !self.watches.iter().any(|(watched, _)| Arc::ptr_eq(watched, queue)) {
                self.watches.push((queue.clone(), Watch::new(now)));
            }
        }
        for at in 0..self.watches.len() {
            let (queue, watch) = &mut self.watches[at];
            let hosts = self.members.hosts(&queue.name);
            let gets_on = !hosts.is_empty() && (self.gets_on || hosts.iter().any(|host| host.n_held > 0));
            let still = watch.look(gets_on, !hosts.is_empty(), now);
            longest = longest.max(still);
            let least = if hosts.is_empty() { Duration::ZERO } else { TAKES_FOR_SURE };
            let patience = self.config.agent_timeout.max(least);
            if still > patience {
                *watch = Watch::new(now);
                let queue = queue.clone();
                self.give_up(&queue, patience);
            }
        }
        self.gets_on = false;
        self.audit_jobs(&queues, now);
        self.audit(now, longest).await;
    }

    /// None of a queue's tasks has got on for as long as was said.
    pub(super) fn give_up(&mut self, queue: &Arc<Queue>, patience: Duration) {
        let is_connected = self.client.connection_state() == Connection::Connected;
        let n_hosts = self.members.hosts(&queue.name).len();
        let what = match &self.refusal {
            _ if !is_connected => "no connection to the server".to_owned(),
            Some(why) => format!("the server stores no task, since {why},"),
            None if n_hosts == 0 => self.who_is_wanting(&queue.name),
            None if !self.shared.state.lock().ledger.has_stored(queue) => {
                "no word of the server that it has stored a task (what may this pool's user do?)".to_owned()
            }
            None => format!("no task taken by any of the {n_hosts} agents (what may their user do?)"),
        };
        let why = format!("{what} for {patience:?}");
        self.shared.end_all(Some(queue), &TaskError::Broken(PoolError::Cluster(why)));
        if queue.job.is_none() {
            let (client, stream, subjects) = (self.client.clone(), self.config.names.stream(), queue.subjects());
            tokio::spawn(async move { drop(link::purge(&client, &stream, &subjects).await) });
        }
    }

    pub(super) fn who_is_wanting(&self, queue: &QueueName) -> String {
        let wanted = match queue.function() {
            Some(name) => format!("no agent that has registered {name:?}"),
            None => format!("no agent of this build ({})", queue.as_str()),
        };
        match &self.members.strangers(queue)[..] {
            [] => format!("{wanted}, and no other,"),
            [one, rest @ ..] => {
                format!("{wanted}, but {} others, such as pid {} on {},", rest.len() + 1, one.pid, one.name)
            }
        }
    }

    pub(super) fn show_members(&self) {
        let mut state = self.shared.state.lock();
        for queue in &state.queues {
            queue.show(self.members.n_slots(&queue.name));
        }
        let hosts = self.members.hosts(&self.shared.own.name);
        if state.hosts != hosts {
            state.hosts = hosts;
            drop(state);
            self.shared.changed.notify_all();
        }
    }
}
