//! Servers of a test's own: three that are one cluster, and one that knows its users.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::id,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use cluster::{Agent, ClusterPool};
use nix::sys::signal::Signal;
use pool::{PoolError, TaskError};
use proc_core::{Stdio, command::Popen};
use test_support::{Watchdog, watchdog};

use crate::{
    faults::{Storm, signal},
    support::no_server,
};

/// A server with its settings and its files, which go with it.
struct Server {
    directory: PathBuf,
    port: u16,
    process: Popen,
}

/// Ports that nobody has, for the moment.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn new_directory() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let directory = env::temp_dir().join(format!("cluster-test-{}-{}", id(), NEXT.fetch_add(1, Relaxed)));
    fs::create_dir(&directory).unwrap();
    directory
}

/// The program; `None`, with a word on standard error, where there is none.
fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let named = env::var_os("NATS_SERVER_BIN").map(PathBuf::from);
    let found =
        named.or_else(|| env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()));
    if found.is_none() {
        no_server("no nats-server");
    }
    found
}

fn run(program: &Path, directory: &Path) -> Popen {
    let settings = directory.join("settings");
    let server = Popen::builder([program.as_os_str(), "-c".as_ref(), settings.as_os_str()]);
    server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Server {
    fn start(program: &Path, directory: PathBuf, port: u16, more: &str) -> Self {
        let store = directory.join("store");
        let settings = format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?} }}\n{more}\n");
        fs::write(directory.join("settings"), settings).unwrap();
        let process = run(program, &directory);
        Self { directory, port, process }
    }

    fn restart(&mut self, program: &Path) {
        self.process = run(program, &self.directory);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Three servers that are one.
struct Trio {
    program: PathBuf,
    servers: Vec<Server>,
    urls: String,
}

impl Trio {
    fn start() -> Option<(Watchdog, Self)> {
        let program = program()?;
        let dog = watchdog(Duration::from_secs(240));
        let ports = free_ports::<6>();
        let routes: Vec<_> = ports[3..].iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let start = |i: usize| {
            let (own, routes) = (ports[3 + i], routes.join(", "));
            let more =
                format!("server_name: n{i}\ncluster {{ name: trio, listen: \"127.0.0.1:{own}\", routes: [{routes}] }}");
            Server::start(&program, new_directory(), ports[i], &more)
        };
        let servers: Vec<_> = (0..3).map(start).collect();
        let urls: Vec<_> = ports[..3].iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        Some((dog, Self { program, servers, urls: urls.join(",") }))
    }

    /// A pool on them, with two agents, which are processes.
    fn pool(&self) -> (ClusterPool, [Popen; 2]) {
        let settings = ClusterPool::builder().replicas(3).retries(3).connect_timeout(Duration::from_secs(60));
        let pool = settings.host_timeout(Duration::from_secs(3)).connect(&self.urls).unwrap();
        let agents = [(); 2].map(|()| {
            let agent = Popen::builder([env::current_exe().unwrap()]).env("CLUSTER_AGENT", &self.urls);
            agent.env("CLUSTER_SLOTS", "1").stdout(Stdio::null()).spawn().unwrap()
        });
        assert!(pool.wait_for_hosts(2, Duration::from_secs(60)));
        (pool, agents)
    }

    /// The one that leads the pool's stream.
    fn leader(&self) -> &Server {
        let info = ask(self.servers[0].port, "$JS.API.STREAM.INFO.MP_default");
        let leader = info["cluster"]["leader"].as_str().unwrap().strip_prefix('n').unwrap();
        &self.servers[leader.parse::<usize>().unwrap()]
    }

    fn with_fault(name: &str, fault: impl Fn(&mut Self)) {
        let n_runs = env::var("CLUSTER_RUNS").map_or(1, |runs| runs.parse().unwrap());
        for _ in 0..n_runs {
            let Some((_dog, mut trio)) = Self::start() else { return };
            let (pool, agents) = trio.pool();
            pool.apply(id, ()).unwrap();
            let storm = Storm::begin(&pool);
            storm.wait_for_a_third();
            fault(&mut trio);
            storm.end(&pool, name);
            for agent in agents {
                agent.terminate().unwrap();
                agent.wait().unwrap();
            }
        }
    }
}

/// A question to a server, by nothing but its protocol.
fn ask(port: u16, subject: &str) -> serde_json::Value {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer 0\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
        if line.starts_with("MSG ") {
            let mut answer = vec![0; line.split_whitespace().last().unwrap().parse().unwrap()];
            lines.read_exact(&mut answer).unwrap();
            return serde_json::from_slice(&answer).unwrap();
        }
    }
}

#[test]
fn killed_leader_of_three_costs_nothing() {
    Trio::with_fault("SIGKILL of the stream's leader of three", |trio| {
        signal(trio.leader().process.pid(), Signal::SIGKILL);
    });
}

