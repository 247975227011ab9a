//! A program that has closed its standard streams prints into nothing, not into what this workspace opened since.

use std::{fs, time::Duration};

use ipc::{Array, JoinableQueue, Listener, Manager, Queue, Value, pipe};
use pool::ProcessPool;
use proc_core::{Process, StartMethod, Stdio, command, shm::SharedMemory, wait_any};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);
const LINE: &str = "a line for nobody";

/// Closes what the program's standard streams were, or what lies there by now.
fn close(numbers: &[i32]) {
    for number in numbers {
        let _ = nix::unistd::close(*number);
    }
}

fn print() {
    for _ in 0..100 {
        println!("{LINE}");
        eprintln!("{LINE}");
    }
}

/// Makes `what` while `numbers` are closed, prints, and has `is_intact` judge it; what is wrong then.
fn check<T>(numbers: &[i32], name: &str, make: impl FnOnce() -> T, is_intact: impl FnOnce(T) -> bool) -> Vec<String> {
    close(numbers);
    let made = make();
    // Not by a look into the directory of descriptors, which would take one of the numbers itself.
    let there =
        numbers.iter().filter_map(|number| Some((number, fs::read_link(format!("/proc/self/fd/{number}")).ok()?)));
    let mut wrong: Vec<String> =
        there.map(|(number, file)| format!("{name}: {number} is {}", file.display())).collect();
    print();
    if !is_intact(made) {
        wrong.push(format!("{name} is not intact"));
    }
    wrong
}

fn double(n: u64) -> u64 {
    print();
    n * 2
}

fn use_everything(numbers: Vec<i32>) -> Vec<String> {
    let n = &numbers[..];
    let mut wrong = Vec::new();
    // The only one that needs a process with one thread.
    for method in [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn] {
        let start = || Process::builder().start_method(method).spawn(double, (4,)).unwrap();
        wrong.extend(check(n, &format!("{method:?}"), start, |process| process.join().unwrap() == 8));
    }
    let run = || command::run(["sh", "-c", "echo out; echo err >&2"]).unwrap();
    wrong.extend(check(n, "a program", run, |output| {
        (output.stdout, output.stderr) == (b"out\n".into(), b"err\n".into())
    }));
    let piped = || {
        let cat = command::Popen::builder(["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        cat.spawn().unwrap()
    };
    wrong.extend(check(n, "cat", piped, |cat| cat.communicate(b"through", None).unwrap().stdout == b"through"));
    let queue = || {
        let queue: Queue<u64> = Queue::new(4).unwrap();
        queue.put(1).unwrap();
        queue
    };
    wrong.extend(check(n, "a queue", queue, |queue| {
        queue.put(2).unwrap();
        let watched = wait_any(&[&queue], Some(LIMIT)).is_ok();
        watched && (queue.get(), queue.get()) == (Ok(1), Ok(2))
    }));
    let joinable = || {
        let queue = JoinableQueue::new(4).unwrap();
        queue.put(5_u64).unwrap();
        queue
    };
    wrong.extend(check(n, "a joinable queue", joinable, |queue| {
        let item = queue.get().unwrap();
        let is_right = *item == 5;
        item.task_done();
        queue.join().unwrap();
        is_right
    }));
    wrong.extend(check(n, "a value", || Value::new(5_u64).unwrap(), |value| value.get() == 5));
    wrong.extend(check(n, "an array", || Array::from_slice(&[1_u8; 64]).unwrap(), |array| array.to_vec() == [1; 64]));
    wrong.extend(check(n, "memory", || SharedMemory::new(4096).unwrap(), |memory| memory.len() == 4096));
    let ends = || {
        let (a, b) = pipe::<u64>().unwrap();
        a.send(&7).unwrap();
        let is_watched = wait_any(&[&b], Some(LIMIT)).is_ok();
        assert!(is_watched);
        (a, b)
    };
    wrong.extend(check(n, "a pipe", ends, |(_a, b)| b.recv().unwrap() == 7));
    let listener = || {
        let address = ipc::Address::Abstract(format!("closed-{}", std::process::id()).into());
        Listener::<u64>::bind(address).unwrap()
    };
    wrong.extend(check(n, "a listener", listener, |listener| {
        let address = listener.address().clone();
        let client = std::thread::spawn(move || ipc::Client::connect::<u64>(address).unwrap());
        let server = listener.accept().unwrap();
        let client = client.join().unwrap();
        server.send(&8).unwrap();
        client.recv().unwrap() == 8
    }));
    wrong.extend(check(n, "a manager", || Manager::new().unwrap(), |_| true));
    let pool = || ProcessPool::builder().workers(2).memory_limit(1 << 30).build().unwrap();
    wrong.extend(check(n, "a pool", pool, |pool| {
        close(n);
        pool.map(double, 0..100).unwrap() == (0..100).map(|n| n * 2).collect::<Vec<_>>()
    }));
    wrong
}

#[test]
fn nothing_of_ours_lies_at_the_standard_streams() {
    let _dog = watchdog(LIMIT);
    for numbers in [vec![0], vec![1], vec![2], vec![0, 1, 2]] {
        let quiet = Process::builder().stdout(Stdio::null()).stderr(Stdio::null());
        let wrong = quiet.spawn(use_everything, (numbers.clone(),)).unwrap().join().unwrap();
        assert!(wrong.is_empty(), "with {numbers:?} closed: {wrong:#?}");
        println!("with {numbers:?} closed: all is intact, and nothing lies there");
    }
}
