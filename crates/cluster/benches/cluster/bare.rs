//! What the engine's client does with the same messages, and nothing else.
//!
//! It publishes each message to a work queue, and processes pull them, answer to a subject of the coordinator's, and acknowledge
//! each after its reply: what a pool must do, without functions, ledger, local pools and terms.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{runtime, sync::Semaphore};

use crate::work;

/// Messages that a worker has in hand; and how many are published without an acknowledgement.
const BATCH: usize = 256;
const WINDOW: usize = 2048;

/// What publishes, and takes results, with the client alone.
pub(crate) struct Bare {
    runtime: runtime::Runtime,
    client: Client,
}

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(urls: &str) -> Client {
    let urls: Vec<_> = urls.split(',').collect();
    ConnectOptions::new().client_capacity(1 << 16).connect(urls).await.unwrap()
}

async fn ask(client: &Client, what: &str, question: serde_json::Value) {
    let answer = client.request(format!("$JS.API.{what}"), Bytes::from(question.to_string())).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
}

impl Bare {
    pub(crate) fn start(urls: &str, n_replicas: usize) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(async {
            let client = connect(urls).await;
            let stream = serde_json::json!({
                "name": "BARE", "subjects": ["bare.t"], "retention": "workqueue", "storage": "file", "num_replicas": n_replicas,
                "discard": "new", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
            });
            ask(&client, "STREAM.CREATE.BARE", stream).await;
            let consumer = serde_json::json!({ "stream_name": "BARE", "config": {
                "durable_name": "b", "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
                "ack_wait": 10_000_000_000_u64, "max_ack_pending": 4096, "num_replicas": n_replicas,
            }});
            ask(&client, "CONSUMER.DURABLE.CREATE.BARE.b", consumer).await;
            client
        });
        Self { runtime, client }
    }

    pub(crate) fn many(&self, n_tasks: u64) -> f64 {
        let begun = Instant::now();
        self.runtime.block_on(self.run(n_tasks, WINDOW));
        begun.elapsed().as_secs_f64()
    }

    pub(crate) fn round_trip(&self, n: u32) -> f64 {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut results = self.client.subscribe("bare.r").await.unwrap();
            for i in 0..u64::from(n) {
                self.publish("bare.a", i).await;
                let result = results.next().await.unwrap();
                self.client.publish(result.reply.unwrap(), Bytes::new()).await.unwrap();
            }
        });
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(n)
    }

    async fn publish(&self, reply: &'static str, n: u64) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{:?}/{n}", Instant::now()));
        let payload = Bytes::copy_from_slice(&n.to_le_bytes());
        self.client.publish_with_reply_and_headers("bare.t", reply, headers, payload).await.unwrap();
    }

    async fn run(&self, n_tasks: u64, window: usize) {
        let mut results = self.client.subscribe("bare.r").await.unwrap();
        let mut acks = self.client.subscribe("bare.a").await.unwrap();
        let room = Arc::new(Semaphore::new(window));
        let publish = async {
            for n in 0..n_tasks {
                room.acquire().await.unwrap().forget();
                self.publish("bare.a", n).await;
            }
        };
        let take_acks = async {
            for _ in 0..n_tasks {
                acks.next().await.unwrap();
                room.add_permits(1);
            }
        };
        let take_results = async {
            let mut is_there = vec![false; n_tasks as usize];
            for _ in 0..n_tasks {
                let result = results.next().await.unwrap();
                let n = u64::from_le_bytes(result.payload[..].try_into().unwrap()) - 1;
                assert!(!std::mem::replace(&mut is_there[n as usize], true));
                self.client.publish(result.reply.unwrap(), Bytes::new()).await.unwrap();
            }
        };
        tokio::join!(publish, take_acks, take_results);
    }
}

/// Pulls, works, answers, and acknowledges what was confirmed, until it is killed.
pub(crate) fn bare_worker(urls: String) {
    runtime().block_on(async {
        let client = connect(&urls).await;
        let inbox = client.new_inbox();
        let mut tasks = client.subscribe(format!("{inbox}.t")).await.unwrap();
        let mut replies = client.subscribe(format!("{inbox}.c.>")).await.unwrap();
        let (mut credit, mut held) = (0, 0);
        loop {
            if credit + held <= BATCH / 2 {
                let batch = BATCH - credit - held;
                let request = format!("{{\"batch\":{batch},\"expires\":{}}}", Duration::from_secs(600).as_nanos());
                let reply = format!("{inbox}.t");
                client.publish_with_reply("$JS.API.CONSUMER.MSG.NEXT.BARE.b", reply, request.into()).await.unwrap();
                credit += batch;
            }
            tokio::select! {
                task = tasks.next() => {
                    let task = task.unwrap();
                    if task.status.is_some() {
                        // There is no consumer yet.
                        credit = 0;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                    credit -= 1;
                    held += 1;
                    let n = work(u64::from_le_bytes(task.payload[..].try_into().unwrap()));
                    // The acknowledgement's place travels in the reply's.
                    let reply = format!("{inbox}.c.{}", task.reply.unwrap());
                    client.publish_with_reply("bare.r", reply, Bytes::copy_from_slice(&n.to_le_bytes())).await.unwrap();
                }
                reply = replies.next() => {
                    held -= 1;
                    let ack = reply.unwrap().subject[inbox.len() + 3..].to_owned();
                    client.publish(ack, "+ACK".into()).await.unwrap();
                }
            }
        }
    });
}
