//! Messages that are numbers: in order, once each, and nobody sleeps over one.

use std::sync::atomic::Ordering::Release;

use loom::thread;

use super::{
    GETTER, Model, OTHER,
    ring::{Dequeue, Enqueue, Locate, Ring, Side, Stop},
    word::What,
};
use crate::explore;

/// Puts 1 and 2 while somebody gets two messages; they come whole, in order, and once.
fn in_order(capacity: u32) {
    let ring = Model::new(capacity);
    let putter = ring.clone();
    let putting = thread::spawn(move || (1..=2).for_each(|n| putter.put(n).unwrap()));
    assert_eq!((ring.get(), ring.get()), (Ok(1), Ok(2)));
    putting.join().unwrap();
    assert_eq!(ring.try_get(GETTER), Err(Stop::WouldBlock));
}

#[test]
fn numbers_arrive_in_order_and_sleepers_wake() {
    explore(3, || in_order(2));
}

#[test]
fn a_ring_of_one_passes_its_turns_on() {
    explore(3, || in_order(1));
}

/// Over two laps with two switches that nothing forces, a model takes minutes; so that is for a ring of one.
#[test]
fn two_putters_pass_a_ring_of_one_to_a_getter() {
    explore(2, || {
        let ring = Model::new(1);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || a.put(1).unwrap());
        let second = thread::spawn(move || b.put(10).unwrap());
        assert_eq!(ring.get().unwrap() + ring.get().unwrap(), 11);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_putters_and_a_getter_lose_nothing_over_two_laps() {
    explore(1, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || [1, 2].map(|n| a.put(n).unwrap()));
        let second = thread::spawn(move || [10, 20].map(|n| b.put(n).unwrap()));
        let got: Vec<_> = (0..4).map(|_| ring.get().unwrap()).collect();
        let of = |from: &[u64]| got.iter().copied().filter(|n| from.contains(n)).collect::<Vec<_>>();
        assert_eq!((of(&[1, 2]), of(&[10, 20])), (vec![1, 2], vec![10, 20]));
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn two_getters_and_a_putter_take_each_message_once_over_two_laps() {
    explore(1, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || (0..4).for_each(|n| a.put(1 << n).unwrap()));
        let other = thread::spawn(move || [b.get().unwrap(), b.get().unwrap()]);
        let mine = [ring.get().unwrap(), ring.get().unwrap()];
        let others = other.join().unwrap();
        putting.join().unwrap();
        assert!(mine.is_sorted() && others.is_sorted());
        assert_eq!(mine.iter().chain(&others).sum::<u64>(), 0b1111);
    });
}

/// Whoever has put finds something to take, and whoever has taken finds room: whatever two others are in the middle of.
#[test]
fn empty_and_full_are_exact_beside_two_others() {
    explore(3, || {
        let ring = Model::new(2);
        let (a, b) = (ring.clone(), ring.clone());
        let putter = thread::spawn(move || a.try_put(What::NUMBER, 1, |_| ()));
        let getter = thread::spawn(move || b.try_get(GETTER));
        let put = ring.try_put(What::NUMBER, 2, |_| ());
        assert_eq!(put, Ok(()), "of two slots one was free");
        let mine = ring.try_get(OTHER);
        let (theirs, others) = (putter.join().unwrap(), getter.join().unwrap());
        assert_eq!(theirs, Ok(()));
        // One getter at most was too early for both messages.
        let got = [mine, others];
        assert!(mine.is_ok() || others.is_ok(), "{got:?}");
        let rest: u64 = std::iter::from_fn(|| ring.try_get(OTHER).ok()).sum();
        assert_eq!(got.iter().flatten().sum::<u64>() + rest, 3);
    });
}

#[test]
fn a_hint_of_long_ago_costs_steps_and_no_message() {
    explore(2, || {
        let ring = Model::new(2);
        for n in 1..=5 {
            ring.put(n).unwrap();
            assert_eq!(ring.get(), Ok(n));
        }
        let (late, putter) = (ring.clone(), ring.clone());
        // One that was slow in storing its hint, for both sides.
        let storing = thread::spawn(move || {
            late.hint(Side::Items).store(1, Release);
            late.hint(Side::Space).store(late.positions().join(1, 0), Release);
        });
        let putting = thread::spawn(move || [6, 7].map(|n| putter.put(n).unwrap()));
        assert_eq!((ring.get(), ring.get()), (Ok(6), Ok(7)));
        assert_eq!(ring.try_get(GETTER), Err(Stop::WouldBlock));
        storing.join().unwrap();
        putting.join().unwrap();
        assert_eq!((ring.put(8), ring.put(9)), (Ok(()), Ok(())));
        assert_eq!(ring.try_put(What::NUMBER, 10, |_| ()), Err(Stop::WouldBlock));
    });
}

#[test]
fn numbers_taken_together_are_taken_once_and_make_room() {
    explore(2, || {
        let ring = Model::new(2);
        (1..=2).for_each(|n| ring.put(n).unwrap());
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || a.put(4).unwrap());
        let other = thread::spawn(move || b.get().unwrap());
        let mut numbers = [0; 2];
        let (n, _) = ring.take_numbers(&mut numbers);
        assert!(numbers[..n].is_sorted());
        let mut got = numbers.iter().sum::<u64>() + other.join().unwrap();
        putting.join().unwrap();
        while let Ok(number) = ring.try_get(GETTER) {
            got += number;
        }
        assert_eq!(got, 7);
    });
}

