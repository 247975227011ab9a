//! A queue without a `maxsize` has room for everything that is put, keeps its order, and takes memory for what is in it.

use std::{collections::HashSet, io, thread, time::Duration};

use ipc::{GetError, JoinableQueue, PutError, Queue, TryGetError};
use proc_core::{Process, Resource};

/// Grows soon and often.
fn small<T: serde::Serialize + serde::de::DeserializeOwned>() -> Queue<T> {
    Queue::builder().first_section(2).build().unwrap()
}

/// What a Python program does that fills a queue first, and starts its workers then.
#[test]
fn all_is_put_before_anybody_gets() {
    let queue = Queue::<u64>::new(0).unwrap();
    for n in 0..200_000 {
        assert_eq!(queue.put(n), Ok(()));
    }
    assert_eq!((queue.len(), queue.is_full(), queue.maxsize()), (200_000, false, 0));
    let sum = Process::spawn(|queue: Queue<u64>| (0..200_000).all(|n| queue.get() == Ok(n)), (queue.clone(),)).unwrap();
    assert!(sum.join().unwrap());
    assert_eq!((queue.len(), queue.try_get()), (0, Err(TryGetError::Empty)));
    // The whole ring is used again, lap by lap.
    for n in 0..300_000 {
        queue.put(n).unwrap();
        assert_eq!(queue.get(), Ok(n));
    }
}

#[test]
fn messages_of_all_lengths_are_kept_in_order() {
    let queue = small::<Vec<u8>>();
    let message = |n: usize| vec![n as u8; [0, 5, 40, 300, 3_000, 70_000][n % 6]];
    for round in 0..3 {
        for n in 0..2_000 << round {
            queue.put(message(n)).unwrap();
        }
        assert_eq!(queue.len(), 2_000 << round);
        for n in 0..2_000 << round {
            assert!(queue.get().unwrap() == message(n), "message {n} of round {round}");
        }
    }
}

/// Longer messages have blocks of their own, more than are known from the beginning.
#[test]
fn more_blocks_than_are_mapped_at_first() {
    let queue = Queue::<Vec<u8>>::new(0).unwrap();
    let n = 140_000;
    for i in 0..n {
        queue.put(vec![i as u8; 20 + i % 30]).unwrap();
    }
    // Another process has to map them all.
    let take = |queue: Queue<Vec<u8>>, n: usize| {
        (0..n).all(|i| queue.get().is_ok_and(|message| message == vec![i as u8; 20 + i % 30]))
    };
    assert!(Process::spawn(take, (queue.clone(), n)).unwrap().join().unwrap());
    assert!(queue.is_empty());
}

#[test]
fn producers_and_consumers_pass_through_all_sections_together() {
    const EACH: u64 = 3_000;
    let queue = small::<(u64, u64)>();
    let put = |queue: Queue<(u64, u64)>, who: u64| (0..EACH).for_each(|n| queue.put((who, n)).unwrap());
    let get = |queue: Queue<(u64, u64)>| {
        let mut got = Vec::new();
        while let Ok(message) = queue.get() {
            got.push(message);
        }
        got
    };
    let putters: Vec<_> = (0..3).map(|who| Process::spawn(put, (queue.clone(), who)).unwrap()).collect();
    let getters: Vec<_> = (0..2).map(|_| Process::spawn(get, (queue.clone(),)).unwrap()).collect();
    putters.into_iter().for_each(|putter| putter.join().unwrap());
    queue.close();
    let got: Vec<Vec<(u64, u64)>> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
    for each in &got {
        for who in 0..3 {
            assert!(
                each.iter().filter(|(by, _)| *by == who).is_sorted(),
                "one getter sees a putter's messages in order"
            );
        }
    }
    let all: HashSet<_> = got.iter().flatten().collect();
    assert_eq!((all.len(), got.iter().map(Vec::len).sum::<usize>()), (3 * EACH as usize, 3 * EACH as usize));
}

#[test]
fn closing_ends_it_where_it_has_grown_to() {
    let queue = small::<u32>();
    (0..100).for_each(|n| queue.put(n).unwrap());
    queue.close();
    assert_eq!(queue.put(100), Err(PutError::Closed(100)));
    assert!(queue.is_closed());
    assert!(queue.iter().eq(0..100));
    assert_eq!(queue.get(), Err(GetError::Closed));
}

