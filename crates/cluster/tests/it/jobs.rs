//! Jobs, which outlive the program that has begun them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::id,
    thread,
    time::{Duration, Instant},
};

use cluster::ClusterPool;
use pool::TaskError;
use proc_core::Process;
use test_support::{Watchdog, watchdog};

use crate::{
    server::{Place, Server, free_ports, new_directory, program},
    trio::end,
};

const N_ITEMS: u64 = 60;
/// From this one on, items wait until they may go on.
const HELD_UP: u64 = 20;

/// A server that outlives pools, and a directory where tasks tell that they have run.
struct Site {
    server: Server,
    url: String,
    notes: PathBuf,
    _dog: Watchdog,
}

impl Site {
    fn new() -> Option<Self> {
        let program = program()?;
        let _dog = watchdog(Duration::from_secs(120));
        let [port] = free_ports();
        let server = Server::start(&program, new_directory(), port, "");
        let notes = server.directory.join("notes");
        fs::create_dir(&notes).unwrap();
        Some(Self { server, url: format!("nats://127.0.0.1:{port}"), notes, _dog })
    }

    fn items(&self) -> Vec<(String, u64)> {
        let notes = self.notes.to_str().unwrap();
        (0..N_ITEMS).map(|n| (notes.to_owned(), n)).collect()
    }

    fn let_go_on(&self) {
        fs::write(self.server.directory.join("go"), "").unwrap();
    }

    /// How often tasks have run.
    fn n_runs(&self) -> u64 {
        fs::read_dir(&self.notes).unwrap().count() as u64
    }

    fn wait_for_runs(&self, n: u64) {
        while self.n_runs() < n {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Notes that it has run, and squares.
fn square((notes, n): (String, u64)) -> u64 {
    let notes = Path::new(&notes);
    while n >= HELD_UP && !notes.parent().unwrap().join("go").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let unique = Instant::now();
    fs::write(notes.join(format!("{n}-{}-{unique:?}", id())), "").unwrap();
    n * n
}

fn squares() -> Vec<u64> {
    (0..N_ITEMS).map(|n| n * n).collect()
}

/// What the program does that is killed.
fn begin(url: String, items: Vec<(String, u64)>) {
    let pool = ClusterPool::connect(url).unwrap();
    let _ = pool.job("squares").unwrap().map(square, items);
}

#[test]
fn killed_coordinator_that_is_started_again_has_all_results() {
    let Some(site) = Site::new() else { return };
    let agents = vec![Place::here().agent(&site.url), Place::here().agent(&site.url)];
    let first = Process::spawn(begin, (site.url.clone(), site.items())).unwrap();
    site.wait_for_runs(HELD_UP);
    first.kill().unwrap();
    first.wait().unwrap();
    // The agents go on without it.
    site.let_go_on();
    site.wait_for_runs(N_ITEMS);
    let pool = ClusterPool::connect(&site.url).unwrap();
    let job = pool.job("squares").unwrap();
    assert_eq!(job.map(square, site.items()), Ok(squares()));
    // Once more, by the results alone.
    assert_eq!(
        job.imap_unordered(square, site.items()).unwrap().map(Result::unwrap).sum::<u64>(),
        squares().iter().sum::<u64>()
    );
    assert_eq!((site.n_runs(), pool.n_resubmitted()), (N_ITEMS, 0));
    job.forget().unwrap();
    assert_eq!(job.imap(square, site.items()).unwrap().collect::<Result<Vec<_>, _>>(), Ok(squares()));
    assert_eq!(site.n_runs(), 2 * N_ITEMS);
    end(agents);
}

/// What the server has not got any more is given again; what it has got is not.
#[test]
fn killed_coordinator_and_agents_cost_what_they_had_in_hand() {
    let Some(site) = Site::new() else { return };
    let agent = Place::here().agent(&site.url);
    let first = Process::spawn(begin, (site.url.clone(), site.items())).unwrap();
    site.wait_for_runs(HELD_UP);
    first.kill().unwrap();
    first.wait().unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
    site.let_go_on();
    let pool = ClusterPool::builder().host_timeout(Duration::from_secs(2)).connect(&site.url).unwrap();
    let agents = vec![Place::here().agent(&site.url)];
    assert_eq!(pool.job("squares").unwrap().map(square, site.items()), Ok(squares()));
    // What had run and not been acknowledged runs again: no more than an agent has in hand.
    assert!((N_ITEMS..N_ITEMS + HELD_UP).contains(&site.n_runs()), "{}", site.n_runs());
    end(agents);
}

fn length((path, text): (String, String)) -> usize {
    fs::read_to_string(path).unwrap().len() + text.len()
}

#[test]
fn other_arguments_and_failures_are_done_again() {
    let Some(site) = Site::new() else { return };
    let agents = vec![Place::here().agent(&site.url)];
    let pool = ClusterPool::connect(&site.url).unwrap();
    let job = pool.job("lengths").unwrap();
    let file = site.server.directory.join("text");
    let item = |text: &str| [(file.to_str().unwrap().to_owned(), text.to_owned())];
    assert!(matches!(job.map(length, item("a")), Err(TaskError::Panicked { .. })));
    fs::write(&file, "1234").unwrap();
    assert_eq!(job.map(length, item("a")), Ok(vec![5]));
    fs::write(&file, "12").unwrap();
    assert_eq!(job.map(length, item("a")), Ok(vec![5]));
    assert_eq!(job.map(length, item("ab")), Ok(vec![4]));
    // Large arguments stay with this program, and results have a limit.
    assert_eq!(job.map(length, item(&"x".repeat(1 << 20))), Ok(vec![2 + (1 << 20)]));
    let large = pool.job("large").unwrap().map(|n: usize| vec![1_u8; n], [1 << 19, 1 << 21]);
    assert!(matches!(&large, Err(TaskError::Encode(why)) if why.contains("no more than")), "{large:?}");
    assert!(pool.job("no name").is_err());
    job.forget().unwrap();
    end(agents);
}
