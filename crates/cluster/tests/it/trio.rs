//! Three servers that are one, of which any may be lost.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use cluster::ClusterPool;
use nix::sys::signal::Signal;
use proc_core::command::Popen;
use serde_json::Value;
use test_support::{Watchdog, watchdog};

use crate::{
    faults::{Storm, signal},
    server::{Place, Server, free_ports, new_directory, program},
};

pub(crate) struct Trio {
    program: PathBuf,
    pub(crate) servers: Vec<Server>,
    http: [u16; 3],
    pub(crate) urls: String,
}

impl Trio {
    pub(crate) fn start(places: [Place; 3]) -> Option<(Watchdog, Self)> {
        let program = program()?;
        let dog = watchdog(Duration::from_secs(240));
        let [ports, inner, http]: [[u16; 3]; 3] = free_ports::<9>().as_chunks().0.try_into().unwrap();
        let routes = places.iter().zip(inner).map(|(place, port)| format!("nats-route://{}:{port}", place.ip));
        let routes = routes.collect::<Vec<_>>().join(", ");
        let urls = places.iter().zip(ports).map(|(place, port)| format!("nats://{}:{port}", place.ip));
        let urls = urls.collect::<Vec<_>>().join(",");
        let start = |(i, place): (usize, Place)| {
            let ip = &place.ip;
            let more = format!(
                "server_name: n{i}\nhttp: \"{ip}:{}\"\n\
                 cluster {{ name: trio, listen: \"{ip}:{}\", routes: [{routes}] }}",
                http[i], inner[i]
            );
            Server::start_at(place, &program, new_directory(), ports[i], &more)
        };
        let servers: Vec<_> = places.into_iter().enumerate().map(start).collect();
        Some((dog, Self { program, servers, http, urls }))
    }

    /// A pool on them, with two agents, which are processes.
    pub(crate) fn pool(&self, places: &[Place; 2]) -> (ClusterPool, Vec<Popen>) {
        let settings = ClusterPool::builder().replicas(3).retries(3).connect_timeout(Duration::from_secs(60));
        let pool = settings.host_timeout(Duration::from_secs(3)).allow_plain(true).connect(&self.urls).unwrap();
        let agents = places.iter().map(|place| place.agent(&self.urls)).collect();
        assert!(pool.wait_for_hosts(2, Duration::from_secs(60)));
        pool.apply(std::process::id, ()).unwrap();
        (pool, agents)
    }

    /// Which one leads the pool's stream.
    pub(crate) fn leader(&self) -> usize {
        self.leader_of("MP_default")
    }

    fn leader_of(&self, stream: &str) -> usize {
        number(&self.servers[0].ask(&format!("$JS.API.STREAM.INFO.{stream}")))
    }

    /// Which one leads the consumer that the agents take tasks by.
    fn consumer_leader(&self) -> usize {
        let names = self.servers[0].ask("$JS.API.CONSUMER.NAMES.MP_default");
        let name = names["consumers"][0].as_str().unwrap();
        number(&self.servers[0].ask(&format!("$JS.API.CONSUMER.INFO.MP_default.{name}")))
    }

    /// Which one the coordinator is connected to.
    pub(crate) fn own_server(&self) -> usize {
        let has_coordinator = |i: &usize| {
            let connections = self.connections(*i);
            connections["connections"].as_array().unwrap().iter().any(|one| one["name"] == "coordinator")
        };
        (0..3).find(has_coordinator).unwrap()
    }

    fn connections(&self, i: usize) -> Value {
        let mut stream = TcpStream::connect((&self.servers[i].place.ip[..], self.http[i])).unwrap();
        stream.write_all(b"GET /connz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn kill(&self, i: usize) {
        signal(self.servers[i].process.pid(), Signal::SIGKILL);
    }

    fn with_fault(name: &str, fault: impl Fn(&mut Self)) {
        let n_runs = env::var("CLUSTER_RUNS").map_or(1, |runs| runs.parse().unwrap());
        for _ in 0..n_runs {
            let Some((_dog, mut trio)) = Self::start([(); 3].map(|()| Place::here())) else { return };
            let (pool, agents) = trio.pool(&[(); 2].map(|()| Place::here()));
            let storm = Storm::begin(&pool);
            storm.wait_for_a_third();
            fault(&mut trio);
            storm.end(&pool, name);
            end(agents);
        }
    }
}

/// Which server an answer says that leads.
fn number(info: &Value) -> usize {
    info["cluster"]["leader"].as_str().unwrap().strip_prefix('n').unwrap().parse().unwrap()
}

/// Has agents end.
pub(crate) fn end(agents: Vec<Popen>) {
    for agent in agents {
        agent.terminate().unwrap();
        agent.wait().unwrap();
    }
}

#[test]
fn killed_leader_of_three_costs_nothing() {
    Trio::with_fault("SIGKILL of the stream's leader of three", |trio| trio.kill(trio.leader()));
}

#[test]
fn killed_leader_of_the_consumer_costs_nothing() {
    Trio::with_fault("SIGKILL of the consumer's leader of three", |trio| trio.kill(trio.consumer_leader()));
}

#[test]
fn killed_server_of_the_coordinators_own_costs_nothing() {
    Trio::with_fault("SIGKILL of the coordinator's own server of three", |trio| trio.kill(trio.own_server()));
}

/// The server that leads the stream of its results is killed, and started again.
#[test]
fn killed_leader_of_a_jobs_results_costs_nothing() {
    const N_TASKS: u64 = 3_000;
    let n_runs = env::var("CLUSTER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    for _ in 0..n_runs {
        let Some((_dog, mut trio)) = Trio::start([(); 3].map(|()| Place::here())) else { return };
        let (pool, agents) = trio.pool(&[(); 2].map(|()| Place::here()));
        let (begun, n_before) = (Instant::now(), pool.stats().done);
        let map = || pool.job("triples").unwrap().map(|n: u64| 3 * n, 0..N_TASKS);
        let triples = Ok((0..N_TASKS).map(|n| 3 * n).collect::<Vec<_>>());
        let first = thread::scope(|scope| {
            let first = scope.spawn(map);
            while pool.stats().done < n_before + N_TASKS / 3 {
                thread::yield_now();
            }
            let leader = trio.leader_of("MR_default");
            trio.kill(leader);
            trio.servers[leader].restart(&trio.program);
            first.join().unwrap()
        });
        assert_eq!(first, triples);
        // By what is kept.
        assert_eq!(map(), triples);
        let (elapsed, n_again) = (begun.elapsed(), pool.n_resubmitted());
        println!("SIGKILL of the leader of a job's results: {N_TASKS} tasks in {elapsed:.1?}, {n_again} resubmitted");
        end(agents);
    }
}

#[test]
fn three_killed_and_restarted_servers_cost_nothing() {
    Trio::with_fault("SIGKILL of all three, and restart", |trio| {
        (0..3).for_each(|i| trio.kill(i));
        for server in &mut trio.servers {
            server.restart(&trio.program);
        }
    });
}
