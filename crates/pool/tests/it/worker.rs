//! What each worker of a pool is like.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Seek, Write},
    process::Stdio,
    time::Duration,
};

use pool::{Affinity, PoolError, ProcessPool, TaskError};
use proc_core::{ForkServer, Process, ProcessError, Resource, StartMethod};
use test_support::watchdog;

const PATIENCE: Duration = Duration::from_secs(100);

type Looks = (Option<String>, Option<String>, String, i32, u64, usize, String);

fn look() -> Looks {
    let var = |name| std::env::var(name).ok();
    let dir = std::env::current_dir().unwrap().display().to_string();
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The fields after the name: state is the first, the nice value the seventeenth.
    let nice = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(16).unwrap().parse().unwrap();
    let name = proc_core::current_process().name().to_owned();
    (var("ONLY"), var("HOME"), dir, nice, hard, proc_core::cpu_count(), name)
}

fn as_asked() -> Looks {
    (Some("here".into()), None, "/".into(), 7, 64, 1, "fenced-0".into())
}

fn asked() -> proc_core::Builder {
    let builder = Process::builder().env_clear().env("ONLY", "here").current_dir("/");
    builder.limit(Resource::OpenFiles, 64).nice(7).cpu_affinity([0])
}

fn die() {
    std::process::abort()
}

#[test]
fn all_that_a_process_can_be_given_a_worker_can() {
    let _dog = watchdog(PATIENCE);
    let pool = ProcessPool::builder().workers(1).name("fenced").worker(asked()).build().unwrap();
    assert_eq!(pool.apply(look, ()).unwrap(), as_asked());
    let first = pool.apply(std::process::id, ()).unwrap();
    for _ in 0..3 {
        assert!(matches!(pool.apply(die, ()), Err(TaskError::WorkerDied { crash: Some(_), .. })));
        assert_eq!(pool.apply(look, ()).unwrap(), as_asked(), "one that replaces another");
    }
    assert_ne!(pool.apply(std::process::id, ()).unwrap(), first);
    let spawned = ProcessPool::builder().workers(1).name("fenced").worker(asked().start_method(StartMethod::Spawn));
    assert_eq!(spawned.build().unwrap().apply(look, ()).unwrap(), as_asked());
    let silent = ProcessPool::builder().workers(1).worker(Process::builder().crash_report(false)).build().unwrap();
    assert!(matches!(silent.apply(die, ()), Err(TaskError::WorkerDied { crash: None, .. })));
}

/// The CPUs that a process may run on; 0 is the calling thread.
fn cpus_of(pid: u32) -> Vec<usize> {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(pid.cast_signed())).unwrap();
    (0..nix::sched::CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

#[test]
fn workers_are_bound_to_cpus_in_turn() {
    let _dog = watchdog(PATIENCE);
    let allowed = cpus_of(0);
    let n_workers = allowed.len().min(8) + 1;
    for affinity in [Affinity::Spread, Affinity::Pack] {
        let pool = ProcessPool::builder().workers(n_workers).affinity(affinity).build().unwrap();
        let before: Vec<_> = pool.stats().workers.iter().filter_map(|worker| worker.pid).map(cpus_of).collect();
        assert_eq!(before.len(), n_workers);
        assert!(before.iter().all(|cpus| cpus.len() == 1 && allowed.contains(&cpus[0])), "{before:?}");
        let different: HashSet<_> = before.iter().collect();
        assert_eq!(different.len(), allowed.len().min(n_workers), "{before:?}");
        for _ in 0..n_workers {
            assert!(matches!(pool.apply(die, ()), Err(TaskError::WorkerDied { .. })));
            let own = pool.apply(|| cpus_of(0), ()).unwrap();
            assert!(own.len() == 1 && before.contains(&own), "{own:?}");
        }
    }
    let pool = ProcessPool::builder().workers(1).build().unwrap();
    assert_eq!(pool.apply(|| cpus_of(0), ()).unwrap(), allowed);
}

#[test]
fn the_initializer_sees_what_its_worker_has() {
    let _dog = watchdog(PATIENCE);
    let check = |expected: Looks| assert_eq!(look(), expected);
    let pool = ProcessPool::builder().workers(1).name("fenced").worker(asked()).initializer(check, (as_asked(),));
    pool.build().unwrap();
}

#[test]
fn standard_streams_are_those_of_every_worker() {
    let _dog = watchdog(PATIENCE);
    let mut file = File::from(nix::sys::memfd::memfd_create(c"streams", nix::sys::memfd::MFdFlags::empty()).unwrap());
    let worker = Process::builder().stdin(Stdio::null()).stdout(file.try_clone().unwrap());
    let pool = ProcessPool::builder().workers(1).worker(worker).build().unwrap();
    let say = |n: u32| {
        let mut read = String::new();
        let n_read = std::io::stdin().read_to_string(&mut read).unwrap();
        writeln!(std::io::stdout(), "{n}: {n_read}").unwrap();
    };
    pool.apply(say, (1,)).unwrap();
    assert!(pool.apply(|| -> () { std::process::exit(0) }, ()).is_err());
    pool.apply(say, (2,)).unwrap();
    drop(pool);
    let mut written = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut written).unwrap();
    assert_eq!(written, "1: 0\n2: 0\n");
}

#[test]
fn what_is_nothing_for_a_worker_is_an_error_of_build() {
    let _dog = watchdog(PATIENCE);
    let refused = |builder: pool::ProcessPoolBuilder| match builder.build() {
        Err(PoolError::Worker { option, .. }) => option,
        other => panic!("{other:?}"),
    };
    let with = |worker| ProcessPool::builder().workers(1).worker(worker);
    assert_eq!(refused(with(Process::builder().name("mine"))), "name");
    assert_eq!(refused(with(Process::builder().death_link(false))), "death_link");
    assert_eq!(refused(with(Process::builder().stderr(Stdio::piped()))), "stdin, stdout, stderr");
    let twice = "start_method or fork_server";
    let spawned = || Process::builder().start_method(StartMethod::Spawn);
    assert_eq!(refused(with(spawned()).start_method(StartMethod::Spawn)), twice);
    assert_eq!(refused(with(spawned()).preload(|| 7, ())), twice);
    let server = ForkServer::builder().build().unwrap();
    assert_eq!(refused(with(Process::builder().fork_server(&server)).fork_server(&server)), twice);
    // What no start can do is told by the first.
    let impossible = with(Process::builder().env("A=B", "x")).build();
    assert!(
        matches!(&impossible, Err(PoolError::Start(why)) if why.to_string().contains("variable")),
        "{impossible:?}"
    );
    // Without effect, not errors.
    let pool = with(Process::builder().daemon(false).process_group().fork_server(&server)).build().unwrap();
    assert_eq!(pool.apply(|| 7, ()).unwrap(), 7);
}

#[test]
fn what_the_kernel_refuses_is_an_error_of_build_too() {
    let _dog = watchdog(PATIENCE);
    for (worker, what) in [
        (Process::builder().current_dir("/does/not/exist"), "enter the directory"),
        (Process::builder().cpu_affinity([1000]), "bind to CPUs"),
        (Process::builder().limit(Resource::OpenFiles, u64::MAX - 1), "limit OpenFiles"),
    ] {
        let Err(PoolError::Start(why)) = ProcessPool::builder().workers(4).worker(worker).build() else {
            panic!("{what}")
        };
        assert!(matches!(&*why, ProcessError::Setup { operation, .. } if operation.contains(what)), "{why}");
    }
}
