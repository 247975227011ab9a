use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

use kernel::handover;

use super::*;
use super::{reactor::Wanted, ring::Side};
use crate::JoinableQueue;

fn pair<T>(queue: &Queue<T>) -> Queue<T> {
    // A second mapping of the same memory, as another process has it.
    handover::pack_owned(queue).unwrap().unpack().unwrap()
}

#[test]
fn smoke() {
    let queue = Queue::new(3).unwrap();
    for n in 0..3u64 {
        queue.try_put(n).unwrap();
    }
    assert_eq!(queue.try_put(3), Err(TryPutError::Full(3)));
    assert!(queue.is_full());
    assert_eq!(queue.len(), 3);
    assert_eq!((queue.get(), queue.get(), queue.get()), (Ok(0), Ok(1), Ok(2)));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    assert!(queue.is_empty());
    assert_eq!(queue.get_timeout(Duration::from_millis(5)), Err(GetTimeoutError::TimedOut));
}

#[test]
fn sizes_of_all_classes_come_back_whole() {
    let queue = Queue::<Vec<u8>>::new(2).unwrap();
    let there = pair(&queue);
    for len in [0, 1, 47, 48, 49, 500, 513, 60_000, 70_000, 3 << 20] {
        let message: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        queue.put_bytes(&message).unwrap();
        queue.put(message.clone()).unwrap();
        assert_eq!(there.get_bytes().unwrap(), message);
        assert_eq!(there.get().unwrap(), message);
    }
}

#[test]
fn a_ring_of_one_goes_round() {
    let queue = Queue::new(1).unwrap();
    let there = pair(&queue);
    let putter = thread::spawn(move || (0..20_000u64).try_for_each(|n| there.put(n)));
    for n in 0..20_000 {
        assert_eq!(queue.get(), Ok(n));
    }
    putter.join().unwrap().unwrap();
}

#[test]
fn many_to_many_each_once_and_in_order() {
    let queue = Queue::new(7).unwrap();
    let putters: Vec<_> = (0..3u64)
        .map(|who| {
            let queue = pair(&queue);
            thread::spawn(move || (0..10_000u64).try_for_each(|n| queue.put((who, n))))
        })
        .collect();
    let getters: Vec<_> = (0..3)
        .map(|_| {
            let queue = pair(&queue);
            thread::spawn(move || queue.iter().collect::<Vec<(u64, u64)>>())
        })
        .collect();
    for putter in putters {
        putter.join().unwrap().unwrap();
    }
    queue.close();
    let mut all = Vec::new();
    for getter in getters {
        let got = getter.join().unwrap();
        for who in 0..3 {
            assert!(got.iter().filter(|m| m.0 == who).is_sorted());
        }
        all.extend(got);
    }
    all.sort_unstable();
    assert!(all.iter().copied().eq((0..3).flat_map(|who| (0..10_000).map(move |n| (who, n)))));
    assert_eq!(queue.put((0, 0)), Err(PutError::Closed((0, 0))));
    assert_eq!(queue.get(), Err(GetError::Closed));
}

#[test]
fn a_handle_travels_in_a_message() {
    let queue = Queue::<Queue<u8>>::new(2).unwrap();
    let inner = Queue::new(4).unwrap();
    queue.put(inner.clone()).unwrap();
    queue.get().unwrap().put(5).unwrap();
    assert_eq!(inner.get(), Ok(5));
}

#[test]
fn what_does_not_decode_concerns_one_message() {
    let queue = Queue::<String>::new(3).unwrap();
    queue.put_bytes(&[200, 200]).unwrap();
    queue.put("next".into()).unwrap();
    assert!(matches!(queue.get(), Err(GetError::Decode(_))));
    assert_eq!(queue.get().unwrap(), "next");
}

#[test]
fn another_kind_of_queue_is_refused() {
    let queue = Queue::<u8>::new(4).unwrap();
    assert!(handover::pack_owned(&queue).unwrap().unpack::<JoinableQueue<u8>>().is_err());
}

#[test]
fn a_number_is_what_other_types_would_read() {
    let queue = Queue::<i8>::new(8).unwrap();
    queue.put(-1).unwrap();
    let mut five = Vec::new();
    wire::encode_named(&5_u64, &mut five).unwrap();
    queue.put_bytes(&five).unwrap();
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (-1, 5));
    let same: Queue<Option<u32>> = handover::pack_owned(&queue).unwrap().unpack().unwrap();
    queue.put(7).unwrap();
    assert_eq!(same.get().unwrap(), Some(7));
    queue.put(9).unwrap();
    assert_eq!(wire::decode::<u64>(&same.get_bytes().unwrap()).unwrap(), 9);
}

#[test]
fn numbers_and_other_messages_keep_their_order() {
    let queue = Queue::<Result<u8, u32>>::new(40).unwrap();
    let messages: Vec<_> = (0..40).map(|n| if n % 3 == 0 { Ok(n as u8) } else { Err(n << 20) }).collect();
    queue.put_many(messages.clone()).unwrap();
    assert_eq!(queue.get_many(100).unwrap(), messages);
    let variants = Queue::<Option<u32>>::new(9).unwrap();
    variants.put_many([None, Some(u32::MAX)]).unwrap();
    assert_eq!(variants.get_many(2).unwrap(), [None, Some(u32::MAX)]);
}