#[test]
fn three_killed_and_restarted_servers_cost_nothing() {
    Trio::with_fault("SIGKILL of all three, and restart", |trio| {
        trio.servers.iter().for_each(|server| signal(server.process.pid(), Signal::SIGKILL));
        for server in &mut trio.servers {
            server.process.wait().unwrap();
            server.restart(&trio.program);
        }
    });
}

/// What the crate's docs say that each role needs.
const USERS: &str = r#"
authorization { users: [
  { user: agent, password: a, permissions: {
    publish: ["$JS.API.CONSUMER.MSG.NEXT.MP_default.>", "$JS.ACK.MP_default.>", "mp.default.r.>", "mp.default.w.>", "mp.default.hb.>", "_INBOX_coordinator.>"],
    subscribe: ["_INBOX_agent.>", "mp.default.ctl"] } },
  { user: coordinator, password: c, permissions: {
    publish: ["mp.default.t.>", "mp.default.ctl", "$JS.API.STREAM.*.MP_default", "$JS.API.CONSUMER.DURABLE.CREATE.MP_default.>", "_INBOX_agent.>"],
    subscribe: ["_INBOX_coordinator.>", "mp.default.r.>", "mp.default.w.>", "mp.default.hb.>"] } },
] }"#;

fn connect(url: String) -> Result<ClusterPool, PoolError> {
    ClusterPool::builder().connect_timeout(Duration::from_secs(2)).connect(url)
}

#[test]
fn each_role_can_do_its_own_and_strangers_nothing() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let _server = Server::start(&program, new_directory(), port, USERS);
    let url = |user: &str| format!("nats://{user}127.0.0.1:{port}");
    let pool = ClusterPool::connect(url("coordinator:c@")).unwrap();
    let agent = Agent::builder(url("agent:a@")).slots(2).start().unwrap();
    assert!(pool.wait_for_hosts(1, Duration::from_secs(60)));
    assert_eq!(pool.map(|n| n + 1, 0..100), Ok((1..101).collect::<Vec<_>>()));
    // Long ones, and one that is taken back, go by other subjects.
    assert_eq!(pool.apply(|bytes: Vec<u8>| bytes, (vec![7; 1 << 20],)).unwrap().len(), 1 << 20);
    let long = pool.apply_async(|| thread::sleep(Duration::from_secs(600)), ());
    assert!(long.cancel());
    assert_eq!(pool.apply(|| 7, ()), Ok(7));

    for (who, why) in [("agent:a@", "server"), ("", "reached"), ("agent:x@", "reached"), ("nobody:x@", "reached")] {
        let refused = connect(url(who)).expect_err(who).to_string();
        assert!(refused.contains(why), "{who}: {refused}");
        assert!(!refused.contains(who) || who.is_empty(), "{refused}");
    }
    assert!(Agent::builder(url("")).connect_timeout(Duration::from_secs(1)).slots(1).start().is_err());
    agent.stop();
    agent.wait().unwrap();
}

/// An authority, and a certificate that it signed for this machine, by the command `openssl`.
fn certificates(directory: &Path) -> bool {
    let openssl = |args: &str| {
        let program = Popen::builder(["openssl"].into_iter().chain(args.split(' '))).current_dir(directory);
        let Ok(program) = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return false };
        program.wait().unwrap().success()
    };
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")
        && openssl("req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr")
        && openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
        )
}

#[test]
fn tls_of_both_sides() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let directory = new_directory();
    if !certificates(&directory) {
        fs::remove_dir_all(&directory).unwrap();
        return eprintln!("SKIPPED: no openssl");
    }
    let file = |name: &str| directory.join(name);
    let [port] = free_ports();
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let _server = Server::start(&program, directory.clone(), port, &tls);
    let url = format!("nats://127.0.0.1:{port}");
    let settings = || ClusterPool::builder().connect_timeout(Duration::from_secs(2));
    let known = || settings().authorities(file("ca.pem"));
    let pool = known().certificate(file("server.pem"), file("server.key")).connect_timeout(Duration::from_secs(30));
    let pool = pool.connect(&url).unwrap();
    let agent = Agent::builder(&url).authorities(file("ca.pem")).certificate(file("server.pem"), file("server.key"));
    let _agent = agent.slots(1).start().unwrap();
    assert_eq!(pool.map(|n| n + 1, 0..10), Ok((1..11).collect::<Vec<_>>()));
    // Without a certificate of its own; without knowing who signed the server's.
    assert!(known().connect(&url).is_err());
    assert!(settings().certificate(file("server.pem"), file("server.key")).connect(&url).is_err());
}

#[test]
fn plain_server_is_not_spoken_to_where_tls_is_required() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "");
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::connect(&url).unwrap();
    fs::write(server.directory.join("ca.pem"), "").unwrap();
    let begun = Instant::now();
    let refused = ClusterPool::builder().authorities(server.directory.join("ca.pem"));
    assert!(refused.connect_timeout(Duration::from_millis(500)).connect(&url).is_err());
    assert!(begun.elapsed() >= Duration::from_millis(400));
    pool.terminate();
    assert_eq!(pool.apply(|| 1, ()), Err(TaskError::Closed));
}
