//! Tasks a second and round trips of a cluster on this machine, on one server and on three, beside what the engine's client does
//! with the same messages and nothing else.
//!
//! `cargo bench -p cluster`, with a server's program as for `ClusterPool::local`. The bare side publishes each message to a work
//! queue, and two processes pull them, answer to a subject of the coordinator's, and acknowledge each after its reply: what a
//! pool must do, without functions, ledger, local pools and terms. `benches/with_dask.py` does the same with Dask.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use std::{
    env, fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use cluster::ClusterPool;
use futures_util::StreamExt as _;
use pool::{Executor, ProcessPool};
use proc_core::{Process, Stdio, command::Popen};
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
    let is_short = !env::args().any(|arg| arg == "--bench");
    let n_runs = if is_short { 1 } else { N_RUNS };
    let Some(program) = program() else {
        println!("SKIPPED: no nats-server");
        return Ok(());
    };
    println!("{N_TASKS} tasks of one number, {N_WORKERS} workers, median of {n_runs} [least, most]");
    let local = ProcessPool::new(N_WORKERS).map_err(io::Error::other)?;
    show("ProcessPool, apply_async, tasks/s", median(n_runs, || rate(many(&local))));
    show("ProcessPool, apply, µs", median(n_runs, || round_trip(&local)));
    for n_servers in [1, 3] {
        println!("servers: {n_servers}");
        compare(&Servers::start(&program, n_servers)?, n_runs);
    }
    Ok(())
}

fn compare(servers: &Servers, n_runs: usize) {
    let settings = ClusterPool::builder().replicas(servers.processes.len()).connect_timeout(Duration::from_secs(60));
    let pool = settings.connect(&servers.urls).unwrap();
    let agent = || {
        let agent = Popen::builder([env::current_exe().unwrap()]).env("CLUSTER_AGENT", &servers.urls);
        Running(agent.env("CLUSTER_SLOTS", "1").spawn().unwrap())
    };
    let _agents: Vec<_> = (0..N_WORKERS).map(|_| agent()).collect();
    assert!(pool.wait_for_hosts(N_WORKERS, Duration::from_secs(60)));
    let _workers: Vec<_> = (0..N_WORKERS)
        .map(|_| Process::builder().daemon(true).spawn(bare_worker, (servers.urls.clone(),)).unwrap())
        .collect();
    let bare = Bare::start(&servers.urls, servers.processes.len());
    // In turns: what else the machine does concerns both.
    let mut all = [const { Vec::new() }; 6];
    for _ in 0..n_runs {
        all[0].push(rate(bare.many()));
        all[1].push(rate(many(&pool)));
        all[2].push(rate(map(&pool)));
        all[3].push(bare.round_trip());
        all[4].push(round_trip(&pool));
        all[5].push(large(&pool));
    }
    let [bare_many, many, map, bare_trip, trip, large] = all.map(middle);
    show("bare client, tasks/s", bare_many);
    show("ClusterPool, apply_async, tasks/s", many);
    show("ClusterPool, map, items/s", map);
    show("bare client, round trip, µs", bare_trip);
    show("ClusterPool, apply, µs", trip);
    show("ClusterPool, 8 MiB there, µs", large);
    println!("of the bare client's tasks/s: {:.2}", many[0] / bare_many[0]);
    println!("of the bare client's round trip: {:.2}", trip[0] / bare_trip[0]);
}

/// Servers that are one, and their files, which go with them.
struct Servers {
    urls: String,
    directory: PathBuf,
    processes: Vec<Running>,
}

/// Is killed when it is dropped.
struct Running(Popen);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::var_os("NATS_SERVER_BIN").map(PathBuf::from);
    named.or_else(|| env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()))
}

impl Servers {
    fn start(program: &Path, n: usize) -> io::Result<Self> {
        let directory = env::temp_dir().join(format!("cluster-bench-{}-{n}", std::process::id()));
        fs::create_dir(&directory)?;
        let listeners: Vec<_> = (0..2 * n).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let ports: Vec<_> = listeners.iter().map(|one| Ok(one.local_addr()?.port())).collect::<io::Result<_>>()?;
        drop(listeners);
        let (outer, inner) = ports.split_at(n);
        let routes: Vec<_> = inner.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let mut processes = Vec::new();
        for i in 0..n {
            let (store, settings) = (directory.join(format!("n{i}")), directory.join(format!("settings-{i}")));
            let mut text = format!("listen: \"127.0.0.1:{}\"\njetstream {{ store_dir: {store:?} }}\n", outer[i]);
            if n > 1 {
                let (routes, port) = (routes.join(", "), inner[i]);
                text += &format!(
                    "server_name: n{i}\ncluster {{ name: bench, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
                );
            }
            fs::write(&settings, text)?;
            let server = Popen::builder([program.as_os_str(), "-c".as_ref(), settings.as_os_str()]);
            let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(io::Error::other)?;
            processes.push(Running(server));
        }
        let urls: Vec<_> = outer.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        Ok(Self { urls: urls.join(","), directory, processes })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.processes.clear();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn rate(seconds: f64) -> f64 {
    N_TASKS as f64 / seconds
}

fn show(name: &str, [middle, least, most]: [f64; 3]) {
    println!("{name:36} {middle:10.0} [{least:.0}, {most:.0}]");
}

fn median(n_runs: usize, mut run: impl FnMut() -> f64) -> [f64; 3] {
    middle((0..n_runs).map(|_| run()).collect())
}

fn middle(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    [all[all.len() / 2], all[0], all[all.len() - 1]]
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

fn large(pool: &ClusterPool) -> f64 {
    let bytes = vec![7_u8; 8 << 20];
    let begun = Instant::now();
    assert_eq!(pool.apply(|bytes: Vec<u8>| bytes.len(), (bytes,)), Ok(8 << 20));
    begun.elapsed().as_secs_f64() * 1e6
}

/// What publishes, and takes results, with the client alone.
struct Bare {
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
    fn start(urls: &str, n_replicas: usize) -> Self {
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
fn bare_worker(urls: String) {
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
