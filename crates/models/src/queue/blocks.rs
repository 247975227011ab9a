//! Messages in blocks, and putters and getters that die.

use loom::{sync::Arc, thread};

use super::{
    GETTER, Model, OTHER, PUTTER, VICTIM, block,
    ring::{Dequeue, Enqueue, Locate, Side, Stop},
    word::{self, BlockState, Positions, What},
};
use crate::explore;

/// A getter dies right after its one step, in a section that the ring has left meanwhile: nobody puts there any more.
#[test]
fn what_a_dead_getter_took_before_the_ring_grew_is_free() {
    explore(2, || {
        let ring = Arc::new(Model::at(Positions::growing(1, 2), 1, false));
        assert!(ring.claim(block(0), PUTTER));
        ring.try_put_block(block(0), 5).unwrap();
        let (a, b) = (ring.clone(), ring.clone());
        let putting = thread::spawn(move || a.try_put(What::NUMBER, 6, |_| ()).unwrap());
        let dying = thread::spawn(move || {
            let taken = word::Taken { by: VICTIM, block: block(0) };
            loop {
                let spot = b.next().unwrap();
                // The putter may mark the word meanwhile.
                if let Some((_, payload)) = b.whole(&spot)
                    && b.take_block(&spot, payload, taken.to_payload())
                {
                    break;
                }
            }
        });
        dying.join().unwrap();
        ring.sweep(VICTIM, OTHER);
        putting.join().unwrap();
        assert_eq!(ring.state(0), BlockState::Free);
        assert_eq!((ring.try_get(GETTER), ring.try_get(GETTER)), (Ok(6), Err(Stop::WouldBlock)));
    });
}

#[test]
fn a_block_is_its_takers_whoever_settles_it() {
    explore(3, || {
        let ring = Arc::new(Model::with(1, 2, false));
        assert!(ring.claim(block(0), PUTTER) && ring.claim(block(1), PUTTER));
        ring.try_put_block(block(0), 5).unwrap();
        let (a, b) = (ring.clone(), ring.clone());
        // The next putter settles what the first getter has not.
        let putting = thread::spawn(move || a.patiently(Side::Space, || a.try_put_block(block(1), 6)).unwrap());
        let other = thread::spawn(move || b.patiently(Side::Items, || b.try_get(OTHER)).unwrap());
        let got = ring.patiently(Side::Items, || ring.try_get(GETTER)).unwrap() + other.join().unwrap();
        putting.join().unwrap();
        assert_eq!(got, 11);
        assert_eq!((ring.state(0), ring.state(1)), (BlockState::Free, BlockState::Free));
    });
}

/// A getter dies right after its one step; a sweeper and the next putter both settle what it took.
fn after_a_death(leases: bool) {
    let ring = Arc::new(Model::with(1, 2, leases));
    assert!(ring.claim(block(0), PUTTER) && ring.claim(block(1), PUTTER));
    ring.try_put_block(block(0), 5).unwrap();
    let spot = ring.next().unwrap();
    let (_, payload) = ring.whole(&spot).unwrap();
    let taken = word::Taken { by: VICTIM, block: block(0) };
    assert!(ring.take_block(&spot, payload, taken.to_payload()));
    let (a, b) = (ring.clone(), ring.clone());
    let putting = thread::spawn(move || a.try_put_block(block(1), 6).unwrap());
    let sweeping = thread::spawn(move || b.sweep(VICTIM, OTHER));
    let got = ring.patiently(Side::Items, || ring.try_get(GETTER));
    putting.join().unwrap();
    sweeping.join().unwrap();
    assert_eq!(got, Ok(6));
    ring.sweep(VICTIM, OTHER);
    let expected = if leases { BlockState::Orphan { deliveries: 1 } } else { BlockState::Free };
    assert_eq!(ring.state(0), expected);
}

#[test]
fn what_a_dead_getter_took_is_free() {
    explore(2, || after_a_death(false));
}

#[test]
fn what_a_dead_getter_was_lent_is_an_orphan() {
    explore(2, || after_a_death(true));
}

/// A putter is dead, before or after its one step; its block is in the ring or free, whatever getter and sweeper do.
fn after_a_putters_death(was_put: bool) {
    let ring = Arc::new(Model::with(2, 1, false));
    assert!(ring.claim(block(0), VICTIM));
    if was_put {
        ring.try_put_block(block(0), 5).unwrap();
    } else {
        // It was about to, and somebody else was faster.
        ring.records[0].set_second(1);
    }
    let (a, b) = (ring.clone(), ring.clone());
    let putting = thread::spawn(move || a.put(6).unwrap());
    let sweeping = thread::spawn(move || b.sweep(VICTIM, OTHER));
    let mut got = ring.patiently(Side::Items, || ring.try_get(GETTER)).unwrap();
    if was_put {
        got += ring.patiently(Side::Items, || ring.try_get(GETTER)).unwrap();
    }
    putting.join().unwrap();
    sweeping.join().unwrap();
    assert_eq!(got, if was_put { 11 } else { 6 });
    assert_eq!(ring.state(0), BlockState::Free);
}

#[test]
fn a_dead_putters_message_is_taken_and_its_block_free() {
    explore(2, || after_a_putters_death(true));
}

#[test]
fn a_dead_putters_block_is_free() {
    explore(2, || after_a_putters_death(false));
}
