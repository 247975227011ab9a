//! Queues whose items must be done with, and whose users are killed at any moment.
#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use ipc::{GetError, JoinableQueue, PutError, TryGetError};
use proc_core::shm::Shared;
use test_support::{block_on, watchdog};

use crate::storm::kills;

const LIMIT: Duration = Duration::from_secs(120);
const ITEMS: usize = 4096;
/// How often each item was reported done, and how often it was got.
type Ledger = Shared<[AtomicU64; 2 * ITEMS]>;

fn ledger() -> Ledger {
    Shared::new([const { AtomicU64::new(0) }; 2 * ITEMS]).unwrap()
}

fn work_for_ever(queue: JoinableQueue<(u64, Vec<u8>)>, ledger: Ledger) {
    for item in &queue {
        let n = item.0 as usize;
        assert!(item.1.iter().all(|byte| *byte == n as u8), "torn");
        ledger[ITEMS + n].fetch_add(1, Relaxed);
        item.task_done();
        ledger[n].fetch_add(1, Relaxed);
    }
}

fn take_and_hold(queue: JoinableQueue<u64>) {
    let item = queue.get().unwrap();
    loop {
        std::thread::park();
        std::hint::black_box(&item);
    }
}

fn done_with_all(queue: JoinableQueue<u64>) -> u64 {
    queue.iter().map(|item| item.into_inner()).sum()
}

#[test]
fn an_item_dropped_comes_back_marked() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::new(0).unwrap();
    queue.put("a".to_string()).unwrap();
    let item = queue.get().unwrap();
    assert!(!item.redelivered());
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    drop(item);
    assert_eq!(queue.unfinished(), 1);
    assert!(!queue.join_timeout(Duration::ZERO).unwrap());
    let item = queue.get().unwrap();
    assert_eq!((&**item, item.redelivered(), item.deliveries()), ("a", true, 2));
    item.task_done();
    queue.join().unwrap();
    assert_eq!(queue.unfinished(), 0);
}

#[test]
fn an_item_given_up_on_is_a_dead_letter() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::<u64>::builder().max_deliveries(3).build_joinable().unwrap();
    queue.put(7).unwrap();
    for n in 1..=3 {
        assert_eq!(queue.get().unwrap().deliveries(), n);
    }
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    queue.join().unwrap();
    assert_eq!(queue.dead_letters().unwrap(), [7]);
    assert_eq!(queue.dead_letters().unwrap(), []);
}

#[test]
fn a_slow_item_holds_up_nobody() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::new(2).unwrap();
    queue.put(0u64).unwrap();
    let slow = queue.get().unwrap();
    for n in 1..100 {
        queue.try_put(n).unwrap();
        assert_eq!(queue.try_get().unwrap().into_inner(), n);
    }
    assert_eq!(queue.unfinished(), 1);
    slow.task_done();
    queue.join().unwrap();
}

#[test]
fn join_waits_for_the_last_item_of_all_processes() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::new(3).unwrap();
    let workers: Vec<_> = (0..2).map(|_| crate::spawn(done_with_all, (queue.clone(),)).unwrap()).collect();
    queue.put_many(0..1000).unwrap();
    queue.join().unwrap();
    assert_eq!((queue.unfinished(), queue.len()), (0, 0));
    queue.close();
    assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u64>(), 999 * 500);
    assert!(matches!(queue.get(), Err(GetError::Closed)));
}

#[test]
fn what_does_not_decode_is_a_dead_letter() {
    let _dog = watchdog(LIMIT);
    let numbers = ipc::JoinableQueue::<u8>::new(0).unwrap();
    let pairs: JoinableQueue<(u8, u8)> = proc_core::handover::pack_owned(&numbers).unwrap().unpack().unwrap();
    numbers.put(1).unwrap();
    assert!(matches!(pairs.get(), Err(GetError::Decode(_))));
    numbers.join().unwrap();
    assert_eq!(pairs.dead_letters().unwrap(), []);
    numbers.put(2).unwrap();
    numbers.close();
    assert_eq!(pairs.iter().count(), 0);
    let letters = pairs.undecodable_letters().unwrap();
    assert_eq!(letters.len(), 2);
    assert!(
        letters.iter().all(|(bytes, why)| !bytes.is_empty() && why.to_string().contains("expected")),
        "{letters:?}"
    );
    assert!(pairs.undecodable_letters().unwrap().is_empty() && numbers.dead_letters().unwrap().is_empty());
}

/// A number that panics when it is read, if it is odd.
#[derive(serde::Serialize, Debug, PartialEq)]
struct Even(u64);

impl<'de> serde::Deserialize<'de> for Even {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        assert!(number.is_multiple_of(2), "{number} is odd");
        Ok(Self(number))
    }
}

#[test]
fn letters_that_panic_when_they_are_read_keep_none_of_the_others() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::<Even>::builder().max_deliveries(1).build_joinable().unwrap();
    for n in [4, 5, 6] {
        queue.put(Even(n)).unwrap();
        drop(std::panic::catch_unwind(|| drop(queue.get())));
    }
    queue.join().unwrap();
    assert_eq!(queue.dead_letters().unwrap(), [Even(4), Even(6)]);
    let letters = queue.undecodable_letters().unwrap();
    assert!(letters.len() == 1 && letters[0].1.to_string().contains("5 is odd"), "{letters:?}");
}

#[test]
fn message_that_panics_when_it_is_read_loses_none_of_the_others() {
    let _dog = watchdog(LIMIT);
    let queue = ipc::Queue::<(Even, String)>::new(0).unwrap();
    for n in [4, 6, 7, 8] {
        queue.put((Even(n), n.to_string())).unwrap();
    }
    let numbers: Vec<u64> = queue.get_many(10).unwrap().into_iter().map(|(even, _)| even.0).collect();
    assert_eq!(numbers, [4, 6, 8]);
    assert!(matches!(queue.get_many(1), Err(GetError::Decode(why)) if why.to_string().contains("7 is odd")));
}

