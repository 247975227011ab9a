//! The connection to the server, and what is asked of its streams.
//!
//! Only what servers since 2.9 know is asked for.

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use pool::PoolError;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    address::Address,
    message::{self, Control},
    names::{Names, QueueName},
};

/// How often the server is asked whether it is there: after three times, another one is tried.
const PING: Duration = Duration::from_secs(1);
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the server may take for one request.
const REQUEST: Duration = Duration::from_secs(5);
/// How long a task may lie on the server.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the server remembers that it has stored a task.
const DUPLICATES: Duration = Duration::from_secs(120);
/// After so long without an agent of its build, a consumer goes; a coordinator makes it anew.
const CONSUMER_LASTS: Duration = Duration::from_secs(24 * 3600);
/// Tasks that agents of one build may have in hand, all together.
const MAX_ACK_PENDING: u32 = 1 << 16;
/// Messages that may wait for this program to send or to take them.
const CAPACITY: usize = 1 << 16;

/// Connects, and tries for as long as `patience` lasts. Once made, the connection is made again whenever it is lost.
///
/// What is sent to it goes by subjects that begin with `_INBOX_` and its role, so that a server can say which user may listen
/// to what.
pub(crate) async fn connect(address: &Address, role: &str, patience: Duration) -> Result<Client, PoolError> {
    let deadline = Instant::now() + patience;
    loop {
        let mut options = ConnectOptions::new()
            .name(role)
            .custom_inbox_prefix(format!("_INBOX_{role}"))
            .require_tls(address.requires_tls())
            .ping_interval(PING)
            .client_capacity(CAPACITY)
            .subscription_capacity(CAPACITY)
            .connection_timeout(REQUEST)
            .reconnect_delay_callback(|n_tried| if n_tried <= 1 { Duration::ZERO } else { PAUSE });
        // The client does not look for them in the URL.
        match address.user() {
            Some((user, Some(password))) => options = options.user_and_password(user.into(), password.into()),
            Some((token, None)) => options = options.token(token.into()),
            None => {}
        }
        if let Some(token) = &address.token {
            options = options.token(token.clone());
        }
        if let Some(authorities) = &address.authorities {
            options = options.add_root_certificates(authorities.clone());
        }
        if let Some((certificate, key)) = &address.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        match options.connect(address.urls()).await {
            Ok(client) => return Ok(client),
            Err(e) if Instant::now() + PAUSE > deadline => {
                return Err(PoolError::Cluster(format!("{address} cannot be reached: {e}")));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// How the server is to keep tasks.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) n_replicas: usize,
    /// How long a host may say nothing before its tasks are given to others.
    pub(crate) host_timeout: Duration,
}

/// As [`set_up`], and tries for as long as `patience` lasts: servers that have just been started have no leader yet.
pub(crate) async fn set_up_patiently(
    client: &Client,
    names: &Names,
    queues: &[QueueName],
    storage: &Storage,
    patience: Duration,
) -> Result<(), PoolError> {
    let deadline = Instant::now() + patience;
    loop {
        match set_up(client, names, queues, storage).await {
            Err(_) if Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
            outcome => return Ok(outcome?),
        }
    }
}

/// Makes the pool's stream, and a consumer for each queue; does nothing if they are there. Agents that have found no
/// consumer are told to look again.
pub(crate) async fn set_up(
    client: &Client,
    names: &Names,
    queues: &[QueueName],
    storage: &Storage,
) -> Result<(), Refusal> {
    let stream = json!({
        "name": names.stream(),
        "subjects": [names.all_tasks()],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": nanos(MAX_AGE),
        "duplicate_window": nanos(DUPLICATES),
        "num_replicas": storage.n_replicas,
    });
    let consumer = |queue| {
        json!({ "stream_name": names.stream(), "config": {
            "durable_name": names.consumer(queue),
            "filter_subject": names.tasks(queue),
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "replay_policy": "instant",
            "ack_wait": nanos(storage.host_timeout),
            "max_ack_pending": MAX_ACK_PENDING,
            "max_deliver": -1,
            "inactive_threshold": nanos(CONSUMER_LASTS),
            "num_replicas": storage.n_replicas,
        }})
    };
    create(client, &names.stream(), &stream).await?;
    for queue in queues {
        let what = format!("CONSUMER.DURABLE.CREATE.{}.{}", names.stream(), names.consumer(queue));
        ask(client, &what, &consumer(queue)).await?;
    }
    if let Ok(opened) = message::encode(&Control::Opened) {
        // If it does not get there, they look again by themselves.
        let _ = client.publish(names.control(), opened).await;
    }
    Ok(())
}

async fn create(client: &Client, name: &str, stream: &Value) -> Result<(), Refusal> {
    /// Another process has made it with other settings, which then hold.
    const IN_USE: u64 = 10058;
    match ask(client, &format!("STREAM.CREATE.{name}"), stream).await {
        Err(Refusal::Server { code: IN_USE, .. }) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Makes the stream that keeps the results of jobs; does nothing if it is there. Of each task it takes one result.
pub(crate) async fn set_up_results(client: &Client, names: &Names, storage: &Storage) -> Result<(), Refusal> {
    let stream = json!({
        "name": names.results_stream(),
        "subjects": [names.all_results()],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "discard_new_per_subject": true,
        "max_msgs_per_subject": 1,
        "allow_direct": true,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": nanos(MAX_AGE),
        "duplicate_window": nanos(DUPLICATES),
        "num_replicas": storage.n_replicas,
    });
    create(client, &names.results_stream(), &stream).await
}

/// The subjects of what lies in a stream, of those that `filter` matches.
pub(crate) async fn subjects(client: &Client, stream: &str, filter: &str) -> Result<Vec<String>, Refusal> {
    let mut all = Vec::new();
    loop {
        let question = json!({ "subjects_filter": filter, "offset": all.len() });
        let info = ask(client, &format!("STREAM.INFO.{stream}"), &question).await?;
        let page = info["state"]["subjects"].as_object();
        let n_before = all.len();
        all.extend(page.into_iter().flat_map(|page| page.keys().cloned()));
        if all.len() == n_before || info["total"].as_u64().is_none_or(|total| all.len() as u64 >= total) {
            return Ok(all);
        }
    }
}

/// The last message of a subject.
pub(crate) async fn last(client: &Client, stream: &str, subject: &str) -> Result<Option<Bytes>, Refusal> {
    let silent = |why: &dyn std::fmt::Display| Refusal::Silent(format!("{subject}: {why}"));
    let request = client.request(format!("$JS.API.DIRECT.GET.{stream}.{subject}"), Bytes::new());
    let answer = timeout(REQUEST, request).await.map_err(|e| silent(&e))?.map_err(|e| silent(&e))?;
    Ok(answer.status.is_none().then_some(answer.payload))
}

/// How many of a coordinator's tasks lie on the server, given to an agent or not.
pub(crate) async fn n_stored(client: &Client, names: &Names, coordinator: &str) -> Result<u64, Refusal> {
    let filter = json!({ "subjects_filter": names.all_tasks_of(coordinator) });
    let info = ask(client, &format!("STREAM.INFO.{}", names.stream()), &filter).await?;
    let counts = info["state"]["subjects"].as_object().into_iter().flat_map(|counts| counts.values());
    Ok(counts.filter_map(Value::as_u64).sum())
}

/// Removes all messages of these subjects from a stream: of tasks, those that no agent has acknowledged.
pub(crate) async fn purge(client: &Client, stream: &str, subjects: &str) -> Result<(), Refusal> {
    let filter = json!({ "filter": subjects });
    ask(client, &format!("STREAM.PURGE.{stream}"), &filter).await.map(drop)
}

/// Why the server did not do what it was asked for.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It said so.
    Server { code: u64, why: String },
    /// It said nothing.
    Silent(String),
}

impl Refusal {
    /// Whether the stream or the consumer is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Server { code: 10059 | 10014, .. })
    }
}

impl From<Refusal> for PoolError {
    fn from(refusal: Refusal) -> Self {
        Self::Cluster(match refusal {
            Refusal::Server { why, .. } => format!("the server refuses: {why}"),
            Refusal::Silent(why) => format!("the server does not answer (does it run with JetStream?): {why}"),
        })
    }
}

async fn ask(client: &Client, what: &str, question: &Value) -> Result<Value, Refusal> {
    let silent = |why: &dyn std::fmt::Display| Refusal::Silent(format!("{what}: {why}"));
    let request = client.request(format!("$JS.API.{what}"), Bytes::from(question.to_string()));
    let answer = timeout(REQUEST, request).await.map_err(|e| silent(&e))?.map_err(|e| silent(&e))?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|e| silent(&e))?;
    match answer.get("error") {
        None => Ok(answer),
        Some(error) => Err(Refusal::Server {
            code: error["err_code"].as_u64().unwrap_or(0),
            why: error["description"].as_str().unwrap_or("no reason").to_owned(),
        }),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
