//! Queues between processes that are killed at any moment.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use ipc::{GetError, GetTimeoutError, PutError, Queue, TryGetError};
use proc_core::{Process, Signal, Waitable, shm::Shared, wait_any};
use test_support::{block_on, watchdog};

use crate::storm::kills;

const LIMIT: Duration = Duration::from_secs(120);
const LEDGER: usize = 4096;
/// What a process has been promised, one word each: how many of its puts have returned.
type Ledger = Shared<[AtomicU64; LEDGER]>;

fn ledger() -> Ledger {
    Shared::new([const { AtomicU64::new(0) }; LEDGER]).unwrap()
}

/// Puts (who, 0), (who, 1), … for ever, and notes each once it is acknowledged.
fn put_for_ever(queue: Queue<(u64, u64)>, ledger: Ledger, who: u64) {
    let mut n = 0;
    while queue.put((who, n)).is_ok() {
        n += 1;
        ledger[who as usize].store(n, Release);
    }
}

/// The same with messages that do not fit into a slot.
fn put_long_for_ever(queue: Queue<(u64, u64, Vec<u64>)>, ledger: Ledger, who: u64) {
    let mut n = 0;
    while queue.put((who, n, vec![n; 50 + (n % 3000) as usize])).is_ok() {
        n += 1;
        ledger[who as usize].store(n, Release);
    }
}

fn echo(from: Queue<u64>, to: Queue<u64>) {
    for n in &from {
        to.put(n).unwrap();
    }
}

/// How often each message was got.
type Got = Shared<[AtomicU8; MESSAGES]>;
const MESSAGES: usize = 1 << 16;

/// Takes for ever, and marks what it has taken.
fn get_for_ever(queue: Queue<u64>, got: Got) {
    for n in &queue {
        got[n as usize].fetch_add(1, Relaxed);
    }
}

fn pseudo_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[test]
fn messages_cross_processes() {
    let _dog = watchdog(LIMIT);
    let (there, back) = (Queue::new(8).unwrap(), Queue::new(8).unwrap());
    let child = crate::spawn(echo, (there.clone(), back.clone())).unwrap();
    for n in 0..1000 {
        there.put(n).unwrap();
        assert_eq!(back.get(), Ok(n));
    }
    there.close();
    child.join().unwrap();
}

