//! Tasks a second and round trips of a cluster on this machine, on one server and on three, beside what the engine's client does
//! with the same messages and nothing else.
//!
//! `cargo bench -p cluster`, with a server's program as for `ClusterPool::local`; with `-- --peers`, beside Dask, Celery and Ray,
//! those of them that are installed (`cargo xtask cluster --peers` installs them).
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

mod bare;
mod cpu;
mod peers;
mod servers;

use std::{
    env, io,
    path::Path,
    time::{Duration, Instant},
};

use cluster::ClusterPool;
use pool::{Executor, ProcessPool};
use proc_core::{Process, command::Popen};

use self::{
    bare::{Bare, bare_worker},
    cpu::Cpu,
    servers::{Running, Servers},
};

const N_TASKS: u64 = 20_000;
const N_ROUND_TRIPS: u32 = 1_000;
/// Before anything is measured.
const N_TO_WARM_UP: u64 = 2_000;
const N_RUNS: usize = 5;
const N_WORKERS: usize = 2;

fn work(n: u64) -> u64 {
    n + 1
}

fn main() -> io::Result<()> {
    // `cargo test` runs it, too, to see that it does.
    let has_flag = |flag| env::args().any(|arg| arg == flag);
    let n_runs = if has_flag("--bench") { N_RUNS } else { 1 };
    let Some(program) = servers::program() else {
        println!("SKIPPED: no nats-server (`cargo xtask nats` installs one; `NATS_SERVER_BIN` says where)");
        return Ok(());
    };
    println!("{N_TASKS} tasks of one number, {N_WORKERS} workers, median of {n_runs} [least, most]");
    let mut table = vec![local(n_runs)?];
    for n_servers in [1, 3] {
        table.extend(compare(&program, n_servers, n_runs)?);
    }
    if has_flag("--peers") {
        table.extend(peers::all());
    }
    print(&table);
    Ok(())
}

/// A line of the table.
struct Row {
    name: String,
    /// Tasks a second, and microseconds of a round trip.
    rate: Spread,
    trip: Spread,
    /// Those of the bare client.
    floor: Option<(Spread, Spread)>,
}

/// The median, the least and the most of some runs.
type Spread = [f64; 3];

fn print(table: &[Row]) {
    let show = |[middle, least, most]: Spread| format!("{middle:.0} [{least:.0}, {most:.0}]");
    println!("\n{:28}{:26}{:>6}  {:24}{:>6}", "", "tasks/s", "floor", "round trip, µs", "floor");
    for Row { name, rate, trip, floor } in table {
        let ratio = |own: Spread, of: fn(&(Spread, Spread)) -> Spread| {
            floor.as_ref().map(|floor| format!("{:.2}", own[0] / of(floor)[0])).unwrap_or_default()
        };
        let (rates, trips) = (ratio(*rate, |floor| floor.0), ratio(*trip, |floor| floor.1));
        println!("{name:28}{:26}{rates:>6}  {:24}{trips:>6}", show(*rate), show(*trip));
    }
}

fn local(n_runs: usize) -> io::Result<Row> {
    let local = ProcessPool::new(N_WORKERS).map_err(io::Error::other)?;
    many(&local, N_TO_WARM_UP);
    let (rates, trips) = (0..n_runs).map(|_| (many(&local, N_TASKS), round_trip(&local))).unzip();
    Ok(Row { name: "ProcessPool".into(), rate: spread(rates), trip: spread(trips), floor: None })
}

