//! Servers that know their users, speak TLS, or lose what a pool has made there.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cluster::{Agent, ClusterPool};
use pool::{PoolError, TaskError};
use proc_core::{Stdio, command::Popen};
use test_support::watchdog;

use crate::server::{Server, free_ports, new_directory, program};

/// What the crate's docs say that each role needs.
const USERS: &str = r#"
authorization { users: [
  { user: agent, password: a, permissions: {
    publish: ["$JS.API.CONSUMER.MSG.NEXT.MP_default.>", "$JS.ACK.MP_default.>", "mp.default.r.>", "mp.default.w.>", "mp.default.d.>", "mp.default.hb.>", "_INBOX_coordinator.>"],
    subscribe: ["_INBOX_agent.>", "mp.default.ctl"] } },
  { user: coordinator, password: c, permissions: {
    publish: ["mp.default.t.>", "mp.default.ctl", "$JS.API.STREAM.*.MP_default", "$JS.API.CONSUMER.DURABLE.CREATE.MP_default.>", "_INBOX_agent.>",
      "$JS.API.STREAM.*.MR_default", "$JS.API.DIRECT.GET.MR_default.>"],
    subscribe: ["_INBOX_coordinator.>", "mp.default.r.>", "mp.default.w.>", "mp.default.d.>", "mp.default.hb.>"] } },
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
    let agent = Agent::builder(url("agent:a@")).slots(2).register("add", |a: u64, b: u64| a + b).start().unwrap();
    assert!(pool.wait_for_hosts(1, Duration::from_secs(60)));
    assert_eq!(pool.map(|n| n + 1, 0..100), Ok((1..101).collect::<Vec<_>>()));
    assert_eq!(pool.function::<(u64, u64), u64>("add").unwrap().apply((3, 4)), Ok(7));
    let job = pool.job("j").unwrap();
    assert_eq!((job.map(|n| n + 1, 0..10), job.map(|n| n + 1, 0..10)), (Ok((1..11).collect()), Ok((1..11).collect())));
    job.forget().unwrap();
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

/// What is wanting is said, where each side is there and one of them may not do its part.
#[test]
fn users_who_may_not_do_their_part_are_told() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    for (may_not, why) in [
        ("\"$JS.API.CONSUMER.MSG.NEXT.MP_default.>\", ", "no task taken by any of the 1 agents"),
        ("\"mp.default.t.>\", ", "no word of the server"),
    ] {
        assert!(USERS.contains(may_not));
        let [port] = free_ports();
        let _server = Server::start(&program, new_directory(), port, &USERS.replace(may_not, ""));
        let url = |user: &str| format!("nats://{user}127.0.0.1:{port}");
        let settings = ClusterPool::builder().agent_timeout(Duration::from_secs(1));
        let pool = settings.connect(url("coordinator:c@")).unwrap();
        let _agent = Agent::builder(url("agent:a@")).slots(1).start().unwrap();
        assert!(pool.wait_for_hosts(1, Duration::from_secs(60)));
        let Err(TaskError::Broken(told)) = pool.apply(|| 1, ()) else { panic!("it ran") };
        assert!(told.to_string().contains(why), "{told}");
    }
}

/// By somebody who may do that: both are made again.
#[test]
fn deleted_consumers_and_streams_cost_nothing() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "");
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::connect(&url).unwrap();
    let _agent = Agent::builder(&url).slots(1).start().unwrap();
    assert_eq!(pool.map(|n| n + 1, 0..10), Ok((1..11).collect::<Vec<_>>()));
    let consumers = server.ask("$JS.API.CONSUMER.NAMES.MP_default");
    let consumer = consumers["consumers"][0].as_str().unwrap();
    for deleted in [format!("CONSUMER.DELETE.MP_default.{consumer}"), "STREAM.DELETE.MP_default".to_owned()] {
        assert_eq!(server.ask(&format!("$JS.API.{deleted}"))["success"], true);
        assert_eq!(pool.map(|n| n + 1, 0..10), Ok((1..11).collect::<Vec<_>>()), "{deleted}");
    }
}

