//! Programs in trouble. Each is the root of a process tree of its own, and says what it does by doing it.

use std::{fs::OpenOptions, os::unix::fs::FileExt};

use ipc::{Queue, Receiver, Sender, channel, queue::Consumer};
use nix::sys::signal::{Signal, raise};
use pool::ProcessPool;
use proc_core::Process;
use sync::process::{Barrier, Lock};

/// Two processes that take two locks in opposite order.
pub(crate) fn deadlock() {
    let (left, right) = (Lock::new(0_u32).unwrap(), Lock::new(0_u32).unwrap());
    let both_have_one = Barrier::new(2).unwrap();
    let child = |name: &str, first: &Lock<u32>, second: &Lock<u32>| {
        let args = (first.clone(), second.clone(), both_have_one.clone());
        Process::builder().name(name).spawn(take_both, args).unwrap()
    };
    let children = [child("lefty", &left, &right), child("righty", &right, &left)];
    children.into_iter().for_each(|child| child.join().unwrap());
}

fn take_both(first: Lock<u32>, second: Lock<u32>, both_have_one: Barrier) {
    let _first = first.lock().unwrap();
    both_have_one.wait().unwrap();
    let _second = second.lock().unwrap();
}

/// A producer whose consumer is stopped after its first message.
pub(crate) fn stopped_consumer() {
    let queue = Queue::<u64>::new(3).unwrap();
    let producer = Process::builder().name("producer").spawn(produce, (queue.clone(),)).unwrap();
    let consumer = Process::builder().name("consumer").spawn(consume_one, (queue,)).unwrap();
    producer.join().unwrap();
    consumer.join().unwrap();
}

fn produce(queue: Queue<u64>) {
    for n in 0.. {
        queue.put(n).unwrap();
    }
}

fn consume_one(queue: Queue<u64>) {
    queue.get().unwrap();
    raise(Signal::SIGSTOP).unwrap();
}

/// A pool of which one task never ends.
pub(crate) fn hung_task() {
    let pool = ProcessPool::builder().workers(2).name("crew").build().unwrap();
    let hung = pool.apply_async(wait_for_nothing, ());
    let _ = hung.get();
}

pub(crate) fn wait_for_nothing() {
    loop {
        nix::unistd::pause();
    }
}

/// A queue whose header is overwritten.
pub(crate) fn garbled_queue() {
    let _queue = Queue::<u64>::new(3).unwrap();
    overwrite_queues(16, &[0xee; 24]);
    wait_for_nothing();
}

/// A queue of a version that is not there yet, whose layout may be any.
pub(crate) fn queue_of_the_future() {
    let _queue = Queue::<u64>::new(3).unwrap();
    overwrite_queues(8, &99_u32.to_ne_bytes());
    wait_for_nothing();
}

/// What is called a queue, and is something else.
pub(crate) fn no_queue() {
    let _queue = Queue::<u64>::new(3).unwrap();
    overwrite_queues(0, b"strange!");
    wait_for_nothing();
}

fn overwrite_queues(at: u64, bytes: &[u8]) {
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:ipc-queue")) {
            let file = OpenOptions::new().write(true).open(entry.path()).unwrap();
            file.write_all_at(bytes, at).unwrap();
        }
    }
}

/// Somebody who sends until the pipe is full, for its other end is stopped.
pub(crate) fn stopped_receiver() {
    let (sender, receiver) = channel::<Vec<u8>>().unwrap();
    let sender = Process::builder().name("sender").spawn(send, (sender,)).unwrap();
    let receiver = Process::builder().name("receiver").spawn(receive_one, (receiver,)).unwrap();
    sender.join().unwrap();
    receiver.join().unwrap();
}

fn send(sender: Sender<Vec<u8>>) {
    while sender.send(&vec![7; 1000]).is_ok() {}
}

fn receive_one(receiver: Receiver<Vec<u8>>) {
    receiver.recv().unwrap();
    raise(Signal::SIGSTOP).unwrap();
}

/// A parent that keeps a producer of a queue and waits for the consumer, which waits for the last producer's end.
pub(crate) fn kept_producer() {
    let (producer, consumer) = Queue::<u64>::new(3).unwrap().split().unwrap();
    let child = Process::builder().name("consumer").spawn(drain, (consumer,)).unwrap();
    producer.put(1).unwrap();
    child.join().unwrap();
    drop(producer);
}

fn drain(numbers: Consumer<u64>) {
    assert_eq!(numbers.iter().count(), 1);
}

/// Nothing but a process.
pub(crate) fn idle() {
    wait_for_nothing();
}

/// A pool whose first worker dies of its task.
pub(crate) fn deadly_task() {
    let pool = ProcessPool::builder().workers(1).name("doomed").build().unwrap();
    assert!(pool.apply_async(abort, ()).get().is_err());
    pool.apply_async(wait_for_nothing, ()).get().unwrap();
}

fn abort() {
    std::process::abort();
}

/// A pool that is never without work.
pub(crate) fn busy_pool() {
    let pool = ProcessPool::builder().workers(2).name("mill").build().unwrap();
    loop {
        let tasks: Vec<_> = (0..20_u64).map(|n| pool.apply_async(grind, (n,))).collect();
        assert!(tasks.into_iter().all(|task| task.get().is_ok()));
    }
}

/// Takes some milliseconds.
pub(crate) fn grind(n: u64) -> u64 {
    let begun = std::time::Instant::now();
    let mut sum = n;
    while begun.elapsed() < std::time::Duration::from_millis(8) {
        sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
    }
    sum
}
