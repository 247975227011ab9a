//! Halves of a queue whose processes are killed.

use std::{
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
    time::{Duration, Instant},
};

use ipc::{
    GetError, PutError, Queue, TryGetError,
    queue::{Consumer, Producer},
};
use proc_core::{Process, handover, shm::Shared};
use test_support::watchdog;

const LIMIT: Duration = Duration::from_secs(120);
type Promised = Shared<AtomicU64>;

fn put_for_ever(producer: Producer<u64>, promised: Promised) {
    for n in 0.. {
        producer.put(n).unwrap();
        promised.store(n + 1, Release);
    }
}

fn hold<T>(half: T) {
    std::thread::sleep(Duration::MAX);
    drop(half);
}

fn get_for_ever(consumer: Consumer<u64>, got: Promised) {
    for n in &consumer {
        got.store(n + 1, Release);
    }
}

/// What was put is got, in order, and then the end comes: however many handles there were, and whenever they were killed.
#[test]
fn the_last_killed_producer_ends_the_consumers() {
    let _dog = watchdog(LIMIT);
    for maxsize in [0, 3] {
        let (producer, consumer) = Queue::new(maxsize).unwrap().split().unwrap();
        let promised = Shared::new(AtomicU64::new(0)).unwrap();
        let idle = crate::spawn(hold::<Producer<u64>>, (producer.clone(),)).unwrap();
        let busy = crate::spawn(put_for_ever, (producer, promised.clone())).unwrap();
        let mut n = 0;
        while n < 1000 {
            assert_eq!(consumer.get(), Ok(n));
            n += 1;
        }
        busy.kill().unwrap();
        busy.wait().unwrap();
        while let Ok(got) = consumer.try_get() {
            assert_eq!(got, n);
            n += 1;
        }
        assert!(n == promised.load(Acquire) || n == promised.load(Acquire) + 1, "an acknowledged message is missing");
        assert!(matches!(consumer.try_get(), Err(TryGetError::Empty)), "one producer is left");
        std::thread::scope(|scope| {
            let getter = scope.spawn(|| consumer.get());
            idle.kill().unwrap();
            assert_eq!(getter.join().unwrap(), Err(GetError::Closed));
        });
        assert!(matches!(consumer.try_get(), Err(TryGetError::Closed)));
    }
}

#[test]
fn the_last_killed_consumer_ends_the_producers() {
    let _dog = watchdog(LIMIT);
    let (producer, consumer) = Queue::new(2).unwrap().split().unwrap();
    let got = Shared::new(AtomicU64::new(0)).unwrap();
    let readers = [(); 2].map(|()| crate::spawn(get_for_ever, (consumer.clone(), got.clone())).unwrap());
    drop(consumer);
    (0..1000).for_each(|n| producer.put(n).unwrap());
    let [one, other] = readers;
    one.kill().unwrap();
    one.wait().unwrap();
    // A full queue is emptied by the one that is left.
    (1000..2000).for_each(|n| producer.put(n).unwrap());
    other.kill().unwrap();
    other.wait().unwrap();
    let refused = (0..).find_map(|n| producer.put(n).err().map(|e| (n, e))).unwrap();
    assert_eq!(refused.1, PutError::Closed(refused.0));
    assert!(refused.0 <= 2, "there was room for two");
}

/// Where there is always room, a put does not wait: it learns of it all the same.
#[test]
fn a_queue_that_grows_does_not_grow_for_killed_consumers() {
    let _dog = watchdog(LIMIT);
    let (producer, consumer) = Queue::new(0).unwrap().split().unwrap();
    let reader = crate::spawn(hold::<Consumer<u64>>, (consumer,)).unwrap();
    (0..200).for_each(|n| producer.put(n).unwrap());
    reader.kill().unwrap();
    reader.wait().unwrap();
    let n = (0..1 << 20).take_while(|n| producer.put(*n).is_ok()).count();
    assert!(n < 1 << 20, "{n} messages for nobody");
}

/// Puts a few, and drops its half.
fn put_and_drop(producer: Producer<u64>, promised: Promised) {
    for n in 0..20 {
        producer.put(n).unwrap();
        promised.store(n + 1, Release);
    }
}

/// Kills producers at random moments, amid their puts, amid the drop of their half and amid their start: the consumer gets
/// what was promised, in order, and always an end.
#[test]
fn the_end_comes_whenever_the_last_producer_is_killed() {
    let _dog = watchdog(LIMIT);
    let mut seed = 1_u64;
    for _ in 0..150 {
        let (producer, consumer) = Queue::new(3).unwrap().split().unwrap();
        let promised = Shared::new(AtomicU64::new(0)).unwrap();
        let victim = crate::spawn(put_and_drop, (producer, promised.clone())).unwrap();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let end = Instant::now() + Duration::from_micros((seed >> 33) % 1000);
        let got = std::thread::scope(|scope| {
            let getter = scope.spawn(|| consumer.iter().zip(0..).map(|(got, n)| assert_eq!(got, n)).count() as u64);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
            victim.kill().unwrap();
            victim.wait().unwrap();
            getter.join().unwrap()
        });
        let promised = promised.load(Acquire);
        assert!(got == promised || got == promised + 1, "{got} of {promised}");
    }
}

#[test]
fn a_half_on_its_way_is_there_and_one_that_is_lost_on_it_is_gone() {
    let _dog = watchdog(LIMIT);
    let (producer, consumer) = Queue::new(0).unwrap().split().unwrap();
    let packed = handover::pack_owned(&producer).unwrap();
    drop(producer);
    assert!(matches!(consumer.try_get(), Err(TryGetError::Empty)), "it is on its way");
    let producer: Producer<u64> = packed.unpack().unwrap();
    producer.put(1).unwrap();
    // Through a queue that nobody reads: it is there until that one is gone.
    let mail = Queue::new(0).unwrap();
    mail.put(producer).unwrap();
    assert_eq!(consumer.get(), Ok(1));
    assert!(matches!(consumer.try_get(), Err(TryGetError::Empty)), "it is in the mail");
    drop(mail);
    assert_eq!(consumer.get(), Err(GetError::Closed));
}

#[test]
fn halves_travel_and_end_with_their_processes() {
    let _dog = watchdog(LIMIT);
    fn relay(from: Consumer<u64>, to: Producer<u64>) {
        from.iter().for_each(|n| to.put(n + 1).unwrap());
    }
    let (producer, first) = Queue::new(4).unwrap().split().unwrap();
    let (second, consumer) = Queue::new(4).unwrap().split().unwrap();
    let relay: Process<()> = crate::spawn(relay, (first, second)).unwrap();
    let sum = std::thread::scope(|scope| {
        scope.spawn(move || producer.put_many(0..1000).unwrap());
        consumer.iter().sum::<u64>()
    });
    assert_eq!(sum, 1000 * 1001 / 2);
    relay.join().unwrap();
}