#[test]
fn batches_go_through_sections() {
    let queue = small::<u32>();
    queue.put_many(0..1_000).unwrap();
    let mut got = Vec::new();
    while got.len() < 1_000 {
        got.extend(queue.get_many(64).unwrap());
    }
    assert!(got.into_iter().eq(0..1_000));
}

#[test]
fn items_on_loan_survive_their_holders_where_the_queue_has_grown() {
    let queue: JoinableQueue<u32> = Queue::builder().first_section(2).build_joinable().unwrap();
    (0..50).for_each(|n| queue.put(n).unwrap());
    let holder = Process::builder().daemon(true).spawn(
        |queue: JoinableQueue<u32>| {
            let held: Vec<_> = (0..20).map(|_| queue.get().unwrap()).collect();
            held.iter().map(|item| **item).for_each(drop);
            thread::park();
        },
        (queue.clone(),),
    );
    let holder = holder.unwrap();
    while queue.len() > 30 {
        thread::yield_now();
    }
    (50..80).for_each(|n| queue.put(n).unwrap());
    holder.kill().unwrap();
    let mut seen = HashSet::new();
    while seen.len() < 80 {
        let item = queue.get().unwrap();
        assert!(seen.insert(*item), "{} was delivered twice to living holders", *item);
        item.task_done();
    }
    queue.join().unwrap();
    assert_eq!(queue.unfinished(), 0);
}

/// A process without addresses for what the queue has grown to gets an error, and takes nothing from the others.
#[test]
fn who_has_no_addresses_left_gets_an_error() {
    let queue = Queue::<u64>::new(0).unwrap();
    let (limited, grown) = (Queue::<u64>::new(1).unwrap(), Queue::<u64>::new(1).unwrap());
    let take = |queue: Queue<u64>, limited: Queue<u64>, grown: Queue<u64>| {
        // From here on nothing can be mapped.
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_AS, 1, 1).unwrap();
        limited.put(0).unwrap();
        grown.get().unwrap();
        let all = (0..65_536).all(|n| queue.get() == Ok(n));
        let gets = queue.get() == Err(GetError::System(io::ErrorKind::OutOfMemory));
        let puts = matches!(queue.put(7), Err(PutError::System(7, io::ErrorKind::OutOfMemory)));
        (all, gets, puts)
    };
    let child = Process::spawn(take, (queue.clone(), limited.clone(), grown.clone())).unwrap();
    limited.get().unwrap();
    (0..70_000).for_each(|n| queue.put(n).unwrap());
    grown.put(0).unwrap();
    assert_eq!(child.join().unwrap(), (true, true, true));
    assert!((65_536..70_000).all(|n| queue.get() == Ok(n)));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
}

/// What it takes of a user's addresses lets it be used under a limit of 1 GiB.
#[test]
fn a_limited_process_uses_it() {
    let queue = Queue::<Vec<u8>>::new(0).unwrap();
    (0..100_000).for_each(|n| queue.put(vec![n as u8; 30]).unwrap());
    let child = Process::builder()
        .limit(Resource::AddressSpace, 1 << 30)
        .spawn(|queue: Queue<Vec<u8>>| (0..100_000).all(|n| queue.get() == Ok(vec![n as u8; 30])), (queue.clone(),))
        .unwrap();
    assert!(child.join().unwrap());
}

/// Killed in the middle of growing, again and again, with others at work.
#[test]
fn stress_kills_while_it_grows() {
    for round in 0..60 {
        let queue = small::<(u64, u64)>();
        let put = |queue: Queue<(u64, u64)>, who: u64| {
            for n in 0.. {
                queue.put((who, n)).unwrap();
            }
        };
        let putters: Vec<_> =
            (0..2).map(|who| Process::builder().daemon(true).spawn(put, (queue.clone(), who)).unwrap()).collect();
        while queue.len() < round * 37 {
            thread::yield_now();
        }
        putters.iter().for_each(|putter| putter.kill().unwrap());
        putters.iter().for_each(|putter| drop(putter.wait()));
        queue.put((9, 0)).unwrap();
        let mut next = [0, 0];
        loop {
            match queue.get_timeout(Duration::from_secs(20)).unwrap() {
                (9, _) => break,
                (who, n) => {
                    assert_eq!(n, next[who as usize], "of putter {who}");
                    next[who as usize] += 1;
                }
            }
        }
        assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    }
}
