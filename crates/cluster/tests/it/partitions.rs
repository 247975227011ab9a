//! Hosts that are cut off without a word: each is a network of its own, on a switch whose ports can be shut.

use std::{
    env, fs,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Duration,
};

use proc_core::{
    Stdio,
    command::{Popen, call},
};

use crate::{
    faults::Storm,
    server::{Place, program},
    trio::{Trio, end},
};

/// Says to a test that it runs in a network of its own.
const INSIDE: &str = "CLUSTER_TEST_NETWORK";

/// Runs the calling test once more, in a network of its own; false if it does already, and is to begin.
fn is_outside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return false;
    }
    if program().is_none() {
        return true;
    }
    let can = Popen::builder(["unshare", "-n", "ip", "link", "add", "br0", "type", "bridge"]);
    if !can.stderr(Stdio::null()).spawn().is_ok_and(|can| can.wait().unwrap().success()) {
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: no networks of a test's own (as root, with iproute2 and util-linux)");
        return true;
    }
    let program = env::current_exe().unwrap();
    let args = ["--exact", test, "--nocapture"].map(Path::new);
    let inside = Popen::builder(["unshare", "-n"].map(Path::new).into_iter().chain([&*program]).chain(args));
    assert!(inside.env(INSIDE, "1").spawn().unwrap().wait().unwrap().success());
    true
}

fn ip(args: &str) {
    run(&format!("ip {args}"));
}

fn run(command: &str) {
    assert!(call(command.split(' ')).unwrap().success(), "{command}");
}

/// A host, which is there as long as this value. None has the number or the address of another one.
struct Host {
    number: usize,
    place: Place,
    /// Ends when its standard input does.
    _holder: Popen,
}

impl Host {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let holder = Popen::builder(["unshare", "-n", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let holder = holder.spawn().unwrap();
        let pid = holder.pid();
        let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        while network(pid) == network(std::process::id()) {
            thread::yield_now();
        }
        let address = format!("10.77.0.{}", 10 + number);
        ip(&format!("link add v{number} type veth peer name eth0 netns {pid}"));
        ip(&format!("link set v{number} master br0 up"));
        let enter = format!("nsenter -t {pid} -n");
        for there in [&format!("addr add {address}/24 dev eth0"), "link set eth0 up", "link set lo up"] {
            run(&format!("{enter} ip {there}"));
        }
        let place = Place { ip: address, enter: enter.split(' ').map(str::to_owned).collect() };
        Self { number, place, _holder: holder }
    }

    fn cut(&self) {
        ip(&format!("link set v{} down", self.number));
    }

    fn mend(&self) {
        ip(&format!("link set v{} up", self.number));
    }
}

/// Three hosts with servers, and two with agents. The one that `which` chooses is cut off during 10,000 tasks, which end
/// without it; and is there again after that.
fn with_partition(test: &str, name: &str, which: impl Fn(&Trio) -> usize) {
    if is_outside(test) {
        return;
    }
    ip("link set lo up");
    ip("link add br0 type bridge");
    ip("addr add 10.77.0.1/24 dev br0");
    ip("link set br0 up");
    let n_runs = env::var("CLUSTER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    for _ in 0..n_runs {
        let hosts = [(); 5].map(|()| Host::new());
        let [a, b, c, d, e] = hosts.each_ref().map(|host| host.place.clone());
        let Some((_dog, trio)) = Trio::start([a, b, c]) else { return };
        let (pool, agents) = trio.pool(&[d, e]);
        let cut = &hosts[which(&trio)];
        let storm = Storm::begin(&pool);
        storm.wait_for_a_third();
        cut.cut();
        storm.end(&pool, name);
        cut.mend();
        assert!(pool.wait_for_hosts(2, Duration::from_secs(60)));
        assert_eq!(pool.map(|n| n + 1, 0..100), Ok((1..101).collect::<Vec<_>>()));
        end(agents);
    }
}

#[test]
fn agents_host_that_is_cut_off_costs_nothing() {
    let test = "partitions::agents_host_that_is_cut_off_costs_nothing";
    with_partition(test, "cutting off an agent's host", |_| 3);
}

#[test]
fn leaders_host_that_is_cut_off_costs_nothing() {
    let test = "partitions::leaders_host_that_is_cut_off_costs_nothing";
    with_partition(test, "cutting off the stream leader's host", Trio::leader);
}

#[test]
fn coordinators_server_that_is_cut_off_costs_nothing() {
    let test = "partitions::coordinators_server_that_is_cut_off_costs_nothing";
    with_partition(test, "cutting off the coordinator's server", Trio::own_server);
}