/// Kills a consumer that holds an item, while another waits; prints how long `join` took then. (How long it may take is
/// said of a machine that has nothing else to do, which no test can rely on.)
fn join_after_deaths(kills: u64) {
    let mut times = Vec::new();
    for n in 0..kills {
        let queue = JoinableQueue::new(4).unwrap();
        let victim = crate::spawn(take_and_hold, (queue.clone(),)).unwrap();
        queue.put(n).unwrap();
        while !queue.is_empty() {
            std::thread::yield_now();
        }
        let other = crate::spawn(done_with_all, (queue.clone(),)).unwrap();
        queue.put(1).unwrap();
        while queue.unfinished() > 1 {
            std::thread::yield_now();
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        let begun = Instant::now();
        assert!(queue.join_timeout(LIMIT / 2).unwrap(), "death {n}: join does not return");
        times.push(begun.elapsed());
        queue.close();
        assert_eq!(other.join().unwrap(), n + 1);
    }
    times.sort();
    let n_late = times.iter().filter(|time| **time > Duration::from_millis(100)).count();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("join after {kills} deaths: median {median:?}, longest {longest:?}, {n_late} took longer than 100 ms");
}

#[test]
fn join_returns_after_a_consumer_died() {
    let _dog = watchdog(LIMIT);
    join_after_deaths(40);
}

#[test]
#[ignore = "long; its figure is for a quiet machine"]
fn stress_join_returns_soon_after_a_consumer_died() {
    let _dog = watchdog(20 * LIMIT);
    join_after_deaths(kills(10_000));
}

/// Kills consumers at random moments: everything is done in the end, and nothing that was done comes again.
fn consumers_killed(kills: u64, long: bool) {
    let queue = JoinableQueue::<(u64, Vec<u8>)>::builder().maxsize(8).max_deliveries(255).build_joinable().unwrap();
    let ledger = ledger();
    let mut seed = kills;
    let mut put = 0;
    for _ in 0..kills {
        let victim = crate::spawn(work_for_ever, (queue.clone(), ledger.clone())).unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let end = Instant::now() + Duration::from_micros((seed >> 33) % 1500);
        let quota = put + ITEMS as u64 / kills;
        while Instant::now() < end || put == 0 {
            let item = (put, vec![put as u8; if long { 2000 } else { 5 }]);
            if put < quota && queue.put_timeout(item, Duration::from_millis(1)).is_ok() {
                put += 1;
            }
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let last = crate::spawn(work_for_ever, (queue.clone(), ledger.clone())).unwrap();
    queue.join().unwrap();
    assert_eq!(queue.unfinished(), 0);
    queue.close();
    last.join().unwrap();
    let mut histogram = HashMap::new();
    for n in 0..put as usize {
        // `task_done` is the end; its note in the ledger may be missing if the victim died in between.
        let (done, got) = (ledger[n].load(Relaxed), ledger[ITEMS + n].load(Relaxed));
        assert!(done <= 1 && got >= 1, "item {n}: got {got} times, done {done}");
        *histogram.entry(got).or_insert(0) += 1;
    }
    println!("{put} items, got so many times: {histogram:?}");
}

#[test]
fn killed_consumers_lose_nothing() {
    let _dog = watchdog(LIMIT);
    consumers_killed(150, false);
    consumers_killed(150, true);
}

#[test]
#[ignore = "long"]
fn stress_killed_consumers() {
    let _dog = watchdog(20 * LIMIT);
    for _ in 0..kills(10_000) / 1000 {
        consumers_killed(1000, false);
    }
}

fn is_pending<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn items_are_put_got_and_joined_by_futures() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::<u64>::new(1).unwrap();
    block_on(queue.join_async()).unwrap();
    block_on(queue.put_async(1)).unwrap();
    {
        let (put, join) = (pin!(queue.put_async(2)), pin!(queue.join_async()));
        assert!(is_pending(put) && is_pending(join));
        // Dropped: neither has done anything.
    }
    let consumer = crate::spawn(done_with_all, (queue.clone(),)).unwrap();
    block_on(async {
        for n in 2..200 {
            queue.put_async(n).await.unwrap();
        }
        queue.join_async().await.unwrap();
    });
    assert_eq!(queue.unfinished(), 0);
    let end = queue.joinable();
    assert_eq!(proc_core::wait_any(&[&end], None).unwrap(), [0]);
    queue.close();
    assert_eq!(consumer.join().unwrap(), (1..200).sum());
    assert_eq!(block_on(queue.put_async(1)), Err(PutError::Closed(1)));
}

/// Nobody but the reactor looks after the dead here.
#[test]
fn what_a_killed_consumer_held_comes_back_to_who_awaits_it() {
    let _dog = watchdog(LIMIT);
    let queue = JoinableQueue::<u64>::new(4).unwrap();
    queue.put(7).unwrap();
    let holder = crate::spawn(take_and_hold, (queue.clone(),)).unwrap();
    while !queue.is_empty() {
        std::thread::yield_now();
    }
    let mut get = pin!(queue.get_async());
    assert!(is_pending(get.as_mut()));
    holder.kill().unwrap();
    let item = block_on(get).unwrap();
    assert!(*item == 7 && item.redelivered());
    let mut join = pin!(queue.join_async());
    assert!(is_pending(join.as_mut()));
    item.task_done();
    block_on(join).unwrap();
}
