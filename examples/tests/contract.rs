//! The contract: names and shapes that programs outside this repository are compiled against. What stops compiling
//! here breaks them.
#![allow(clippy::exit, clippy::unwrap_used, reason = "tests")]

use std::{
    cell::Cell,
    error::Error,
    os::fd::AsFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use ipc::{Array, JoinableQueue, Queue, Value, channel, pipe};
use pool::{ProcessPool, Task, TaskError, ThreadPool};
use proc_core::{
    CrashReport, Fork, Process, ProcessError, Resource, Runnable, Signal, StartMethod, active_children,
    command::{Popen, call, run},
    cpu_count, current_process,
    daemon::Daemonize,
    fork, parent_process,
    reaper::{Reaper, zombies},
    set_start_method,
    shm::{Shared, SharedMemory},
    thread::{self, Timer},
    wait_any,
};
use serde::{Deserialize, Serialize};
use tls::Local;

type Checked = Result<(), Box<dyn Error>>;

fn watchdog() -> test_support::Watchdog {
    test_support::watchdog(Duration::from_secs(60))
}

fn work(n: u64, label: String) -> u64 {
    n + label.len() as u64
}

#[derive(Serialize, Deserialize)]
struct ClockProcess {
    interval: Duration,
}

impl Runnable for ClockProcess {
    type Output = u32;

    fn run(self) -> u32 {
        self.interval.subsec_millis()
    }
}

#[test]
fn processes() -> Checked {
    let _dog = watchdog();
    let p: Process<u64> = Process::spawn(work, (3, "a".into()))?;
    assert_eq!(p.join()?, 4);
    let p = Process::builder()
        .name("clock")
        .daemon(true)
        .start_method(StartMethod::Spawn)
        .env("K", "V")
        .current_dir("/")
        .stdout(Stdio::null())
        .limit(Resource::AddressSpace, 1 << 30)
        .nice(5)
        .forward_logs(true)
        .spawn(work, (3, "a".into()))?;
    assert!(p.pid() > 0 && p.name() == "clock" && p.is_daemon());
    let _: bool = p.is_alive();
    let _ = p.as_fd();
    let _: Option<ExitStatus> = p.wait_timeout(Duration::from_secs(30))?;
    p.terminate()?;
    p.kill()?;
    p.signal(Signal::SIGUSR1)?;
    let r: u64 = p.join()?;
    assert_eq!(r, 4);
    assert_eq!(Process::start(ClockProcess { interval: Duration::from_millis(7) })?.join()?, 7);
    match Process::spawn(|| panic!("no"), ())?.join() {
        Err(ProcessError::Panicked { message, location, backtrace, .. }) => {
            assert_eq!(message, "no");
            assert!(!location.is_empty());
            drop(backtrace.to_string());
        }
        Err(ProcessError::Signaled { crash: None | Some(CrashReport { .. }), .. }) => unreachable!(),
        Err(ProcessError::Exited { .. } | ProcessError::Decode { .. }) | Ok(()) => {
            unreachable!()
        }
        Err(other) => return Err(other.into()),
    }
    let captured = [1, 2];
    let forked: Result<Process<usize>, ProcessError> = Process::fork(move || captured.len());
    assert!(matches!(forked, Err(ProcessError::Multithreaded { .. })));
    let (a, b) = (Process::spawn(work, (1, String::new()))?, Process::spawn(work, (2, String::new()))?);
    assert!(!wait_any(&[&a, &b], Some(Duration::from_secs(30)))?.is_empty());
    assert!(active_children().len() <= 2 && cpu_count() >= 1);
    assert!(current_process().pid() == std::process::id() && parent_process().is_none());
    set_start_method(StartMethod::ForkServer)?;
    Ok(())
}

#[test]
fn fork_returns_twice() -> Checked {
    let _dog = watchdog();
    fn twice() -> i32 {
        // SAFETY: a child of the fork server has one thread.
        match unsafe { fork() }.unwrap() {
            Fork::Parent(child) => child.wait().unwrap().code().unwrap(),
            Fork::Child => std::process::exit(7),
        }
    }
    assert_eq!(Process::spawn(twice, ())?.join()?, 7);
    Ok(())
}

#[test]
fn daemons_reapers_commands_threads_memory() -> Checked {
    let _dog = watchdog();
    let _never_started = || {
        Daemonize::new()
            .pid_file("/run/x.pid")
            .working_dir("/")
            .umask(0o027)
            .stdout(std::fs::File::open("/dev/null").unwrap())
            .user("nobody")
            .start()
    };
    let _: Vec<_> = zombies();
    let _ = std::any::type_name::<Reaper>();
    assert!(call(["true"])?.success());
    let _ = run(["true"])?;
    let _ = std::any::type_name::<Popen>();
    let handle = thread::spawn(|| thread::current().name().to_owned());
    let _ = handle.join();
    let _ = thread::Builder::new().name("worker").daemon(true).spawn(|| ())?.join_timeout(Duration::from_secs(30));
    assert!(thread::active_count() >= 1 && !thread::enumerate().is_empty());
    let _ = Timer::new(Duration::from_secs(3600), || ());
    let memory = SharedMemory::new(4096)?;
    assert_eq!(memory.len(), 4096);
    let _ = Shared::new(std::sync::atomic::AtomicU64::new(1))?;
    Ok(())
}

#[test]
fn locks() -> Checked {
    let _dog = watchdog();
    let l = sync::process::Lock::new(0u64)?;
    {
        let mut g = l.lock()?;
        *g += 1;
    }
    fn die_holding(l: sync::process::Lock<u64>) {
        let g = l.lock().unwrap();
        std::mem::forget(g);
        std::process::abort();
    }
    assert!(Process::spawn(die_holding, (l.clone(),))?.join().is_err());
    match l.lock() {
        Err(e) => {
            let mut guard = e.into_inner();
            *guard += 1;
            guard.mark_consistent();
        }
        Ok(_) => unreachable!(),
    }
    assert_eq!(*l.lock()?, 2);
    let _ = l.try_lock();
    let _ = l.lock_timeout(Duration::from_millis(1));
    let l = sync::thread::Lock::new(0u64);
    {
        let mut g = l.lock();
        *g += 1;
    }
    {
        use sync::process::{Barrier, BoundedSemaphore, Condvar, Event, RLock, RwLock, Semaphore};
        let l = sync::process::Lock::new(1u32)?;
        let cv = Condvar::new()?;
        cv.notify_one();
        cv.notify_all();
        let g = l.lock()?;
        let g = cv.wait_while(g, |n| *n != 1)?;
        let (_g, _timed_out) = cv.wait_timeout(g, Duration::from_millis(1))?;
        let e = Event::new()?;
        e.set();
        assert!(e.is_set());
        e.wait()?;
        let set: bool = e.wait_timeout(Duration::from_millis(1))?;
        assert!(set);
        e.clear();
        let s = Semaphore::new(1)?;
        let permit = s.acquire();
        let _ = s.try_acquire();
        let _ = s.acquire_timeout(Duration::from_millis(1));
        drop(permit);
        s.release(1)?;
        let _ = BoundedSemaphore::new(1)?;
        let b = Barrier::new(1)?;
        let _ = b.wait()?;
        b.reset();
        b.abort();
        assert_eq!(b.parties(), 1);
        let _ = b.n_waiting();
        let r = RLock::new(0u8)?;
        let _outer = r.lock()?;
        let _inner = r.lock()?;
        let rw = RwLock::new(0u8)?;
        drop(rw.read()?);
        drop(rw.write()?);
    }
    Ok(())
}

#[test]
fn queues_and_pipes() -> Checked {
    let _dog = watchdog();
    type Msg = (u32, String);
    let m = || (1, "one".to_owned());
    let d = Duration::from_secs(30);
    let q: Queue<Msg> = Queue::new(8)?;
    q.put(m())?;
    q.try_put(m())?;
    q.put_timeout(m(), d)?;
    assert_eq!(q.len(), 3);
    assert!(!q.is_empty() && !q.is_full());
    q.get()?;
    q.try_get()?;
    q.get_timeout(d)?;
    q.put_many([m(), m()])?;
    assert_eq!(q.get_many(8)?.len(), 2);
    let bytes: Queue<Vec<u8>> = Queue::new(8)?;
    bytes.put_bytes(&[1, 2, 3])?;
    let loan = bytes.loan(16)?;
    loan.send()?;
    q.put(m())?;
    q.close();
    let mut n = 0;
    for m in &q {
        let _: Msg = m;
        n += 1;
    }
    assert_eq!(n, 1);
    let jq = JoinableQueue::new(0)?;
    let t = 5_u64;
    jq.put(t)?;
    let item = jq.get()?;
    assert_eq!(&*item, &5);
    item.task_done();
    jq.join()?;
    assert!(jq.join_timeout(d)?);
    let (mut a, mut b) = pipe::<Msg>()?;
    let _ = (&mut a, &mut b);
    a.send(&m())?;
    assert!(b.poll(Some(d))?);
    assert_eq!(b.recv()?, m());
    let (tx, rx) = channel::<Msg>()?;
    tx.send(&m())?;
    assert_eq!(rx.recv()?, m());
    let v = Value::<i64>::new(0)?;
    let _ = v.get();
    let array = Array::<f64>::new(1000)?;
    array.set(1, 2.0);
    let _ = array.get(1);
    let thread_queue = ipc::thread::Queue::new(3);
    thread_queue.put(1)?;
    let lifo = ipc::thread::LifoQueue::new(3);
    lifo.put(1)?;
    let priority = ipc::thread::PriorityQueue::new(3);
    priority.put(1)?;
    let joinable = ipc::thread::JoinableQueue::new(3);
    joinable.put(1)?;
    Ok(())
}

fn double(n: u64) -> u64 {
    n * 2
}

#[test]
fn pools() -> Checked {
    let _dog = watchdog();
    let d = Duration::from_secs(30);
    let pool = ProcessPool::new(2)?;
    assert_eq!(pool.apply(work, (3, "a".into()))?, 4);
    let t: Task<u64> = pool.apply_async(double, (4,));
    assert_eq!(t.get()?, 8);
    let t = pool.apply_async(double, (4,));
    assert_eq!(t.get_timeout(d)?, 8);
    let t = pool.apply_async(double, (4,));
    let _ = (t.ready(), t.cancel());
    assert_eq!(pool.map(double, 0..5)?, [0, 2, 4, 6, 8]);
    assert_eq!(pool.starmap(work, [(1, "a".to_owned()), (2, "b".to_owned())])?, [2, 3]);
    assert_eq!(pool.imap(double, 0..3).collect::<Result<Vec<_>, _>>()?, [0, 2, 4]);
    assert_eq!(pool.imap_unordered(double, 0..3).filter_map(Result::ok).sum::<u64>(), 6);
    match pool.apply(|| -> () { std::process::abort() }, ()) {
        Err(TaskError::WorkerDied { signal, crash, .. }) => {
            let crash: CrashReport = crash.expect("an abort is told");
            let _: (i32, i32, Option<usize>, String) = (crash.signal(), crash.code(), crash.address(), crash.thread());
            let frame = crash.frames().first().expect("a frame");
            let _: (Option<&str>, Option<&std::path::Path>, Option<u32>) =
                (frame.function(), frame.file(), frame.line());
            drop(format!("{signal:?} {crash}"));
        }
        other => panic!("{other:?}"),
    }
    let _: fn(TaskError) = |e| match e {
        TaskError::Panicked { .. }
        | TaskError::TimedOut
        | TaskError::MemoryLimit
        | TaskError::Cancelled
        | TaskError::Quarantined
        | TaskError::Decode { .. } => {}
        _ => {}
    };
    let _ = pool.stats();
    pool.close();
    pool.join()?;
    let built = ProcessPool::builder()
        .workers(1)
        .initializer(|_: u64| (), (1,))
        .max_tasks_per_child(100)
        .task_timeout(d)
        .retries(2)
        .memory_limit(1 << 30)
        .start_method(StartMethod::ForkServer)
        .forward_logs(true)
        .stdout(|worker, line| println!("{worker}: {line}"))
        .build()?;
    let t = built.task(double, (4,)).timeout(d).retries(2).memory_limit(1 << 30).name("…").submit();
    let _: Result<u64, TaskError> = t.get();
    built.resize(2)?;
    built.terminate();
    built.join()?;
    let builder = ProcessPool::builder().workers(1).worker(Process::builder().env("K", "V").nice(5));
    let own = builder.recycle_above(1 << 30).build()?;
    assert_eq!(own.apply(|| std::env::var("K").ok(), ())?.as_deref(), Some("V"));
    let threads = ThreadPool::new(2)?;
    let t: Task<u64> = threads.apply_async(double, (4,));
    let awaited = async { t.await.map(|n| n + 1) };
    drop(awaited);
    assert_eq!(threads.map(double, 0..3)?, [0, 2, 4]);
    Ok(())
}

static DATA: Local<Cell<u64>> = Local::new(|| Cell::new(0));

#[test]
fn locals() {
    DATA.with(|d| d.set(d.get() + 1));
    assert_eq!(DATA.with(Cell::get), 1);
    let mut local: Local<Cell<u64>> = Local::new(|| Cell::new(5));
    let _ = local.get_or(|| Cell::new(1));
    assert_eq!(local.iter_mut().count(), 1);
    local.clear();
}