/// Kills `kills` producers at random moments while this process takes: what was acknowledged comes, once, in order.
fn producers_killed(kills: u64, capacity: usize) {
    let queue = Queue::new(capacity).unwrap();
    let ledger = ledger();
    let mut seed = 7 * kills + capacity as u64;
    let mut next = vec![0; kills as usize];
    for who in 0..kills {
        let child = crate::spawn(put_for_ever, (queue.clone(), ledger.clone(), who)).unwrap();
        let (sender, n) = queue.get().unwrap();
        assert_eq!((sender, n), (who, 0));
        next[who as usize] = 1;
        let end = Instant::now() + Duration::from_micros(pseudo_random(&mut seed) % 2000);
        while Instant::now() < end {
            if let Ok((sender, n)) = queue.try_get() {
                assert_eq!((sender, n), (who, next[who as usize]));
                next[who as usize] += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        loop {
            match queue.get_timeout(Duration::ZERO) {
                Ok((sender, n)) => {
                    assert_eq!((sender, n), (who, next[who as usize]));
                    next[who as usize] += 1;
                }
                Err(GetTimeoutError::TimedOut) => break,
                Err(e) => panic!("{e}"),
            }
        }
        let acknowledged = ledger[who as usize].load(Acquire);
        let got = next[who as usize];
        assert!(got == acknowledged || got == acknowledged + 1, "{got} of {acknowledged} came");
        assert_eq!(queue.len(), 0);
    }
    let n_got: u64 = next.iter().sum();
    println!("{kills} producers killed: {n_got} messages came, each acknowledged one of them, once and in order");
}

#[test]
fn killed_producers_lose_nothing_acknowledged() {
    let _dog = watchdog(LIMIT);
    producers_killed(150, 4);
    producers_killed(150, 100);
}

#[test]
#[ignore = "long"]
fn stress_killed_producers() {
    let _dog = watchdog(20 * LIMIT);
    for _ in 0..kills(12_000) / LEDGER as u64 {
        producers_killed(LEDGER as u64, 64);
    }
}

#[test]
fn killed_producers_of_long_messages_lose_nothing_acknowledged() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<(u64, u64, Vec<u64>)>::new(5).unwrap();
    let ledger = ledger();
    let mut seed = 3;
    for who in 0..100 {
        let child = crate::spawn(put_long_for_ever, (queue.clone(), ledger.clone(), who)).unwrap();
        let mut next = 0;
        let end = Duration::from_micros(1000 + pseudo_random(&mut seed) % 2000);
        let begun = Instant::now();
        let mut killed = false;
        loop {
            match queue.try_get() {
                Ok((sender, n, content)) => {
                    assert_eq!((sender, n), (who, next));
                    assert!(content.len() as u64 == 50 + n % 3000 && content.iter().all(|m| *m == n), "torn");
                    next += 1;
                }
                Err(TryGetError::Empty) if killed => match queue.get_timeout(Duration::ZERO) {
                    Err(GetTimeoutError::TimedOut) => break,
                    other => panic!("{other:?}"),
                },
                Err(TryGetError::Empty) => {}
                Err(e) => panic!("{e}"),
            }
            if !killed && begun.elapsed() > end {
                child.kill().unwrap();
                child.wait().unwrap();
                killed = true;
            }
        }
        let acknowledged = ledger[who as usize].load(Acquire);
        assert!(next == acknowledged || next == acknowledged + 1, "{next} of {acknowledged} came");
    }
}

/// Kills `kills` consumers at random moments, idle and busy ones: at most one message goes with each, none comes twice.
fn consumers_killed(kills: u64, busy: bool) {
    let queue = Queue::new(16).unwrap();
    let got: Got = Shared::new([const { AtomicU8::new(0) }; MESSAGES]).unwrap();
    let mut seed = kills;
    let mut sent = 0;
    for killed in 1..=kills {
        let child = crate::spawn(get_for_ever, (queue.clone(), got.clone())).unwrap();
        let first = sent;
        queue.put(sent).unwrap();
        sent += 1;
        while got[first as usize].load(Relaxed) == 0 {
            thread::yield_now();
        }
        let end = Instant::now() + Duration::from_micros(pseudo_random(&mut seed) % 1500);
        while Instant::now() < end {
            if busy && sent < MESSAGES as u64 * killed / (kills + 1) && queue.try_put(sent).is_ok() {
                sent += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while let Ok(n) = queue.get_timeout(Duration::ZERO) {
            got[n as usize].fetch_add(1, Relaxed);
        }
        assert_eq!((queue.len(), queue.is_full()), (0, false));
        let lost = got[..sent as usize].iter().filter(|got| got.load(Relaxed) == 0).count() as u64;
        assert!(lost <= killed, "{lost} messages gone with {killed} consumers");
    }
    assert!(got.iter().all(|got| got.load(Relaxed) <= 1), "a message came twice");
    let what = if busy { "busy" } else { "idle" };
    let n_gone = got[..sent as usize].iter().filter(|got| got.load(Relaxed) == 0).count();
    println!("{kills} {what} consumers killed: {sent} messages put, {n_gone} gone with their takers, 0 came twice");
}

#[test]
fn killed_consumers_wedge_nobody() {
    let _dog = watchdog(LIMIT);
    consumers_killed(100, true);
    consumers_killed(100, false);
}

#[test]
#[ignore = "long"]
fn stress_killed_consumers() {
    let _dog = watchdog(20 * LIMIT);
    for _ in 0..kills(10_000) / 1000 {
        consumers_killed(1000, true);
        consumers_killed(1000, false);
    }
}

#[test]
fn a_stopped_consumer_does_not_hold_up_timed_operations() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::new(4).unwrap();
    let got: Got = Shared::new([const { AtomicU8::new(0) }; MESSAGES]).unwrap();
    let child = crate::spawn(get_for_ever, (queue.clone(), got)).unwrap();
    for n in 0..2000 {
        queue.put(n).unwrap();
    }
    child.signal(Signal::SIGSTOP).unwrap();
    let mut put = 0;
    while queue.put_timeout(0, Duration::from_millis(20)).is_ok() {
        put += 1;
    }
    assert!(put <= 4);
    child.kill().unwrap();
    child.wait().unwrap();
    // Whatever it held is free again.
    while queue.get_timeout(Duration::ZERO).is_ok() {}
    for n in 0..4 {
        queue.try_put(n).unwrap();
    }
    assert!((0..4).all(|n| queue.get() == Ok(n)));
}

#[test]
fn wait_any_takes_queues_among_other_things() {
    let _dog = watchdog(LIMIT);
    let queues: Vec<Queue<u64>> = (0..200).map(|_| Queue::new(2).unwrap()).collect();
    let sources: Vec<&dyn Waitable> = queues.iter().map(|queue| queue as &dyn Waitable).collect();
    assert_eq!(wait_any(&sources, Some(Duration::from_millis(5))).unwrap(), []);
    for n in [3, 150, 199] {
        let there = queues[n].clone();
        let child = crate::spawn(|queue: Queue<u64>| queue.put(1).unwrap(), (there,)).unwrap();
        assert_eq!(wait_any(&sources, None).unwrap(), [n]);
        assert_eq!(queues[n].try_get(), Ok(1));
        child.join().unwrap();
    }
    queues[7].close();
    assert_eq!(wait_any(&sources, None).unwrap(), [7]);
}

#[test]
fn futures_are_woken() {
    let _dog = watchdog(LIMIT);
    let (there, back) = (Queue::new(1).unwrap(), Queue::new(1).unwrap());
    let child = crate::spawn(echo, (there.clone(), back.clone())).unwrap();
    block_on(async {
        for n in 0..200 {
            there.put_async(n).await.unwrap();
            assert_eq!(back.get_async().await, Ok(n));
        }
        there.close();
        assert_eq!(there.put_async(1).await, Err(PutError::Closed(1)));
    });
    child.join().unwrap();
}

fn send_in_a_fork_first(queue: Queue<()>) -> bool {
    let mut loan = queue.loan(5000).unwrap();
    loan.fill(7);
    let mut loan = Some(loan);
    let is_refused = Process::fork(|| {
        let mut copy = loan.take().unwrap();
        copy.truncate(1);
        copy.send().is_err()
    });
    let is_refused = is_refused.unwrap().join().unwrap();
    loan.take().unwrap().send().unwrap();
    is_refused
}

#[test]
fn a_loan_is_sent_by_the_process_that_borrowed_it() {
    let _dog = watchdog(LIMIT);
    let queue = Queue::<()>::new(4).unwrap();
    let is_refused = Process::spawn(send_in_a_fork_first, (queue.clone(),)).unwrap().join().unwrap();
    assert_eq!(queue.get_bytes().unwrap(), [7; 5000]);
    assert!(is_refused && queue.is_empty());
}

#[test]
fn an_iterator_ends_at_what_does_not_decode_and_says_so() {
    let numbers = Queue::<u8>::new(0).unwrap();
    let pairs: Queue<(u8, u8)> = proc_core::handover::pack_owned(&numbers).unwrap().unpack().unwrap();
    pairs.put((1, 2)).unwrap();
    numbers.put(3).unwrap();
    pairs.put((4, 5)).unwrap();

    let mut messages = pairs.iter();
    assert_eq!(messages.by_ref().collect::<Vec<_>>(), [(1, 2)]);
    assert!(matches!(messages.error(), Some(GetError::Decode(_))), "{:?}", messages.error());
    assert_eq!(messages.next(), None);
    let mut rest = pairs.drain();
    assert_eq!(rest.by_ref().collect::<Vec<_>>(), [(4, 5)]);
    assert!(rest.error().is_none());

    numbers.put(6).unwrap();
    let mut rest = pairs.drain();
    assert_eq!(rest.next(), None);
    assert!(rest.error().is_some());
}

#[test]
fn what_does_not_decode_amid_many_is_told_next() {
    let numbers = Queue::<u8>::new(0).unwrap();
    let pairs: Queue<(u8, u8)> = proc_core::handover::pack_owned(&numbers).unwrap().unpack().unwrap();
    pairs.put((1, 2)).unwrap();
    numbers.put(3).unwrap();
    pairs.put((4, 5)).unwrap();
    assert_eq!(pairs.get_many(10).unwrap(), [(1, 2), (4, 5)]);
    assert!(matches!(pairs.get_many(10), Err(GetError::Decode(_))));

    // Numbers, which leave the queue by the dozen.
    let flags: Queue<bool> = proc_core::handover::pack_owned(&numbers).unwrap().unpack().unwrap();
    numbers.put_many([0, 1, 77, 1]).unwrap();
    assert_eq!(flags.get_many(10).unwrap(), [false, true, true]);
    assert!(matches!(flags.get_many(10), Err(GetError::Decode(_))));
}

/// Runs in a process with one thread, which may fork.
fn fork_beside_a_reactor() -> (u32, bool) {
    let queue = Queue::<u32>::new(0).unwrap();
    let mut get = pin!(queue.get_async());
    assert!(get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    for n in 0..50 {
        let child = {
            let queue = queue.clone();
            // The child has a reactor of its own.
            Process::fork(move || block_on(queue.get_async()).unwrap())
        };
        queue.put(n).unwrap();
        assert_eq!(child.unwrap().join().unwrap(), n);
    }
    queue.put(50).unwrap();
    (block_on(get).unwrap(), queue.is_empty())
}

#[test]
fn waiting_asynchronously_does_not_keep_from_forking() {
    let _dog = watchdog(LIMIT);
    assert_eq!(Process::spawn(fork_beside_a_reactor, ()).unwrap().join().unwrap(), (50, true));
}

fn put_when_told(queue: Queue<u64>, go_on: Queue<()>) -> u64 {
    go_on.get().unwrap();
    queue.get().unwrap()
}

#[test]
fn room_is_waited_for_together_with_messages_and_ends() {
    let _dog = watchdog(LIMIT);
    let (full, empty, go_on) = (Queue::new(1).unwrap(), Queue::<u64>::new(1).unwrap(), Queue::new(1).unwrap());
    full.put(7).unwrap();
    let child = crate::spawn(put_when_told, (full.clone(), go_on.clone())).unwrap();
    let (room, news) = (full.writable(), empty.readable());
    let handle = child.handle();
    let sources: [&dyn Waitable; 3] = [&room, &news, &handle];
    assert_eq!(wait_any(&sources, Some(Duration::from_millis(5))).unwrap(), []);
    go_on.put(()).unwrap();
    assert_eq!(wait_any(&sources[..2], None).unwrap(), [0]);
    assert_eq!(child.join().unwrap(), 7);
    empty.put(1).unwrap();
    assert_eq!(wait_any(&sources[..2], None).unwrap(), [0, 1]);
    full.put(8).unwrap();
    full.close();
    assert_eq!(wait_any(&sources[..1], None).unwrap(), [0], "a closed queue has nothing to wait for");
}

/// It runs on a thread that wakes the tasks of others, too.
#[test]
fn a_waker_that_panics_costs_nobody_else_anything() {
    struct Panic;
    impl Wake for Panic {
        fn wake(self: Arc<Self>) {
            panic!("as a waker may");
        }
    }
    let _dog = watchdog(Duration::from_secs(60));
    let queue = Queue::<u8>::new(1).unwrap();
    let waker = Waker::from(Arc::new(Panic));
    let mut get = pin!(queue.get_async());
    assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let other = Queue::<u8>::new(1).unwrap();
    thread::scope(|s| {
        let getter = s.spawn(|| block_on(other.get_async()));
        queue.put(1).unwrap();
        // The same thread wakes this one, after it has come upon the other.
        other.put(2).unwrap();
        assert_eq!(getter.join().unwrap(), Ok(2));
    });
    assert_eq!(block_on(get), Ok(1));
}

/// Polls under its own lock, which its waker takes, too, as simple runtimes do.
struct Locked(std::sync::Mutex<bool>, std::sync::Condvar);

impl Wake for Locked {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

fn block_on_under_lock<R>(future: impl Future<Output = R>) -> R {
    let locked = Arc::new(Locked(false.into(), std::sync::Condvar::new()));
    let waker = Waker::from(locked.clone());
    let mut future = pin!(future);
    let mut woken = locked.0.lock().unwrap();
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        woken = locked.1.wait_while(woken, |woken| !*woken).unwrap();
        *woken = false;
    }
}

#[test]
fn a_runtime_may_poll_under_the_lock_that_its_waker_takes() {
    let _dog = watchdog(LIMIT);
    const N: u32 = 20_000;
    let queue = Queue::<u32>::new(1).unwrap();
    let is_over = AtomicU8::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            (0..N).for_each(|n| queue.put(n).unwrap());
            queue.close();
        });
        // Whoever was woken in vain is polled while the reactor is about to wake it once more.
        let thief = s.spawn(|| {
            let mut n = 0;
            while is_over.load(Acquire) == 0 {
                n += u32::from(queue.try_get().is_ok());
            }
            n
        });
        let mut n = 0;
        while block_on_under_lock(queue.get_async()).is_ok() {
            n += 1;
        }
        is_over.store(1, Release);
        assert_eq!(n + thief.join().unwrap(), N);
    });
}