/// By somebody who may send whatever they like.
#[test]
fn garbage_costs_nothing() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "");
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::connect(&url).unwrap();
    let _agent = Agent::builder(&url).slots(2).register("add", |a: u64, b: u64| a + b).start().unwrap();
    let add = pool.function::<(u64, u64), u64>("add").unwrap();
    assert_eq!(add.apply((1, 2)), Ok(3));
    let job = pool.job("j").unwrap();
    let squares = || (0..20_u64).map(|n| n * n).collect::<Vec<_>>();
    assert_eq!(job.map(|n: u64| n * n, 0..20), Ok(squares()));
    job.forget().unwrap();
    let consumers = server.ask("$JS.API.CONSUMER.NAMES.MP_default");
    let queues = consumers["consumers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().replace("q-", ""));
    let tasks = queues.map(|queue| format!("mp.default.t.{queue}.stranger"));
    let others = ["ctl", "r.stranger", "hb.stranger", "w.stranger.0", "d.j-j.3", "d.j-j.5", "d.j-j.x", "d.stranger.0"];
    let subjects: Vec<_> = tasks.chain(others.map(|other| format!("mp.default.{other}"))).collect();
    assert_eq!(subjects.len(), 10);
    let many = pool.map_async(|n: u64| n + 1, 0..2000_u64);
    for first in 0..8 {
        let garbage: Vec<u8> = [first].into_iter().chain((0..100).map(|i: u8| i.wrapping_mul(37) ^ first)).collect();
        for subject in &subjects {
            server.tell(subject, &garbage[..if first % 2 == 0 { garbage.len() } else { 1 }]);
        }
    }
    assert_eq!(many.get(), Ok((1..2001).collect::<Vec<_>>()));
    // In the place of two results there is something else.
    assert_eq!(job.map(|n: u64| n * n, 0..20), Ok(squares()));
    assert_eq!(job.map(|n: u64| n * n, 0..20), Ok(squares()));
    assert_eq!(add.apply((3, 4)), Ok(7));
}

#[test]
fn what_is_too_long_for_a_server_goes_in_pieces() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let server = Server::start(&program, new_directory(), port, "max_payload: 4096");
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::connect(&url).unwrap();
    let _agent = Agent::builder(&url).slots(2).start().unwrap();
    for len in (1800..2300).step_by(50).chain((3600..4400).step_by(50)).chain([100_000, 131_000, 132_000]) {
        assert_eq!(pool.apply_async(|bytes: Vec<u8>| bytes.len(), (vec![7; len],)).get(), Ok(len));
        let task = pool.apply_async(|len: usize| vec![7_u8; len], (len,));
        assert_eq!(task.get_timeout(Duration::from_secs(30)), Ok(vec![7; len]));
    }
    while server.ask("$JS.API.STREAM.INFO.MP_default")["state"]["messages"] != 0 {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Tasks that it has no room for are given again when it has.
#[test]
fn full_server_takes_its_time_and_loses_nothing() {
    let Some(program) = program() else { return };
    let _dog = watchdog(Duration::from_secs(120));
    let [port] = free_ports();
    let directory = new_directory();
    let store = directory.join("store");
    let more = format!("jetstream {{ store_dir: {store:?}, max_file_store: 400KB }}");
    let server = Server::start(&program, directory, port, &more);
    let url = format!("nats://127.0.0.1:{port}");
    let pool = ClusterPool::connect(&url).unwrap();
    let tasks: Vec<_> = (0..3000_u64).map(|n| pool.apply_async(|n: u64| n + 1, (n,))).collect();
    // All that it has room for, which is not all.
    let n_stored = || server.ask("$JS.API.STREAM.INFO.MP_default")["state"]["messages"].as_u64().unwrap();
    let mut before = 0;
    while n_stored() == 0 || n_stored() != before {
        before = n_stored();
        thread::sleep(Duration::from_millis(100));
    }
    assert!(before < 3000, "{before}");
    let _agent = Agent::builder(&url).slots(2).start().unwrap();
    assert!((0..).zip(tasks).all(|(n, task)| task.get() == Ok(n + 1)));
    assert_eq!(pool.n_resubmitted(), 0);
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