#[test]
fn a_message_is_read_where_it_lies() {
    let queue = Queue::<()>::new(2).unwrap();
    for len in [1, 40, 1000, 200_000] {
        let mut loan = queue.loan(len).unwrap();
        loan.fill(len as u8);
        let written = loan.as_ptr();
        loan.send().unwrap();
        let message = queue.get_loan().unwrap();
        assert_eq!(*message, vec![len as u8; len]);
        assert_eq!(message.as_ptr(), written);
        assert_ne!(queue.loan(len).unwrap().as_ptr(), written);
    }
    queue.put_bytes(b"short").unwrap();
    queue.close();
    assert_eq!(*queue.get_loan().unwrap(), *b"short");
    assert_eq!(queue.get_loan().unwrap_err(), GetError::Closed);
}

#[test]
fn get_many_takes_numbers_and_other_messages_in_order() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Order {
        Stop,
        Go(u32),
    }
    let queue = Queue::new(100).unwrap();
    for first in [0, 7, 90] {
        let orders: Vec<_> =
            (first..first + 100).map(|n| if n % 40 == 3 { Order::Go(n) } else { Order::Stop }).collect();
        queue.put_many(orders.clone()).unwrap();
        let mut got = queue.get_many(80).unwrap();
        assert_eq!(got.len(), 80);
        got.extend(queue.get_many(80).unwrap());
        assert_eq!(got, orders);
        assert!(queue.is_empty());
    }
}

#[test]
fn get_many_wakes_who_waits_for_room() {
    let queue = Queue::new(8).unwrap();
    queue.put_many(0..8_u64).unwrap();
    thread::scope(|scope| {
        let putters = [8, 16].map(|first| {
            scope.spawn({
                let queue = &queue;
                move || queue.put_many(first..first + 8)
            })
        });
        let mut got = Vec::new();
        while got.len() < 24 {
            got.extend(queue.get_many(5).unwrap());
        }
        got.sort_unstable();
        assert!(got.into_iter().eq(0..24));
        putters.into_iter().for_each(|putter| putter.join().unwrap().unwrap());
    });
}

#[test]
fn memory_to_decode_from_is_kept_for_the_next_message() {
    let queue = Queue::new(2).unwrap();
    let kept_after = |n| {
        queue.put(vec![u64::MAX; n]).unwrap();
        assert_eq!(queue.get().unwrap(), vec![u64::MAX; n]);
        queue.raw.spare.lock().capacity()
    };
    let kept = kept_after(20_000);
    assert!(kept >= 20_000 * size_of::<u64>());
    assert_eq!(kept_after(10_000), kept);
    queue.raw.trim();
    assert_eq!(queue.raw.spare.lock().capacity(), 0);
    // Huge, so not kept.
    assert_eq!(kept_after(600_000), 0);
}

#[test]
fn a_newcomer_clears_a_full_table_of_the_dead() {
    let queue = Queue::<Vec<u8>>::new(2).unwrap();
    let dead = pair(&queue).raw.segment.register().me();
    while queue.raw.participants().enter(dead).is_some() {}
    let there = pair(&queue);
    there.put(vec![7; 5000]).unwrap();
    assert_eq!(queue.get().unwrap(), [7; 5000]);
}

#[test]
fn a_message_that_nobody_takes_is_told_of_now_and_then() {
    let queue = Queue::new(2).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counts = calls.clone();
    let count: Arc<dyn Fn() + Send + Sync> = Arc::new(move || _ = counts.fetch_add(1, Relaxed));
    let _both = [0; 2].map(|_| reactor::register(&queue.raw, Wanted::Side(Side::Items), count.clone()).unwrap());
    queue.put(1).unwrap();
    thread::sleep(Duration::from_millis(400));
    let n = calls.load(Relaxed);
    assert!((2..60).contains(&n), "{n} calls");
}

#[test]
fn nobody_has_to_come_for_an_item_to_become_a_dead_letter() {
    let queue = Queue::<u32>::builder().max_deliveries(1).build_joinable().unwrap();
    queue.put(7).unwrap();
    drop(queue.get().unwrap());
    assert_eq!(queue.join_timeout(Duration::from_millis(200)), Ok(true));
    assert_eq!(queue.dead_letters().unwrap(), [7]);
}

/// With one taker, nobody else copies a message that it takes: under ThreadSanitizer, a cell or block that is given back too soon,
/// or looked at too early, is a race. (Of several takers, each may copy what one of them takes: see the README.)
#[test]
fn bytes_change_hands_with_their_message() {
    const EACH: usize = 2000;
    let queue = Queue::<Vec<u8>>::new(4).unwrap();
    let len = |n: usize| [3, 8, 40, 200, 500, 2000][n % 6];
    thread::scope(|scope| {
        for putter in 0..3 {
            let queue = &queue;
            scope.spawn(move || {
                for n in 0..EACH {
                    queue.put(vec![putter; len(n)]).unwrap();
                }
            });
        }
        let mut taken = [0; 3];
        for _ in 0..3 * EACH {
            let message = queue.get().unwrap();
            let n = &mut taken[usize::from(message[0])];
            assert_eq!(message, vec![message[0]; len(*n)]);
            *n += 1;
        }
        assert_eq!(taken, [EACH; 3]);
    });
}