/// Woken, it polls its future at once, and on the thread that wakes it.
#[test]
fn a_waker_may_poll_its_future_at_once() {
    type Get = std::pin::Pin<Box<dyn Future<Output = Result<u32, GetError>> + Send>>;
    struct Inline(std::sync::Mutex<Option<Get>>, AtomicU64);
    impl Wake for Inline {
        fn wake(self: Arc<Self>) {
            let Some(mut get) = self.0.lock().unwrap().take() else { return };
            let waker = Waker::from(self.clone());
            match get.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(got) => self.1.store(u64::from(got.unwrap()), Release),
                Poll::Pending => *self.0.lock().unwrap() = Some(get),
            }
        }
    }
    let _dog = watchdog(LIMIT);
    let queue = Queue::<u32>::new(4).unwrap();
    let (there, here) = (queue.clone(), queue.clone());
    let get = Box::pin(async move { there.get_async().await });
    let inline = Arc::new(Inline(Some(get as Get).into(), AtomicU64::new(0)));
    inline.clone().wake();
    for n in 1..200 {
        // Some of them are gone again when it looks.
        here.put(n).unwrap();
        let _ = here.try_get();
    }
    here.put(7777).unwrap();
    while inline.1.load(Acquire) == 0 {
        thread::yield_now();
    }
}