/// The bare client and a pool, in turns: what else the machine does concerns both. Each run has new servers: who is connected to
/// which of them, and which of them lead, is another draw.
fn compare(program: &Path, n_servers: usize, n_runs: usize) -> io::Result<[Row; 2]> {
    let mut all = [const { Vec::new() }; 6];
    let mut costs = [[0.0; 5]; 2];
    for _ in 0..n_runs {
        let servers = Servers::start(program, n_servers)?;
        let site = Site::start(&servers);
        site.bare.many(N_TO_WARM_UP);
        many(&site.pool, N_TO_WARM_UP);
        let start = site.costs(&servers);
        all[0].push(N_TASKS as f64 / site.bare.many(N_TASKS));
        let between = site.costs(&servers);
        all[1].push(many(&site.pool, N_TASKS));
        let end = site.costs(&servers);
        for (sums, (from, to)) in costs.iter_mut().zip([(start, between), (between, end)]) {
            for (sum, (from, to)) in sums.iter_mut().zip(from.into_iter().zip(to)) {
                *sum += (to - from) / (N_TASKS as usize * n_runs) as f64;
            }
        }
        all[2].push(map(&site.pool));
        all[3].push(site.bare.round_trip(N_ROUND_TRIPS));
        all[4].push(round_trip(&site.pool));
        all[5].push(large(&site.pool));
    }
    let [bare_rate, rate, map, bare_trip, trip, large] = all.map(spread);
    let title = if n_servers == 1 { "1 server: ".to_owned() } else { format!("{n_servers} servers: ") };
    println!(
        "{title}map, items/s {:.0} [{:.0}, {:.0}]; 8 MiB there, µs {:.0} [{:.0}, {:.0}]",
        map[0], map[1], map[2], large[0], large[1], large[2]
    );
    for (who, [servers, coordinator, workers, n_in, n_out]) in ["bare client", "ClusterPool"].iter().zip(costs) {
        println!(
            "{title}{who}, a task: µs of CPU: servers {servers:.1}, coordinator {coordinator:.1}, workers {workers:.1}; \
             messages to servers {n_in:.2}, from them {n_out:.2}"
        );
    }
    let bare = Row { name: format!("{title}bare client"), rate: bare_rate, trip: bare_trip, floor: None };
    let floor = Some((bare_rate, bare_trip));
    Ok([bare, Row { name: format!("{title}ClusterPool"), rate, trip, floor }])
}

/// Both sides, on the same servers.
struct Site {
    pool: ClusterPool,
    agents: Vec<Running>,
    bare: Bare,
    bare_workers: Vec<Process<()>>,
}

impl Site {
    fn start(servers: &Servers) -> Self {
        let n_replicas = servers.processes.len();
        let settings = ClusterPool::builder().replicas(n_replicas).connect_timeout(Duration::from_secs(60));
        let pool = settings.connect(&servers.urls).unwrap();
        let agent = || {
            let agent = Popen::builder([env::current_exe().unwrap()]).env("CLUSTER_AGENT", &servers.urls);
            Running(agent.env("CLUSTER_SLOTS", "1").spawn().unwrap())
        };
        let agents: Vec<_> = (0..N_WORKERS).map(|_| agent()).collect();
        assert!(pool.wait_for_hosts(N_WORKERS, Duration::from_secs(60)));
        let worker = |_| Process::builder().daemon(true).spawn(bare_worker, (servers.urls.clone(),)).unwrap();
        let bare_workers = (0..N_WORKERS).map(worker).collect();
        Self { pool, agents, bare: Bare::start(&servers.urls, n_replicas), bare_workers }
    }

    /// So far: microseconds of CPU time of the servers, of this process, and of workers and agents; and the servers' messages.
    fn costs(&self, servers: &Servers) -> [f64; 5] {
        let pids = servers.processes.iter().map(|server| server.0.pid()).collect::<Vec<_>>();
        let agents = self.agents.iter().map(|agent| agent.0.pid());
        let workers: Vec<u32> = agents.chain(self.bare_workers.iter().map(|worker| worker.pid())).collect();
        let cpu = Cpu::now();
        let [n_in, n_out] = servers.messages();
        [cpu.alone(&pids), cpu.alone(&[std::process::id()]), cpu.whole(&workers), n_in as f64, n_out as f64]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for worker in &self.bare_workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

fn spread(mut all: Vec<f64>) -> Spread {
    all.sort_by(f64::total_cmp);
    [all[all.len() / 2], all[0], all[all.len() - 1]]
}

fn many(pool: &impl Executor, n_tasks: u64) -> f64 {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..n_tasks).map(|n| pool.apply_async(work, (n,))).collect();
    assert!(tasks.iter().enumerate().all(|(n, task)| task.get().unwrap() == n as u64 + 1));
    n_tasks as f64 / begun.elapsed().as_secs_f64()
}

fn map(pool: &impl Executor) -> f64 {
    let begun = Instant::now();
    assert_eq!(pool.map(work, 0..N_TASKS).unwrap().len(), N_TASKS as usize);
    N_TASKS as f64 / begun.elapsed().as_secs_f64()
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
