//! Tasks a second and round trips of a cluster on this machine, beside what its engine's client does with the same messages and
//! nothing else.
//!
//! `cargo bench -p cluster`, with a server's program as for `ClusterPool::local`. The bare side publishes each message to a work
//! queue, and two processes pull them, answer to a subject of the coordinator's, and acknowledge each after its reply: what a
//! pool must do, without functions, ledger, local pools and terms.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use cluster::ClusterPool;
use futures_util::StreamExt as _;
use pool::{Executor, ProcessPool};
use proc_core::Process;
use tokio::{runtime, sync::Semaphore};

const N_TASKS: u64 = 20_000;
const N_ROUND_TRIPS: u32 = 2_000;
const N_RUNS: usize = 5;
const N_WORKERS: usize = 2;
/// Messages that a worker has in hand; and how many are published without an acknowledgement.
const BATCH: usize = 256;
const WINDOW: usize = 2048;

fn work(n: u64) -> u64 {
    n + 1
}

fn main() -> io::Result<()> {
    // `cargo test` runs it, too, to see that it does.
    let is_short = !std::env::args().any(|arg| arg == "--bench");
    let n_runs = if is_short { 1 } else { N_RUNS };
    let pool = match ClusterPool::local(N_WORKERS) {
        Ok(pool) => pool,
        Err(why) => {
            println!("SKIPPED: {why}");
            return Ok(());
        }
    };
    let local = ProcessPool::new(N_WORKERS).map_err(io::Error::other)?;
    let (url, token) = pool.server_address().unwrap();
    let _workers: Vec<_> = (0..N_WORKERS)
        .map(|_| Process::builder().daemon(true).spawn(bare_worker, (url.clone(), token.clone())).unwrap())
        .collect();
    let bare = Bare::start(&url, &token);
    println!("{N_TASKS} tasks of one number, {N_WORKERS} workers, median of {n_runs} [least, most]");
    let rate = |seconds: f64| N_TASKS as f64 / seconds;
    let figures = [
        ("bare client, tasks/s", median(n_runs, || rate(bare.many()))),
        ("ClusterPool, apply_async, tasks/s", median(n_runs, || rate(many(&pool)))),
        ("ClusterPool, map, items/s", median(n_runs, || rate(map(&pool)))),
        ("ProcessPool, apply_async, tasks/s", median(n_runs, || rate(many(&local)))),
        ("bare client, round trip, µs", median(n_runs, || bare.round_trip())),
        ("ClusterPool, apply, µs", median(n_runs, || round_trip(&pool))),
        ("ProcessPool, apply, µs", median(n_runs, || round_trip(&local))),
    ];
    for (name, [middle, least, most]) in figures {
        println!("{name:36} {middle:10.0} [{least:.0}, {most:.0}]");
    }
    println!("of the bare client's tasks/s: {:.2}", figures[1].1[0] / figures[0].1[0]);
    println!("of the bare client's round trip: {:.2}", figures[5].1[0] / figures[4].1[0]);
    Ok(())
}

fn median(n_runs: usize, mut run: impl FnMut() -> f64) -> [f64; 3] {
    let mut all: Vec<f64> = (0..n_runs).map(|_| run()).collect();
    all.sort_by(f64::total_cmp);
    [all[n_runs / 2], all[0], all[n_runs - 1]]
}

fn many(pool: &impl Executor) -> f64 {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..N_TASKS).map(|n| pool.apply_async(work, (n,))).collect();
    assert!(tasks.iter().enumerate().all(|(n, task)| task.get().unwrap() == n as u64 + 1));
    begun.elapsed().as_secs_f64()
}

fn map(pool: &impl Executor) -> f64 {
    let begun = Instant::now();
    assert_eq!(pool.map(work, 0..N_TASKS).unwrap().len(), N_TASKS as usize);
    begun.elapsed().as_secs_f64()
}

fn round_trip(pool: &impl Executor) -> f64 {
    let begun = Instant::now();
    for n in 0..N_ROUND_TRIPS {
        assert_eq!(pool.apply(work, (u64::from(n),)).unwrap(), u64::from(n) + 1);
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(N_ROUND_TRIPS)
}

/// What publishes, and takes results, with the client alone.
struct Bare {
    runtime: runtime::Runtime,
    client: Client,
}

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(url: &str, token: &str) -> Client {
    ConnectOptions::with_token(token.to_owned()).client_capacity(1 << 16).connect(url).await.unwrap()
}

async fn ask(client: &Client, what: &str, question: serde_json::Value) {
    let answer = client.request(format!("$JS.API.{what}"), Bytes::from(question.to_string())).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
}

impl Bare {
    fn start(url: &str, token: &str) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(async {
            let client = connect(url, token).await;
            let stream = serde_json::json!({
                "name": "BARE", "subjects": ["bare.t"], "retention": "workqueue", "storage": "file", "num_replicas": 1,
                "discard": "new", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
            });
            ask(&client, "STREAM.CREATE.BARE", stream).await;
            let consumer = serde_json::json!({ "stream_name": "BARE", "config": {
                "durable_name": "b", "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
                "ack_wait": 10_000_000_000_u64, "max_ack_pending": 4096,
            }});
            ask(&client, "CONSUMER.DURABLE.CREATE.BARE.b", consumer).await;
            client
        });
        Self { runtime, client }
    }

    fn many(&self) -> f64 {
        let begun = Instant::now();
        self.runtime.block_on(self.run(N_TASKS, WINDOW));
        begun.elapsed().as_secs_f64()
    }

    fn round_trip(&self) -> f64 {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut results = self.client.subscribe("bare.r").await.unwrap();
            for n in 0..u64::from(N_ROUND_TRIPS) {
                self.publish("bare.a", n).await;
                let result = results.next().await.unwrap();
                self.client.publish(result.reply.unwrap(), Bytes::new()).await.unwrap();
            }
        });
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(N_ROUND_TRIPS)
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
fn bare_worker(url: String, token: String) {
    runtime().block_on(async {
        let client = connect(&url, &token).await;
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