/// The last handle of a task may hold other futures of the same kind.
#[test]
fn a_dropped_future_may_drop_another_with_its_waker() {
    struct Holds(#[allow(dead_code, reason = "only its drop counts")] std::sync::Mutex<Option<Box<dyn Send>>>);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {}
    }
    let _dog = watchdog(LIMIT);
    let queue = Queue::<u32>::new(1).unwrap();
    let (one, other) = (queue.clone(), queue.clone());
    let mut inner = Box::pin(async move { one.get_async().await });
    assert!(inner.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let waker = Waker::from(Arc::new(Holds(Some(Box::new(inner) as Box<dyn Send>).into())));
    let mut outer = Box::pin(async move { other.get_async().await });
    assert!(outer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(outer);
    queue.put(1).unwrap();
    assert_eq!(block_on(queue.get_async()), Ok(1));
}

fn get_in_a_fork(queue: Queue<u32>, begun: Queue<u32>) -> bool {
    struct Tell(std::sync::mpsc::Sender<()>);
    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let mut get = Box::pin(queue.get_async());
    assert!(get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let child = Process::fork(move || {
        let (tell, told) = std::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        begun.put(0).unwrap();
        told.recv().unwrap();
        block_on(get).unwrap()
    });
    child.unwrap().join().unwrap() == 7
}

/// It has none of its parent's threads.
#[test]
fn a_future_that_was_polled_before_a_fork_is_woken_in_the_child() {
    let _dog = watchdog(LIMIT);
    let (queue, begun) = (Queue::new(1).unwrap(), Queue::new(1).unwrap());
    // Not confined, as nobody forks there.
    let child = Process::spawn(get_in_a_fork, (queue.clone(), begun.clone())).unwrap();
    begun.get().unwrap();
    queue.put(7).unwrap();
    assert!(child.join().unwrap());
}
