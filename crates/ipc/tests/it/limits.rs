//! What everything does where something is scarce: says so, leaks nothing, and goes on.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    fmt::Display,
    fs::{self, File},
    io::ErrorKind,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use ipc::{Array, Client, JoinableQueue, Listener, Manager, ManagerError, Queue, Value, channel, pipe};
use proc_core::{Process, ProcessError, Resource, handover::Fd, shm::SharedMemory};
use test_support::watchdog;

use crate::queue_limits::run_out_of_memory;

const LIMIT: Duration = Duration::from_secs(120);
const MAX_FILES: u64 = 96;

fn n_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Makes as many as descriptors allow, twice: each time as many, and then nothing is left of them.
fn make_all<T, E: Display>(what: &str, make: impl Fn() -> Result<T, E>) {
    // What the first of its kind leaves behind for the others.
    drop(make());
    let before = n_descriptors();
    let counts = [(), ()].map(|()| {
        let mut made = Vec::new();
        let error = loop {
            match make() {
                Ok(one) => made.push(one),
                Err(e) => break e.to_string(),
            }
        };
        assert!(error.contains("open files") || error.contains("EMFILE"), "{what}: {error}");
        // And from there on.
        for _ in 0..10 {
            assert!(make().is_err(), "{what}");
        }
        let n = made.len();
        drop(made);
        assert_eq!(n_descriptors(), before, "{what}");
        n
    });
    assert!(counts[0] > 5 && counts[0] == counts[1], "{what}: {counts:?}");
}

fn want_descriptors() {
    make_all("pipe", pipe::<u64>);
    make_all("channel", channel::<u64>);
    make_all("value", || Value::new(1_u64));
    make_all("array", || Array::<u64>::new(100));
    make_all("memory", || SharedMemory::new(100));
    make_all("queue", || Queue::<u64>::new(4));
    make_all("joinable", || JoinableQueue::<u64>::new(4));
    let n = AtomicU64::new(0);
    let address = || format!("\0ipc-limits-{}-{}", std::process::id(), n.fetch_add(1, Relaxed));
    make_all("listener", || Listener::<u64>::bind(address()));

    let (mine, theirs) = pipe::<Fd>().unwrap();
    make_all("descriptor sent", || {
        let file = File::open("/dev/null").map_err(|e| e.to_string())?;
        mine.send(&file.into()).map_err(|e| e.to_string())?;
        theirs.recv().map_err(|e| e.to_string().replace("could not all be taken in", "too many open files"))
    });
    mine.send(&File::open("/dev/null").unwrap().into()).unwrap();
    theirs.recv().unwrap();

    let manager = Manager::new().unwrap();
    let counter = manager.counter(0).unwrap();
    make_all("file", || {
        // Over a connection that there is.
        counter.increment().unwrap();
        File::open("/dev/null")
    });
    let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(matches!(manager.list::<u64>(), Err(ManagerError::Io(_))));
    assert!(matches!(Manager::new(), Err(ManagerError::Io(_) | ManagerError::Process(_))));
    let begun = counter.get().unwrap();
    drop(files);
    assert_eq!(manager.counter(begun).unwrap().get().unwrap(), begun);
}

#[test]
fn want_of_descriptors_is_an_error_and_leaks_none() {
    let _dog = watchdog(LIMIT);
    let child = Process::builder().limit(Resource::OpenFiles, MAX_FILES).spawn(want_descriptors, ());
    child.unwrap().join().unwrap();
}

fn is_full<T>(made: std::io::Result<T>) -> bool {
    made.is_err_and(|e| e.kind() == ErrorKind::StorageFull)
}

fn want_memory(value: Value<u64>) {
    let (here, there) = pipe::<Vec<u8>>().unwrap();
    let manager = Manager::new().unwrap();
    let counter = manager.counter(0).unwrap();
    let address = format!("\0ipc-limits-{}", std::process::id());
    let listener = Listener::<u64>::bind(address.as_str()).unwrap();
    let before = n_descriptors();
    run_out_of_memory();
    for _ in 0..3 {
        assert!(is_full(Value::new(1_u64)));
        assert!(is_full(Array::<u64>::new(9)));
        assert!(is_full(SharedMemory::new(9)));
        assert!(is_full(SharedMemory::create(&format!("ipc-limits-{}", std::process::id()), 9)));
        assert!(is_full(pipe::<u64>()));
        assert!(is_full(channel::<u64>()));
        assert!(is_full(JoinableQueue::<u64>::new(9)));
        std::thread::scope(|scope| {
            let client = scope.spawn(|| Client::connect::<u64>(address.as_str()).map(drop));
            assert!(is_full(listener.accept()));
            assert_eq!(client.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
        assert_eq!(n_descriptors(), before);
    }
    // What there is goes on.
    value.set(value.get() + 1);
    let long = vec![7; 1 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| here.send(&long).unwrap());
        assert_eq!(there.recv().unwrap(), long);
    });
    assert_eq!(counter.add(4).unwrap(), 4);
}

#[test]
fn want_of_memory_is_an_error_and_what_there_is_goes_on() {
    let _dog = watchdog(LIMIT);
    let value = Value::new(4).unwrap();
    Process::spawn(want_memory, (value.clone(),)).unwrap().join().unwrap();
    assert_eq!(value.get(), 5);
}

fn want_length(queue: Queue<Vec<u8>>) -> Vec<u8> {
    fn is_too_long<T>(made: std::io::Result<T>) -> bool {
        made.is_err_and(|e| e.kind() == ErrorKind::FileTooLarge)
    }
    assert!(is_too_long(SharedMemory::new(2 << 20)));
    assert!(is_too_long(SharedMemory::sparse(2 << 20)));
    assert!(is_too_long(SharedMemory::create(&format!("ipc-limits-{}", std::process::id()), 2 << 20)));
    assert!(is_too_long(Array::<u64>::new(1 << 20)));
    assert!(is_too_long(Queue::<u64>::new(4)));
    SharedMemory::new(1 << 19).unwrap();
    // Somebody else's file is as long as it is.
    queue.put(vec![1; 2 << 20]).unwrap();
    vec![1; 2 << 20]
}

#[test]
fn the_limit_of_files_is_an_error_and_no_signal() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::new(4).unwrap();
    let child = Process::builder().limit(Resource::FileSize, 1 << 20).spawn(want_length, (queue.clone(),)).unwrap();
    let end = child.join();
    assert!(matches!(end, Err(ProcessError::Decode { .. })), "{end:?}");
    assert_eq!(queue.get().unwrap(), vec![1; 2 << 20]);
}