#[test]
fn a_message_is_got_or_refused_when_the_queue_closes() {
    for full in [false, true] {
        explore(2, move || {
            let ring = Model::new(1);
            if full {
                ring.put(7).unwrap();
            }
            let (putter, closer) = (ring.clone(), ring.clone());
            let putting = thread::spawn(move || putter.put(1));
            let closing = thread::spawn(move || closer.close().unwrap());
            let got: Vec<u64> = std::iter::from_fn(|| ring.get().ok()).collect();
            closing.join().unwrap();
            let put = putting.join().unwrap();
            let expected = [full.then_some(7), put.is_ok().then_some(1)];
            assert_eq!(got, expected.into_iter().flatten().collect::<Vec<_>>());
            assert_eq!((put, ring.try_get(OTHER)), (put, Err(Stop::Closed)));
            assert_eq!(ring.try_put(What::NUMBER, 9, |_| ()), Err(Stop::Closed));
        });
    }
}

/// Nobody waits for room, and each putter's messages come in their order, through a section that becomes full and another.
#[test]
fn a_ring_that_grows_keeps_everything_in_order() {
    explore(1, || {
        let ring = Model::growing(1, 2);
        let (a, b) = (ring.clone(), ring.clone());
        let first = thread::spawn(move || [1, 2].map(|n| a.try_put(What::NUMBER, n, |_| ()).unwrap()));
        let second = thread::spawn(move || b.try_put(What::NUMBER, 10, |_| ()).unwrap());
        let got: Vec<_> = (0..3).map(|_| ring.get().unwrap()).collect();
        assert_eq!(got.iter().copied().filter(|n| *n < 10).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(got.iter().sum::<u64>(), 13);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!((ring.try_get(GETTER), ring.count()), (Err(Stop::WouldBlock), Ok(0)));
    });
}

#[test]
fn two_getters_take_each_message_of_a_ring_that_grows_once() {
    explore(1, || {
        let ring = Model::growing(1, 2);
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || (0..3).for_each(|n| a.try_put(What::NUMBER, 1 << n, |_| ()).unwrap()));
        let other = thread::spawn(move || b.get().unwrap());
        let mine = [ring.get().unwrap(), ring.get().unwrap()];
        let others = other.join().unwrap();
        putting.join().unwrap();
        assert!(mine.is_sorted());
        assert_eq!(mine.iter().sum::<u64>() + others, 0b111);
    });
}

/// A message is never said to be missing that was put before the look, while the ring grows under the one who looks.
#[test]
fn empty_is_exact_where_the_ring_grows() {
    explore(2, || {
        let ring = Model::growing(1, 3);
        ring.put(1).unwrap();
        let putter = ring.clone();
        let putting = thread::spawn(move || putter.try_put(What::NUMBER, 2, |_| ()).unwrap());
        assert_eq!(ring.try_get(GETTER), Ok(1));
        ring.try_put(What::NUMBER, 4, |_| ()).unwrap();
        let (n, got) = (ring.count().unwrap(), ring.try_get(GETTER));
        putting.join().unwrap();
        assert!((1..=2).contains(&n) && matches!(got, Ok(2 | 4)), "{n} {got:?}");
        assert_eq!(ring.try_get(GETTER).map(|last| last + got.unwrap()), Ok(6));
        assert_eq!((ring.count(), ring.try_get(GETTER)), (Ok(0), Err(Stop::WouldBlock)));
    });
}

#[test]
fn a_ring_closes_in_the_section_that_it_has_grown_to() {
    explore(2, || {
        let ring = Model::growing(1, 2);
        ring.put(7).unwrap();
        let (putter, closer) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || putter.try_put(What::NUMBER, 1, |_| ()));
        let closing = thread::spawn(move || closer.close().unwrap());
        let got: Vec<u64> = std::iter::from_fn(|| ring.get().ok()).collect();
        closing.join().unwrap();
        let put = putting.join().unwrap();
        assert_eq!(got, [Some(7), put.is_ok().then_some(1)].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!((put, ring.try_get(OTHER)), (put, Err(Stop::Closed)));
        assert_eq!(ring.try_put(What::NUMBER, 9, |_| ()), Err(Stop::Closed));
    });
}
