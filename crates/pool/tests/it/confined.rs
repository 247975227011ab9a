//! Workers that may do nothing but compute.

use std::{fs, time::Duration};

use ipc::Queue;
use pool::{PoolError, ProcessPool, ProcessPoolBuilder, TaskError};
use proc_core::{Confinement, CrashCause, Process, ProcessError};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);

fn pool(confinement: Confinement) -> ProcessPoolBuilder {
    ProcessPool::builder().workers(2).worker(Process::builder().confine(confinement))
}

/// A call that is refused ends the worker, and its task.
fn strict() -> ProcessPoolBuilder {
    pool(Confinement::compute().end_at_refusal())
}

fn double(n: u64) -> u64 {
    n * 2
}

fn open_a_file() -> bool {
    fs::File::open("/etc/passwd").is_ok()
}

#[test]
fn tasks_and_their_handles_work() {
    let _dog = watchdog(LIMIT);
    let pool = strict().build().unwrap();
    assert_eq!(pool.map(double, 0..10_000).unwrap().len(), 10_000);
    // Too long for the lane, both ways.
    assert_eq!(pool.apply(|bytes: Vec<u8>| bytes, (vec![7; 3 << 20],)).unwrap(), vec![7; 3 << 20]);
    let texts = pool.imap_unordered(|n: u64| "x".repeat(n as usize), 0..500).map(|text| text.unwrap().len());
    assert_eq!(texts.sum::<usize>(), 499 * 250);
    fn pass_on(from: Queue<u64>, to: Queue<Queue<u64>>, lock: sync::process::Lock<u64>) -> Queue<u64> {
        *lock.lock().unwrap() += from.get().unwrap();
        let made = Queue::new(4).unwrap();
        made.put(*lock.lock().unwrap()).unwrap();
        to.put(made.clone()).unwrap();
        made
    }
    let (from, to) = (Queue::new(4).unwrap(), Queue::new(4).unwrap());
    let lock = sync::process::Lock::new(1).unwrap();
    from.put(5).unwrap();
    let made = pool.apply(pass_on, (from, to.clone(), lock.clone())).unwrap();
    assert_eq!((made.get().unwrap(), *lock.lock().unwrap()), (6, 6));
    to.get().unwrap().put(7).unwrap();
    assert_eq!(made.get().unwrap(), 7);
}

#[test]
fn tasks_fail_as_ever() {
    let _dog = watchdog(LIMIT);
    let pool = strict().task_timeout(Duration::from_millis(200)).memory_limit(64 << 20).build().unwrap();
    let panicked = pool.apply(|| -> () { panic!("told") }, ());
    assert!(matches!(panicked, Err(TaskError::Panicked { .. })), "{panicked:?}");
    let hung = pool.apply(|| std::thread::sleep(Duration::MAX), ());
    assert!(matches!(hung, Err(TaskError::TimedOut)), "{hung:?}");
    let crashed: Result<(), _> = pool.apply(|| std::process::abort(), ());
    assert!(matches!(crashed, Err(TaskError::WorkerDied { signal: Some(6), crash: Some(_), .. })), "{crashed:?}");
    // Enforced by the kernel, by a limit that the worker sets.
    let large = pool.apply(|| std::hint::black_box(vec![1_u8; 1 << 30]).len(), ());
    assert!(matches!(large, Err(TaskError::MemoryLimit)), "{large:?}");
    assert_eq!(pool.apply(double, (2,)).unwrap(), 4);
    // A task's own limit, where the pool has none.
    let pool = strict().build().unwrap();
    let large = pool.task(|| std::hint::black_box(vec![1_u8; 1 << 30]).len(), ()).memory_limit(64 << 20).submit();
    let large = large.get();
    assert!(matches!(large, Err(TaskError::MemoryLimit)), "{large:?}");
}

#[test]
fn a_refused_call_is_named_and_the_next_task_served() {
    let _dog = watchdog(LIMIT);
    let pool = strict().build().unwrap();
    let Err(TaskError::WorkerDied { signal: Some(libc::SIGSYS), crash: Some(crash), .. }) = pool.apply(open_a_file, ())
    else {
        panic!("it may not")
    };
    assert_eq!((crash.cause(), crash.refused_call().unwrap().name()), (CrashCause::RefusedCall, Some("openat")));
    assert!(crash.frames().iter().any(|frame| frame.function().is_some_and(|name| name.contains("open_a_file"))));
    assert_eq!(pool.apply(double, (2,)).unwrap(), 4);
    let lenient = self::pool(Confinement::compute()).build().unwrap();
    assert!(!lenient.apply(open_a_file, ()).unwrap());
    let control = ProcessPool::new(1).unwrap();
    assert!(control.apply(open_a_file, ()).unwrap());
}

#[test]
fn an_initializer_may_come_before_or_after_it() {
    let _dog = watchdog(LIMIT);
    fn load() {
        assert!(open_a_file(), "it may open no file");
    }
    let after = pool(Confinement::compute()).initializer(load, ()).confine_after_initializer().build().unwrap();
    assert!(!after.apply(open_a_file, ()).unwrap());
    let before = pool(Confinement::compute()).initializer(load, ()).build();
    assert!(matches!(before, Err(PoolError::Initializer(why)) if why.contains("it may open no file")));
}

/// Filters of calls are for all threads of a process, Landlock for those that come later.
#[test]
fn threads_of_an_initializer_are_confined_or_an_error() {
    let _dog = watchdog(LIMIT);
    static ASKED: std::sync::Mutex<Option<std::sync::mpsc::Sender<std::sync::mpsc::Sender<bool>>>> =
        std::sync::Mutex::new(None);
    fn start_a_thread() {
        let (sender, receiver) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<bool>>();
        *ASKED.lock().unwrap() = Some(sender);
        let (begun, has_begun) = std::sync::mpsc::channel();
        let opens = move || {
            // It has its name by now.
            begun.send(()).unwrap();
            receiver.iter().for_each(|answer| answer.send(open_a_file()).unwrap());
        };
        std::thread::Builder::new().name("left behind".into()).spawn(opens).unwrap();
        has_begun.recv().unwrap();
    }
    fn have_it_open() -> bool {
        let (sender, receiver) = std::sync::mpsc::channel();
        ASKED.lock().unwrap().as_ref().unwrap().send(sender).unwrap();
        receiver.recv().unwrap()
    }
    let build = |confinement| pool(confinement).initializer(start_a_thread, ()).confine_after_initializer().build();
    assert!(!build(Confinement::compute()).unwrap().apply(have_it_open, ()).unwrap());
    for confinement in [Confinement::compute().read("/usr"), Confinement::new()] {
        match build(confinement) {
            Err(PoolError::Start(e)) => match &*e {
                ProcessError::Setup { operation, .. } => assert!(operation.contains("left behind"), "{operation}"),
                ProcessError::CannotConfine { missing } => {
                    println!("(Landlock left out: this kernel lacks {missing:?})")
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn what_cannot_be_confined_is_an_error_of_the_build() {
    let _dog = watchdog(LIMIT);
    let missing = pool(Confinement::compute().read("/no/such/directory")).build();
    match missing {
        Err(PoolError::Start(e)) => {
            assert!(matches!(&*e, ProcessError::Setup { .. } | ProcessError::CannotConfine { .. }), "{e:?}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}
